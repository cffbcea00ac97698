"""What a server answers: read as a Reply, or told as an error in one line."""

import json
from typing import Any

import requests

from minloro.errors import RunError, UserError
from minloro.llm.key import Key
from minloro.llm.model import Reply, RequestRefused

COUNTED = ("prompt_tokens", "completion_tokens")  # what is kept of a server's usage
MOST_TOKENS = 2**53  # a larger number of tokens is not believed
REASONING = ("reasoning", "reasoning_content", "thinking")  # fields that are never read
KEY_REFUSED = (401, 403)
REQUEST_REFUSED = (400, 422)
LONGEST_COMPLAINT = 300  # characters of what a server says is wrong


class Unusable(Exception):
    """Says why there is no usable answer. Another attempt may bring one."""


def read_reply(text: str, model: str, latency: float, dropped: list[str]) -> Reply:
    """Read the body of a chat completion.

    model: its name, if the server does not give one. Only `content` is read as text, not a field of
    reasoning. Raises Unusable if the body is no chat completion.
    """
    body = _read_json(text)
    try:
        choice = body["choices"][0]
        if choice.get("error") or choice.get("finish_reason") == "error":
            raise Unusable("the answer is an error")
        message = choice["message"]
        return Reply(
            text=_optional_text(message.get("content")) or "",
            model=one_line(_text(body.get("model") or model)),
            finish_reason=_optional_text(choice.get("finish_reason")),
            usage=_read_usage(body.get("usage") or {}),
            latency=latency,
            reasoning=any(message.get(name) for name in REASONING),
            dropped=dropped,
        )
    except (LookupError, TypeError, AttributeError):
        raise Unusable(
            "the answer is not a chat completion: is it an OpenAI-compatible address?"
        ) from None


def _read_json(text: str) -> Any:
    try:
        body = json.loads(text.removeprefix("\ufeff"))  # a byte order mark
    except (ValueError, RecursionError):
        raise Unusable("the answer is not JSON") from None
    if isinstance(body, dict) and body.get("error"):
        raise Unusable("the answer is an error")
    return body


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _read_usage(usage: Any) -> dict[str, int]:
    """Return the numbers of tokens that can be true."""
    counted = {}
    for kind, tokens in usage.items():
        if kind in COUNTED and type(tokens) is int and 0 <= tokens < MOST_TOKENS:
            counted[kind] = tokens
    return counted


def raise_for_status(
    response: requests.Response, url: str, model: str, key: Key, sendings: int
) -> None:
    """Raise what a status means, unless it is 200.

    sendings: how often a request is sent before this status is final. Raises UserError if other
    settings would help, RequestRefused if another request would, and RunError otherwise.
    """
    status = response.status_code
    if status == 200:
        return
    if status in KEY_REFUSED:
        raise _key_refused(url, status)
    if status == 404:
        raise _not_found(url, model)
    if status in REQUEST_REFUSED:
        raise _request_refused(url, model, status, _complaint(response, key))
    if status == 402:
        raise _not_paid(url)
    raise _failed(url, status, _complaint(response, key), sendings)


def _key_refused(url: str, status: int) -> UserError:
    """Return an error that repeats nothing of the answer, which may hold a part of the key."""
    return UserError(
        f"{url} refuses the key (status {status}): set OPENAI_API_KEY to a key that is valid there"
    )


def _not_found(url: str, model: str) -> UserError:
    return UserError(
        f"{url} has no such path or no model {model!r} (status 404): "
        "check --llm-url and --llm-model"
    )


def _request_refused(url: str, model: str, status: int, complaint: str) -> RequestRefused:
    reason = complaint or "check --llm-model and --max-tokens"
    return RequestRefused(
        f"{url} rejects the request for model {model!r} (status {status}): {reason}"
    )


def _not_paid(url: str) -> RunError:
    return RunError(f"{url} wants to be paid (status 402): top up the account")


def _failed(url: str, status: int, complaint: str, sendings: int) -> RunError:
    outcome = f"failed {sendings} times, the last time" if sendings > 1 else "answered"
    reason = f": {complaint}" if complaint else ""
    return RunError(f"{url} {outcome} with status {status}{reason}")


def _complaint(response: requests.Response, key: Key) -> str:
    """Return the beginning of what a server says is wrong; nothing if it may hold the key."""
    text = response.content.decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
        complaint = error["message"] if isinstance(error, dict) else error
    except (ValueError, LookupError, TypeError, RecursionError):
        complaint = text
    line = one_line(str(complaint))
    return "" if key.shows_in(line) else line[:LONGEST_COMPLAINT]


def one_line(text: str) -> str:
    """Return a text of the server as one line of what can be printed."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return "".join(character for character in line if character.isprintable())
