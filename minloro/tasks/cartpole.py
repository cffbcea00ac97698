"""CartPole-v1: keep a pole upright by pushing the cart that it stands on.

An observation is (cart position in m, its velocity in m/s, pole angle in rad, its velocity in
rad/s), positive to the right. Actions: 0 pushes to the left, 1 to the right.

Paper: the official prompt gives abs(angle), so that the model cannot know which way the pole leans.
Here: every quantity has its sign, in the number and in words.
"""

import re
from typing import Any

import numpy as np

from minloro.agents.features import FourierBasis
from minloro.agents.linear import LinearQ
from minloro.llm.prompt import Prompt
from minloro.tasks.task import Cells, PublishedSums, Rows, Task
from minloro.tasks.words import DRIVING, quantity, signed, state_text

STEP_LIMIT = 200  # as in CartPole-v0, which the paper plays

RULES = (
    "You are playing CartPole, a game of balance. A pole is hinged on top of a cart, and the cart "
    "moves along a straight, level track. At every step you push the cart with a fixed force, to "
    "the left or to the right; the pole stays up only if the cart is moved under it.\n"
    "Signs: positions, velocities and angles are positive to the right and negative to the left; "
    "at angle 0 the pole stands upright.\n"
    "Reward: 1 for every step, the last one included.\n"
    "The episode ends when the pole leans more than 12 degrees (0.2095 rad) to either side, when "
    "the cart is more than 2.4 m away from the centre of the track, or after "
    f"{STEP_LIMIT} steps. Keep the pole up for as long as possible."
)
PLACE = ("left of the centre", "at the centre", "right of the centre")
LEAN = ("leaning to the left", "upright", "leaning to the right")
TURN = ("turning to the left", "not turning", "turning to the right")


def describe(observation: np.ndarray, rows: Rows) -> str:
    """Say what the model sees of a state."""
    x, velocity, angle, turning = (float(value) for value in observation)
    degrees = signed(angle * 57.29578, 2, "degrees")
    return state_text(
        quantity("Cart position", x, 3, "m", PLACE),
        quantity("Cart velocity", velocity, 3, "m/s", DRIVING),
        quantity("Pole angle", angle, 4, "rad", LEAN, beside=f" ({degrees})"),
        quantity("Pole angular velocity", turning, 3, "rad/s", TURN),
        "Which way do you push the cart?",
    )


def stand_in_rule(text: str) -> int:
    """Push towards the lean: the number of the action.

    >>> stand_in_rule("Pole angle: -0.0123 rad (-0.70 degrees), leaning to the left")
    1
    """
    lean = re.search(
        r"^Pole angle: .*, (leaning to the left|upright|leaning to the right)$", text, re.MULTILINE
    )
    assert lean is not None
    return 1 if lean[1] == "leaning to the left" else 2


def set_state(env: Any, observation: np.ndarray) -> None:
    """Put the bare environment into the state of an observation."""
    env.state = np.array(observation, np.float64)
    env.steps_beyond_terminated = None


# The velocities have no limit, but a pole that has not fallen is rarely faster than this.
LOW = (-2.4, -3.0, -0.21, -3.5)
HIGH = (2.4, 3.0, 0.21, 3.5)
FEATURES = FourierBasis(LOW, HIGH, order=2)
CELLS = Cells(np.asarray, LOW, HIGH, bins=(4, 8, 12, 12))


def make_agent(rng: np.random.Generator) -> LinearQ:
    """Return an untrained agent. Its weights start at zero: `rng` is not used."""
    return LinearQ(FEATURES, n_actions=2, step_size=0.003, target_step_size=0.02)


TASK = Task(
    name="cartpole",
    environment="CartPole-v1",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=6_000,
    threshold=195,
    return_range=(0, STEP_LIMIT),
    prompt=Prompt(RULES, ("push the cart to the left", "push the cart to the right"), describe),
    stand_in_rule=stand_in_rule,
    set_state=set_state,
    cells=CELLS,
    paper=PublishedSums(rounds=150, rl=24411, loro=27078, llm=5140),
)
