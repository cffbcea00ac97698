"""The table of tasks: what is played, what the model is told, who learns, for how long.

A task of your own needs no change here: build a Task from a Gymnasium environment and pass it to the functions of
minloro.loro (the README shows one).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import gymnasium as gym
import numpy as np

from minloro.agents.features import FourierBasis
from minloro.agents.linear import LinearQ
from minloro.errors import UserError
from minloro.llm.prompts import Prompt, cartpole_prompt
from minloro.llm.standin import cartpole_rule


@dataclass(frozen=True)
class Task:
    """Everything that is particular to one environment. Callables are module-level, so that a Task can be pickled.

    environment: the Gymnasium id, also what a data set must name. steps: default budget, in environment steps, those
    of D included. updates: of pretraining. offline: what becomes of D afterwards: "keep" (in the buffer), "drop", or
    its share of every minibatch. threshold: the evaluation return that counts as solved. env_factory: makes your own
    environment where no Gymnasium id does. set_state(env, observation): puts the bare environment into the state of an
    observation, for checking data. stand_in_rule: prompt text to action number. paper: the published figures.
    """

    name: str
    environment: str
    step_limit: int
    agent: Callable[[], object]
    steps: int
    threshold: float
    updates: int = 3000
    offline: str | float = "keep"
    prompt: Prompt | None = None
    stand_in_rule: Callable[[str], int] | None = None
    set_state: Callable[[gym.Env, np.ndarray], None] | None = None
    env_factory: Callable[[], gym.Env] | None = None
    paper: Mapping[str, float] = field(default_factory=dict)

    def make_env(self) -> gym.Env:
        """Return a fresh environment that truncates after `step_limit` steps."""
        if self.env_factory is not None:
            return gym.wrappers.TimeLimit(self.env_factory(), self.step_limit)
        return gym.make(self.environment, max_episode_steps=self.step_limit, disable_env_checker=True)

    def make_agent(self, seed: int = 0):
        """Return an untrained agent; agents with random initial weights draw them from `seed`."""
        return self.agent()

    @cached_property
    def spaces(self) -> tuple[gym.Space, gym.Space]:
        """The observation and the action space."""
        env = self.make_env()
        return env.observation_space, env.action_space

    def random_action(self, rng: np.random.Generator):
        """Draw a uniformly random action."""
        space = self.spaces[1]
        if isinstance(space, gym.spaces.Discrete):
            return int(space.start + rng.integers(space.n))
        return rng.uniform(space.low, space.high).astype(space.dtype)


def _cartpole_agent() -> LinearQ:
    # The velocities are unbounded; a pole that has not fallen is rarely faster than this.
    edge = np.array([2.4, 3.0, 0.21, 3.5])
    return LinearQ(FourierBasis(-edge, edge, order=2), n_actions=2, step_size=0.003, target_step_size=0.02)


def _set_cartpole_state(env: gym.Env, observation: np.ndarray) -> None:
    env.state = np.array(observation, np.float64)
    env.steps_beyond_terminated = None


def _cartpole() -> Task:
    return Task(
        name="cartpole",
        environment="CartPole-v1",
        step_limit=200,
        agent=_cartpole_agent,
        steps=6_000,
        threshold=195,
        prompt=cartpole_prompt(step_limit=200),
        stand_in_rule=cartpole_rule,
        set_state=_set_cartpole_state,
        paper={"rounds": 150, "rl": 24411, "loro": 27078, "llm": 5140},
    )


_TASKS = {"cartpole": _cartpole}
TASK_NAMES = tuple(_TASKS)


def make_task(name: str) -> Task:
    """Return a task of the table by its name."""
    if name not in _TASKS:
        raise UserError(f"there is no task {name!r}; choose one of {', '.join(TASK_NAMES)}")
    return _TASKS[name]()
