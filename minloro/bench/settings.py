"""What a run is asked to do, and how its model is reached.

This module knows no flags: the command line fills in Settings, and so can a script.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from minloro.llm.client import ChatClient
from minloro.llm.standin import StandInLLM
from minloro.tasks.registry import make_task

if TYPE_CHECKING:
    from minloro.tasks.task import Task

ORIGIN = ("minloro", "behaviour")  # what config.json says besides the settings
MAX_TOKENS = {"direct": 512, "cot": 2048}  # of one reply: reasons need room


@dataclass(frozen=True)
class Settings:
    """What a run is asked to do. config.json holds the same names."""

    task: str
    # The arms that are compared.
    arms: tuple[str, ...]
    # Number of independent repeats of every arm.
    seeds: int
    # The first run seed. The others follow it.
    seed: int
    # Budget of every learning arm in environment steps, those of D included.
    steps: int
    # Episodes that the model plays. Of a given D, that many from its beginning are used.
    episodes: int
    # The file of a given D.
    data: str | None
    # The name of the model on its server. None: nobody is asked, or the stand-in is.
    llm_model: str | None
    # Whether every seed collects a D of its own.
    fresh_data: bool
    # Share of the stand-in's steps that follow its rule.
    stand_in_skill: float
    # What becomes of D after pretraining: "keep", "drop", or its share of every minibatch.
    data_retention: str | float
    # Updates of pretraining.
    updates: int
    # How the model is asked to answer: "direct" or "cot" (think step by step first).
    reasoning: str = "direct"
    # Limit of one reply. None: as in MAX_TOKENS.
    max_tokens: int | None = None
    # Sampling of the model. None: the server's default.
    temperature: float | None = None
    top_p: float | None = None

    @property
    def all_seeds(self) -> range:
        """The run seeds."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def learning_arms(self) -> tuple[str, ...]:
        """The arms for which something is run."""
        return tuple(arm for arm in self.arms if arm != "llm")

    @property
    def needs_data(self) -> bool:
        """Whether any arm uses D."""
        return self.arms != ("rl",)

    def to_config(self) -> dict[str, Any]:
        """Return the settings as config.json holds them."""
        return vars(self) | {"arms": list(self.arms)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Settings:
        """Return the settings that a config.json holds.

        Raises TypeError if these are not the settings of a run.
        """
        values = {name: value for name, value in config.items() if name not in ORIGIN}
        if "offline" in values and "data_retention" not in values:
            values["data_retention"] = values.pop("offline")  # its name in earlier versions
        arms = values.pop("arms", None)
        if not isinstance(arms, list):
            raise TypeError("a config.json has a list of arms")
        return cls(arms=tuple(arms), **values)


@dataclass(frozen=True)
class Server:
    """How a model is reached this time. D does not depend on it."""

    # The address. None: nobody is asked.
    url: str | None = None
    # Episodes that are played at the same time.
    concurrency: int = 1
    # New calls that may be made. None: as many as are needed.
    call_budget: int | None = None


def task_of(settings: Settings) -> Task:
    """Return the task with the prompt that the settings ask for."""
    task = make_task(settings.task)
    assert task.prompt is not None  # every built-in task has one
    return replace(task, prompt=replace(task.prompt, reasoning=settings.reasoning))


def make_llm(settings: Settings, task: Task, seed: int, url: str | None) -> ChatClient | StandInLLM:
    """Return who plays D: the model of the settings, or the stand-in."""
    if settings.llm_model is None:
        return StandInLLM(task, seed, settings.stand_in_skill)
    return make_client(settings, settings.llm_model, url)


def make_client(settings: Settings, model: str, url: str | None) -> ChatClient:
    """Return a client that asks a model as the settings say."""
    max_tokens = settings.max_tokens or MAX_TOKENS[settings.reasoning]
    return ChatClient(url, model, max_tokens, settings.temperature, settings.top_p)
