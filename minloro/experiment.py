"""One experiment in one folder: D is collected or read, every arm and seed is run, the results are written.

This module knows no flags: the command line, or anybody else, fills in Settings.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from minloro import sweep
from minloro.errors import RunError, SettingsError
from minloro.files import write_json
from minloro.llm.client import ChatClient
from minloro.llm.standin import StandInLLM
from minloro.llm.transcript import BudgetSpent, Transcript
from minloro.loro import GRID, Job, collect, data_returns
from minloro.progress import Progress
from minloro.randomness import stream
from minloro.report import summarize
from minloro.rollout import unreproduced
from minloro.runfolder import RunFolder
from minloro.tasks import Task, make_task
from minloro.transitions import Transitions, load_transitions, save_transitions

MOST_CHECKED = 10_000  # rows of a given D that are played through the simulator: a second
MOST_RANDOM = 0.1  # share of random actions above which D says little about the model


@dataclass(frozen=True)
class Settings:
    """What a run is asked to do; config.json holds the same names.

    seeds: how many, counted from `seed`. steps: the budget, D's included. episodes: of the LLM. data: a file with D.
    llm_model: who is asked; without it and without `data`, the stand-in with `stand_in_skill`. fresh_data: every seed
    collects its own D. offline: what becomes of D after pretraining: keep, drop, or a share of every minibatch. reasoning,
    max_tokens, temperature, top_p: how the model is asked.
    """

    task: str
    arms: tuple[str, ...]
    seeds: int
    seed: int
    steps: int
    episodes: int
    data: str | None
    llm_model: str | None
    fresh_data: bool
    stand_in_skill: float
    offline: str | float
    updates: int
    reasoning: str = "direct"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None

    @property
    def all_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    @property
    def needs_data(self) -> bool:
        return tuple(self.arms) != ("rl",)


@dataclass(frozen=True)
class Server:
    """How a model is reached this time; none of it changes what D is. url: None to ask nobody. concurrency: episodes at once.

    call_budget: new calls that may be made.
    """

    url: str | None = None
    concurrency: int = 1
    call_budget: int | None = None


def task_of(settings: Settings) -> Task:
    """Return the task with the prompt that the settings ask for."""
    task = make_task(settings.task)
    return replace(task, prompt=replace(task.prompt, reasoning=settings.reasoning))


def make_llm(settings: Settings, task: Task, seed: int, url: str | None):
    """Return who is asked: the model of the settings, or the stand-in."""
    if settings.llm_model is None:
        return StandInLLM(task, seed, settings.stand_in_skill)
    limit = settings.max_tokens or (2048 if settings.reasoning == "cot" else 512)
    return ChatClient(url, settings.llm_model, limit, settings.temperature, settings.top_p)


def read_data(path: str | Path, task: Task, settings: Settings, progress: Progress) -> Transitions:
    """Return the first episodes of a given data set; warn where it looks wrong without being unusable."""
    data = load_transitions(path, task)
    if (available := len(data.episode_ids)) < settings.episodes:
        progress.warn(f"{path} holds {available} episodes, not {settings.episodes}: all of them are used")
    data = data.first_episodes(settings.episodes)
    rows = stream(settings.seed, "checked rows").permutation(len(data))[:MOST_CHECKED]
    wrong = unreproduced(task, data.rows(rows))
    if wrong is not None and wrong.any():
        progress.warn(
            f"{wrong.sum():,} of {len(wrong):,} rows of {path} ({wrong.mean():.1%}; it has {len(data):,}) are not what "
            "the simulator does: do observations and actions of a step share a row, are time limits truncated, not terminated?"
        )
    check_budget(data, settings)
    return data


def behaviour(settings: Settings, data: Transitions | None) -> str | None:
    """Say who plays, or played, the episodes of D; None where there is no D."""
    if data is not None or not settings.needs_data:
        return None if data is None else data.behaviour
    return make_llm(settings, make_task(settings.task), settings.seed, None).name


def check_budget(data: Transitions, settings: Settings, path: Path | None = None) -> None:
    """Raise SettingsError where the steps of D leave no room for learning up to one evaluation."""
    if settings.steps // GRID <= len(data) // GRID:
        again = "give more --steps or fewer --episodes" + (f"; D is kept: --data {path}" if path is not None else "")
        raise SettingsError(
            f"D has {len(data)} transitions and the budget is {settings.steps} steps, D's included, with an evaluation "
            f"every {GRID}: {again}"
        )


def run(settings: Settings, folder: RunFolder, data: Transitions | None, server: Server, executor, progress: Progress):
    """Do what the folder does not hold yet, write the results and return (summary, returns, D by seed).

    data: a given D. executor: any concurrent.futures.Executor, or None. On an interruption, everything that was finished is in
    the folder.
    """
    task = task_of(settings)
    with Transcript(folder.transcript, server.call_budget) as transcript:  # also what keeps other processes out
        data_by_seed = _gather_data(settings, task, folder, data, server, progress, transcript) if settings.needs_data else {}
        jobs = _open_jobs(settings, task, folder, data_by_seed)
        total = len(settings.all_seeds) * len([arm for arm in settings.arms if arm != "llm"])
        try:
            progress.show("learning", total - len(jobs), total)
            for done, (job, (returns, agent)) in enumerate(sweep.run(jobs, executor), start=1):
                folder.save_agent(job.arm, job.seed, agent)
                folder.save_part(job.arm, job.seed, returns)
                progress.show("learning", total - len(jobs) + done, total, f"{job.arm}, seed {job.seed}")
        finally:
            returns = folder.gather()
        progress.clear()
        summary = summarize(task, settings.steps, returns, data_by_seed)
        write_json(folder.path / "summary.json", summary)
    return summary, returns, data_by_seed


def _gather_data(settings, task, folder, data, server, progress, transcript) -> dict[int, Transitions]:
    """Return {seed: D}: from the folder where it is there, else given, else collected."""
    collected: dict[int, Transitions] = {}
    for seed in settings.all_seeds:
        if collected and not settings.fresh_data:
            collected[seed] = collected[settings.seed]
            continue
        path = folder.data_path(seed)
        if not path.exists():
            _save_collected(data or _collect(settings, task, seed, transcript, server, progress), path, settings)
        collected[seed] = load_transitions(path, task)
        check_budget(collected[seed], settings, path)
    return collected


def _collect(settings, task, seed, transcript, server, progress) -> Transitions:
    llm = make_llm(settings, task, seed, server.url)
    if server.concurrency > 1 and task.prompt.remembers:
        progress.warn("this prompt remembers earlier episodes: they are played one after the other")

    def on_call(counts):
        repeated = getattr(llm, "repeated", 0)
        detail = f"{repeated} sent again, {counts['parse_failures']} unreadable, {counts['tokens']:,} tokens"
        progress.show(f"{llm.name}, at most", counts["calls"], settings.episodes * task.step_limit, detail)

    try:
        data = collect(task, llm, settings.episodes, seed, transcript, server.concurrency, on_call)
    except BudgetSpent:
        raise RunError(f"the call budget was spent before one episode of seed {seed} was finished") from None
    if (random := data.metadata["llm"]["fallbacks"]) > MOST_RANDOM * len(data):
        progress.warn(f"{random} of {len(data)} actions in D are random, because {llm.name} did not answer in the asked form")
    return data


def _save_collected(data: Transitions, path: Path, settings: Settings) -> None:
    """Write D; where the budget of calls ended it early, beside its place, and stop: it can be resumed, or used as it is."""
    finished, asked = data.n_finished, data.metadata.get("episodes_asked", 0)
    part = path.with_name(f"{path.stem}-part.npz")
    if settings.data is not None or finished >= asked:
        save_transitions(path, data)
        part.unlink(missing_ok=True)
        return
    save_transitions(part, data)
    raise RunError(f"the call budget was spent after {finished} of {asked} episodes, which are in {part}")


def _open_jobs(settings, task, folder, data_by_seed) -> list[Job]:
    """Return the arms and seeds that are still to be run; for the arm `llm` D is written down and nothing is run."""
    finished = folder.finished()
    if "llm" in settings.arms:
        for seed in settings.all_seeds if settings.fresh_data else (settings.seed,):
            folder.save_part("llm", seed, data_returns(data_by_seed[seed]))
    return [
        Job(task, arm, seed, settings.steps, data_by_seed.get(seed), settings.updates, settings.offline)
        for seed in settings.all_seeds
        for arm in settings.arms
        if arm != "llm" and (arm, seed) not in finished
    ]
