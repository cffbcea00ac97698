"""MountainCar-v0: swing a weak car back and forth until it climbs the right hill.

An observation is (position, velocity per step), positive to the right. Neither has a physical unit.
The actions are 0 accelerate to the left, 1 do not accelerate, 2 accelerate to the right.
"""

from typing import Any

import numpy as np

from minloro.agents.features import RadialBasis
from minloro.agents.linear import LinearQ
from minloro.llm.prompt import Prompt
from minloro.tasks.task import Cells, PublishedSums, Rows, Task
from minloro.tasks.words import DRIVING, quantity, side, signed, state_text

STEP_LIMIT = 200

RULES = (
    "You are driving a car in a valley between two hills. The engine is too weak to drive straight "
    "up the right hill, where the flag stands; the car has to swing back and forth to gain speed.\n"
    "The position is horizontal: -1.2 is the left end, where a wall stops the car, about -0.52 is "
    "the bottom of the valley, and 0.5 is the flag. Velocities are positive to the right and "
    "negative to the left, at most 0.07 a step.\n"
    "Reward: -1 for every step.\n"
    f"The episode ends when the car reaches position 0.5, or after {STEP_LIMIT} steps. Reach the "
    "flag in as few steps as possible."
)
ACTIONS = ("accelerate to the left", "do not accelerate", "accelerate to the right")
BOTTOM = -0.5236  # position of the bottom of the valley, -pi / 6
PLACE = ("on the left hill", "at the bottom of the valley", "on the right hill")


def describe(observation: np.ndarray, rows: Rows) -> str:
    """Say what the model sees of a state."""
    position, velocity = (float(value) for value in observation)
    place = side(position - BOTTOM, 3, *PLACE)
    return state_text(
        f"Car position: {signed(position, 3)}, {place}",
        quantity("Car velocity", velocity, 4, "a step", DRIVING),
        "Which action do you take?",
    )


def stand_in_rule(text: str) -> int:
    """Accelerate the way the car moves, to gain speed: the number of the action.

    >>> stand_in_rule("Car velocity: -0.0100 a step, moving to the left")
    1
    """
    return 1 if "moving to the left" in text else 3


def set_state(env: Any, observation: np.ndarray) -> None:
    """Put the bare environment into the state of an observation."""
    env.state = tuple(float(value) for value in observation)


# The environment's own bounds of position and velocity.
LOW = (-1.2, -0.07)
HIGH = (0.6, 0.07)
# Local features. Fourier features would carry what D teaches to places that D has never seen. After
# a D that never reaches the flag, every place would look hopeless. With local features, places that
# D has not seen stay attractive.
FEATURES = RadialBasis(LOW, HIGH, per_dimension=10, width=0.7)
CELLS = Cells(np.asarray, low=LOW, high=HIGH, bins=(18, 14))


def make_agent(rng: np.random.Generator) -> LinearQ:
    """Return an untrained agent. Its weights start at zero: `rng` is not used.

    Every step costs 1, so zero is optimistic: what was not tried yet looks best.
    """
    return LinearQ(FEATURES, n_actions=3, step_size=0.05, target_step_size=0.02)


TASK = Task(
    name="mountaincar",
    environment="MountainCar-v0",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=30_000,
    threshold=-130,
    return_range=(-STEP_LIMIT, 0),
    prompt=Prompt(RULES, ACTIONS, describe),
    stand_in_rule=stand_in_rule,
    set_state=set_state,
    cells=CELLS,
    paper=PublishedSums(rounds=300, rl=-57616, loro=-45453, llm=-60000),
)
