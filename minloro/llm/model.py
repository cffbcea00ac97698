"""What a language model is to minloro: something that turns messages into a Reply."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from minloro.errors import UserError

Messages = list[dict[str, str]]  # each with a "role" and its "content", the oldest first
Sample = tuple[int, int, int, int]  # which call it is: (seed, episode, step, attempt)


@dataclass(frozen=True)
class Reply:
    """What a model answered: its text, and what the server said about it."""

    text: str
    # The name that the server gives to the model.
    model: str
    # Why the text ends, in the server's word. "length": at the limit of tokens. "refused": nothing
    # was written, because the request with the reminder was too long for the model.
    finish_reason: str | None = None
    # Tokens by kind, prompt_tokens and completion_tokens, if the server reports them.
    usage: dict[str, int] = field(default_factory=dict)
    # Seconds until the reply was there. Waits before a repeated request are included.
    latency: float = 0.0
    # Whether the server sent the model's reasoning in a field of its own, which is not read.
    reasoning: bool = False
    # Settings that the server refuses, and that were therefore not sent.
    dropped: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """How the call ended: "answered", "cut off", "refused" or "empty"."""
        if self.finish_reason == "length":
            return "cut off"
        if self.finish_reason == "refused":
            return "refused"
        return "answered" if self.answer.strip() else "empty"

    @property
    def answer(self) -> str:
        """The text without reasoning in tags. A reply that was cut off has no answer.

        >>> Reply("<think>Action: 1?</think>Action: 2", "m").answer
        'Action: 2'
        >>> Reply("<think>It leans", "m").answer
        ''
        """
        if self.finish_reason == "length":
            return ""
        _, _, visible = self.text.rpartition("</think>")  # some servers leave the opening tag out
        return visible.partition("<think>")[0]


class LanguageModel(Protocol):
    """Anything that can be asked. Threads may ask the same model at the same time."""

    # What the model is called. D's metadata name the model as its replies do.
    name: str
    # Who plays, for D's metadata: "LLM", or what plays instead of one.
    source: str
    # What replies depend on besides the messages and the sample, for D's metadata.
    settings: dict[str, Any]

    def request(self, messages: Messages) -> dict[str, Any]:
        """Return the question as JSON. With the sample it is the key of a reply in a transcript."""

    def complete(self, messages: Messages, sample: Sample) -> Reply:
        """Return the model's reply. A new sample of the same question may get a new reply.

        Raises RequestRefused if the model does not take the request.
        """


class RequestRefused(UserError):
    """The server does not take this request. It may be too long for the model's context."""
