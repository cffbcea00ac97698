"""Prompt + language model = a behaviour policy."""

import threading
from collections import Counter

import numpy as np

from minloro.errors import UserError
from minloro.llm.transcript import Transcript
from minloro.randomness import stream

REPEATED = 500  # characters of an unreadable reply that are sent back with the reminder


class LLMPolicy:
    """Choose actions by asking a language model about each observation.

    A reply without an action is asked again once, with a reminder; then a uniformly random action takes its place,
    marked `fallback`. on_call(counts): called after every call.
    `counts` holds calls, parse_failures, fallbacks and tokens, answers from the transcript included.
    """

    def __init__(self, task, llm, seed: int = 0, transcript: Transcript | None = None, on_call=None):
        self.task, self.llm, self.seed, self._on_call = task, llm, seed, on_call
        self._lock = threading.Lock()  # episodes may be played in several threads
        self.transcript = transcript or Transcript(None)
        self.counts = Counter(calls=0, parse_failures=0, fallbacks=0, tokens=0)
        self.dropped: set[str] = set()  # settings that the server refused
        self.models: set[str] = set()  # as the server names what answered

    def choose(self, observation, rows: list, step: int, episode: int) -> tuple[int | np.ndarray, str]:
        """Return an action for `observation` and how it came about: reply, retry or fallback."""
        prompt = self.task.prompt
        messages = prompt.messages(observation, rows)
        for attempt, source in enumerate(("reply", "retry")):
            reply, action = self.transcript.ask(self.llm, messages, (self.seed, episode, step, attempt), prompt.parse)
            self._count(reply, action)
            if action is not None:
                played = np.asarray(action, self.task.spaces[1].dtype)  # in the environment's precision
                if not self.task.spaces[1].contains(played):
                    raise UserError(f"the prompt reads an answer as {action!r}, which is no action of {self.task.spaces[1]}")
                return played if played.shape else action, source
            answer = {"role": "assistant", "content": reply.answer[-REPEATED:] or "(no answer)"}
            messages = [*messages, answer, {"role": "user", "content": prompt.reminder}]
        with self._lock:
            self.counts["fallbacks"] += 1
        return self.task.random_action(stream(self.seed, "fallback", episode, step)), "fallback"

    def _count(self, reply, action) -> None:
        with self._lock:
            self.models.add(reply.model)
            self.dropped.update(reply.dropped)
            self.counts["calls"] += 1
            self.counts["parse_failures"] += action is None
            self.counts["tokens"] += sum(reply.usage.values())
            if self._on_call is not None:
                self._on_call(self.counts)
