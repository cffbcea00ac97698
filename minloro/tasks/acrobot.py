"""Acrobot-v1: swing the tip of two hanging links up by a motor in the joint between them.

An observation is (cos and sin of the upper link's angle, cos and sin of the lower link's angle,
angular velocity of the upper link in rad/s, that of the lower link in rad/s), positive
counter-clockwise. The upper angle is 0 if the link hangs straight down. The lower angle is measured
against the upper link. The actions are 0, 1 and 2 for a torque of -1, 0 and 1 N m.
"""

import math
import re
from typing import Any

import numpy as np

from minloro.agents.features import FourierBasis
from minloro.agents.linear import LinearQ
from minloro.llm.prompt import Prompt
from minloro.tasks.task import Cells, Rows, Task
from minloro.tasks.words import SWINGING, quantity, state_text

STEP_LIMIT = 500

RULES = (
    "You control an acrobot: two links of 1 m each, hanging from a fixed point. The upper link "
    "swings freely about that point; a motor at the joint between the links turns the lower link "
    "against the upper one. Swing the tip of the lower link up until it is more than 1 m above the "
    "fixed point.\n"
    "Angles are positive counter-clockwise. The angle of the upper link is 0 where it hangs "
    "straight down; the angle of the lower link is measured against the upper one and is 0 where "
    "it continues the upper one.\n"
    "Reward: -1 for every step, 0 for the one that reaches the height.\n"
    f"The episode ends when the height is reached, or after {STEP_LIMIT} steps. Reach it in as few "
    "steps as possible."
)
ACTIONS = ("torque of -1 N m (clockwise)", "no torque", "torque of +1 N m (counter-clockwise)")
UPPER_LEAN = ("clockwise", "straight down", "counter-clockwise")
LOWER_LEAN = ("clockwise", "in line", "counter-clockwise")
LEVEL = ("below the fixed point", "level with the fixed point", "above the fixed point")


def describe(observation: np.ndarray, rows: Rows) -> str:
    """Say what the model sees of a state."""
    cos1, sin1, cos2, sin2, speed1, speed2 = (float(value) for value in observation)
    cos_of_sum = cos1 * cos2 - sin1 * sin2  # the lower link, measured against the vertical
    height = -cos1 - cos_of_sum  # of the tip, in m
    return state_text(
        quantity("Upper link angle", math.atan2(sin1, cos1), 3, "rad", UPPER_LEAN),
        quantity("Upper link angular velocity", speed1, 2, "rad/s", SWINGING),
        quantity("Lower link angle", math.atan2(sin2, cos2), 3, "rad", LOWER_LEAN),
        quantity("Lower link angular velocity", speed2, 2, "rad/s", SWINGING),
        quantity("Height of the tip", height, 2, "m", LEVEL),
        "Which torque do you apply?",
    )


def stand_in_rule(text: str) -> int:
    """Push the lower link the way it turns, to gain speed: the number of the action.

    >>> stand_in_rule("Lower link angular velocity: +0.50 rad/s, turning counter-clockwise")
    3
    """
    turn = re.search(r"^Lower link angular velocity: .*, (.*)$", text, re.MULTILINE)
    assert turn is not None
    return 3 if turn[1] == "turning counter-clockwise" else 1


def set_state(env: Any, observation: np.ndarray) -> None:
    """Put the bare environment into the state of an observation."""
    cos1, sin1, cos2, sin2, speed1, speed2 = np.asarray(observation, np.float64)
    env.state = np.array([np.arctan2(sin1, cos1), np.arctan2(sin2, cos2), speed1, speed2])


def joint_angles(observations: np.ndarray) -> np.ndarray:
    """Map observations, (N, 6), to both angles and both angular velocities, (N, 4)."""
    cosines = observations[:, 0:4:2]
    sines = observations[:, 1:4:2]
    speeds = observations[:, 4:]
    return np.column_stack([np.arctan2(sines, cosines), speeds])


# Angular velocities in rad/s. The environment limits them to 4 pi and 9 pi, but they seldom reach
# two thirds of that.
UPPER_SPEED = 9.0
LOWER_SPEED = 18.0
EDGE = np.array([1.0, 1.0, 1.0, 1.0, UPPER_SPEED, LOWER_SPEED])
# Pairs of quantities only: with all interactions there would be 5^6 = 15,625 features, not 265.
FEATURES = FourierBasis(-EDGE, EDGE, order=4, interactions=2)
CELLS = Cells(
    joint_angles,
    low=(-np.pi, -np.pi, -UPPER_SPEED, -LOWER_SPEED),
    high=(np.pi, np.pi, UPPER_SPEED, LOWER_SPEED),
    bins=(8, 8, 6, 6),
)


def make_agent(rng: np.random.Generator) -> LinearQ:
    """Return an untrained agent. Its weights start at zero: `rng` is not used."""
    return LinearQ(FEATURES, n_actions=3, step_size=0.001)


TASK = Task(
    name="acrobot",
    environment="Acrobot-v1",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=20_000,
    threshold=-120,
    return_range=(-STEP_LIMIT, 0),
    prompt=Prompt(RULES, ACTIONS, describe),
    stand_in_rule=stand_in_rule,
    set_state=set_state,
    cells=CELLS,
)
