"""Prompt + language model = a behaviour policy."""

from collections import Counter

from minloro.llm.transcript import Transcript
from minloro.randomness import stream


class LLMPolicy:
    """Choose actions by asking a language model about each observation.

    A reply without an action is asked again once, with a reminder; then a uniformly random action takes its place,
    marked `fallback`. `counts` holds calls, parse_failures, fallbacks and tokens, answers from the transcript included.
    """

    def __init__(self, task, llm, seed: int = 0, transcript: Transcript | None = None):
        self.task, self.llm, self.seed = task, llm, seed
        self.transcript = transcript or Transcript(None)
        self.counts = Counter(calls=0, parse_failures=0, fallbacks=0, tokens=0)
        self.model = llm.name  # as the server names it, once it has answered

    def choose(self, observation, rows: list, step: int, episode: int) -> tuple[int, str]:
        """Return an action for `observation` and how it came about: reply, retry or fallback."""
        prompt = self.task.prompt
        messages = prompt.messages(observation, rows)
        for attempt, source in enumerate(("reply", "retry")):
            reply, action = self.transcript.ask(self.llm, messages, (self.seed, episode, step, attempt), prompt.parse)
            self._count(reply, action)
            if action is not None:
                return action, source
            messages = [
                *messages,
                {"role": "assistant", "content": reply.text or "(no answer)"},
                {"role": "user", "content": prompt.reminder},
            ]
        self.counts["fallbacks"] += 1
        return self.task.random_action(stream(self.seed, "fallback", episode, step)), "fallback"

    def _count(self, reply, action) -> None:
        self.model = reply.model
        self.counts["calls"] += 1
        self.counts["parse_failures"] += action is None
        self.counts["tokens"] += sum(reply.usage.values())
