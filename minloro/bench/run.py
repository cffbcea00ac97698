"""One experiment in one folder: D is collected or read, every arm and seed is run, and reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minloro import __version__
from minloro.arms import Job, data_returns
from minloro.bench import sweep
from minloro.bench.folder import RunFolder
from minloro.bench.progress import Progress
from minloro.bench.report import summarize
from minloro.bench.settings import Server, Settings, make_llm, task_of
from minloro.errors import RunError, SettingsError
from minloro.files import write_json
from minloro.llm.transcript import BudgetSpent, Transcript
from minloro.loro import EVALUATE_EVERY, collect
from minloro.randomness import stream
from minloro.rollout import EpisodeReturn, unreproduced
from minloro.tasks.registry import make_task
from minloro.tasks.task import Task
from minloro.transitions import Transitions, load_transitions, save_transitions

MOST_CHECKED = 10_000  # rows of a given D that are played through the simulator: about a second
MOST_RANDOM = 0.1  # share of random actions; above it D says little about the model


class Results(NamedTuple):
    """What a run has found."""

    summary: dict[str, Any]  # the contents of summary.json
    returns: dict[tuple[str, int], list[EpisodeReturn]]  # by (arm, seed)
    data_by_seed: dict[int, Transitions]  # D, the same one for every seed or one per seed


def new_folder(path: str | Path | None, settings: Settings, data: Transitions | None) -> RunFolder:
    """Make the folder of a new run. data: a given D. Raises UserError if it cannot be made."""
    origin = {"minloro": __version__, "behaviour": behaviour(settings, data)}
    return RunFolder.create(path, origin | settings.to_config())


def behaviour(settings: Settings, data: Transitions | None) -> str | None:
    """Return who plays, or has played, the episodes of D; None if there is no D."""
    if data is not None:
        return data.behaviour
    if not settings.needs_data:
        return None
    return make_llm(settings, make_task(settings.task), settings.seed, url=None).name


def read_data(path: str | Path, task: Task, settings: Settings, progress: Progress) -> Transitions:
    """Return the first episodes of a given D. If it can be used but looks wrong, warn."""
    data = load_transitions(path, task)
    available = len(data.episode_ids)
    if available < settings.episodes:
        progress.warn(
            f"{path} holds {available} episodes, not {settings.episodes}: all of them are used"
        )
    data = data.first_episodes(settings.episodes)
    _check_with_simulator(data, path, task, settings.seed, progress)
    check_budget(data, settings)
    return data


def _check_with_simulator(
    data: Transitions, path: str | Path, task: Task, seed: int, progress: Progress
) -> None:
    """Warn if rows of D, at most MOST_CHECKED of them, are not what the simulator does."""
    rows = stream(seed, "checked rows").permutation(len(data))[:MOST_CHECKED]
    wrong = unreproduced(task, data.rows(rows))
    if wrong is None or not wrong.any():
        return
    progress.warn(
        f"{wrong.sum():,} of {len(wrong):,} rows of {path} ({wrong.mean():.1%}; it has "
        f"{len(data):,}) are not what the simulator does: check that the observation and the "
        "action of a step share a row, and that time limits are truncated, not terminated"
    )


def check_budget(data: Transitions, settings: Settings, path: Path | None = None) -> None:
    """Raise SettingsError if D leaves no steps for learning up to one evaluation.

    path: where D is kept.
    """
    if len(data) // EVALUATE_EVERY < settings.steps // EVALUATE_EVERY:
        return
    advice = "give more --steps or fewer --episodes"
    if path is not None:
        advice += f"; D is kept: --data {path}"
    raise SettingsError(
        f"D has {len(data)} transitions and the budget is {settings.steps} steps, D's included, "
        f"with an evaluation every {EVALUATE_EVERY}: {advice}"
    )


def run(
    settings: Settings,
    folder: RunFolder,
    data: Transitions | None,
    server: Server,
    executor: Executor | None,
    progress: Progress,
) -> Results:
    """Do what the folder does not hold yet, write the results and return them.

    data: a given D. executor: runs the jobs; None: they run here, one after the other. If the run
    is interrupted, the folder holds everything that was finished.
    """
    task = task_of(settings)
    # The open transcript also keeps other processes out of the folder.
    with Transcript(folder.transcript, server.call_budget) as transcript:
        ask_model = partial(ask_for_data, settings, task, transcript, server, progress)
        data_by_seed = gather_data(settings, task, folder, data, ask_model)
        save_returns_of_data(settings, folder, data_by_seed)
        jobs = open_jobs(settings, task, folder, data_by_seed)
        returns = run_jobs(jobs, settings, folder, executor, progress)
        summary = summarize(task, settings.steps, returns, data_by_seed)
        write_json(folder.path / "summary.json", summary)
    return Results(summary, returns, data_by_seed)


def gather_data(
    settings: Settings,
    task: Task,
    folder: RunFolder,
    given: Transitions | None,
    ask_model: Callable[[int], Transitions],
) -> dict[int, Transitions]:
    """Return {seed: D}: from the folder if it is there, else the given D, else a collected one.

    ask_model(seed): collects the D of a seed.
    """
    if not settings.needs_data:
        return {}

    def data_of(seed: int) -> Transitions:
        path = folder.data_path(seed)
        if not path.exists():
            data = ask_model(seed) if given is None else given
            _save_data(data, path, settings)
        data = load_transitions(path, task)
        check_budget(data, settings, path)
        return data

    if settings.fresh_data:
        return {seed: data_of(seed) for seed in settings.all_seeds}
    return dict.fromkeys(settings.all_seeds, data_of(settings.seed))


def ask_for_data(
    settings: Settings,
    task: Task,
    transcript: Transcript,
    server: Server,
    progress: Progress,
    seed: int,
) -> Transitions:
    """Let the model of the settings play; return D of one seed."""
    llm = make_llm(settings, task, seed, server.url)
    if server.concurrency > 1 and task.prompt is not None and task.prompt.remembers:
        progress.warn("this prompt remembers earlier episodes: they are played one after the other")
    most_calls = settings.episodes * task.step_limit

    def on_call(counts: Counter[str]) -> None:
        repeated = getattr(llm, "repeated", 0)
        detail = (
            f"{repeated} sent again, {counts['parse_failures']} unreadable, "
            f"{counts['tokens']:,} tokens"
        )
        progress.show(f"{llm.name}, at most", counts["calls"], most_calls, detail)

    try:
        data = collect(task, llm, settings.episodes, seed, transcript, server.concurrency, on_call)
    except BudgetSpent:
        raise RunError(
            f"the call budget was spent before one episode of seed {seed} was finished"
        ) from None
    n_random = data.metadata["llm"]["fallbacks"]
    if n_random > MOST_RANDOM * len(data):
        progress.warn(
            f"{n_random} of {len(data)} actions in D are random, because {llm.name} did not "
            "answer in the asked form"
        )
    return data


def _save_data(data: Transitions, path: Path, settings: Settings) -> None:
    """Write D. If the call budget ended it early, write it beside its place and raise RunError.

    The run can then be resumed, or the unfinished D can be used as it is.
    """
    unfinished_path = path.with_name(f"{path.stem}-part.npz")
    episodes_asked = data.metadata.get("episodes_asked", 0)
    is_complete = settings.data is not None or data.n_finished >= episodes_asked
    if not is_complete:
        save_transitions(unfinished_path, data)
        raise RunError(
            f"the call budget was spent after {data.n_finished} of {episodes_asked} episodes, "
            f"which are in {unfinished_path}"
        )
    save_transitions(path, data)
    unfinished_path.unlink(missing_ok=True)


def save_returns_of_data(
    settings: Settings, folder: RunFolder, data_by_seed: dict[int, Transitions]
) -> None:
    """Write the returns of D's episodes down for the arm `llm`, for which nothing is run."""
    if "llm" not in settings.arms:
        return
    seeds = settings.all_seeds if settings.fresh_data else (settings.seed,)
    for seed in seeds:
        folder.save_part("llm", seed, data_returns(data_by_seed[seed]))


def open_jobs(
    settings: Settings, task: Task, folder: RunFolder, data_by_seed: dict[int, Transitions]
) -> list[Job]:
    """Return the arms and seeds that are still to be run."""
    finished = folder.finished()
    return [
        Job(
            task,
            arm,
            seed,
            settings.steps,
            data=data_by_seed.get(seed),
            updates=settings.updates,
            data_retention=settings.data_retention,
        )
        for seed in settings.all_seeds
        for arm in settings.learning_arms
        if (arm, seed) not in finished
    ]


def run_jobs(
    jobs: list[Job],
    settings: Settings,
    folder: RunFolder,
    executor: Executor | None,
    progress: Progress,
) -> dict[tuple[str, int], list[EpisodeReturn]]:
    """Run the jobs, save each as soon as it is done, and return what the folder then holds.

    The finished parts are joined to returns.csv even if something interrupts the jobs.
    """
    total = settings.seeds * len(settings.learning_arms)
    done = total - len(jobs)
    try:
        progress.show("learning", done, total)
        for job, (returns, agent) in sweep.run(jobs, executor):
            if agent is not None:  # the arm `clone` learns nothing from rewards
                folder.save_agent(job.arm, job.seed, agent)
            folder.save_part(job.arm, job.seed, returns)
            done += 1
            progress.show("learning", done, total, f"{job.arm}, seed {job.seed}")
    finally:
        gathered = folder.gather()
    progress.clear()
    return gathered
