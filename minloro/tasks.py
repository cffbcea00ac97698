"""The table of tasks: what is played, what the model is told, who learns, for how long.

A task of your own needs no change here: build a Task from a Gymnasium environment and pass it to the functions of
minloro.loro (the README shows one).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, partial

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from minloro.agents.actor_critic import ActorCritic
from minloro.agents.features import FourierBasis, RadialBasis
from minloro.agents.linear import LinearQ
from minloro.agents.tabular import TabularQ
from minloro.errors import UserError
from minloro.llm import gridworlds, prompts, standin
from minloro.pong import Pong, PongFeatures
from minloro.randomness import stream


@dataclass(frozen=True)
class GridMap:
    """How the states of a grid world lie on a map: state = cell * states_per_cell + offset, cells counted row by row.

    moves: what each action does to (row, column), or the letter that stands for it. marks: letters on cells. never_left:
    cells from which nobody acts. about: which states are shown, where a cell has several.
    """

    rows: int
    columns: int
    moves: tuple[tuple[int, int] | str, ...]
    marks: Mapping[int, str]
    never_left: Sequence[int] = ()
    states_per_cell: int = 1
    offset: int = 0
    about: str = ""


LEFT, DOWN, RIGHT, UP = (0, -1), (1, 0), (0, 1), (-1, 0)


@dataclass(frozen=True)
class Task:
    """Everything that is particular to one environment. Callables are module-level, so that a Task can be pickled.

    environment: the Gymnasium id, also what a data set must name. agent: makes an untrained agent, given the generator of
    its initial weights. steps: default budget, in environment steps, those of D included. threshold: the evaluation return
    that counts as solved. updates: of pretraining. offline: what becomes of D afterwards: "keep" (in the buffer), "drop",
    or its share of every minibatch. stand_in_rule: prompt text to what stands after `Action:`. set_state(env, observation):
    puts the bare environment into the state of an observation, for checking data. env_factory: makes your own environment
    where no Gymnasium id does. grid: the map of a grid world. paper: the published sums, and what stands against comparing.
    """

    name: str
    environment: str
    step_limit: int
    agent: Callable[[np.random.Generator], object]
    steps: int
    threshold: float
    updates: int = 3000
    offline: str | float = "keep"
    prompt: prompts.Prompt | None = None
    stand_in_rule: Callable[[str], int | str] | None = None
    set_state: Callable[[gym.Env, np.ndarray], None] | None = None
    env_factory: Callable[[], gym.Env] | None = None
    grid: GridMap | None = None
    paper: Mapping[str, float | str] = field(default_factory=dict)

    def make_env(self) -> gym.Env:
        """Return a fresh environment that truncates after `step_limit` steps; raise UserError where its spaces do not do."""
        make = self.env_factory or partial(gym.make, self.environment, max_episode_steps=-1, disable_env_checker=True)
        env = gym.wrappers.TimeLimit(make(), self.step_limit)
        if not isinstance(env.observation_space, Discrete | Box):
            raise UserError(f"observations of {self.name} are {env.observation_space}, not a Box or Discrete: flatten them")
        if not (isinstance(space := env.action_space, Discrete) or (isinstance(space, Box) and space.is_bounded())):
            raise UserError(f"actions of {self.name} are {space}, neither Discrete nor a Box with finite bounds: rescale them")
        if any(isinstance(space, Discrete) and space.start for space in (env.observation_space, env.action_space)):
            raise UserError(f"states or actions of {self.name} are not counted from 0: wrap the environment so that they are")
        return env

    def make_agent(self, seed: int = 0):
        """Return an untrained agent; where its initial weights are random, they are drawn from `seed`."""
        return self.agent(stream(seed, "agent"))

    @cached_property
    def spaces(self) -> tuple[gym.Space, gym.Space]:
        """The observation and the action space."""
        env = self.make_env()
        return env.observation_space, env.action_space

    @cached_property
    def transition_table(self) -> dict | None:
        """The environment's own P[state][action], where it has one."""
        return getattr(self.make_env().unwrapped, "P", None) if isinstance(self.spaces[0], Discrete) else None

    def random_action(self, rng: np.random.Generator):
        """Draw a uniformly random action."""
        space = self.spaces[1]
        if isinstance(space, Discrete):
            return int(rng.integers(space.n))
        return rng.uniform(space.low, space.high).astype(space.dtype)


# Their values start at a constant, so that these two ignore the generator of initial weights.
def _linear(rng, features, n_actions: int, **settings) -> LinearQ:
    return LinearQ(features, n_actions, **settings)


def _tabular(rng, n_states: int, n_actions: int, **settings) -> TabularQ:
    return TabularQ(n_states, n_actions, **settings)


def _set_cartpole_state(env: gym.Env, observation: np.ndarray) -> None:
    env.state = np.array(observation, np.float64)
    env.steps_beyond_terminated = None


def _set_mountaincar_state(env: gym.Env, observation: np.ndarray) -> None:
    env.state = tuple(float(value) for value in observation)


def _set_joints(env: gym.Env, observation: np.ndarray) -> None:
    """Set the angles of acrobot's two joints, or pendulum's one, from each one's cos and sin, and then their speeds."""
    cos_sin, speeds = np.split(np.asarray(observation, np.float64), [2 * len(observation) // 3])
    env.state = np.append(np.arctan2(cos_sin[1::2], cos_sin[::2]), speeds)


# The velocities are unbounded; a pole that has not fallen is rarely faster than this.
CARTPOLE_EDGE = np.array([2.4, 3.0, 0.21, 3.5])
# The speeds are clipped at 4 pi and 9 pi by the environment, and seldom reach two thirds of that.
ACROBOT_EDGE = np.array([1.0, 1.0, 1.0, 1.0, 9.0, 18.0])

_TABLE = (
    Task(
        "cartpole", "CartPole-v1", step_limit=200,
        agent=partial(_linear, features=FourierBasis(-CARTPOLE_EDGE, CARTPOLE_EDGE, order=2), n_actions=2,
                      step_size=0.003, target_step_size=0.02),
        steps=6_000, threshold=195, prompt=prompts.cartpole_prompt(200), stand_in_rule=standin.cartpole_rule,
        set_state=_set_cartpole_state, paper={"rounds": 150, "rl": 24411, "loro": 27078, "llm": 5140},
    ),
    Task(
        "mountaincar", "MountainCar-v0", step_limit=200,
        agent=partial(_linear, features=RadialBasis([-1.2, -0.07], [0.6, 0.07], per_dimension=10, width=0.7), n_actions=3,
                      step_size=0.05, target_step_size=0.02),
        steps=30_000, threshold=-130, prompt=prompts.mountaincar_prompt(200), stand_in_rule=standin.mountaincar_rule,
        set_state=_set_mountaincar_state, paper={"rounds": 300, "rl": -57616, "loro": -45453, "llm": -60000},
    ),
    Task(
        "acrobot", "Acrobot-v1", step_limit=500,
        agent=partial(_linear, features=FourierBasis(-ACROBOT_EDGE, ACROBOT_EDGE, order=4, interactions=2), n_actions=3,
                      step_size=0.001),
        steps=20_000, threshold=-120, prompt=prompts.acrobot_prompt(500), stand_in_rule=standin.acrobot_rule,
        set_state=_set_joints,
    ),
    Task(
        "pendulum", "Pendulum-v1", step_limit=200,
        agent=partial(ActorCritic, 3, [-2.0], [2.0], discount=0.95, step_size=0.002, target_step_size=0.02,
                      pretraining_target_step_size=0.005),
        steps=10_000, threshold=-200, prompt=prompts.pendulum_prompt(200), stand_in_rule=standin.pendulum_rule,
        set_state=_set_joints, paper={"rounds": 200, "rl": -109700, "loro": -56835, "llm": -61966},
    ),
    Task(
        "frozenlake", "FrozenLake-v1", step_limit=100,
        agent=partial(_tabular, n_states=16, n_actions=4, step_size=0.02, discount=0.99, epsilon=0.1, initial_value=0.5),
        steps=30_000, threshold=0.7, prompt=gridworlds.frozenlake_prompt(100), stand_in_rule=standin.frozenlake_rule,
        grid=GridMap(4, 4, (LEFT, DOWN, RIGHT, UP), {0: "S", 5: "H", 7: "H", 11: "H", 12: "H", 15: "G"}, (5, 7, 11, 12, 15)),
        paper={"rounds": 150, "rl": 75, "loro": 94, "llm": 0},
    ),
    Task(
        "cliffwalking", "CliffWalking-v1", step_limit=200,
        agent=partial(_tabular, n_states=48, n_actions=4, step_size=0.45, discount=0.99, epsilon=0.02, initial_value=-5.0,
                      batch_size=4),
        steps=40_000, threshold=-14, prompt=gridworlds.cliffwalking_prompt(200), stand_in_rule=standin.cliffwalking_rule,
        grid=GridMap(4, 12, (UP, RIGHT, DOWN, LEFT), {36: "S", **dict.fromkeys(range(37, 47), "C"), 47: "G"}, range(37, 48)),
        offline="drop", paper={"rounds": 200, "rl": -41858, "loro": -10436, "llm": -147639},
    ),
    Task(
        "taxi", "Taxi-v4", step_limit=200,
        agent=partial(_tabular, n_states=500, n_actions=6, step_size=0.1, discount=0.99, epsilon=0.02, initial_value=0.0),
        steps=60_000, threshold=7, prompt=gridworlds.taxi_prompt(200), stand_in_rule=standin.taxi_rule,
        grid=GridMap(5, 5, (DOWN, UP, RIGHT, LEFT, "pick", "drop"), {0: "R", 4: "G", 20: "Y", 23: "B"}, states_per_cell=20,
                     offset=2 * 4 + 1, about="passenger at Yellow, destination Green"),
    ),
    Task(
        "pong", "ALE/Pong-v5", step_limit=200, env_factory=Pong,
        agent=partial(_linear, features=PongFeatures(order=3), n_actions=3, step_size=0.0001, discount=0.98, epsilon=0.05,
                      target_step_size=0.02),
        steps=40_000, threshold=0, prompt=prompts.pong_prompt(200), stand_in_rule=standin.pong_rule,
        paper={"rounds": 200, "rl": -2088, "loro": -1765, "llm": -993,
               "remark": " (of a game that applies every action twice: not comparable)"},
    ),
)  # fmt: skip
_TASKS = {task.name: task for task in _TABLE}
TASK_NAMES = tuple(_TASKS)


def make_task(name: str) -> Task:
    """Return a task of the table by its name."""
    if name not in _TASKS:
        near = "".join(f" (did you mean {found}?)" for found in get_close_matches(str(name).lower(), TASK_NAMES, 1))
        raise UserError(f"there is no task {name!r}{near}; choose one of {', '.join(TASK_NAMES)}")
    return replace(_TASKS[name])  # a copy: nobody shares what it caches
