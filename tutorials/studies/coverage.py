"""What has D seen of what a good policy visits? Run `python tutorials/studies/coverage.py`.

For every task but pong, whose states have no cells, it prints the share of d* that D has seen, the
concentrability max d*/mu, and how many pairs (s, a) of d* are missing in D. minloro/coverage.py
explains these words. D is, in turn, what Qwen played (if the published rollouts are there), what
the scripted stand-in played, and as many transitions of a uniformly random policy as each of them
has.

If there are several data sets of a kind, n of them, their means are printed with 95% intervals. Of
max d*/mu the median is printed; it is infinite if D lacks a pair. One PNG of heat maps is written
per task, with the first data set of each kind.
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
from minloro.bench.statistics import interval
from minloro.coverage import coverage, visits
from minloro.files import replace_file
from minloro.transitions import load_transitions

FIGURES = Path(__file__).parents[1] / "figures"
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "qwen2.5-7b"
EPISODES = 10
SEEDS = range(10)
# For continuous tasks: the two coordinates of the cells that are drawn, across and up.
PLANES = {
    "cartpole": (
        (2, "pole angle in rad, 0 is upright"),
        (3, "pole's angular velocity in rad/s"),
    ),
    "mountaincar": ((0, "position"), (1, "velocity per step")),
    "acrobot": (
        (0, "upper link's angle in rad, 0 hangs"),
        (1, "lower link's angle in rad, 0 is straight"),
    ),
    "pendulum": ((0, "angle in rad, 0 is upright"), (1, "angular velocity in rad/s")),
}
HEADER = (
    f"  {'D':<38}{'n':>3}{'steps':>8}{'share of d* seen, 95%':>24}"
    f"{'max d*/mu':>11}{'pairs lacking':>16}"
)


def data_sets(task, folder: Path) -> dict[str, list]:
    """Return {name: [D, …]}: Qwen's first episodes if they are there, the stand-in's, and controls.

    The stand-in has one D per seed. A control has as many transitions as the D that it belongs to.
    """
    players = {}
    path = folder / f"{task.name}.npz"
    if path.exists():
        players["Qwen2.5-7B"] = [load_transitions(path, task).first_episodes(EPISODES)]
    players["scripted stand-in, skill 0.7"] = [
        minloro.collect(task, minloro.StandInLLM(task, seed), EPISODES, seed) for seed in SEEDS
    ]
    controls = {}
    for name, found in players.items():
        step_limit = found[0].metadata.get("collection_step_limit")
        data_of_seed = found * (len(SEEDS) // len(found))
        controls[control_of(name)] = [
            minloro.collect_random(task, len(data), seed, step_limit)
            for seed, data in zip(SEEDS, data_of_seed, strict=True)
        ]
    return players | controls


def control_of(name: str) -> str:
    """Return the name of a player's control."""
    return f"random, as many as {name.split(',')[0]}"


def table_row(name: str, wanted: np.ndarray, all_counts: list[np.ndarray]) -> str:
    """Return one line of the table: means over the data sets, with a 95% interval if n > 1."""
    measured = [coverage(wanted, counts) for counts in all_counts]
    steps = np.mean([counts.sum() for counts in all_counts])
    seen = interval([found.seen for found in measured], bounds=(0, 1))
    share = f"{seen['mean']:.1%}"
    if seen["low"] is not None:
        share += f" [{seen['low']:.1%}, {seen['high']:.1%}]"
    ratio = f"{np.median([found.concentrability for found in measured]):.3g}"
    mean_lacking = np.mean([found.lacking for found in measured])
    lacking = f"{mean_lacking:.4g} of {measured[0].pairs}"
    return f"  {name:<38}{len(measured):>3}{steps:>8,.0f}{share:>24}{ratio:>11}{lacking:>16}"


def report(task, folder: Path, out: Path) -> None:
    """Print the rows of one task and write its figure."""
    wanted, whose = target(task)
    counts = {}
    for name, found in data_sets(task, folder).items():
        counts[name] = [visits(task, data) for data in found]
    print(f"\n{task.name}. d*: {whose}")
    print(HEADER)
    for name, all_counts in counts.items():
        print(table_row(name, wanted, all_counts), flush=True)
    first = next(iter(counts))
    shown = {
        f"D: {first}": counts[first][0],
        "uniformly random policy": counts[control_of(first)][0],
    }
    save_coverage(out / f"coverage-{task.name}.png", task, shown, wanted, whose)


def on_plane(task, shares: np.ndarray) -> tuple[np.ndarray, tuple | None]:
    """Add up shares, (S, A), on the map or the plane of a task.

    Returns the sums, (rows, columns), and the extent of the plane; None for a map.
    """
    states = shares.sum(axis=1)
    if task.grid:
        cells = states.reshape(-1, task.grid.states_per_cell).sum(axis=1)
        return cells.reshape(task.grid.rows, task.grid.columns), None
    cells = task.cells
    (across, _), (up, _) = PLANES[task.name]
    others = tuple(c for c in range(len(cells.bins)) if c not in (across, up))
    sums = states.reshape(cells.bins).sum(axis=others)  # [across, up], in ascending order
    return sums.T, (cells.low[across], cells.high[across], cells.low[up], cells.high[up])


def heat_map(ax, task, shares: np.ndarray, norm, title: str, lacking: np.ndarray | None = None):
    """Draw where the steps were spent and return the Axes. shares: (S, A), of all steps.

    Actions are added up. Grid worlds lie on their map. Continuous tasks lie in the plane of two
    coordinates of their cells; the other coordinates are added up. lacking: (S, A), the part of
    `shares` on pairs that D lacks; crosses stand where it is more than half of them.
    """
    sums, extent = on_plane(task, shares)
    ax.set_facecolor("0.9")
    ax.imshow(
        np.ma.masked_equal(sums, 0),
        norm=norm,
        cmap="viridis",
        origin="upper" if task.grid else "lower",
        extent=extent,
        aspect="equal" if task.grid else "auto",
    )
    if lacking is not None:
        cross_out(ax, task, sums, lacking)
    if task.grid:
        label_map(ax, task.grid, sums, norm)
    else:
        (_, across), (_, up) = PLANES[task.name]
        ax.set_xlabel(across)
        ax.set_ylabel(up)
    ax.set_title(title, fontsize=9, loc="left", parse_math=False)
    return ax


def label_map(ax, grid, sums: np.ndarray, norm) -> None:
    """Write the marks on a map, and the numbers of its rows and columns."""
    for cell, mark in grid.marks.items():
        row, column = divmod(cell, grid.columns)
        light = sums[row, column] == 0 or norm(sums[row, column]) > 0.6
        colour = "0.2" if light else "white"
        look = {"va": "top", "fontsize": 8, "color": colour, "weight": "bold"}
        ax.text(column - 0.43, row - 0.4, mark, **look)
    ax.set_xticks(range(grid.columns), range(1, grid.columns + 1), fontsize=7)
    ax.set_yticks(range(grid.rows), range(1, grid.rows + 1), fontsize=7)


def cross_out(ax, task, sums: np.ndarray, lacking: np.ndarray) -> None:
    """Draw a cross where what D lacks is more than half of `sums`, (rows, columns)."""
    lacking_sums, _ = on_plane(task, lacking)
    row, column = np.nonzero(lacking_sums > sums / 2)
    rows, columns = sums.shape
    left, right, low, high = ax.images[0].get_extent()
    x = left + (column + 0.5) * (right - left) / columns
    y = low + (row + 0.5) * (high - low) / rows
    if task.grid:  # rows are counted from the top
        y = high + low - y
    size = 6 if sums.size <= 100 else 4
    ax.plot(x, y, "x", color="#D55E00", markersize=size, markeredgewidth=1.4)


def save_coverage(
    path: Path, task, data: dict[str, np.ndarray], wanted: np.ndarray, whose: str
) -> None:
    """Write heat maps side by side: the visits of every data set, and d*.

    data: {name: (S, A) counts}; the first one is D, and the crosses on d* are what it lacks.
    wanted: d*, (S, A). whose: the policy that d* belongs to.
    """
    wide_map = task.grid is not None and task.grid.columns >= 8
    n = len(data) + 1
    shape = (n, 1) if wide_map else (1, n)
    size = (8, 8.4) if wide_map else (11, 4.2)
    figure, axes = plt.subplots(
        *shape, figsize=size, layout="constrained", sharex=True, sharey=True
    )
    norm = common_norm(task, [*data.values(), wanted])
    for ax, (name, counts) in zip(axes, data.items(), strict=False):
        seen = coverage(wanted, counts).seen
        title = f"{name}\n{counts.sum():,} steps, {seen:.0%} of d* seen"
        heat_map(ax, task, counts / counts.sum(), norm, title)
    first = next(iter(data.values()))
    title = f"d*: {whose}\n×: mostly pairs (s, a) that D lacks"
    heat_map(axes[-1], task, wanted, norm, title, lacking=wanted * (first == 0))
    for ax in axes.flat:
        ax.label_outer()
    colour_bar(figure, axes)
    figure.suptitle(task.name, fontsize=10, x=0.01, ha="left")
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=100))
    plt.close(figure)


def common_norm(task, all_counts: list[np.ndarray]) -> LogNorm:
    """Return one logarithmic scale for the shares of all maps."""
    planes = [on_plane(task, counts / counts.sum())[0] for counts in all_counts]
    most = max(plane.max() for plane in planes)
    least = min(plane[plane > 0].min() for plane in planes)
    return LogNorm(max(least, most / 10_000), most, clip=True)


def colour_bar(figure, axes) -> None:
    """Explain the colours, in percent."""
    bar = figure.colorbar(
        axes[-1].images[0],
        ax=axes,
        shrink=0.8,
        pad=0.02,
        format=lambda share, _: f"{100 * share:g}%",
    )
    bar.set_ticks(LogLocator(subs=(1, 3)))
    bar.minorticks_off()
    bar.set_label("share of the steps (log scale); grey: none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=PUBLISHED,
        metavar="FOLDER",
        help="published rollouts, TASK.npz",
    )
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        default=FIGURES,
        metavar="OUT_DIR",
        help="where the heat maps go",
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in TASKS:
        report(minloro.make_task(name), arguments.data, arguments.out)


if __name__ == "__main__":
    main()
