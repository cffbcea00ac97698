"""A scripted stand-in for a language model, so that everything runs offline. It is not a language model.

It reads the same prompt text and answers in the same form. With probability `skill` it follows a simple rule, else it
answers at random. 0.7 is the skill for every task; it was fixed before any learning was looked at.
"""

import re

from minloro.errors import UserError
from minloro.llm.client import Reply
from minloro.randomness import stream

NOTICE = "no language model was asked"


class StandInLLM:
    """Answer prompts of `task` by its rule, or by chance, which depends on the seed and the sample alone."""

    def __init__(self, task, seed: int = 0, skill: float = 0.7):
        if task.stand_in_rule is None:
            raise UserError(f"the task {task.name} has no rule for the stand-in: give it a stand_in_rule")
        if not 0 <= skill <= 1:
            raise UserError(f"the stand-in's skill is {skill}, expected 0 (random) to 1 (its rule)")
        self.task, self.seed, self.skill = task, seed, skill
        self.name = self.source = f"scripted stand-in, skill {skill:g} ({NOTICE})"
        self.settings = {"skill": skill, "seed": seed}  # what answers depend on besides the prompt and the sample

    def request(self, messages: list[dict]) -> dict:
        """Return what would be sent, if there were a model to send it to."""
        return {"model": self.name, "messages": messages, **self.settings}

    def complete(self, messages: list[dict], sample: tuple[int, ...]) -> Reply:
        rng = stream(self.seed, "stand-in", *sample)
        by_rule = rng.random() < self.skill
        answer = self.task.stand_in_rule(messages[1]["content"]) if by_rule else self.task.prompt.random_answer(rng)
        return Reply(f"Action: {answer}", self.name)


def cartpole_rule(text: str) -> int:
    """Push towards the lean: the number of the action.

    >>> cartpole_rule("Pole angle: -0.0123 rad (-0.70 degrees), leaning to the left")
    1
    """
    lean = re.search(r"^Pole angle: .*, (leaning to the left|upright|leaning to the right)$", text, re.MULTILINE)
    return 1 if lean[1] == "leaning to the left" else 2


def mountaincar_rule(text: str) -> int:
    """Accelerate the way the car moves, to gain speed.

    >>> mountaincar_rule("Car velocity: -0.0100 a step, moving to the left")
    1
    """
    return 1 if "moving to the left" in text else 3


def acrobot_rule(text: str) -> int:
    """Push the lower link the way it turns, to gain speed.

    >>> acrobot_rule("Lower link angular velocity: +0.50 rad/s, turning counter-clockwise")
    3
    """
    turn = re.search(r"^Lower link angular velocity: .*, (.*)$", text, re.MULTILINE)
    return 3 if turn[1] == "turning counter-clockwise" else 1


def pendulum_rule(text: str) -> str:
    """Push the way the pendulum turns, to gain speed; near the upright position, against its angle and its motion.

    >>> pendulum_rule("Angle: +3.000 rad (+171.9 degrees), x\\nAngular velocity: -1.00 rad/s, turning clockwise, towards")
    '-2.00'
    """
    angle, speed = (float(number) for number in re.findall(r"^Ang.*: ([+-]?[0-9.]+) rad", text, re.MULTILINE))
    torque = -8 * angle - 2 * speed if abs(angle) < 1 else 2 if speed >= 0 else -2
    return f"{min(max(torque, -2), 2):.2f}"


def frozenlake_rule(text: str) -> int:
    """Go down or right, whichever is farther from the goal, but not into a hole that the memory names.

    >>> frozenlake_rule("You are at row 1, column 2.\\nHoles found so far: row 2, column 2.")
    3
    """
    row, column = _cells(text)[0]
    holes = re.search(r"^Holes found so far: (.*)$", text, re.MULTILINE)
    known = _cells(holes[1]) if holes else []
    moves = [(4 - row, (row + 1, column), 2), (4 - column, (row, column + 1), 3)]
    open_moves = [move for move in moves if move[0] > 0 and move[1] not in known]
    return max(open_moves or moves)[2]


def cliffwalking_rule(text: str) -> int:
    """Leave the bottom row, go right to the goal's column, then down.

    >>> cliffwalking_rule("You are at row 4, column 1.")
    1
    """
    row, column = _cells(text)[0]
    return 3 if column == 12 else 1 if row == 4 else 2


def taxi_rule(text: str) -> int:
    """Drive to the passenger, then to the destination, changing columns in row 3, which has no walls.

    >>> taxi_rule("The taxi is at row 1, column 1.\\nThe passenger is at Red, row 1, column 1.\\n"
    ...           "The destination is Blue, row 5, column 4.")
    5
    """
    lines = text.splitlines()
    (row, column), riding = _cells(lines[0])[0], "in the taxi" in lines[1]
    target_row, target_column = _cells(lines[2] if riding else lines[1])[0]
    if (row, column) == (target_row, target_column):
        return 6 if riding else 5
    if column != target_column and row == 3:
        return 3 if column < target_column else 4
    wanted_row = 3 if column != target_column else target_row
    return 1 if row < wanted_row else 2


def pong_rule(text: str) -> int:
    """Follow the ball; stay where it is less than 5 pixels away, or not in play.

    >>> pong_rule("The ball is 12 pixels below your paddle.")
    3
    """
    away = re.search(r"^The ball is (\d+) pixels (above|below) your paddle\.$", text, re.MULTILINE)
    if away is None or int(away[1]) < 5:
        return 1
    return 2 if away[2] == "above" else 3


def _cells(text: str) -> list[tuple[int, int]]:
    """Return every (row, column) that a text names."""
    return [(int(row), int(column)) for row, column in re.findall(r"row (\d+), column (\d+)", text)]
