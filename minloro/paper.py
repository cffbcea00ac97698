"""The paper's comparison, done again: its tasks, all arms, one column a model. `python -m minloro paper`.

Every column of a task is a run folder of its own (FOLDER/TASK/LABEL), and so is every ablation; `rl` does not depend on D and
is run once a task. They are compared by the paper's accounting, over equal environment steps and over equal online steps.
Pong is left out: the paper's figures are of a game that applies every action twice.
"""

import json
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from minloro import __version__, experiment, plot
from minloro.errors import UserError
from minloro.experiment import Server, Settings
from minloro.files import write_csv, write_text
from minloro.loro import ABLATION, GRID, finetune
from minloro.progress import Progress
from minloro.report import cell, difference, figures_by_arm, interval, number
from minloro.runfolder import RunFolder
from minloro.tasks import make_task
from minloro.transitions import load_transitions

TASKS = ("cartpole", "cliffwalking", "frozenlake", "mountaincar", "pendulum")
SHORT = {"pendulum": 10_000}  # steps, where the paper's budget takes long; --full runs all of it
STAND_IN = "stand-in"
ARMS = ("loro", "random-data", "mix", "llm")  # of a column
MEASURES = {
    "paper_cumulative_reward": "Sum over the rounds, by the paper's accounting: every LLM episode is one round",
    "mean_return": "Mean return over equal environment steps, D's included",
    "online_mean_return": "Mean return over equal online steps, whatever D cost",
}
COLUMNS = (
    "task", "rounds", "column", "arm", "measure", "n_seeds", "mean", "low", "high", "verdict", "published", "published_rounds",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is compared. columns: {label: folder with TASK.npz files}; empty for the stand-in, a D of its own for every seed."""

    columns: dict[str, str]
    seeds: int = 10
    seed: int = 0
    full: bool = False
    ablations: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.columns) or (STAND_IN,)

    def settings(self, task: str, label: str | None) -> Settings | None:
        """Return the settings of a column, of `rl` where label is None; None where there is no D for this task."""
        known, path = make_task(task), Path(self.columns[label]) / f"{task}.npz" if label in self.columns else None
        if path is not None and not path.exists():
            return None
        steps = known.paper["rounds"] * GRID
        return Settings(
            task=task, arms=("rl",) if label is None else ARMS, seeds=self.seeds, seed=self.seed, episodes=10,
            steps=steps if self.full else min(SHORT.get(task, steps), steps), data=path and str(path), llm_model=None,
            fresh_data=label is not None and path is None, stand_in_skill=0.7, offline=known.offline, updates=known.updates,
        )  # fmt: skip

    def runs(self) -> dict[tuple[str, str], Settings]:
        """Return everything that is run, {(task, name): settings}, in order."""
        found = {}
        for task in TASKS:
            columns = {label: self.settings(task, label) for label in self.labels}
            columns = {label: settings for label, settings in columns.items() if settings is not None}
            if columns:
                found[task, "rl"] = self.settings(task, None)
            for label, settings in columns.items():
                found[task, label] = settings
                variants = ablations(settings) if self.ablations else {}
                found |= {(task, f"{label}, {name}"): variant for name, variant in variants.items()}
        return found


def ablations(settings: Settings) -> dict[str, Settings]:
    """Return {name: settings} of what differs from a column in one point; nothing that its D cannot give."""
    task = make_task(settings.task)
    available = 30 if settings.data is None else len(load_transitions(settings.data, task).episode_ids)
    found = {ABLATION: {"arms": (ABLATION,)}}
    found |= {f"{n} episodes": {"episodes": n} for n in (20, 30) if n <= available}
    found |= {"1000 updates": {"updates": 1000}}
    offline = {"keep": "D kept", "drop": "D dropped", 0.5: "D half of each batch"}
    found |= {name: {"offline": what} for what, name in offline.items() if what != settings.offline}
    return {name: replace(settings, **{"arms": ("loro",)} | change) for name, change in found.items()}


def about(plan: Plan, workers: int) -> str:
    """Say what will be run, how long it will take, by a few hundred steps of every task here, and what is left out."""
    runs, seconds, n = plan.runs(), 0.0, 0
    for name in dict.fromkeys(task for task, _ in runs):
        task, start = make_task(name), time.perf_counter()
        finetune(task.make_agent(), task, steps=2 * GRID)
        a_step = (time.perf_counter() - start) / (2 * GRID)
        for settings in (settings for (task_name, _), settings in runs.items() if task_name == name):
            learners = [arm for arm in settings.arms if arm != "llm"]
            updates = settings.updates * sum(arm not in ("rl", "mix") for arm in learners)
            seconds += settings.seeds * a_step * (len(learners) * settings.steps + updates)
            n += settings.seeds * len(learners)
    lines = [f"{n} runs, at most about {seconds / workers / 60:.0f} minutes with {workers} side by side"]
    missing = {label: [task for task in TASKS if (task, label) not in runs] for label in plan.labels}
    lines += [f"{label}: left out, as there is no file: {', '.join(tasks)}" for label, tasks in missing.items() if tasks]
    return "\n".join(lines)


def run(plan: Plan, folder: Path, executor, progress: Progress) -> list[dict]:
    """Run what `folder` does not hold yet, write tables and figures and return the rows of the table."""
    results = {}
    for (task, name), settings in plan.runs().items():
        progress.title = f"{task}, {name}: "
        path = folder / task / name.replace(", ", ",").replace(" ", "-")  # no label holds a comma
        if (path / "config.json").exists():
            part = RunFolder.open(path)
            if not json.loads(json.dumps(vars(settings))).items() <= part.config.items():
                raise UserError(f"{path} is damaged, or another run's: move it away, and it is done again")
        else:
            origin = {"minloro": __version__, "behaviour": experiment.behaviour(settings, None)}
            part = RunFolder.create(path, origin | vars(settings))
        data = None
        if settings.data is not None and not part.data_path(settings.seed).exists():
            data = experiment.read_data(settings.data, make_task(task), settings, progress)
        results[task, name] = experiment.run(settings, part, data, Server(), executor, progress)
    progress.title = ""
    columns = [(task, label) for task in TASKS for label in plan.labels if (task, label) in results]
    rows = [row for column in columns for row in _compare(*column, results)]
    write_csv(folder / "paper.csv", COLUMNS, (row.values() for row in rows))
    write_text(folder / "paper.md", markdown(plan, rows))
    plot.save_sums(folder / "sums.png", [row for row in rows if row["measure"] == "paper_cumulative_reward"])
    for label in plan.labels:
        names = [task for task in TASKS if (task, label) in results]
        panels = [(task, results[task, "rl"][1] | results[task, label][1], results[task, label][0]) for task in names]
        plot.save_panels(folder / f"curves-{label}.png", panels)
    return rows


def _compare(task_name: str, label: str, results: dict) -> list[dict]:
    """Return the rows of one task and column: every arm and comparison by every measure."""
    task, (summary, column, data) = make_task(task_name), results[task_name, label]
    figures_of = partial(figures_by_arm, task, summary["steps"])
    figures = figures_of(results[task_name, "rl"][1] | column, data)
    pairs = {f"loro − {other}": (figures["loro"], figures[other]) for other in ("rl", "random-data")}
    loro = {key: returns for key, returns in column.items() if key[0] == "loro"}
    for (other, name), (_, returns, other_data) in results.items():
        if other == task_name and name.startswith(f"{label}, "):
            name = name.removeprefix(f"{label}, ")
            (figures[name],) = figures_of(returns, other_data).values()
            (varied,) = figures_of(returns, other_data, data).values()
            pairs[f"{name} − loro"] = (varied, figures_of(loro, data, other_data)["loro"])
    common = dict.fromkeys(COLUMNS) | {"task": task_name, "rounds": summary["steps"] // GRID, "column": label}
    rows = []
    for measure in MEASURES:
        for arm, values in figures.items():
            found, published = [f[measure] for f in values], task.paper.get(arm)
            row = common | {"arm": arm, "measure": measure, "n_seeds": len(found)}
            if measure == "paper_cumulative_reward" and published is not None:
                row |= {"published": published, "published_rounds": task.paper["rounds"]}
            if None not in found:
                rows.append(row | interval(found))
        for name, (ours, theirs) in pairs.items():
            ours, theirs = [f[measure] for f in ours], [f[measure] for f in theirs]
            row = common | {"arm": name, "measure": measure, "n_seeds": len(ours)}
            if None not in ours + theirs:
                rows.append(row | difference(ours, theirs))
    return rows


def markdown(plan: Plan, rows: list[dict]) -> str:
    """Return the tables: rows are tasks and arms, columns are models, the published numbers beside them."""
    lines = [f"# LORO, {plan.seeds} seeds, 95% intervals\n"]
    if not plan.columns:
        lines.append("The scripted stand-in played (no language model was asked), a D of its own for every seed.\n")
    for measure, title in MEASURES.items():
        published = ["paper, 7B"] if measure == "paper_cumulative_reward" else []
        header = ["task", "arm", *plan.labels, *published]
        lines += [f"## {title}\n", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
        chosen = [row for row in rows if row["measure"] == measure]
        for task, arm in dict.fromkeys((row["task"], row["arm"]) for row in chosen):
            found = {row["column"]: row for row in chosen if (row["task"], row["arm"]) == (task, arm)}
            one = next(iter(found.values()))
            shown = [_shown(found.get(label)) for label in plan.labels] + [_published(one)] * bool(published)
            lines.append(f"| {task}, {one['rounds']} rounds | {arm} | {' | '.join(shown)} |")
        lines.append("")
    return "\n".join(lines)


def _shown(row: dict | None) -> str:
    return "–" if row is None else cell(row, row["n_seeds"]) + (f": {row['verdict']}" if row["verdict"] else "")


def _published(row: dict) -> str:
    rounds = f" ({row['published_rounds']} rounds)" * (row["published_rounds"] != row["rounds"])
    return "" if row["published"] is None else number(row["published"]) + rounds


def read_columns(given: list[str]) -> dict[str, str]:
    """Return {label: folder} of `LABEL=DIR` texts."""
    columns = {}
    for text in given:
        match = re.fullmatch(r"([\w.-]+)=(.+)", text)
        if match is None or match[1] in ("rl", STAND_IN) or match[1].startswith("."):
            raise UserError(f"--data {text!r} must be LABEL=DIR, LABEL of letters, digits, '-', '.' and '_'")
        label, path = match.groups()
        if label in columns:
            raise UserError(f"--data gives the label {label!r} twice")
        if not any((Path(path) / f"{task}.npz").exists() for task in TASKS):
            raise UserError(f"{path} holds none of {', '.join(f'{task}.npz' for task in TASKS)}: is it the right folder?")
        for task in TASKS:
            if (file := Path(path) / f"{task}.npz").exists():
                load_transitions(file, make_task(task))
        columns[label] = str(Path(path).resolve())
    return columns
