"""What the command line can do: one function per command, each given the flags that were typed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import AbstractContextManager, contextmanager

from minloro import __version__
from minloro.agents.tabular import TabularQ
from minloro.bench import maps, paper, plot, sweep
from minloro.bench.doctor import estimate, examine
from minloro.bench.folder import RunFolder
from minloro.bench.paper_table import markdown
from minloro.bench.progress import Progress
from minloro.bench.report import summary_text
from minloro.bench.run import Results, new_folder, read_data, run
from minloro.bench.settings import Server, Settings, make_client, task_of
from minloro.errors import RunError, SettingsError, UserError
from minloro.flag_settings import new_plan, new_settings, resumed_plan, resumed_settings
from minloro.flags import Flags
from minloro.tasks.registry import make_task
from minloro.transitions import Transitions

EXAMINED_TASK = "cartpole"  # whose questions the doctor asks


def command_for(flags: Flags) -> Callable[[Flags], None]:
    """Return the function that does what was typed."""
    if flags.scheduler is not None and flags.jobs is not None:
        raise UserError("--scheduler and --jobs exclude each other: leave one out")
    if flags.task == "paper" or _resumes_paper(flags):
        return compare_paper if flags.resume is None else resume_paper
    if flags.full or flags.ablations:
        raise UserError("--full and --ablations are for paper: python -m minloro paper")
    if flags.task == "doctor":
        return doctor
    if flags.dry_run:
        return dry_run
    return run_new if flags.resume is None else resume


def _resumes_paper(flags: Flags) -> bool:
    if flags.resume is None:
        return False
    return RunFolder.open(flags.resume).config.get("task") == "paper"


def run_new(flags: Flags) -> None:
    """Run an experiment in a new folder."""
    settings = new_settings(flags, flags.task)
    progress = Progress(bool(flags.quiet))
    make_task(settings.task).make_env()  # before anything is written: is everything installed?
    data = given_data(settings, progress)
    folder = new_folder(flags.out, settings, data)
    run_and_report(settings, folder, data, flags, progress)


def resume(flags: Flags) -> None:
    """Finish the run in a folder; if it is finished, report it again."""
    folder = RunFolder.open(flags.resume)
    settings = resumed_settings(flags, folder)
    progress = Progress(bool(flags.quiet))
    make_task(settings.task).make_env()
    data = None
    if not folder.data_path(settings.seed).exists():
        data = given_data(settings, progress)
    run_and_report(settings, folder, data, flags, progress)


def compare_paper(flags: Flags) -> None:
    """Run the paper's comparison in a new folder."""
    plan = new_plan(flags)
    folder = RunFolder.create(flags.out, {"task": "paper", "minloro": __version__} | vars(plan))
    compare_and_report(plan, folder, flags)


def resume_paper(flags: Flags) -> None:
    """Finish the paper's comparison in a folder; if it is finished, report it again."""
    folder = RunFolder.open(flags.resume)
    plan = resumed_plan(flags, folder)
    compare_and_report(plan, folder, flags)


def doctor(flags: Flags) -> None:
    """Ask a model server a few questions and print what it can do."""
    if flags.llm_url is None or flags.llm_model is None:
        raise UserError("doctor needs to know whom to ask: give --llm-url and --llm-model")
    refuse_resume(flags)
    settings = new_settings(flags, EXAMINED_TASK)
    client = make_client(settings, flags.llm_model, flags.llm_url)
    print(examine(settings, task_of(settings), client))


def dry_run(flags: Flags) -> None:
    """Print how many calls and tokens a run would need; ask nobody and write nothing."""
    refuse_resume(flags)
    settings = new_settings(flags, flags.task)
    print(estimate(settings, task_of(settings)))


def refuse_resume(flags: Flags) -> None:
    """Raise UserError if --resume was typed."""
    if flags.resume is not None:
        raise UserError(
            "--resume goes on with a run that was planned: leave --dry-run or doctor out"
        )


def given_data(settings: Settings, progress: Progress) -> Transitions | None:
    """Return the D of --data; None if it was not given."""
    if settings.data is None:
        return None
    return read_data(settings.data, make_task(settings.task), settings, progress)


def run_and_report(
    settings: Settings,
    folder: RunFolder,
    data: Transitions | None,
    flags: Flags,
    progress: Progress,
) -> None:
    """Run what the folder does not hold yet, draw the figures and print the summary."""
    server = Server(flags.llm_url, flags.concurrency or 1, flags.call_budget)
    with advice_to_resume(folder, flags), executor_for(flags) as executor:
        results = run(settings, folder, data, server, executor, progress)
    task = make_task(settings.task)
    figure = folder.path / "learning_curves.png"
    plot.save_learning_curves(figure, task, results.returns, results.summary)
    save_map(settings, folder, results)
    print(summary_text(task, results.summary))
    print(f"\nWritten to {folder.path}: figures, returns.csv, summary.json and what made them.")


def save_map(settings: Settings, folder: RunFolder, results: Results) -> None:
    """Draw the map of a grid world, if there is an agent of the arm `loro`."""
    task = make_task(settings.task)
    agent_path = folder.agent_path("loro", settings.seed)
    if task.grid is None or not agent_path.exists():
        return
    agent = task.make_agent()
    assert isinstance(agent, TabularQ)  # which learns all grid worlds
    agent.load(agent_path)
    data = results.data_by_seed[settings.seed]
    label = f"loro, seed {settings.seed}"
    maps.save_map(folder.path / "map.png", task, data, agent.table, label)


def compare_and_report(plan: paper.Plan, folder: RunFolder, flags: Flags) -> None:
    """Run what the folder of a comparison does not hold yet, and print its tables."""
    progress = Progress(bool(flags.quiet))
    workers = 1 if flags.scheduler is not None else workers_for(flags)
    with advice_to_resume(folder, flags), executor_for(flags) as executor:
        print(paper.describe_plan(plan, workers), file=sys.stderr)
        rows = paper.run(plan, folder.path, executor, progress)
    print(markdown(plan.labels, plan.seeds, rows))
    print(f"Written to {folder.path}: paper.md, paper.csv, figures, and every run.")


@contextmanager
def advice_to_resume(folder: RunFolder, flags: Flags) -> Iterator[None]:
    """Add to whatever ends a run how to go on with it.

    A folder in which nothing has happened yet is removed.
    """
    command = f"python -m minloro --resume {shlex.quote(str(folder.path))}"
    if flags.llm_url:
        command += f" --llm-url {flags.llm_url}"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: {command}") from None
    except (RunError, OSError, MemoryError, BrokenExecutor) as error:
        problem = str(error) or type(error).__name__
        raise RunError(f"{problem}; go on with: {command}") from None
    except UserError as error:
        folder.discard_if_unused()
        discarded = not folder.path.exists()
        if discarded or flags.resume is not None or isinstance(error, SettingsError):
            raise
        raise UserError(f"{error}; then go on with: {command}") from None


def executor_for(flags: Flags) -> AbstractContextManager[Executor | None]:
    """Return what runs the jobs: a cluster, or processes on this machine."""
    if flags.scheduler is None:
        return sweep.process_pool(workers_for(flags))
    return sweep.cluster(flags.scheduler)


def workers_for(flags: Flags) -> int:
    """Return how many jobs run side by side on this machine."""
    if flags.jobs is not None:
        return flags.jobs
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
