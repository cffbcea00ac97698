"""Does coverage explain what a warm start gains? Run `python tutorials/studies/skill_study.py`.

The teacher is the scripted stand-in. With probability `skill` it follows its rule, otherwise it
acts at random. For every task but pong, every skill from 0 to 1 and every seed, a D of 10 episodes
is collected, and its coverage of d* is measured (minloro/coverage.py). Then the arms `rl`, `loro`
and `random-data` run with the task's default budget; `rl` needs no teacher and runs once per seed.

There are three gains, in the task's points of return: loro - rl over equal online steps, loro - rl
over equal environment steps (those of D included), and loro - random-data over equal online steps.
At skill 0 the stand-in is a random policy. There the last gain must be 0: it says whether the study
is sound.

Every finished seed is written to the CSV at once. A second start goes on where the first one
stopped. If the CSV is complete, as the one in the repository is, nothing is run: the table is
printed and the figures are drawn again. `--steps` and `--seeds` make a short trial.

Correlations are between ranks, over the skills of one seed; their interval is over the seeds.
seen_more is the share of d* that D has seen, less the share that the random data have seen. "Within
skills" is a correlation over the seeds of one skill: what coverage explains and skill does not.
"""

import argparse
import csv
import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is loaded, here and in the workers

import matplotlib.pyplot as plt
import numpy as np
from best_agents import TASKS, target

import minloro
from minloro.arms import Job, run_arm
from minloro.bench import sweep
from minloro.bench.metrics import metrics_by_arm
from minloro.bench.plot import COLOURS
from minloro.bench.statistics import difference, interval
from minloro.coverage import coverage, visits
from minloro.files import replace_file

SKILLS = (0.0, 0.25, 0.5, 0.75, 1.0)
EPISODES = 10
OUT = Path(__file__).parents[1] / "figures" / "skill-study.csv"
GAINS = {
    "gain_online": "loro − rl, equal online steps",
    "gain_steps": "loro − rl, equal environment steps",
    "gain_over_control": "loro − random-data, equal online steps",
}
METRICS = ("first_return", "mean_return", "online_mean_return", "final_return")

# Tasks with a similar result stand side by side in the figures.
PANELS = ("taxi", "cliffwalking", "cartpole", "frozenlake", "mountaincar", "acrobot", "pendulum")
COLUMNS = 4
# The figures are 8 inches wide. On a page of 800 pixels, 9 points are then 12.5 pixels.
WIDTH = 8.0
SMALL = 9
LARGE = 10
BLUE = "#0072B2"


class Unit(NamedTuple):
    """One seed of one task with all its teachers: what a worker does at once."""

    task: str
    seed: int
    steps: int
    skills: tuple[float, ...]
    wanted: np.ndarray  # d*, (S, A)


def run_unit(unit: Unit) -> list[dict]:
    """Return one row of the CSV for every skill."""
    task = minloro.make_task(unit.task)

    def run(arm: str, data: minloro.Transitions | None = None) -> list:
        job = Job(task, arm, unit.seed, unit.steps, data, task.updates, task.data_retention)
        returns, _ = run_arm(job)
        return returns

    rl_returns = run("rl")
    return [csv_row(unit, task, skill, rl_returns, run) for skill in unit.skills]


def csv_row(unit: Unit, task: minloro.Task, skill: float, rl_returns: list, run: Callable) -> dict:
    """Collect D with a teacher of this skill and run the arms that need it."""
    seed = unit.seed
    data = minloro.collect(task, minloro.StandInLLM(task, seed, skill), EPISODES, seed)
    # The same random data as in the arm random-data.
    control = minloro.collect_random(task, len(data), seed, task.step_limit)
    returns = {
        ("rl", seed): rl_returns,
        ("loro", seed): run("loro", data),
        ("random-data", seed): run("random-data", data),
    }
    metrics = metrics_by_arm(task, unit.steps, returns, {seed: data})
    rl = metrics["rl"][0]
    loro = metrics["loro"][0]
    random = metrics["random-data"][0]
    seen = coverage(unit.wanted, visits(task, data))
    random_seen = coverage(unit.wanted, visits(task, control))
    row = {
        "task": task.name,
        "steps": unit.steps,
        "seed": seed,
        "skill": skill,
        "transitions": len(data),
        "mean_return_of_data": float(data.returns_at(task.step_limit).mean()),
        **seen._asdict(),
        "random_seen": random_seen.seen,
        "random_concentrability": random_seen.concentrability,
    }
    for metric in METRICS:
        row[f"rl_{metric}"] = rl[metric]
        row[f"loro_{metric}"] = loro[metric]
        row[f"random_data_{metric}"] = random[metric]
    row["gain_online"] = loro["online_mean_return"] - rl["online_mean_return"]
    row["gain_steps"] = loro["mean_return"] - rl["mean_return"]
    row["gain_over_control"] = loro["online_mean_return"] - random["online_mean_return"]
    return row


def read(path: Path) -> list[dict]:
    """Return the rows of the CSV, numbers as numbers."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [_with_numbers(row) for row in rows]


def _with_numbers(row: dict[str, str]) -> dict:
    """Return a row of the CSV with numbers in the place of their texts."""
    values = dict(row)
    for key, text in row.items():
        if key != "task":
            values[key] = int(text) if text.lstrip("-").isdigit() else float(text)
    return values


def write(path: Path, rows: list[dict]) -> None:
    """Write all rows anew; the file is never half a table."""
    rows = sorted(rows, key=lambda r: (TASKS.index(r["task"]), r["steps"], r["seed"], r["skill"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


def collect_rows(arguments: argparse.Namespace, budgets: dict[str, int]) -> list[dict]:
    """Run what the CSV does not hold yet and return its rows. budgets: {task: steps}."""
    rows = read(arguments.out)
    there = {(r["task"], r["steps"], r["seed"], r["skill"]) for r in rows}
    with sweep.process_pool(arguments.jobs) as executor:
        for name, steps in budgets.items():
            missing = {}
            for seed in range(arguments.seeds):
                skills = [s for s in arguments.skills if (name, steps, seed, s) not in there]
                if skills:
                    missing[seed] = tuple(skills)
            if missing:
                rows = run_task(name, steps, missing, executor, arguments.out, rows)
    return rows


def run_task(
    name: str,
    steps: int,
    missing: dict[int, tuple],
    executor: Executor | None,
    out: Path,
    rows: list[dict],
) -> list[dict]:
    """Run the missing {seed: skills} of one task; write the CSV after every seed."""
    wanted, _ = target(minloro.make_task(name))
    units = [Unit(name, seed, steps, skills, wanted) for seed, skills in missing.items()]
    for done, (unit, found) in enumerate(sweep.run(units, executor, run_unit), start=1):
        rows = rows + found
        write(out, rows)
        print(f"{name}: {done} of {len(units)} seeds, seed {unit.seed}", flush=True)
    return rows


def values_of(rows: Iterable[dict], key: str, skill: float | None = None) -> list[float]:
    """Return one column of the rows, or of those with one skill."""
    return [r[key] for r in rows if skill is None or r["skill"] == skill]


def skills_of(rows: list[dict]) -> list[float]:
    """Return the skills in the rows, in order."""
    return sorted({r["skill"] for r in rows})


def ranks(values: Iterable[float]) -> np.ndarray:
    """Return the ranks of the values; equal values share theirs."""
    values = np.asarray(values)
    below = (values[:, None] > values).sum(axis=1)
    equal = (values[:, None] == values).sum(axis=1) - 1
    return below + equal / 2


def correlation(x: Iterable[float], y: Iterable[float]) -> float:
    """Return Pearson's coefficient; nan if one of the two does not vary."""
    x = x - np.mean(x)
    y = y - np.mean(y)
    length = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / length) if length > 1e-12 else float("nan")


def over_skills(rows: list[dict], x: str, y: str) -> dict:
    """Return the rank correlation over the skills of one seed, and its interval over the seeds.

    Seeds in which one of the two does not vary have no correlation: they are left out.
    """
    found = []
    for seed in sorted({r["seed"] for r in rows}):
        of_seed = [r for r in rows if r["seed"] == seed]
        found.append(correlation(ranks(values_of(of_seed, x)), ranks(values_of(of_seed, y))))
    return interval([c for c in found if np.isfinite(c)], bounds=(-1, 1))


def within_skills(rows: list[dict], x: str, y: str) -> dict:
    """Return the correlation of x and y after the mean of each skill is taken off.

    Its interval comes from 2,000 resamples of whole seeds.
    """
    skills = skills_of(rows)
    pairs = {(r["seed"], r["skill"]): (r[x], r[y]) for r in rows}
    seeds = sorted({r["seed"] for r in rows})
    complete = []
    for seed in seeds:
        of_seed = [pairs.get((seed, skill)) for skill in skills]
        if None not in of_seed:
            complete.append(of_seed)
    values = np.array(complete)  # [seeds, skills, 2]

    def one(sample: np.ndarray) -> float:  # sample: [seeds, skills, 2]
        left = (sample - sample.mean(axis=0)).reshape(-1, 2)
        return correlation(left[:, 0], left[:, 1])

    if len(values) < 3 or not np.isfinite(one(values)):
        return {"mean": None, "low": None, "high": None}
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.nanquantile([one(values[draw]) for draw in draws], (0.025, 0.975))
    return {"mean": one(values), "low": float(low), "high": float(high)}


def text(result: dict, digits: int = 3) -> str:
    """Return a mean and its interval as text; a dash if there is none."""
    if result["mean"] is None:
        return "–"
    mean = f"{result['mean']:.{digits}g}"
    if result["low"] is None:
        return mean
    return f"{mean} [{result['low']:.{digits}g}, {result['high']:.{digits}g}]"


def print_table(name: str, rows: list[dict]) -> None:
    """Print the gains of one task by skill, and what they go along with."""
    labels = "".join(f"  {label:<48}" for label in GAINS.values())
    print(f"\n{name}, {rows[0]['steps']:,.0f} steps")
    print(f"  {'skill':<6}{'n':>3}{'D return':>10}{'D seen':>8}{'random':>8}{labels}")
    for skill in skills_of(rows):
        print(table_row(rows, skill))
    print_best_two(rows)
    for gain, label in (("gain_online", "loro - rl"), ("gain_over_control", "loro - random-data")):
        seen = "seen" if gain == "gain_online" else "seen_more"
        with_skill = text(over_skills(rows, "skill", gain))
        with_seen = text(over_skills(rows, seen, gain))
        within = text(within_skills(rows, seen, gain))
        print(
            f"  {label:<20} rank correlation over skills, with skill {with_skill}, "
            f"with {seen} {with_seen}; within skills, with {seen} {within}"
        )


def table_row(rows: list[dict], skill: float) -> str:
    """Return the line of one skill."""
    data_return = np.mean(values_of(rows, "mean_return_of_data", skill))
    seen = np.mean(values_of(rows, "seen", skill))
    random_seen = np.mean(values_of(rows, "random_seen", skill))
    gains = ""
    for gain in GAINS:
        values = values_of(rows, gain, skill)
        result = difference(values, [0] * len(values))
        gains += f"  {text(result) + ': ' + result['verdict']:<48}"
    n = len(values_of(rows, "seed", skill))
    return f"  {skill:<6g}{n:>3}{data_return:>10.4g}{seen:>8.1%}{random_seen:>8.1%}{gains}"


def print_best_two(rows: list[dict]) -> None:
    """Print what changes from the second best skill to the best one, paired by seed."""
    skills = skills_of(rows)
    if len(skills) < 2:
        return
    second, best = skills[-2:]
    of_second = {r["seed"]: r for r in rows if r["skill"] == second}
    of_best = {r["seed"]: r for r in rows if r["skill"] == best}
    seeds = sorted(of_best.keys() & of_second.keys())
    if len(seeds) < 2:
        return
    for key in ("gain_online", "gain_over_control", "seen"):
        ours = [of_best[seed][key] for seed in seeds]
        theirs = [of_second[seed][key] for seed in seeds]
        found = difference(ours, theirs)
        pair = f"skill {best:g} less skill {second:g}, paired"
        print(f"  {pair}: {key} {text(found)}: {found['verdict']}")


def band(ax, rows: list[dict], key: str, bounds: tuple | None = None, **look) -> None:
    """Draw the mean of a column against the skill, with its 95% interval as a band."""
    skills = skills_of(rows)
    found = [interval(values_of(rows, key, skill), bounds) for skill in skills]
    means = [each["mean"] for each in found]
    ax.plot(skills, means, linewidth=2, markersize=4.5, **look)
    if all(each["low"] is not None for each in found):
        low = [each["low"] for each in found]
        high = [each["high"] for each in found]
        ax.fill_between(skills, low, high, color=look["color"], alpha=0.2, linewidth=0)


def draw_gains(ax, rows: list[dict]):
    """Draw both gains over equal online steps against the teacher's skill; return the Axes."""
    over_rl = {
        "color": COLOURS["rl"],
        "marker": "o",
        "label": "over learning\nfrom scratch\n(loro − rl)",
    }
    over_random = {"color": BLUE, "marker": "s", "label": "over random data\n(loro −\nrandom-data)"}
    ax.axhline(0, color="0.4", linewidth=1, zorder=1)
    band(ax, rows, "gain_online", **over_rl)
    band(ax, rows, "gain_over_control", **over_random)
    ax.locator_params(axis="y", nbins=5)
    return ax


def draw_coverage(ax, rows: list[dict]):
    """Draw the share of d* that D and random data have seen, against the skill; return the Axes."""
    of_data = {"color": COLOURS["loro"], "marker": "o", "label": "seen by the\nteacher's D"}
    of_random = {"color": BLUE, "marker": "s", "label": "seen by as many\nrandom steps"}
    band(ax, rows, "seen", bounds=(0, 1), **of_data)
    band(ax, rows, "random_seen", bounds=(0, 1), **of_random)
    ax.set_ylim(-0.03, 1.03)
    ax.set_yticks((0, 0.5, 1), ("0", "50%", "100%"))
    return ax


def save_figure(path: Path, by_task: dict[str, list[dict]], draw: Callable, **texts: str) -> None:
    """Write one PNG with a panel per task and the legend in the last place.

    draw(ax, rows): fills a panel. texts: title and ylabel.
    """
    names = [name for name in PANELS if name in by_task]
    columns = min(COLUMNS, len(names) + 1)
    lines = -(-(len(names) + 1) // columns)
    size = (WIDTH, 2.1 * lines + 0.9)
    figure, axes = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        draw(ax, by_task[name])
        ax.set_title(name, fontsize=LARGE, loc="left")
        ax.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        tidy(ax)
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    place = {"loc": "center left", "bbox_to_anchor": (-0.15, 0.5)}
    legend = axes.flat[len(names)].legend(
        handles, labels, fontsize=SMALL, frameon=False, labelspacing=1, **place
    )
    legend.set_in_layout(False)  # it may be wider than its place: the panels do not shrink
    n = max(len({r["seed"] for r in rows}) for rows in by_task.values())
    skill = "skill of the teacher (0: acts at random, 1: follows its rule)"
    figure.suptitle(texts["title"], fontsize=LARGE + 1, weight="bold", x=0.01, ha="left")
    figure.supylabel(texts["ylabel"], fontsize=LARGE)
    figure.supxlabel(f"{skill}. Means of {n} seeds, 95% bands", fontsize=LARGE)
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=200))
    plt.close(figure)


def tidy(ax) -> None:
    """Give the axes readable type, a light grid and no frame."""
    ax.tick_params(labelsize=SMALL)
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def save_figures(path: Path, by_task: dict[str, list[dict]]) -> None:
    """Write the figure of the gains to `path`, and the figure of coverage beside it."""
    save_figure(
        path,
        by_task,
        draw_gains,
        title="What a warm start gains, by the skill of its teacher (scripted stand-ins)",
        ylabel="gain over equal online steps, in points of return",
    )
    save_figure(
        path.with_stem(f"{path.stem}-coverage"),
        by_task,
        draw_coverage,
        title="What the data have seen of d*, the visits of a good policy",
        ylabel="share of d* that was seen",
    )


def parse_arguments() -> argparse.Namespace:
    """Return what was typed."""
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--tasks", type=lambda names: names.split(","), default=TASKS, help="a,b,… (default all)")
    add(
        "--skills",
        type=lambda numbers: [float(number) for number in numbers.split(",")],
        default=SKILLS,
        help="0,0.5,…",
    )
    add("--seeds", type=int, default=10, help="how many, from 0 on (default %(default)s)")
    add("--steps", type=int, help="another budget than each task's own, for a trial")
    add("--jobs", type=int, default=processors, help="processes (default all processors)")
    add("--out", type=Path, default=OUT, help="the CSV; PNGs lie beside it (default %(default)s)")
    arguments = parser.parse_args()
    unknown = set(arguments.tasks) - set(TASKS)
    if unknown:
        parser.error(f"--tasks are out of {', '.join(TASKS)}, not {', '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    budgets = {name: arguments.steps or minloro.make_task(name).steps for name in arguments.tasks}
    by_task = {name: [] for name in arguments.tasks}
    for row in collect_rows(arguments, budgets):
        same_budget = row["steps"] == budgets.get(row["task"])
        if same_budget and row["seed"] < arguments.seeds and row["skill"] in arguments.skills:
            seen_more = row["seen"] - row["random_seen"]
            by_task[row["task"]].append(row | {"seen_more": seen_more})
    for name, rows in by_task.items():
        print_table(name, rows)
    save_figures(arguments.out.with_suffix(".png"), by_task)


if __name__ == "__main__":
    main()
