"""How many episodes does a clone need? Run `python tutorials/studies/how_much_data.py`.

The return before any online step against the number of episodes in D, for a good and for a poor
teacher, on three tasks. The teachers are the scripted stand-in at two skills; no language model is
asked. Every seed has a D of its own.

guided  whoever of the learner and the clone is evaluated first
clone   the clone alone
loro    the pretrained agent alone
"""

import argparse
import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is loaded, here and in the workers

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro.arms import Job, run_arm
from minloro.bench import sweep
from minloro.bench.plot import LOOKS, STYLE, WIDTH, save_figure, tidy
from minloro.bench.statistics import interval
from minloro.bench.text import format_interval
from minloro.files import replace_file
from minloro.loro import returns_of_teacher

FIGURES = Path(__file__).parents[1] / "figures"
TASKS = ("taxi", "acrobot", "mountaincar")
SKILLS = {"good": 1.0, "poor": 0.5}
EPISODES = (1, 3, 10, 30, 100)
ARMS = ("loro", "clone", "guided")
FIRST_SEED = 300
COLUMNS = ("task", "teacher", "episodes", "seed", "teacher_return", *ARMS)


class Unit(NamedTuple):
    """One D."""

    task: str
    teacher: str
    episodes: int
    seed: int


def run_unit(unit: Unit) -> dict:
    """Return one row of the CSV: what each arm gets before its first online step."""
    task = minloro.make_task(unit.task)
    player = minloro.StandInLLM(task, unit.seed, SKILLS[unit.teacher])
    data = minloro.collect(task, player, unit.episodes, unit.seed)
    row = unit._asdict()
    row["teacher_return"] = float(returns_of_teacher(data, task.step_limit).mean())
    for arm in ARMS:
        returns, _ = run_arm(Job(task, arm, unit.seed, len(data) + 1, data, task.updates))
        first = next(episode for episode in returns if episode.phase == "eval")
        row[arm] = first.episode_return
    return row


def write(path: Path, rows: list[dict]) -> None:
    """Write the CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    replace_file(path, lambda file: file.write(content))


def of_line(rows: list[dict], task: str, teacher: str, episodes: int, name: str) -> dict:
    """Return the interval over the seeds of one column, cut to possible returns."""
    key = (task, teacher, episodes)
    found = [row[name] for row in rows if (row["task"], row["teacher"], row["episodes"]) == key]
    return interval(found, minloro.make_task(task).return_range)


def table(rows: list[dict]) -> str:
    """Return a Markdown table."""
    lines = [
        "| task | teacher | episodes | teacher's return | `loro` | `clone` | `guided` |",
        "|" + "---|" * 7,
    ]
    for task in TASKS:
        for teacher, skill in SKILLS.items():
            for episodes in EPISODES:
                names = ("teacher_return", *ARMS)
                found = [of_line(rows, task, teacher, episodes, name) for name in names]
                cells = [format_interval(one, 0) for one in found]
                head = f"| {task} | {teacher}, skill {skill:g} | {episodes} | "
                lines.append(head + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: list[dict], path: Path) -> None:
    """Draw one panel per task and teacher."""
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(SKILLS), len(TASKS), figsize=(WIDTH, 5.6), layout="constrained", sharex=True
        )
        for axes, teacher in zip(grid, SKILLS, strict=True):
            for ax, task in zip(axes, TASKS, strict=True):
                draw_panel(ax, rows, task, teacher)
                ax.set_title(f"{task}, {teacher} teacher", loc="left")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        for ax in grid[-1]:
            ax.set_xlabel("episodes in D")
        figure.supylabel("return before any online step", size="medium")
        skills = ", ".join(f"{teacher}: skill {skill:g}" for teacher, skill in SKILLS.items())
        title = f"D: scripted stand-in (no language model was asked); {skills}"
        figure.suptitle(title, x=0.01, ha="left")
        save_figure(figure, path)


def draw_panel(ax: plt.Axes, rows: list[dict], task: str, teacher: str) -> None:
    """Draw the arms of one task and teacher, and what the teacher itself gets."""
    teachers = [of_line(rows, task, teacher, n, "teacher_return")["mean"] for n in EPISODES]
    ax.plot(EPISODES, teachers, color=LOOKS["llm"].colour, dashes=(1, 1.5), label="the teacher")
    for arm in ARMS:
        found = [of_line(rows, task, teacher, n, arm) for n in EPISODES]
        means = np.array([one["mean"] for one in found])
        low = means - [one["low"] for one in found]
        high = np.array([one["high"] for one in found]) - means
        look = LOOKS[arm]
        ax.errorbar(
            EPISODES,
            means,
            yerr=[low, high],
            color=look.colour,
            marker=look.marker,
            markeredgecolor="white",
            markersize=8,
            linewidth=look.width / 1.5,
            zorder=2 + look.layer / 10,
            label=arm,
        )
    ax.set_xscale("log")
    ax.set_xticks(EPISODES, [str(n) for n in EPISODES])
    ax.minorticks_off()
    tidy(ax)


def main() -> None:
    """Run everything, write the CSV and the figure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FIGURES, help="the folder of CSV and figure")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    wanted = [
        Unit(task, teacher, episodes, seed)
        for task in TASKS
        for teacher in SKILLS
        for episodes in EPISODES
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)
    ]
    with sweep.process_pool(options.jobs) as executor:
        found = dict(sweep.run(wanted, executor, run_unit))
    rows = [found[unit] for unit in wanted]
    write(options.out / "how-much-data.csv", rows)
    draw(rows, options.out / "how-much-data.png")
    print(table(rows))


if __name__ == "__main__":
    main()
