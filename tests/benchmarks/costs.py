"""Measure what time and memory grow with, fit straight lines and draw them.

`python tests/benchmarks/costs.py`. There are three questions, one column of the figure for each:

- environment steps: finetune from scratch, its evaluations included; one task for each kind of
  agent.
- seeds: `python -m minloro cartpole --steps 2000 --jobs 1 --seeds N`; all arms, the report and the
  figure are included.
- rows of D: D of cartpole is read from its file, 10,000 of its rows are checked against the
  simulator, as a run does it, and 3000 updates of pretraining are made.

Up to 217,885 rows of cartpole the features of D are kept (minloro.agents.agent.MOST_FEATURES). The
observations of a larger D are encoded when they are drawn, so its memory is another, lower line.

Every point is a process of its own. It has the processor time of the work alone, without imports,
and the peak memory of the whole process. About 52 MB of that are Python and its packages; with
matplotlib, which draws the figure of a run, they are 93 MB. The points are measured in turn, ROUNDS
times, and the smallest value counts: whatever else the machine does can only add to it.

tutorials/figures/costs.csv holds the points and costs.png shows them. The printed table has the
lines. It also says how far the point that lies farthest from its line is off, as a share of the
largest value.
"""

import csv
import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

# The parent imports nothing large before everything is measured: on Linux the peak memory of a
# child starts at that of its parent.
ROUNDS = 3
OUT = Path(__file__).resolve().parents[2] / "tutorials" / "figures" / "costs.csv"
STEPS = (5_000, 10_000, 20_000, 40_000, 80_000)
SEEDS = (1, 2, 4, 6, 8)
ROWS = (10_000, 50_000, 100_000, 150_000, 200_000)
MORE_ROWS = (250_000, 400_000, 550_000, 700_000)
AS_DRAWN = "cartpole, encoded as drawn"
POINTS = {
    ("environment steps", "cartpole"): STEPS,
    ("environment steps", "frozenlake"): STEPS,
    ("environment steps", "pendulum"): (2_500, 5_000, 10_000, 20_000),
    ("seeds", "cartpole"): SEEDS,
    ("rows of D", "cartpole"): ROWS,
    ("rows of D", AS_DRAWN): MORE_ROWS,
}
LOOKS = {  # Okabe and Ito (2008)
    "cartpole": ("#0072B2", "o"),
    "frozenlake": ("#E69F00", "s"),
    "pendulum": ("#009E73", "D"),
    AS_DRAWN: ("#D55E00", "^"),
}
QUANTITIES = {"seconds": "seconds of processor time", "megabytes": "peak memory in MB"}


def work(against: str, name: str, x: int, folder: Path) -> Callable[[], object]:
    """Return a function that does what is measured."""
    import minloro
    from minloro.bench.run import MOST_CHECKED
    from minloro.cli import main
    from minloro.randomness import stream
    from minloro.rollout import unreproduced
    from minloro.transitions import load_transitions

    task = minloro.make_task(name.partition(",")[0])
    if against == "environment steps":
        return partial(minloro.finetune, task.make_agent(), task, x)
    if against == "seeds":
        import minloro.commands  # what the command imports on its way

        arguments = f"{name} --steps 2000 --jobs 1 --quiet --seeds {x} --out".split()
        return partial(main, [*arguments, str(folder / f"run-{os.getpid()}")])

    def use_data():
        data = load_transitions(folder / f"{x}.npz", task)
        drawn = stream(0, "checked rows").permutation(len(data))[:MOST_CHECKED]
        assert not unreproduced(task, data.rows(drawn)).any()
        minloro.pretrain(task.make_agent(), data)

    return use_data


def write_data(folder: Path) -> None:
    """Write a D of each size."""
    import minloro
    from minloro.transitions import save_transitions

    data = minloro.collect_random(minloro.make_task("cartpole"), MORE_ROWS[-1])
    for rows in (*ROWS, *MORE_ROWS):
        save_transitions(folder / f"{rows}.npz", data.rows(slice(rows)))


def measure_here(against: str, name: str, x: str, folder: str) -> None:
    """Do the work in this process and print seconds and megabytes."""
    function = work(against, name, int(x), Path(folder))
    start = process_time()
    with redirect_stdout(io.StringIO()):
        function()
    seconds = process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform != "darwin":
        peak *= 1024  # it counts kilobytes, and bytes on macOS
    print(seconds, peak / 1e6)


def in_a_process(*arguments) -> list[float]:
    """Run this file with these arguments and one thread, and return the numbers that it prints."""
    threads = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | threads
    )
    return [float(value) for value in done.stdout.split()]


def measure_all() -> list[dict]:
    """Return a row of the CSV for every point."""
    points = [(against, task, x) for (against, task), xs in POINTS.items() for x in xs]
    found = {point: [] for point in points}
    with TemporaryDirectory() as folder:
        in_a_process("data", folder)
        for number in range(1, ROUNDS + 1):
            for point in points:
                found[point].append(in_a_process(*point, folder))
            print(f"round {number} of {ROUNDS}", file=sys.stderr)
    rows = []
    for (against, task, x), measured in found.items():
        seconds, megabytes = (min(values) for values in zip(*measured, strict=True))
        row = {"against": against, "task": task, "x": x}
        rows.append(row | {"seconds": round(seconds, 3), "megabytes": round(megabytes, 1)})
    return rows


def line_of(rows: list[dict], quantity: str) -> tuple[float, float, float]:
    """Return slope and start of the least-squares line, and its largest deviation.

    The deviation is a share of the largest value.
    """
    import numpy as np

    x = np.array([row["x"] for row in rows], float)
    y = np.array([row[quantity] for row in rows], float)
    slope, start = np.polyfit(x, y, 1)
    return slope, start, np.abs(y - slope * x - start).max() / y.max()


def panel(ax, rows: list[dict], quantity: str):
    """Draw the points and lines of every task, and return the Axes."""
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        steps = [row["x"] for row in own]
        values = [row[quantity] for row in own]
        slope, start, _ = line_of(own, quantity)
        ends = (0 if task != AS_DRAWN else own[0]["x"], own[-1]["x"])
        (colour, marker) = LOOKS[task]
        ax.plot(ends, [start + slope * end for end in ends], color=colour, linewidth=1.2)
        ax.plot(steps, values, marker, color=colour, markersize=5, label=task)
    ax.set_xlim(left=0)
    ax.set_ylim(0, 1.1 * max(row[quantity] for row in rows))
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    ax.set_xlabel(rows[0]["against"])
    ax.set_ylabel(QUANTITIES[quantity])
    ax.grid(color="0.93", linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    return ax


def draw(rows: list[dict], path: Path) -> None:
    """Write the figure: a column for each question, a row for time and one for memory."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    questions = list(dict.fromkeys(row["against"] for row in rows))
    figure, axes = plt.subplots(2, len(questions), figsize=(10, 5.2), layout="constrained")
    for line, quantity in zip(axes, QUANTITIES, strict=True):
        for ax, against in zip(line, questions, strict=True):
            panel(ax, [row for row in rows if row["against"] == against], quantity)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def print_table(rows: list[dict]) -> None:
    """Print the lines of time and memory for every question and task."""
    columns = f"{'at 0':>12}{'for each':>16}{'farthest':>14}"
    print(f"{'':<32}{'time':^42}{'memory':^42}")
    print(f"{'against':<32}{columns}{columns}")
    for against, task in POINTS:
        own = [row for row in rows if (row["against"], row["task"]) == (against, task)]
        slope, start, off = line_of(own, "seconds")
        time = f"{start:>10.2f} s{slope * 1e6:>13,.1f} µs{off:>14.1%}"
        slope, start, off = line_of(own, "megabytes")
        memory = f"{start:>9.0f} MB{slope * 1e6:>14,.0f} B{off:>14.1%}"
        label = f"{against}, {task}"
        print(f"{label:<32}{time}{memory}")


def main() -> None:
    """Measure, write and draw everything."""
    rows = measure_all()
    with open(OUT, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, OUT.with_suffix(".png"))
    print_table(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["data"]:
        write_data(Path(sys.argv[2]))
    elif len(sys.argv) > 1:
        measure_here(*sys.argv[1:])
    else:
        main()
