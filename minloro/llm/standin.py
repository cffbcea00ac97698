"""A scripted stand-in for a language model, so that everything runs without a network.

It is not a language model. It reads the same prompt text and answers in the same form. With the
probability `skill` it follows the simple rule of the task, else it answers at random. The skill is
0.7 for every task. It was fixed before anybody looked at what is learned from its data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minloro.errors import UserError
from minloro.llm.model import Messages, Reply
from minloro.randomness import stream

if TYPE_CHECKING:
    from minloro.tasks.task import Task

NOTICE = "no language model was asked"


class StandInLLM:
    """Answer the prompts of a task by its rule, or by chance.

    Chance depends only on `seed` and on the sample that is asked for.
    """

    def __init__(self, task: Task, seed: int = 0, skill: float = 0.7) -> None:
        """Raise UserError if the task has no rule, or if `skill` is not from 0 to 1."""
        if task.stand_in_rule is None:
            raise UserError(
                f"the task {task.name} has no rule for the stand-in: give it a stand_in_rule"
            )
        if not 0 <= skill <= 1:
            raise UserError(f"the stand-in's skill is {skill}, expected 0 (random) to 1 (its rule)")
        self.task = task
        self.seed = seed
        self.skill = skill
        self.name = f"scripted stand-in, skill {skill:g} ({NOTICE})"
        # Who chose the actions, in the metadata of D.
        self.source = self.name
        # What an answer depends on, besides the prompt and the sample.
        self.settings = {"skill": skill, "seed": seed}

    def request(self, messages: Messages) -> dict:
        """Return what would be sent, if there were a model to send it to."""
        return {"model": self.name, "messages": messages, **self.settings}

    def complete(self, messages: Messages, sample: tuple[int, ...]) -> Reply:
        """Return the answer to a prompt. sample: integers that name this one call."""
        rng = stream(self.seed, "stand-in", *sample)
        follows_rule = rng.random() < self.skill
        if follows_rule:
            assert self.task.stand_in_rule is not None  # checked above
            answer = self.task.stand_in_rule(messages[1]["content"])
        else:
            assert self.task.prompt is not None  # without a prompt there are no messages
            answer = self.task.prompt.random_answer(rng)
        return Reply(f"Action: {answer}", self.name)
