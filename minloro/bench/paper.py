"""The paper's comparison, done again: its tasks, all arms, one column per model.

`python -m minloro paper`. Every column of a task is a run folder of its own, FOLDER/TASK/LABEL, and
so is every ablation. `rl` does not depend on D: it is run once per task.

Pong is left out: the paper played a game that applies every action twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minloro.arms import OWN_DATA, PRETRAINED
from minloro.bench import panels
from minloro.bench.folder import RunFolder
from minloro.bench.paper_table import COLUMNS, STAND_IN, compare, markdown
from minloro.bench.progress import Progress
from minloro.bench.run import Results, new_folder, read_data
from minloro.bench.run import run as run_experiment
from minloro.bench.settings import Server, Settings
from minloro.errors import UserError
from minloro.files import write_csv, write_text
from minloro.loro import EVALUATE_EVERY, finetune
from minloro.tasks.registry import make_task
from minloro.transitions import load_transitions

TASKS = ("cartpole", "cliffwalking", "frozenlake", "mountaincar", "pendulum")
SHORT = {"pendulum": 10_000}  # steps, if the paper's budget takes long; --full runs all of it
ARMS = ("loro", "random-data", "mix", "llm")  # of a column
MORE_EPISODES = (20, 30)  # of the ablations; the columns have 10


@dataclass(frozen=True)
class Plan:
    """What is compared. config.json of the comparison holds the same names."""

    # {label: folder with files TASK.npz}. If it is empty, the stand-in plays, and every seed has a
    # D of its own.
    columns: dict[str, str]
    # Number of independent repeats of every arm.
    seeds: int = 10
    # The first run seed. The others follow it.
    seed: int = 0
    # Whether the paper's whole budget is run for the tasks in SHORT, too.
    full: bool = False
    # Whether the ablations are run, too.
    ablations: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the columns."""
        return tuple(self.columns) or (STAND_IN,)

    def data_file(self, task_name: str, label: str) -> Path | None:
        """Return the file with D of a column, which may be missing; None for the stand-in."""
        if label not in self.columns:
            return None
        return Path(self.columns[label]) / f"{task_name}.npz"

    def has_data(self, task_name: str, label: str) -> bool:
        """Say whether a column has a D for a task: a file, or the stand-in's."""
        path = self.data_file(task_name, label)
        return path is None or path.exists()

    def settings(self, task_name: str, label: str | None) -> Settings:
        """Return the settings of a column; of `rl` if the label is None."""
        task = make_task(task_name)
        path = None if label is None else self.data_file(task_name, label)
        return Settings(
            task=task_name,
            arms=("rl",) if label is None else ARMS,
            seeds=self.seeds,
            seed=self.seed,
            steps=self._steps(task_name),
            episodes=10,
            data=None if path is None else str(path),
            llm_model=None,
            fresh_data=label is not None and path is None,
            stand_in_skill=0.7,
            data_retention=task.data_retention,
            updates=task.updates,
        )

    def _steps(self, task_name: str) -> int:
        paper = make_task(task_name).paper
        assert paper is not None  # TASKS are those of the paper
        steps = paper.rounds * EVALUATE_EVERY
        return steps if self.full else min(SHORT.get(task_name, steps), steps)

    def runs(self) -> dict[tuple[str, str], Settings]:
        """Return everything that is run, {(task, name): settings}, in order."""
        found = {}
        for task in TASKS:
            labels = [label for label in self.labels if self.has_data(task, label)]
            if labels:
                found[task, "rl"] = self.settings(task, None)
            for label in labels:
                settings = self.settings(task, label)
                found[task, label] = settings
                if self.ablations:
                    for name, variant in ablations(settings).items():
                        found[task, f"{label}, {name}"] = variant
        return found


def ablations(settings: Settings) -> dict[str, Settings]:
    """Return {name: settings} of runs that differ from a column in one point.

    Runs with more episodes than the given D has are left out.
    """
    loro = replace(settings, arms=("loro",))
    variants = {OWN_DATA: replace(settings, arms=(OWN_DATA,))}
    available = MORE_EPISODES[-1]
    if settings.data is not None:
        available = len(load_transitions(settings.data, make_task(settings.task)).episode_ids)
    for episodes in MORE_EPISODES:
        if episodes <= available:
            variants[f"{episodes} episodes"] = replace(loro, episodes=episodes)
    variants["1000 updates"] = replace(loro, updates=1000)
    retentions: dict[str | float, str] = {
        "keep": "D kept",
        "drop": "D dropped",
        0.5: "D half of each batch",
    }
    for retention, name in retentions.items():
        if retention != settings.data_retention:
            variants[name] = replace(loro, data_retention=retention)
    return variants


def describe_plan(plan: Plan, workers: int) -> str:
    """Say what will be run, about how long it will take, and what is left out.

    The time is judged by a few hundred steps of every task on this machine.
    """
    runs = plan.runs()
    tasks = {task_name for task_name, _ in runs}
    seconds_per_step = {task_name: _seconds_per_step(task_name) for task_name in tasks}
    n_jobs = 0
    seconds = 0.0
    for (task_name, _), settings in runs.items():
        n_jobs += settings.seeds * len(settings.learning_arms)
        seconds += seconds_per_step[task_name] * _steps_and_updates(settings)
    minutes = seconds / workers / 60
    lines = [f"{n_jobs} runs, at most about {minutes:.0f} minutes with {workers} side by side"]
    for label in plan.labels:
        missing = [task for task in TASKS if not plan.has_data(task, label)]
        if missing:
            lines.append(f"{label}: left out, as there is no file: {', '.join(missing)}")
    return "\n".join(lines)


def _seconds_per_step(task_name: str) -> float:
    """Play and learn for a moment; return the time per step, evaluations included."""
    task = make_task(task_name)
    steps = 2 * EVALUATE_EVERY
    start = time.perf_counter()
    finetune(task.make_agent(), task, steps)
    return (time.perf_counter() - start) / steps


def _steps_and_updates(settings: Settings) -> int:
    """Return the environment steps and the updates of pretraining of all arms and seeds."""
    pretrained = [arm for arm in settings.learning_arms if arm in PRETRAINED]
    steps = settings.steps * len(settings.learning_arms)
    return settings.seeds * (steps + settings.updates * len(pretrained))


def run(
    plan: Plan, folder: Path, executor: Executor | None, progress: Progress
) -> list[dict[str, Any]]:
    """Run what `folder` does not hold yet, write tables and figures, return the table's rows."""
    results = {}
    for (task, name), settings in plan.runs().items():
        progress.title = f"{task}, {name}: "
        file_name = name.replace(", ", ",").replace(" ", "-")  # no label holds a comma
        results[task, name] = _run_part(folder / task / file_name, settings, executor, progress)
    progress.title = ""
    rows = []
    for task in TASKS:
        for label in plan.labels:
            if (task, label) in results:
                rows += compare(make_task(task), label, results)
    _write(plan, folder, rows, results)
    return rows


def _run_part(
    path: Path, settings: Settings, executor: Executor | None, progress: Progress
) -> Results:
    """Run one column, one ablation or `rl` in its own folder, or finish it there."""
    if (path / "config.json").exists():
        folder = RunFolder.open(path)
        if not _holds(folder, settings):
            raise UserError(
                f"{path} is damaged, or another run's: move it away, and it is done again"
            )
    else:
        folder = new_folder(path, settings, data=None)
    data = None
    if settings.data is not None and not folder.data_path(settings.seed).exists():
        data = read_data(settings.data, make_task(settings.task), settings, progress)
    return run_experiment(settings, folder, data, Server(), executor, progress)


def _holds(folder: RunFolder, settings: Settings) -> bool:
    """Say whether a folder is that of a run with these settings."""
    try:
        return Settings.from_config(folder.config) == settings
    except TypeError:
        return False


def _write(
    plan: Plan,
    folder: Path,
    rows: Sequence[dict[str, Any]],
    results: Mapping[tuple[str, str], Results],
) -> None:
    """Write the tables and the figures."""
    write_csv(folder / "paper.csv", COLUMNS, ([row[name] for name in COLUMNS] for row in rows))
    write_text(folder / "paper.md", markdown(plan.labels, plan.seeds, rows))
    sums = [row for row in rows if row["measure"] == "paper_cumulative_reward"]
    panels.save_sums(folder / "sums.png", sums)
    for label in plan.labels:
        shown = []
        for task in TASKS:
            if (task, label) in results:
                column = results[task, label]
                returns = results[task, "rl"].returns | column.returns
                shown.append((make_task(task), returns, column.summary))
        panels.save_panels(folder / f"curves-{label}.png", shown)


def read_columns(texts: Sequence[str]) -> dict[str, str]:
    """Return {label: folder} of texts LABEL=DIR. Every data set in the folders is checked."""
    columns: dict[str, str] = {}
    for text in texts:
        match = re.fullmatch(r"([\w.-]+)=(.+)", text)
        if match is None or match[1] in ("rl", STAND_IN) or match[1].startswith("."):
            raise UserError(
                f"--data {text!r} must be LABEL=DIR, LABEL of letters, digits, '-', '.' and '_'"
            )
        label, path = match.groups()
        if label in columns:
            raise UserError(f"--data gives the label {label!r} twice")
        _check_data_folder(Path(path))
        columns[label] = str(Path(path).resolve())
    return columns


def _check_data_folder(path: Path) -> None:
    """Raise UserError if a folder has no data set of these tasks, or an unusable one."""
    files = {task: path / f"{task}.npz" for task in TASKS}
    existing = {task: file for task, file in files.items() if file.exists()}
    if not existing:
        names = ", ".join(file.name for file in files.values())
        raise UserError(f"{path} holds none of {names}: is it the right folder?")
    for task, file in existing.items():
        load_transitions(file, make_task(task))
