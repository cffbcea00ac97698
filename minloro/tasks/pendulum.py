"""Pendulum-v1: swing a rod up by a motor at its fixed end, and keep it upright.

An observation is (cos of the angle, sin of the angle, angular velocity in rad/s), positive
counter-clockwise; the angle is 0 if the rod stands upright. An action is a torque from -2 to 2 N m.
"""

import math
import re
from typing import Any

import numpy as np

from minloro.agents.actor_critic import ActorCritic
from minloro.llm.prompt import ContinuousPrompt
from minloro.tasks.task import Cells, PublishedSums, Rows, Task
from minloro.tasks.words import SWINGING, quantity, signed, state_text

STEP_LIMIT = 200
MAX_SPEED = 8.0  # rad/s
MAX_TORQUE = 2.0  # N m

RULES = (
    "You control a pendulum: a rod of 1 m that turns about a fixed end. A motor at the fixed end "
    "turns it with a torque of at most 2 N m, too weak to lift it at once: it has to swing back "
    "and forth. Bring it upright and keep it there.\n"
    "Angles, angular velocities and torques are positive counter-clockwise and negative clockwise. "
    "The angle is 0 where the pendulum stands upright, and +3.14 or -3.14 rad where it hangs "
    "straight down. The angular velocity is at most 8 rad/s.\n"
    "Reward of a step: -(angle² + 0.1 angular velocity² + 0.001 torque²), angle and velocity "
    "before the step.\n"
    f"The episode ends after {STEP_LIMIT} steps of 0.05 s."
)
LEAN = ("clockwise from upright", "upright", "counter-clockwise from upright")


def describe(observation: np.ndarray, rows: Rows) -> str:
    """Say what the model sees of a state."""
    cos, sin, speed = (float(value) for value in observation)
    angle = math.atan2(sin, cos)
    degrees = signed(math.degrees(angle), 1, "degrees")
    return state_text(
        quantity("Angle", angle, 3, "rad", LEAN, beside=f" ({degrees})"),
        quantity("Angular velocity", speed, 2, "rad/s", SWINGING) + _direction(angle, speed),
        "Which torque do you apply?",
    )


def _direction(angle: float, speed: float) -> str:
    """Say whether the rod turns towards the upright position, unless it rests or is upright."""
    is_upright = round(angle, 3) == 0
    is_at_rest = round(speed, 2) == 0
    if is_upright or is_at_rest:
        return ""
    direction = "towards" if angle * speed < 0 else "away from"
    return f", {direction} the upright position"


def stand_in_rule(text: str) -> str:
    """Push the way the pendulum turns, to gain speed: the torque.

    Near the upright position, push against the angle and the motion.

    >>> stand_in_rule(
    ...     "Angle: +3.000 rad (+171.9 degrees), counter-clockwise from upright\\n"
    ...     "Angular velocity: -1.00 rad/s, turning clockwise, towards the upright position"
    ... )
    '-2.00'
    """
    numbers = re.findall(r"^Ang.*: ([+-]?[0-9.]+) rad", text, re.MULTILINE)
    angle, speed = (float(number) for number in numbers)
    if abs(angle) < 1:
        torque = -8 * angle - 2 * speed
    elif speed >= 0:
        torque = MAX_TORQUE
    else:
        torque = -MAX_TORQUE
    possible_torque = min(max(torque, -MAX_TORQUE), MAX_TORQUE)
    return f"{possible_torque:.2f}"


def set_state(env: Any, observation: np.ndarray) -> None:
    """Put the bare environment into the state of an observation."""
    cos, sin, speed = np.asarray(observation, np.float64)
    env.state = np.array([np.arctan2(sin, cos), speed])


def angle_and_speed(observations: np.ndarray) -> np.ndarray:
    """Map observations, (N, 3), to the angle and the angular velocity, (N, 2)."""
    angles = np.arctan2(observations[:, 1], observations[:, 0])
    return np.column_stack([angles, observations[:, 2]])


CELLS = Cells(
    angle_and_speed,
    low=(-np.pi, -MAX_SPEED),
    high=(np.pi, MAX_SPEED),
    bins=(24, 16),
)


def make_agent(rng: np.random.Generator) -> ActorCritic:
    """Return an untrained agent, with initial weights drawn from `rng`."""
    return ActorCritic(
        observation_size=3,
        low=[-MAX_TORQUE],
        high=[MAX_TORQUE],
        rng=rng,
        discount=0.95,
        step_size=0.002,
        target_step_size=0.02,
        # Slower: on fixed data nothing corrects what fast targets overestimate.
        pretraining_target_step_size=0.005,
    )


# The largest cost of a step: the rod hangs down, turns fastest and is pushed hardest.
MAX_STEP_COST = math.pi**2 + 0.1 * MAX_SPEED**2 + 0.001 * MAX_TORQUE**2

TASK = Task(
    name="pendulum",
    environment="Pendulum-v1",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=10_000,
    threshold=-200,
    return_range=(-STEP_LIMIT * MAX_STEP_COST, 0),
    prompt=ContinuousPrompt(
        rules=RULES,
        quantity="the torque in N m",
        low=-MAX_TORQUE,
        high=MAX_TORQUE,
        describe=describe,
    ),
    stand_in_rule=stand_in_rule,
    set_state=set_state,
    cells=CELLS,
    paper=PublishedSums(rounds=200, rl=-109700, loro=-56835, llm=-61966),
)
