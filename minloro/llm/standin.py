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
    """Answer prompts of `task` by its rule. A sample's answer depends on the seed and the sample alone."""

    def __init__(self, task, seed: int = 0, skill: float = 0.7):
        if task.stand_in_rule is None:
            raise UserError(f"the task {task.name} has no rule for the stand-in: give it a stand_in_rule")
        if not 0 <= skill <= 1:
            raise UserError(f"the stand-in's skill is {skill}, expected 0 (random) to 1 (its rule)")
        self.task, self.seed, self.skill = task, seed, skill
        self.name = self.source = f"scripted stand-in, skill {skill:g} ({NOTICE})"

    def request(self, messages: list[dict]) -> dict:
        """Return what an answer depends on besides the sample."""
        return {"model": self.name, "messages": messages, "seed": self.seed}

    def complete(self, messages: list[dict], sample: tuple[int, ...]) -> Reply:
        rng = stream(self.seed, "stand-in", *sample)
        if rng.random() < self.skill:
            number = self.task.stand_in_rule(messages[1]["content"])
        else:
            number = int(rng.integers(len(self.task.prompt.actions))) + 1
        return Reply(f"Action: {number}", self.name)


def cartpole_rule(text: str) -> int:
    """Push towards the lean: the number of the action.

    >>> cartpole_rule("Pole angle: -0.0123 rad (-0.70 degrees), leaning to the left")
    1
    """
    lean = re.search(r"^Pole angle: .*, (leaning to the left|upright|leaning to the right)$", text, re.MULTILINE)
    return 1 if lean[1] == "leaning to the left" else 2
