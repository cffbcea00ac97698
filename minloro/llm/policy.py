"""A prompt and a language model make a behaviour policy."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minloro.errors import UserError
from minloro.llm.transcript import Transcript
from minloro.randomness import stream

if TYPE_CHECKING:
    from minloro.llm.model import LanguageModel, Messages, Reply
    from minloro.llm.prompt import Prompt
    from minloro.tasks.task import Task

REPEATED = 500  # characters of an unreadable reply that are sent back with the reminder


class LLMPolicy:
    """Choose actions by asking a language model about each observation.

    If a reply has no action, the model is reminded once. If the second reply has none either, a
    uniformly random action takes its place. on_call(counts): called after every call.

    Threads may share a policy.
    """

    def __init__(
        self,
        task: Task,
        llm: LanguageModel,
        seed: int = 0,
        transcript: Transcript | None = None,
        on_call: Callable[[Counter[str]], None] | None = None,
    ):
        self.task = task
        self.llm = llm
        self.seed = seed
        self.transcript = transcript or Transcript(None)
        # Answers from the transcript are counted as well.
        self.counts = Counter(calls=0, parse_failures=0, fallbacks=0, tokens=0)
        self.dropped: set[str] = set()  # settings that the server refused
        self.models: set[str] = set()  # the names that the server gave to what answered
        self._on_call = on_call
        self._lock = threading.Lock()

    @property
    def prompt(self) -> Prompt:
        """The task's prompt."""
        assert self.task.prompt is not None  # `collect` refuses other tasks
        return self.task.prompt

    def choose(
        self, observation: Any, rows: list[tuple], step: int, episode: int
    ) -> tuple[int | np.ndarray, str]:
        """Return an action and how it came about: "reply", "retry" or "fallback"."""
        prompt = self.prompt
        messages = prompt.messages(observation, rows)
        for attempt, source in enumerate(("reply", "retry")):
            sample = (self.seed, episode, step, attempt)
            reply, action = self.transcript.ask(self.llm, messages, sample, prompt.parse)
            self._count(reply, parsed=action is not None)
            if action is not None:
                return self._checked(action), source
            messages = [*messages, *_reminder(reply, prompt)]
        with self._lock:
            self.counts["fallbacks"] += 1
        return self.task.random_action(stream(self.seed, "fallback", episode, step)), "fallback"

    def metadata(self, episodes_asked: int) -> dict[str, Any]:
        """Return what D's metadata say about the model and the prompt."""
        system = self.prompt.system
        return {
            "model": ", ".join(sorted(self.models)),
            "llm": dict(self.counts),
            "sampling": self.llm.settings | {"dropped": sorted(self.dropped)},
            "episodes_asked": episodes_asked,
            "prompt": system,
            "reminder": self.prompt.reminder,
            "prompt_sha256": hashlib.sha256(system.encode()).hexdigest(),
        }

    def _checked(self, action: int | np.ndarray) -> int | np.ndarray:
        """Return an action in the environment's precision; raise UserError if it is not one."""
        space = self.task.spaces[1]
        played = np.asarray(action, space.dtype)
        if not space.contains(played):
            raise UserError(
                f"the prompt reads an answer as {action!r}, which is no action of {space}"
            )
        return played if played.shape else action

    def _count(self, reply: Reply, parsed: bool) -> None:
        with self._lock:
            self.models.add(reply.model)
            self.dropped.update(reply.dropped)
            self.counts["calls"] += 1
            if not parsed:
                self.counts["parse_failures"] += 1
            self.counts["tokens"] += sum(reply.usage.values())
            if self._on_call is not None:
                self._on_call(self.counts)


def _reminder(reply: Reply, prompt: Prompt) -> Messages:
    """Return what follows a reply without an action: its end, and how to answer."""
    unreadable = reply.answer[-REPEATED:] or "(no answer)"
    return [
        {"role": "assistant", "content": unreadable},
        {"role": "user", "content": prompt.reminder},
    ]
