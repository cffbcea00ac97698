"""Prompts: a game in words, an observation in words, and a reply read back as an action.

The words for each game stand in its task. Here is what all of them share: how the rules, the
actions and the form of the answer become messages, and how an action is read from a reply.

Paper: the official parser takes the last digit anywhere in the reply. Here: only a last line
`Action: N` is an action, because a digit elsewhere may belong to a reason or to a number.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

HOW = {
    "direct": "Answer at once, with nothing but",
    "cot": "First think step by step, in a few sentences; then end your answer with",
}

_ACTION_LINE = re.compile(r"Action: ?([0-9]{1,3})")
_NUMBER_LINE = re.compile(r"Action: ?([+-]?[0-9]{1,6}(?:\.[0-9]{0,12})?|[+-]?\.[0-9]{1,12})")


@dataclass(frozen=True)
class Prompt:
    """The text side of a task with numbered actions."""

    # What stands for the action in the form of an answer.
    placeholder: ClassVar[str] = "N"

    # What the game is, what ends it and what is rewarded.
    rules: str
    # What each action does. The model counts actions from 1: its number 1 is action 0.
    actions: tuple[str, ...]
    # Turns an observation and the rows of D so far into text. Most tasks need the observation only.
    describe: Callable[[Any, list], str]
    # Whether the rows are those of all earlier episodes too. If not, they are of this episode only.
    remembers: bool = False
    # A key of HOW: "direct" asks for an answer at once, "cot" for thinking step by step first.
    reasoning: str = "direct"

    @property
    def choice(self) -> str:
        """What the model chooses from."""
        listed = "\n".join(f"{number}: {text}" for number, text in enumerate(self.actions, start=1))
        return f"Actions:\n{listed}\n\nChoose one action"

    @property
    def answer_range(self) -> str:
        """What the placeholder stands for."""
        return f"N is the number of the action, 1 to {len(self.actions)}"

    @property
    def system(self) -> str:
        """The text that does not change during a run."""
        return (
            f"{self.rules}\n\n{self.choice} for the current state. {HOW[self.reasoning]} one line "
            f"of exactly this form, where {self.answer_range}:\nAction: {self.placeholder}"
        )

    @property
    def reminder(self) -> str:
        """The text that follows a reply without an action."""
        return (
            "No action could be read from your answer. Its last line must be exactly "
            f"`Action: {self.placeholder}`, where {self.answer_range}, with nothing after it. "
            "Please answer again."
        )

    def messages(self, observation: Any, rows: list) -> list[dict[str, str]]:
        """Return the chat messages for one decision."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.describe(observation, rows)},
        ]

    def random_answer(self, rng: np.random.Generator) -> int | str:
        """Draw what a random player would write after `Action:`."""
        return int(rng.integers(len(self.actions))) + 1

    def parse(self, reply: str) -> int | np.ndarray | None:
        """Return the action that the last line of a reply names, or None if it names none.

        >>> prompt = Prompt("A coin is tossed.", ("say heads", "say tails"), describe=str)
        >>> prompt.parse("It was heads last time.\\nAction: 2")
        1
        >>> prompt.parse("Action: 2, because it was heads last time") is None
        True
        """
        match = _ACTION_LINE.fullmatch(last_line(reply))
        if match is None or not 1 <= int(match[1]) <= len(self.actions):
            return None
        return int(match[1]) - 1


@dataclass(frozen=True, kw_only=True)
class ContinuousPrompt(Prompt):
    """The text side of a task whose action is one number."""

    placeholder: ClassVar[str] = "x"

    # What the number is, with its unit.
    quantity: str
    # The smallest and the largest number that is an action.
    low: float
    high: float
    # No action has a number of its own.
    actions: tuple[str, ...] = ()

    @property
    def choice(self) -> str:
        """What the model chooses."""
        return f"Choose {self.quantity}"

    @property
    def answer_range(self) -> str:
        """What the placeholder stands for."""
        return f"x is a decimal number from {self.low:g} to {self.high:g}, such as 0.5"

    def random_answer(self, rng: np.random.Generator) -> str:
        """Draw what a random player would write after `Action:`."""
        return f"{rng.uniform(self.low, self.high):.3f}"

    def parse(self, reply: str) -> np.ndarray | None:
        """Return the action, (1,), that the last line of a reply names, or None if it names none.

        Only plain decimal numbers within the bounds are actions: "nan" and "inf" are not.

        >>> prompt = ContinuousPrompt(
        ...     rules="Push.", describe=str, quantity="the force in N", low=-2.0, high=2.0
        ... )
        >>> prompt.parse("To the left.\\nAction: -1.5"), prompt.parse("Action: 2.5")
        (array([-1.5]), None)
        """
        match = _NUMBER_LINE.fullmatch(last_line(reply))
        if match is None or not self.low <= float(match[1]) <= self.high:
            return None
        return np.array([float(match[1])])


def last_line(reply: str) -> str:
    """Return the last line that is not blank, without the blanks around it."""
    return reply.rstrip().rpartition("\n")[2].strip()
