"""What has D seen of what a good policy visits? `python tutorials/coverage.py [--data FOLDER] [OUT_DIR]` measures it.

Prints for every task but pong, whose states have no cells, the share of d* that D has seen, the concentrability max d*/mu and
the pairs (s, a) of d* that D lacks (minloro/coverage.py says what these are): for Qwen's published rollouts where there are
any, for the scripted stand-in's D, and for as many transitions of a uniformly random policy as either has. n data sets: means,
95% intervals over them; of max d*/mu the median, inf where D lacks a pair. Writes one PNG of heat maps a task, with the first
data set of a kind.
"""

import argparse
import os
from pathlib import Path

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is loaded

import matplotlib.pyplot as plt
import numpy as np
from best_agents import TASKS, target
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator

import minloro
from minloro.coverage import CELLS, coverage, visits
from minloro.files import replace_file
from minloro.report import interval
from minloro.transitions import load_transitions

FIGURES = Path(__file__).parent / "figures"
PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "qwen2.5-7b"
EPISODES, SEEDS = 10, range(10)
# The two coordinates of its cells in which a continuous task is drawn, across and up.
PLANES = {
    "cartpole": ((2, "pole angle in rad, 0 is upright"), (3, "pole's angular velocity in rad/s")),
    "mountaincar": ((0, "position"), (1, "velocity a step")),
    "acrobot": ((0, "upper link's angle in rad, 0 hangs"), (1, "lower link's angle in rad, 0 is straight")),
    "pendulum": ((0, "angle in rad, 0 is upright"), (1, "angular velocity in rad/s")),
}


def data_sets(task, folder: Path) -> dict[str, list]:
    """Return {name: [D, …]}: Qwen's first episodes if they are there, the stand-in's with 10 seeds, and each one's control."""
    sets = {}
    if (folder / f"{task.name}.npz").exists():
        sets["Qwen2.5-7B"] = [load_transitions(folder / f"{task.name}.npz", task).first_episodes(EPISODES)]
    sets["scripted stand-in, skill 0.7"] = [minloro.collect(task, minloro.StandInLLM(task, s), EPISODES, s) for s in SEEDS]
    for name, found in list(sets.items()):
        limit, like = found[0].metadata.get("collection_step_limit"), found * (len(SEEDS) // len(found))
        controls = [minloro.collect_random(task, len(data), seed, limit) for seed, data in zip(SEEDS, like, strict=True)]
        sets[f"random, as many as {name.split(',')[0]}"] = controls
    return sets


def row(name: str, measured: list, steps: list[int]) -> str:
    """Return one line of the table: means over the data sets, with a 95% interval where there are several."""
    seen = interval([c.seen for c in measured])
    share = f"{seen['mean']:.1%}" + ("" if seen["low"] is None else f" [{seen['low']:.1%}, {seen['high']:.1%}]")
    ratio = f"{np.median([c.concentrability for c in measured]):.3g}"
    lacking = f"{np.mean([c.lacking for c in measured]):.4g} of {measured[0].pairs}"
    return f"  {name:<38}{len(measured):>3}{np.mean(steps):>8,.0f}{share:>24}{ratio:>11}{lacking:>16}"


def report(task, folder: Path, out: Path) -> None:
    """Print one task's rows and write its figure."""
    wanted, label = target(task)
    counts = {name: [visits(task, data) for data in sets] for name, sets in data_sets(task, folder).items()}
    print(f"\n{task.name}. d*: {label}")
    print(f"  {'D':<38}{'n':>3}{'steps':>8}{'share of d* seen, 95%':>24}{'max d*/mu':>11}{'pairs lacking':>16}")
    for name, all_counts in counts.items():
        print(row(name, [coverage(wanted, n) for n in all_counts], [n.sum() for n in all_counts]), flush=True)
    first = next(iter(counts))
    control = counts[f"random, as many as {first.split(',')[0]}"][0]
    shown = {f"D: {first}": counts[first][0], "uniformly random policy": control}
    save_coverage(out / f"coverage-{task.name}.png", task, shown, wanted, label)


def heat_map(ax, task, shares: np.ndarray, norm, title: str, lacking: np.ndarray | None = None):
    """Draw where shares, (S, A), of all steps were spent, actions added up, and return the Axes.

    Grid worlds lie on their map, continuous tasks in the plane of two coordinates of their cells, the others added up.
    lacking: (S, A), what D has not seen of d*; crosses stand where that is more than half of what `shares` hold there.
    """
    mass, extent = on_plane(task, shares)
    ax.set_facecolor("0.9")
    shown = np.ma.masked_equal(mass, 0)
    image = ax.imshow(shown, norm=norm, cmap="viridis", origin="upper" if task.grid else "lower", extent=extent, aspect="auto")
    if lacking is not None:
        left, right, low, high = image.get_extent()
        row, column = np.nonzero(on_plane(task, lacking)[0] > mass / 2)
        rows, columns = mass.shape
        x, y = left + (column + 0.5) * (right - left) / columns, low + (row + 0.5) * (high - low) / rows
        y = high + low - y if task.grid else y
        ax.plot(x, y, "x", color="#D55E00", markersize=6 if mass.size <= 100 else 4, markeredgewidth=1.4)
    if task.grid:
        ax.set_aspect("equal")
        for cell, mark in task.grid.marks.items():
            row, column = divmod(cell, task.grid.columns)
            light = mass[row, column] == 0 or norm(mass[row, column]) > 0.6
            ax.text(column - 0.43, row - 0.4, mark, va="top", fontsize=8, color="0.2" if light else "white", weight="bold")
        ax.set_xticks(range(task.grid.columns), range(1, task.grid.columns + 1), fontsize=7)
        ax.set_yticks(range(task.grid.rows), range(1, task.grid.rows + 1), fontsize=7)
    else:
        (_, across), (_, up) = PLANES[task.name]
        ax.set_xlabel(across)
        ax.set_ylabel(up)
    ax.set_title(title, fontsize=9, loc="left", parse_math=False)
    return ax


def save_coverage(path: Path, task, data: dict[str, np.ndarray], wanted: np.ndarray, label: str) -> None:
    """Write heat maps side by side: the visits of every data set, {name: (S, A) counts}, and d* = `wanted`, called `label`.

    The first data set is D: the crosses on d* are what it lacks.
    """
    tall = task.grid is not None and task.grid.columns >= 8
    shape, size = ((len(data) + 1, 1), (8, 8.4)) if tall else ((1, len(data) + 1), (11, 4.2))
    figure, axes = plt.subplots(*shape, figsize=size, layout="constrained", sharex=True, sharey=True)
    planes = [on_plane(task, counts / counts.sum())[0] for counts in (*data.values(), wanted)]
    most, least = max(plane.max() for plane in planes), min(plane[plane > 0].min() for plane in planes)
    norm = LogNorm(max(least, most / 10_000), most, clip=True)
    for ax, (name, counts) in zip(axes, data.items(), strict=False):
        seen = coverage(wanted, counts).seen
        heat_map(ax, task, counts / counts.sum(), norm, f"{name}\n{counts.sum():,} steps, {seen:.0%} of d* seen")
    unseen = wanted * (next(iter(data.values())) == 0)
    heat_map(axes[-1], task, wanted, norm, f"d*: {label}\n×: mostly pairs (s, a) that D lacks", unseen)
    for ax in axes.flat:
        ax.label_outer()
    bar = figure.colorbar(axes[-1].images[0], ax=axes, shrink=0.8, pad=0.02, format=lambda share, _: f"{100 * share:g}%")
    bar.set_ticks(LogLocator(subs=(1, 3)))
    bar.minorticks_off()
    bar.set_label("share of the steps (log scale); grey: none")
    figure.suptitle(task.name, fontsize=10, x=0.01, ha="left")
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=100))
    plt.close(figure)


def on_plane(task, shares: np.ndarray) -> tuple[np.ndarray, tuple | None]:
    """Return shares, (S, A), summed up on the map or plane of a task, (rows, columns), and its extent, None for a map."""
    states = shares.sum(axis=1)
    if task.grid:
        cells = states.reshape(-1, task.grid.states_per_cell).sum(axis=1)
        return cells.reshape(task.grid.rows, task.grid.columns), None
    (_, low, high, bins), ((across, _), (up, _)) = CELLS[task.name], PLANES[task.name]
    others = tuple(c for c in range(len(bins)) if c not in (across, up))
    mass = states.reshape(bins).sum(axis=others)  # [across, up]: they stand in ascending order
    return mass.T, (low[across], high[across], low[up], high[up])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=PUBLISHED, metavar="FOLDER", help="published rollouts, TASK.npz")
    parser.add_argument("out", type=Path, nargs="?", default=FIGURES, metavar="OUT_DIR", help="where the heat maps go")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in TASKS:
        report(minloro.make_task(name), arguments.data, arguments.out)


if __name__ == "__main__":
    main()
