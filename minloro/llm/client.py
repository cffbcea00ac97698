"""ChatClient: POST {url}/chat/completions, the form that OpenAI, Ollama, llama.cpp, vLLM, LM Studio and OpenRouter share.

What these servers do differently is handled here: which field limits the reply, settings that a model refuses, reasoning in
tags, answers without usage, errors that call themselves answers. Faults of transport are met by sending the identical request
again; a reply that is there but says no action is not a fault of transport, and is left to the policy.

The key comes from the environment variable OPENAI_API_KEY only. It is handed to `requests` as an auth object, stands in no
message, file or repr, and is never sent along a redirect, because redirects are not followed.
"""

import json
import os
import re
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, MaxRetryError, NewConnectionError, ProxyError
from urllib3.util import Retry

from minloro.errors import RunError, UserError
from minloro.randomness import stream, stream_seed

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 300.0  # seconds; a large model on a small machine answers slowly
ATTEMPTS = 8  # sendings of one request before the run stops
BACKOFF, LONGEST_BACKOFF, LONGEST_WAIT = 0.5, 30.0, 120.0  # seconds: first wait, its limit, what a server may ask for
RETRIED = frozenset((408, 409, 429, *range(500, 600)))
COUNTED = ("prompt_tokens", "completion_tokens")
CUT_SHORT = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
OPTIONAL = ("temperature", "top_p", "seed")  # left out where a server refuses them


@dataclass(frozen=True)
class Reply:
    """What a model answered: its text and what the server told about it."""

    text: str
    model: str
    finish_reason: str | None = None
    usage: dict = field(default_factory=dict)  # tokens by kind, of the COUNTED ones that the server reports
    latency: float = 0.0  # seconds, the waits before a repeated request included
    reasoning: bool = False  # whether there was a field of reasoning, which is not read
    dropped: list[str] = field(default_factory=list)  # settings that the server had refused and that were not sent

    @property
    def status(self) -> str:
        """How the call ended: answered, cut off (at the limit of tokens), refused (too long with the reminder) or empty."""
        if self.finish_reason in ("length", "refused"):
            return "cut off" if self.finish_reason == "length" else "refused"
        return "answered" if self.answer.strip() else "empty"

    @property
    def answer(self) -> str:
        """The text without reasoning; nothing where the reply was cut off at its limit.

        >>> Reply("<think>Action: 1?</think>Action: 2", "m").answer, Reply("<think>It leans", "m").answer
        ('Action: 2', '')
        """
        if self.finish_reason == "length":
            return ""
        visible = self.text.rpartition("</think>")[2]  # some servers leave the opening tag out
        return visible.partition("<think>")[0]


class _Pause(Exception):
    """The server asks for a longer pause than anybody wants to wait for."""


class _Retry(Retry):
    """urllib3's retries, with a Retry-After that may be a decimal number, and may not be longer than two minutes."""

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            seconds = float(retry_after)
        except ValueError:
            try:
                seconds = super().parse_retry_after(retry_after)
            except (InvalidHeader, ValueError, OverflowError):  # no date, or one of a year that there is not
                return 0.0  # the ordinary backoff
        if not seconds <= LONGEST_WAIT:
            raise _Pause(f"the server asks for a pause of more than {LONGEST_WAIT:.0f} s: go on later")
        return max(seconds, 0.0)


class RequestRefused(UserError):
    """The server does not take this request, which may be too long for the model's context."""


class _Unusable(Exception):
    """An answer that is broken, though its status says that it is not."""


class ChatClient:
    """Ask a language model behind any OpenAI-compatible server. Threads may share a client; each has its own session.

    url: such as http://localhost:11434/v1, or None to answer from an earlier transcript alone. model: as the server names it.
    max_tokens: of one reply. temperature, top_p: sent where given. With every request goes a seed of its own, made from the
    sample, for servers that can use one. `dropped` lists the settings that the server refused.
    """

    source = "LLM"

    def __init__(
        self, url: str | None, model: str, max_tokens: int = 512, temperature: float | None = None, top_p: float | None = None
    ):
        if url is not None:
            _check_url(url)
        self.url, self.name = url and url.rstrip("/"), model
        settings = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
        self.settings = {name: value for name, value in settings.items() if value is not None}
        self.dropped: list[str] = []
        self.limit_field = "max_tokens"
        self.repeated = 0  # requests that had to be sent again
        self._reached = False  # whether the server has ever answered
        self._key = _Key(os.environ.get("OPENAI_API_KEY", "").strip())
        self._local, self._lock = threading.local(), threading.Lock()

    def request(self, messages: list[dict]) -> dict:
        """Return what is asked, whatever of it the server turns out to refuse: the transcript's key."""
        return {"model": self.name, "messages": messages, **self.settings}

    def complete(self, messages: list[dict], sample: tuple[int, ...]) -> Reply:
        """Ask until an answer is there; `sample` tells answers to the same question apart.

        Raises UserError where the address, the key or the model is wrong, RunError where the server keeps failing.
        """
        if self.url is None:
            raise UserError("the transcript does not hold the next reply; add --llm-url to go on asking the model")
        start, sendings, problem = time.perf_counter(), 0, ""
        while sendings < ATTEMPTS:
            if sendings:
                wait = BACKOFF * (2 ** (sendings - 1) + stream(0, "backoff", *sample, sendings).random())
                time.sleep(min(wait, LONGEST_BACKOFF))
            sendings += 1
            try:
                response = self._post(messages, sample, ATTEMPTS - sendings)
                sendings += len(response.raw.retries.history)
                text = self._key.hide(response.content.decode("utf-8", "replace"))
                return _read_reply(text, self.name, time.perf_counter() - start, self.dropped)
            except _Unusable as error:
                problem = str(error)
            finally:
                with self._lock:
                    self.repeated += sendings > 1
        raise RunError(f"{self.url} failed {ATTEMPTS} times, the last time because {problem}")

    def _post(self, messages: list[dict], sample: tuple[int, ...], retries: int) -> requests.Response:
        """Send the request, adapting it to what the server refuses; what helped is remembered."""
        dropped, limit_field = self.dropped, self.limit_field
        while True:
            asked = self.request(messages) | {"seed": stream_seed(0, "llm", *sample)}
            sent = {name: value for name, value in asked.items() if name not in dropped}
            sent[limit_field] = sent.pop("max_tokens")
            response = self._send(sent, retries)
            if response.status_code not in (400, 422):
                break
            complaint = response.content.decode("utf-8", "replace")
            named = [name for name in OPTIONAL if name in sent and re.search(rf"\b{name}\b", complaint)]
            if limit_field == "max_tokens" and "max_completion_tokens" in complaint:
                limit_field = "max_completion_tokens"
            elif named:
                dropped = sorted({*dropped, named[0]})
            else:
                break
        _raise_for_status(response, self.url, self.name, self._key)
        with self._lock:
            self._reached, self.limit_field = True, limit_field
            self.dropped = sorted({*self.dropped, *dropped})
        return response

    def _send(self, body: dict, retries: int) -> requests.Response:
        """Post the body; what fails before an answer is there is sent again up to `retries` times."""
        session = self._session
        session.get_adapter(self.url).max_retries = _Retry(
            total=retries, connect=min(retries, 2), redirect=0, allowed_methods=None, status_forcelist=RETRIED,
            raise_on_status=False, backoff_factor=BACKOFF, backoff_max=LONGEST_BACKOFF, backoff_jitter=BACKOFF,
        )  # fmt: skip
        address, timeout = f"{self.url}/chat/completions", (CONNECT_TIMEOUT, READ_TIMEOUT)
        try:
            return session.post(address, json=body, timeout=timeout, allow_redirects=False)
        except (requests.RequestException, HTTPError, UnicodeError, _Pause) as error:
            failure = self._failure(error)
        raise failure  # out here it has no context, which would hold the request and with it the key

    def _failure(self, error: Exception) -> Exception:
        """Return what is to be raised in the place of an exception of `requests`."""
        cause = error.args[0] if error.args else None
        reason = getattr(cause, "reason", None)
        if isinstance(error, _Pause):
            return RunError(str(error))
        if isinstance(reason, NewConnectionError):  # refused, or no such host
            if self._reached:  # it was there before: it may be starting again
                return _Unusable("nothing answers there any more")
            return UserError(f"nothing answers at {self.url}: start the server or correct --llm-url")
        if isinstance(reason, (ConnectTimeoutError, ProxyError)):
            return RunError(f"{self.url} cannot be reached ({type(reason).__name__})")
        if isinstance(cause, MaxRetryError):
            return RunError(f"{self.url} broke the connection {ATTEMPTS} times ({type(reason).__name__})")
        if isinstance(error, CUT_SHORT):  # while the body was read, which urllib3's retries do not see
            return _Unusable("the answer was cut short")
        return UserError(f"{self.url} cannot be asked ({type(error).__name__}): correct --llm-url")

    @property
    def _session(self) -> requests.Session:
        """This thread's session, a connection that is kept open."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.auth = self._key
        return self._local.session


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and parts.hostname and url.isascii() and url.isprintable()
        complete = complete and (parts.port is None or parts.port > 0)
    except ValueError:  # unbalanced brackets of an IPv6 address, or a port that is no number
        complete = False
    if not complete:
        raise UserError("--llm-url must be an http:// or https:// address such as http://localhost:11434/v1")
    if parts.username or parts.password or parts.query or parts.fragment or ";" in url:
        raise UserError("--llm-url must hold no key, user name or password; put the key into OPENAI_API_KEY")


class _Key:
    """Sign requests. Without a key this does nothing, but keeps `requests` from reading ~/.netrc."""

    def __init__(self, key: str):
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UserError("OPENAI_API_KEY holds blanks, line breaks or characters that no key has: set it again")
        self._key = key

    def __call__(self, request):
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def hide(self, text: str) -> str:
        """Return a text of the server without the key, should it repeat it."""
        return text.replace(self._key, "***") if self._key else text

    def complaint(self, response: requests.Response) -> str:
        """Return the beginning of what a server says is wrong; nothing where that may hold a part of the key."""
        text = response.content.decode("utf-8", "replace")
        try:
            error = json.loads(text)["error"]
            text = error["message"] if isinstance(error, dict) else error
        except (ValueError, LookupError, TypeError, RecursionError):
            pass  # the whole text, then
        text = _one_line(str(text))
        return "" if self._key and self._key[:8] in text else text[:300]


def _one_line(text: str) -> str:
    """Return a text of the server as one line of what can be printed."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return "".join(character for character in line if character.isprintable())


def _raise_for_status(response: requests.Response, url: str, model: str, key: _Key) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (401, 403):  # what is said there may hold a part of the key
        raise UserError(f"{url} refuses the key (status {status}): set OPENAI_API_KEY to a key that is valid there")
    complaint = key.complaint(response)
    if status == 404:
        raise UserError(f"{url} has no such path or no model {model!r} (status 404): check --llm-url and --llm-model")
    if status in (400, 422):
        complaint = complaint or "check --llm-model and --max-tokens"
        raise RequestRefused(f"{url} rejects the request for model {model!r} (status {status}): {complaint}")
    if status == 402:
        raise RunError(f"{url} wants to be paid (status 402): top up the account")
    times = f"failed {ATTEMPTS} times, the last time" if status in RETRIED else "answered"
    raise RunError(f"{url} {times} with status {status}" + (f": {complaint}" if complaint else ""))


def _read_reply(text: str, model: str, latency: float, dropped: list[str]) -> Reply:
    """Read a chat completion; raise _Unusable where it is none. Only `content` is text, never a field of reasoning."""
    try:
        body = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        raise _Unusable("the answer is not JSON") from None
    if isinstance(body, dict) and body.get("error"):
        raise _Unusable("the answer is an error")
    try:
        choice = body["choices"][0]
        if choice.get("error") or choice.get("finish_reason") == "error":
            raise _Unusable("the answer is an error")
        content, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
        name, usage = body.get("model") or model, body.get("usage") or {}
        if not (isinstance(content, str | None) and isinstance(name, str) and isinstance(finish_reason, str | None)):
            raise TypeError
        usage = {kind: n for kind, n in usage.items() if kind in COUNTED and type(n) is int and 0 <= n < 2**53}
        reasoning = any(choice["message"].get(key) for key in ("reasoning", "reasoning_content", "thinking"))
    except (LookupError, TypeError, AttributeError):
        raise _Unusable("the answer is not a chat completion: is it an OpenAI-compatible address?") from None
    return Reply(content or "", _one_line(name), finish_reason, usage, latency, reasoning, dropped)
