"""Does coverage explain what a warm start gains? `python tutorials/skill_study.py` runs the study and draws it.

For every task but pong, teacher (the scripted stand-in with skill 0 to 1: with that probability its rule, else at random) and
seed, a D of 10 episodes is collected and its coverage of d* measured (minloro/coverage.py). Then the arms `rl`, `loro` and
`random-data` run with the task's default budget, `rl` once a seed, as it needs no teacher. The gains, in the task's points of
return: loro - rl over equal online steps and over equal environment steps (D's included), loro - random-data over equal
online steps. At skill 0 the stand-in is a random policy: there the last gain has to be 0, and says whether the study is sound.

Every finished seed is written to the CSV at once; started again, the study goes on where it stopped. `--steps` and `--seeds`
make a short trial. The figure lies beside the CSV, and a table is printed. Correlations are between ranks, over the skills of
one seed, with the interval over seeds; seen_more is the share that D has seen less that of the random data; `within` is over
the seeds of one skill: what coverage explains that skill does not.
"""

import argparse
import csv
import io
import os
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is loaded, in this process and its workers

import matplotlib.pyplot as plt
import numpy as np
from best_agents import TASKS, target

import minloro
from minloro import sweep
from minloro.coverage import coverage, visits
from minloro.files import replace_file
from minloro.loro import Job, run_arm
from minloro.plot import COLOURS
from minloro.report import difference, figures_by_arm, interval

SKILLS = (0.0, 0.25, 0.5, 0.75, 1.0)
EPISODES = 10
OUT = Path(__file__).parent / "figures" / "skill-study.csv"
GAINS = {
    "gain_online": "loro − rl, equal online steps",
    "gain_steps": "loro − rl, equal environment steps",
    "gain_over_control": "loro − random-data, equal online steps",
}
LOOKS = {
    "gain_online": (COLOURS["rl"], "o"),
    "gain_steps": (COLOURS["mix"], "D"),
    "gain_over_control": (COLOURS["random-data"], "s"),
}


class Unit(NamedTuple):
    """One seed of one task with all its teachers: what a worker does at once. wanted: d*, (S, A)."""

    task: str
    seed: int
    steps: int
    skills: tuple[float, ...]
    wanted: np.ndarray


def run_unit(unit: Unit) -> list[dict]:
    """Return one row of the CSV for every skill."""
    task, seed, steps = minloro.make_task(unit.task), unit.seed, unit.steps

    def arm(name: str, data=None):
        return run_arm(Job(task, name, seed, steps, data, task.updates, task.offline))[0]

    alone = arm("rl")
    return [row(unit, task, skill, alone, arm) for skill in unit.skills]


def row(unit: Unit, task, skill: float, alone: list, arm) -> dict:
    """Collect D with a teacher of this skill, run the arms that need it and return what came of it."""
    data = minloro.collect(task, minloro.StandInLLM(task, unit.seed, skill), EPISODES, unit.seed)
    control = minloro.collect_random(task, len(data), unit.seed, task.step_limit)  # the same as in the arm random-data
    returns = {"rl": alone, "loro": arm("loro", data), "random-data": arm("random-data", data)}
    returns = {(name, unit.seed): rows for name, rows in returns.items()}
    rl, loro, random = (f[0] for f in figures_by_arm(task, unit.steps, returns, {unit.seed: data}).values())
    seen, random_seen = (coverage(unit.wanted, visits(task, d)) for d in (data, control))
    return {
        "task": task.name, "steps": unit.steps, "seed": unit.seed, "skill": skill,
        "transitions": len(data), "mean_return_of_data": float(data.returns_at(task.step_limit).mean()),
        **{name: getattr(seen, name) for name in seen._fields},
        "random_seen": random_seen.seen, "random_concentrability": random_seen.concentrability,
        **{f"{name}_{key}": figures[key] for key in ("first_return", "mean_return", "online_mean_return", "final_return")
           for name, figures in (("rl", rl), ("loro", loro), ("random_data", random))},
        "gain_online": loro["online_mean_return"] - rl["online_mean_return"],
        "gain_steps": loro["mean_return"] - rl["mean_return"],
        "gain_over_control": loro["online_mean_return"] - random["online_mean_return"],
    }  # fmt: skip


def read(path: Path) -> list[dict]:
    """Return the rows of the CSV, numbers as numbers."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value if key == "task" else _number(value) for key, value in row.items()} for row in rows]


def _number(value: str) -> int | float:
    return int(value) if value.lstrip("-").isdigit() else float(value)


def write(path: Path, rows: list[dict]) -> None:
    """Write all rows anew; the file is never half a table."""
    rows = sorted(rows, key=lambda r: (TASKS.index(r["task"]), r["steps"], r["seed"], r["skill"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


def collect_rows(arguments, budgets: dict[str, int]) -> list[dict]:
    """Run what the CSV does not hold yet and return its rows."""
    rows = read(arguments.out)
    there = {(r["task"], r["steps"], r["seed"], r["skill"]) for r in rows}
    with sweep.process_pool(arguments.jobs) as executor:
        for name in arguments.tasks:
            missing = {}
            for seed in range(arguments.seeds):
                skills = tuple(s for s in arguments.skills if (name, budgets[name], seed, s) not in there)
                missing |= {seed: skills} if skills else {}
            if missing:
                rows = run_task(name, budgets[name], missing, executor, arguments.out, rows)
    return rows


def run_task(name: str, steps: int, missing: dict, executor: Executor | None, out: Path, rows: list[dict]) -> list[dict]:
    """Run the missing {seed: skills} of one task, and write the CSV after every seed."""
    wanted, _ = target(minloro.make_task(name))
    units = [Unit(name, seed, steps, skills, wanted) for seed, skills in missing.items()]
    for done, (unit, found) in enumerate(sweep.run(units, executor, run_unit), start=1):
        rows = rows + found
        write(out, rows)
        print(f"{name}: {done} of {len(units)} seeds, seed {unit.seed}", flush=True)
    return rows


def ranks(values) -> np.ndarray:
    """Return the ranks of the values, equal ones sharing theirs."""
    values = np.asarray(values)
    return (values[:, None] > values).sum(axis=1) + ((values[:, None] == values).sum(axis=1) - 1) / 2


def correlation(x, y) -> float:
    """Return Pearson's coefficient; nan where one of the two does not vary."""
    x, y = x - np.mean(x), y - np.mean(y)
    length = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / length) if length > 1e-12 else float("nan")


def over_skills(rows: list[dict], x: str, y: str) -> dict:
    """Return the interval of the rank correlation over the skills of one seed, over the seeds that have one."""
    seeds = sorted({r["seed"] for r in rows})
    groups = [[r for r in rows if r["seed"] == seed] for seed in seeds]
    found = [correlation(ranks([r[x] for r in group]), ranks([r[y] for r in group])) for group in groups]
    return interval([c for c in found if np.isfinite(c)])


def within_skills(rows: list[dict], x: str, y: str) -> dict:
    """Return the correlation of what is left of x and y without their means over the seeds of each skill.

    Its interval comes from 2,000 resamples of whole seeds.
    """
    skills, seeds = sorted({r["skill"] for r in rows}), sorted({r["seed"] for r in rows})
    table = {(r["seed"], r["skill"]): (r[x], r[y]) for r in rows}
    whole = [seed for seed in seeds if all((seed, skill) in table for skill in skills)]
    values = np.array([[table[seed, skill] for skill in skills] for seed in whole])  # [seeds, skills, 2]

    def one(sample: np.ndarray) -> float:
        left = (sample - sample.mean(axis=0)).reshape(-1, 2)
        return correlation(left[:, 0], left[:, 1])

    if len(whole) < 3 or not np.isfinite(one(values)):
        return {"mean": None, "low": None, "high": None}
    draws = np.random.default_rng(0).integers(len(whole), size=(2000, len(whole)))
    low, high = np.nanquantile([one(values[draw]) for draw in draws], (0.025, 0.975))
    return {"mean": one(values), "low": float(low), "high": float(high)}


def text(result: dict) -> str:
    """Return an interval as text, and a dash where there is none."""
    if result["mean"] is None:
        return "–"
    if result["low"] is None:
        return f"{result['mean']:.3g}"
    return f"{result['mean']:.3g} [{result['low']:.3g}, {result['high']:.3g}]"


def print_table(name: str, rows: list[dict]) -> None:
    """Print the gains of one task by skill, and what they go along with."""
    print(f"\n{name}, {rows[0]['steps']:,.0f} steps")
    print(
        f"  {'skill':<6}{'n':>3}{'D return':>10}{'D seen':>8}{'random':>8}"
        + "".join(f"  {label:<48}" for label in GAINS.values())
    )
    for skill in sorted({r["skill"] for r in rows}):
        group = [r for r in rows if r["skill"] == skill]
        means = [np.mean([r[key] for r in group]) for key in ("mean_return_of_data", "seen", "random_seen")]
        cells = [difference([r[gain] for r in group], [0] * len(group)) for gain in GAINS]
        print(
            f"  {skill:<6g}{len(group):>3}{means[0]:>10.4g}{means[1]:>8.1%}{means[2]:>8.1%}",
            "".join(f"  {text(cell) + ': ' + cell['verdict']:<48}" for cell in cells),
            sep="",
        )
    second, best = sorted({-1.0, *(r["skill"] for r in rows)})[-2:]
    pairs = {r["seed"]: r for r in rows if r["skill"] == second}
    both = [(r, pairs[r["seed"]]) for r in rows if r["skill"] == best and r["seed"] in pairs]
    for key in ("gain_online", "gain_over_control", "seen") if len(both) > 1 else ():
        found = difference(*([r[key] for r in side] for side in zip(*both, strict=True)))
        print(f"  skill {best:g} less skill {second:g}, paired: {key} {text(found)}: {found['verdict']}")
    for gain, label in (("gain_online", "loro - rl"), ("gain_over_control", "loro - random-data")):
        seen = "seen" if gain == "gain_online" else "seen_more"
        print(f"  {label:<20} rank correlation over skills, with skill {text(over_skills(rows, 'skill', gain))}, "
              f"with {seen} {text(over_skills(rows, seen, gain))}; within skills, with {seen} "
              f"{text(within_skills(rows, seen, gain))}")  # fmt: skip


def against_skill(ax, rows: list[dict], gains: tuple[str, ...], dodge: float = 0.02):
    """Draw the mean gains with their 95% intervals against the teacher's skill, and return the Axes."""
    skills = sorted({r["skill"] for r in rows})
    for shift, gain in zip(np.linspace(-dodge, dodge, len(gains)) if len(gains) > 1 else (0,), gains, strict=True):
        bands = [interval([r[gain] for r in rows if r["skill"] == skill]) for skill in skills]
        middle = np.array([b["mean"] for b in bands])
        ends = np.array([[b["mean"] if b[end] is None else b[end] for b in bands] for end in ("low", "high")])
        colour, marker = LOOKS[gain]
        ax.errorbar(np.array(skills) + shift, middle, yerr=np.abs(ends - middle), color=colour, marker=marker, markersize=4,
                    capsize=2.5, linewidth=1.2, label=GAINS[gain])  # fmt: skip
    ax.set_xticks(skills)
    return _tidy(ax)


def against_coverage(ax, rows: list[dict], gain: str, seen: str):
    """Draw the gain of every seed, and its mean with 95% intervals for every skill, against coverage; return the Axes."""
    skills = sorted({r["skill"] for r in rows})
    for skill in skills:
        x, y = ([r[key] for r in rows if r["skill"] == skill] for key in (seen, gain))
        colour = plt.get_cmap("viridis")(0.92 * skill)
        ax.plot(x, y, "o", color=colour, markersize=3, alpha=0.45, markeredgewidth=0)
        bands = [interval(values) for values in (x, y)]
        error = [[[b["mean"] - b["low"]], [b["high"] - b["mean"]]] if b["low"] is not None else None for b in bands]
        ax.errorbar(bands[0]["mean"], bands[1]["mean"], xerr=error[0], yerr=error[1], color=colour, marker="o", markersize=6,
                    markeredgecolor="black", markeredgewidth=0.6, capsize=2, linewidth=1.2, label=f"{skill:g}")  # fmt: skip
    if seen == "seen_more":
        ax.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    else:
        ax.set_xlim(-0.03, 1.03)
    return _tidy(ax)


def _tidy(ax):
    ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    ax.grid(color="0.93", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=7)
    return ax


def save_figure(path: Path, by_task: dict[str, list[dict]]) -> None:
    """Write one PNG: a row a task; gains against skill on the left, against coverage on the right."""
    figure, axes = plt.subplots(len(by_task), 4, figsize=(13.5, 2.35 * len(by_task) + 0.9), layout="constrained", squeeze=False)
    for line, (name, rows) in zip(axes, by_task.items(), strict=True):
        n = len({r["seed"] for r in rows})
        against_skill(line[0], rows, ("gain_online", "gain_over_control"))
        against_skill(line[1], rows, ("gain_steps",))
        against_coverage(line[2], rows, "gain_online", "seen")
        against_coverage(line[3], rows, "gain_over_control", "seen_more")
        line[0].set_ylabel(f"{name}\ngain in points of return\nn = {n} seeds", fontsize=8)
    titles = (
        "Gain over equal online steps\nagainst the teacher's skill",
        "loro − rl, equal environment steps\nagainst the teacher's skill",
        "loro − rl, equal online steps\nagainst the share of d* that D has seen",
        "loro − random-data, equal online steps\nagainst seen by D less seen by random data",
    )
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=8.5, loc="left")
    for ax, label in zip(axes[-1], ("skill", "skill", "share of d* seen", "share of d* seen, D − random"), strict=True):
        ax.set_xlabel(label, fontsize=8)
    axes[-1][0].legend(fontsize=6.5, framealpha=0.8, edgecolor="none")
    axes[0][2].legend(fontsize=6.5, framealpha=0.8, edgecolor="none", title="skill", title_fontsize=6.5, ncols=2)
    figure.suptitle("Scripted stand-ins as teachers (no language model was asked). Large points: means, 95% intervals; "
                    "small points: seeds", fontsize=9, x=0.01, ha="left")  # fmt: skip
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=100))
    plt.close(figure)


def main() -> None:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=lambda names: names.split(","), default=TASKS, help="a,b,… (default all)")
    parser.add_argument("--skills", type=lambda names: [float(s) for s in names.split(",")], default=SKILLS, help="0,0.5,…")
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0 on (default %(default)s)")
    parser.add_argument("--steps", type=int, help="another budget than each task's own, for a trial")
    parser.add_argument("--jobs", type=int, default=processors, help="processes (default all processors)")
    parser.add_argument("--out", type=Path, default=OUT, help="the CSV; the PNG lies beside it (default %(default)s)")
    arguments = parser.parse_args()
    if unknown := set(arguments.tasks) - set(TASKS):
        parser.error(f"--tasks are out of {', '.join(TASKS)}, not {', '.join(sorted(unknown))}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    budgets = {name: arguments.steps or minloro.make_task(name).steps for name in arguments.tasks}
    rows = collect_rows(arguments, budgets)
    wanted = [r for r in rows if r["task"] in budgets and r["steps"] == budgets[r["task"]] and r["seed"] < arguments.seeds]
    wanted = [r | {"seen_more": r["seen"] - r["random_seen"]} for r in wanted if r["skill"] in arguments.skills]
    by_task = {name: [r for r in wanted if r["task"] == name] for name in arguments.tasks}
    for name, of_task in by_task.items():
        print_table(name, of_task)
    save_figure(arguments.out.with_suffix(".png"), by_task)


if __name__ == "__main__":
    main()
