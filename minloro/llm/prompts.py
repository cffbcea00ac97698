"""Prompts: the rules of a game in words, an observation in words and numbers, and a reply read back as an action.

Paper: the official CartPole prompt gives abs(angle), so that the model cannot know which way the pole leans, and its
parser takes the last digit anywhere in the reply. Here every signed quantity has its sign in words and in the number,
and only a last line `Action: N` is an action.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_ACTION_LINE = re.compile(r"Action: ?([0-9]{1,3})")
_NUMBER_LINE = re.compile(r"Action: ?([+-]?[0-9]{1,6}(?:\.[0-9]{0,12})?|[+-]?\.[0-9]{1,12})")


HOW = {
    "direct": "Answer at once, with nothing but",
    "cot": "First think step by step, in a few sentences; then end your answer with",
}


@dataclass(frozen=True)
class Prompt:
    """The text side of a task with numbered actions.

    rules: what the game is, what ends it, what is rewarded. actions: what each action does; the model's number 1 is
    action 0. describe: (observation, rows of D so far) to text; most tasks need only the first. remembers: whether these
    rows are those of all earlier episodes, too, and not of this one alone. reasoning: "direct", answer at once, or "cot",
    think step by step first.
    """

    rules: str
    actions: tuple[str, ...]
    describe: Callable[[Sequence[float], list], str]
    remembers: bool = False
    reasoning: str = "direct"
    letter = "N"  # what stands for the action in the form of an answer

    @property
    def choice(self) -> str:
        """What is to be chosen."""
        listed = "\n".join(f"{number}: {text}" for number, text in enumerate(self.actions, start=1))
        return f"Actions:\n{listed}\n\nChoose one action"

    @property
    def range(self) -> str:
        """What the letter stands for."""
        return f"N is the number of the action, 1 to {len(self.actions)}"

    @property
    def system(self) -> str:
        """The text that does not change during a run."""
        return (
            f"{self.rules}\n\n{self.choice} for the current state. {HOW[self.reasoning]} one line of exactly this form, "
            f"where {self.range}:\nAction: {self.letter}"
        )

    @property
    def reminder(self) -> str:
        """What is said after a reply without an action."""
        return (
            f"No action could be read from your answer. Its last line must be exactly `Action: {self.letter}`, where "
            f"{self.range}, with nothing after it. Please answer again."
        )

    def messages(self, observation, rows: list) -> list[dict[str, str]]:
        """Return the chat messages for one decision."""
        user = self.describe(observation, rows)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]

    def random_answer(self, rng: np.random.Generator) -> int | str:
        """Draw what a random player would write after `Action:`."""
        return int(rng.integers(len(self.actions))) + 1

    def parse(self, reply: str) -> int | np.ndarray | None:
        """Return the action of the reply's last line that is not blank, or None where it names none.

        >>> cartpole_prompt(200).parse("The pole falls to the right.\\nAction: 2")
        1
        >>> cartpole_prompt(200).parse("Action: 2, because 0.21 rad is too much") is None
        True
        """
        match = _ACTION_LINE.fullmatch(last_line(reply))
        if match is None or not 1 <= int(match[1]) <= len(self.actions):
            return None
        return int(match[1]) - 1


@dataclass(frozen=True, kw_only=True)
class ContinuousPrompt(Prompt):
    """The text side of a task whose action is one number from `low` to `high`.

    quantity: what the number is, with its unit. The others as in Prompt.
    """

    quantity: str
    low: float
    high: float
    actions: tuple[str, ...] = ()
    letter = "x"

    @property
    def choice(self) -> str:
        """What is to be chosen."""
        return f"Choose {self.quantity}"

    @property
    def range(self) -> str:
        """What the letter stands for."""
        return f"x is a decimal number from {self.low:g} to {self.high:g}, such as 0.5"

    def random_answer(self, rng: np.random.Generator) -> str:
        """Draw what a random player would write after `Action:`."""
        return f"{rng.uniform(self.low, self.high):.3f}"

    def parse(self, reply: str) -> np.ndarray | None:
        """Return the action, (1,), of the reply's last line that is not blank, or None where it names none.

        What is no plain decimal number, "nan" and "inf" among it, and what lies outside the bounds, is no action.

        >>> pendulum_prompt(200).parse("Swing it.\\nAction: -1.5"), pendulum_prompt(200).parse("Action: 2.5")
        (array([-1.5]), None)
        """
        match = _NUMBER_LINE.fullmatch(last_line(reply))
        if match is None or not self.low <= float(match[1]) <= self.high:
            return None
        return np.array([float(match[1])])


def last_line(reply: str) -> str:
    """Return the last line that is not blank, without the blanks around it."""
    return reply.rstrip().rpartition("\n")[2].strip()


def signed(value: float, digits: int, unit: str = "") -> str:
    """Return a number with its sign and, where there is one, its unit; never a negative zero.

    >>> signed(-0.00001, 3, "rad"), signed(0.25, 3, "rad")
    ('0.000 rad', '+0.250 rad')
    """
    rounded = round(float(value), digits)
    return (f"{rounded:+.{digits}f} {unit}" if rounded else f"{0:.{digits}f} {unit}").rstrip()


def side(value: float, digits: int, negative: str, zero: str, positive: str) -> str:
    """Return the words for the sign of `value` as it is printed with `digits` digits.

    >>> side(-0.1, 3, "to the left", "standing still", "to the right")
    'to the left'
    """
    rounded = round(float(value), digits)
    return zero if rounded == 0 else negative if rounded < 0 else positive


def quantity(name: str, value: float, digits: int, unit: str, words: tuple[str, str, str], beside: str = "") -> str:
    """Return a line with a signed number and the words for its sign: those for negative, zero and positive.

    >>> quantity("Car velocity", 0.0, 4, "a step", DRIVING)
    'Car velocity: 0.0000 a step, standing still'
    """
    return f"{name}: {signed(value, digits, unit)}{beside}, {side(value, digits, *words)}"


def _state(*lines: str) -> str:
    return "\n".join(("The current state:", *lines))


DRIVING = ("moving to the left", "standing still", "moving to the right")
SWINGING = ("turning clockwise", "not turning", "turning counter-clockwise")


def cartpole_prompt(step_limit: int) -> Prompt:
    """CartPole-v1: two actions, four signed quantities."""
    rules = (
        "You are playing CartPole, a game of balance. A pole is hinged on top of a cart, and the cart moves along a "
        "straight, level track. At every step you push the cart with a fixed force, to the left or to the right; "
        "the pole stays up only if the cart is moved under it.\n"
        "Signs: positions, velocities and angles are positive to the right and negative to the left; at angle 0 the "
        "pole stands upright.\n"
        "Reward: 1 for every step, the last one included.\n"
        "The episode ends when the pole leans more than 12 degrees (0.2095 rad) to either side, when the cart is more "
        f"than 2.4 m away from the centre of the track, or after {step_limit} steps. Keep the pole up for as long as "
        "possible."
    )
    actions = ("push the cart to the left", "push the cart to the right")
    return Prompt(rules, actions, _describe_cartpole)


def _describe_cartpole(observation, rows: list) -> str:
    x, velocity, angle, turning = (float(value) for value in observation)
    degrees = signed(angle * 57.29578, 2, "degrees")
    return _state(
        quantity("Cart position", x, 3, "m", ("left of the centre", "at the centre", "right of the centre")),
        quantity("Cart velocity", velocity, 3, "m/s", DRIVING),
        quantity("Pole angle", angle, 4, "rad", ("leaning to the left", "upright", "leaning to the right"), f" ({degrees})"),
        quantity("Pole angular velocity", turning, 3, "rad/s", ("turning to the left", "not turning", "turning to the right")),
        "Which way do you push the cart?",
    )


def mountaincar_prompt(step_limit: int) -> Prompt:
    """MountainCar-v0: three actions, position and velocity."""
    rules = (
        "You are driving a car in a valley between two hills. The engine is too weak to drive straight up the right hill, "
        "where the flag stands; the car has to swing back and forth to gain speed.\n"
        "The position is horizontal: -1.2 is the left end, where a wall stops the car, about -0.52 is the "
        "bottom of the valley, and 0.5 is the flag. Velocities are positive to the right and negative to the left, at most "
        "0.07 a step.\n"
        "Reward: -1 for every step.\n"
        f"The episode ends when the car reaches position 0.5, or after {step_limit} steps. Reach the flag in as few steps as "
        "possible."
    )
    actions = ("accelerate to the left", "do not accelerate", "accelerate to the right")
    return Prompt(rules, actions, _describe_mountaincar)


def _describe_mountaincar(observation, rows: list) -> str:
    position, velocity = (float(value) for value in observation)
    place = side(position + 0.5236, 3, "on the left hill", "at the bottom of the valley", "on the right hill")
    return _state(
        f"Car position: {signed(position, 3)}, {place}",
        quantity("Car velocity", velocity, 4, "a step", DRIVING),
        "Which action do you take?",
    )


def acrobot_prompt(step_limit: int) -> Prompt:
    """Acrobot-v1: three torques on the joint between two links."""
    rules = (
        "You control an acrobot: two links of 1 m each, hanging from a fixed point. The upper link swings freely about that "
        "point; a motor at the joint between the links turns the lower link against the upper one. Swing the tip of the "
        "lower link up until it is more than 1 m above the fixed point.\n"
        "Angles are positive counter-clockwise. The angle of the upper link is 0 where it hangs straight down; the angle of "
        "the lower link is measured against the upper one and is 0 where it continues the upper one.\n"
        "Reward: -1 for every step, 0 for the one that reaches the height.\n"
        f"The episode ends when the height is reached, or after {step_limit} steps. Reach it in as few steps as possible."
    )
    actions = ("torque of -1 N m (clockwise)", "no torque", "torque of +1 N m (counter-clockwise)")
    return Prompt(rules, actions, _describe_acrobot)


def _describe_acrobot(observation, rows: list) -> str:
    cos1, sin1, cos2, sin2, speed1, speed2 = (float(value) for value in observation)
    upper, lower = math.atan2(sin1, cos1), math.atan2(sin2, cos2)
    height = -cos1 - (cos1 * cos2 - sin1 * sin2)  # of the tip, cos(a + b) written out
    level = ("below the fixed point", "level with the fixed point", "above the fixed point")
    return _state(
        quantity("Upper link angle", upper, 3, "rad", ("clockwise", "straight down", "counter-clockwise")),
        quantity("Upper link angular velocity", speed1, 2, "rad/s", SWINGING),
        quantity("Lower link angle", lower, 3, "rad", ("clockwise", "in line", "counter-clockwise")),
        quantity("Lower link angular velocity", speed2, 2, "rad/s", SWINGING),
        quantity("Height of the tip", height, 2, "m", level),
        "Which torque do you apply?",
    )


def pendulum_prompt(step_limit: int) -> ContinuousPrompt:
    """Pendulum-v1: a torque, an angle with its direction of motion."""
    rules = (
        "You control a pendulum: a rod of 1 m that turns about a fixed end. A motor at the fixed end turns it with a torque of "
        "at most 2 N m, too weak to lift it at once: it has to swing back and forth. Bring it upright and keep it there.\n"
        "Angles, angular velocities and torques are positive counter-clockwise and negative clockwise. The angle is 0 where "
        "the pendulum stands upright, and +3.14 or -3.14 rad where it hangs straight down. The angular velocity is at most "
        "8 rad/s.\n"
        "Reward of a step: -(angle² + 0.1 angular velocity² + 0.001 torque²), angle and velocity before the step.\n"
        f"The episode ends after {step_limit} steps of 0.05 s."
    )
    return ContinuousPrompt(rules=rules, quantity="the torque in N m", low=-2.0, high=2.0, describe=_describe_pendulum)


def _describe_pendulum(observation, rows: list) -> str:
    cos, sin, speed = (float(value) for value in observation)
    angle = math.atan2(sin, cos)
    degrees = signed(math.degrees(angle), 1, "degrees")
    lean = ("clockwise from upright", "upright", "counter-clockwise from upright")
    turn = quantity("Angular velocity", speed, 2, "rad/s", SWINGING)
    if round(angle, 3) and round(speed, 2):
        turn += f", {'towards' if angle * speed < 0 else 'away from'} the upright position"
    return _state(quantity("Angle", angle, 3, "rad", lean, f" ({degrees})"), turn, "Which torque do you apply?")


def pong_prompt(step_limit: int) -> Prompt:
    """Pong by labelled RAM, as minloro.pong.Pong observes it."""
    rules = (
        "You are playing Pong, a game of table tennis seen from above. Your paddle moves up and down at the right edge, the "
        "opponent's at the left edge; the ball bounces off the paddles and off the walls above and below.\n"
        "Positions are in pixels: x is about 67 at the opponent's paddle and about 189 at yours; heights go from 46 at the top "
        "to 211 at the bottom, so that a greater height is farther down. A paddle is 16 pixels high, the ball 4; their heights "
        "are those of their middles.\n"
        "Reward: 1 when the ball passes the opponent, -1 when it passes you.\n"
        f"Every decision is held for 4 frames. The episode ends when a player has 21 points, or after {step_limit} decisions."
    )
    return Prompt(rules, ("stay", "move up", "move down"), _describe_pong)


def _describe_pong(observation, rows: list) -> str:
    paddle, opponent, x, y, across, down, lost, won = (int(value) for value in observation)
    paddle, opponent, height = paddle + 8, opponent + 8, y + 2  # from upper edges to middles
    below = height - paddle
    ball = ["The ball is not in play; it will be in a moment."]
    if y:
        across = side(across, 0, f"{-across} to the left, away from you", "not sideways", f"{across} to the right, towards you")
        down = side(down, 0, f"{-down} up", "neither up nor down", f"{down} down")
        place = side(below, 0, f"{-below} pixels above", "level with", f"{below} pixels below")
        ball = [f"Ball: x {x}, height {height}", f"Its motion, in pixels a decision: {across}, {down}"]
        ball.append(f"The ball is {place} your paddle.")
    heights = f"Your paddle: height {paddle}", f"The opponent's paddle: height {opponent}"
    return _state(*heights, *ball, f"Points: you {won}, the opponent {lost}", "What do you do?")
