"""What a task is: one environment, what a model is told about it, who learns it and for how long.

Every built-in task is one file beside this one. A task of your own needs no change here: build a
Task from a Gymnasium environment and pass it to the functions of minloro.loro.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from minloro.errors import UserError
from minloro.randomness import stream

if TYPE_CHECKING:
    from minloro.agents.agent import Agent
    from minloro.llm.prompt import Prompt

Rows = list[tuple]  # transitions that were played so far, in the order of transitions.COLUMNS


@dataclass(frozen=True)
class GridMap:
    """How the states of a grid world lie on a map.

    Cells are counted row by row: state = cell * states_per_cell + offset.
    """

    rows: int
    columns: int
    # What each action does to (row, column), or the letter that stands for it.
    moves: tuple[tuple[int, int] | str, ...]
    # Letters that are written on cells, by the number of the cell.
    marks: Mapping[int, str]
    # Cells in which no action is ever taken: holes, the cliff, the goal.
    never_left: Sequence[int] = ()
    states_per_cell: int = 1
    # Which of a cell's states is drawn, and how the figure calls it.
    offset: int = 0
    state_note: str = ""


@dataclass(frozen=True)
class Cells:
    """A grid over continuous observations, for counting which of them a data set has visited."""

    # Observations, (N, …), to the coordinates that are cut into cells, (N, C).
    coordinates: Callable[[np.ndarray], np.ndarray]
    # Edges of the grid, (C,). What lies beyond an edge belongs to the outermost cell.
    low: Sequence[float]
    high: Sequence[float]
    # Number of equal cells along each coordinate, (C,).
    bins: tuple[int, ...]


@dataclass(frozen=True)
class PublishedSums:
    """What the paper reports for a task: the sum of its learning curve, for each arm."""

    # Number of evaluations in the sum; one evaluation per round of 200 environment steps.
    rounds: int
    rl: int
    # LORO and the model alone, both with Qwen2.5-7B-Instruct.
    loro: int
    llm: int
    # Why minloro's numbers cannot be compared with these, if they cannot.
    remark: str = ""


@dataclass(frozen=True)
class Task:
    """Everything that is particular to one environment.

    Functions in a task are defined at the top level of a module, so that a task can be pickled and
    sent to another process.
    """

    name: str
    # The Gymnasium id. A data set must name the same one.
    environment: str
    # Environment steps after which an episode is truncated.
    step_limit: int
    # Makes an untrained agent, given the generator of its initial weights.
    agent: Callable[[np.random.Generator], Agent]
    # Default budget in environment steps, those of D included.
    steps: int
    # Evaluation return that counts as solved.
    threshold: float
    # Updates of pretraining.
    updates: int = 3000
    # What becomes of D after pretraining: "keep" (it stays in the buffer), "drop", or a number: its
    # share of every minibatch.
    data_retention: str | float = "keep"
    # The text side: None if no model is ever asked.
    prompt: Prompt | None = None
    # What the scripted stand-in answers to a prompt: the text that stands behind "Action:".
    stand_in_rule: Callable[[str], int | str] | None = None
    # Puts the bare environment into the state of an observation, for checking data.
    set_state: Callable[[Any, np.ndarray], None] | None = None
    # Makes the environment, if it has no Gymnasium id.
    env_factory: Callable[[], gym.Env] | None = None
    # Smallest and largest possible return of an episode: intervals do not leave this range.
    return_range: tuple[float, float] | None = None
    # The map of a grid world.
    grid: GridMap | None = None
    # The cells in which coverage is counted, for continuous observations.
    cells: Cells | None = None
    paper: PublishedSums | None = None

    def make_env(self) -> gym.Env:
        """Return a fresh environment that truncates after `step_limit` steps.

        Raises UserError if minloro cannot learn in its spaces.
        """
        make = self.env_factory or partial(
            gym.make, self.environment, max_episode_steps=-1, disable_env_checker=True
        )
        env = gym.wrappers.TimeLimit(make(), self.step_limit)
        self._check_spaces(env.observation_space, env.action_space)
        return env

    def _check_spaces(self, observations: gym.Space, actions: gym.Space) -> None:
        if not isinstance(observations, Discrete | Box):
            raise UserError(
                f"observations of {self.name} are {observations}, not a Box or Discrete: "
                "flatten them"
            )
        bounded_box = isinstance(actions, Box) and actions.is_bounded()
        if not (isinstance(actions, Discrete) or bounded_box):
            raise UserError(
                f"actions of {self.name} are {actions}, neither Discrete nor a Box with finite "
                "bounds: rescale them"
            )
        for space in (observations, actions):
            if isinstance(space, Discrete) and space.start != 0:
                raise UserError(
                    f"states or actions of {self.name} are not counted from 0: wrap the "
                    "environment so that they are"
                )

    def make_agent(self, seed: int = 0) -> Agent:
        """Return an untrained agent. If its initial weights are random, `seed` decides them."""
        return self.agent(stream(seed, "agent"))

    @cached_property
    def spaces(self) -> tuple[gym.Space, gym.Space]:
        """The observation space and the action space."""
        env = self.make_env()
        return env.observation_space, env.action_space

    @cached_property
    def transition_table(self) -> dict | None:
        """The environment's own P[state][action], if it has one."""
        if not isinstance(self.spaces[0], Discrete):
            return None
        return getattr(self.make_env().unwrapped, "P", None)

    def random_action(self, rng: np.random.Generator) -> int | np.ndarray:
        """Draw a uniformly random action."""
        space = self.spaces[1]
        if isinstance(space, Discrete):
            return int(rng.integers(space.n))
        assert isinstance(space, Box)  # `make_env` admits no other
        return rng.uniform(space.low, space.high).astype(space.dtype)
