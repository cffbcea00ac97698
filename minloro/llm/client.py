"""ChatClient: POST {url}/chat/completions, the form that OpenAI, Ollama, llama.cpp, vLLM, LM Studio and OpenRouter share.

What these servers do differently is handled here: which field limits the reply, settings that a model refuses, reasoning in
tags, answers without usage, errors that call themselves answers. Faults of transport are met by sending the identical request
again; a reply that is there but says no action is not a fault of transport, and is left to the policy.

The key comes from the environment variable OPENAI_API_KEY only. It is handed to `requests` as an auth object, stands in no
message, file or repr, and is never sent along a redirect, because redirects are not followed.
"""

import os
import re
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader, NewConnectionError
from urllib3.util import Retry

from minloro.errors import RunError, UserError
from minloro.randomness import stream_seed

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 300.0  # seconds; a large model on a small machine answers slowly
ATTEMPTS = 8  # sendings of one request before the run stops
BACKOFF, LONGEST_BACKOFF, LONGEST_WAIT = 0.5, 30.0, 120.0  # seconds: first wait, its limit, what a server may ask for
RETRIED = frozenset((408, 409, 429, *range(500, 600)))
COUNTED = ("prompt_tokens", "completion_tokens")
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
        """How the call ended: answered, cut off (at the limit of tokens) or empty."""
        if self.finish_reason == "length":
            return "cut off"
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


class _Retry(Retry):
    """urllib3's retries, with a Retry-After that may be a decimal number, and may not be longer than two minutes."""

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            seconds = float(retry_after)
        except ValueError:
            try:
                seconds = super().parse_retry_after(retry_after)
            except InvalidHeader:
                return 0.0  # the ordinary backoff
        if not seconds <= LONGEST_WAIT:
            raise RunError(f"the server asks for a pause of {seconds:.0f} s: go on later")
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
        start = time.perf_counter()
        for attempt in range(ATTEMPTS):
            try:
                body = self._post(messages, sample)
                return _read_reply(body, self.name, time.perf_counter() - start, self.dropped)
            except _Unusable as error:
                problem = str(error)
                time.sleep(min(BACKOFF * 2**attempt, LONGEST_BACKOFF))
        raise RunError(f"{self.url} failed {ATTEMPTS} times, the last time because {problem}")

    def _post(self, messages: list[dict], sample: tuple[int, ...]) -> object:
        """Send the request, adapting it to what the server refuses, and return the JSON of its answer."""
        while True:
            asked = self.request(messages) | {"seed": stream_seed(0, "llm", *sample)}
            sent = {name: value for name, value in asked.items() if name not in self.dropped}
            sent[self.limit_field] = sent.pop("max_tokens")
            response = self._send(sent)
            self._reached = True
            if response.status_code not in (400, 422) or not self._adapt(sent, response.text):
                break
        _raise_for_status(response, self.url, self.name, self._key)
        try:
            return response.json()
        except ValueError:
            raise _Unusable("the answer is not JSON") from None

    def _adapt(self, sent: dict, complaint: str) -> bool:
        """Change what is sent after a refusal that names a setting; say whether there is something new to try."""
        if "max_completion_tokens" in complaint and "max_tokens" in sent:
            self.limit_field = "max_completion_tokens"
            return True
        for name in OPTIONAL:
            if name in sent and re.search(rf"\b{name}\b", complaint):
                with self._lock:
                    self.dropped = sorted({*self.dropped, name})
                return True
        return False

    def _send(self, body: dict) -> requests.Response:
        url = f"{self.url}/chat/completions"
        try:
            return self._session.post(url, json=body, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), allow_redirects=False)
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            raise _Unusable("the answer was cut short") from None
        except requests.ConnectionError as error:
            if isinstance(_reason(error), NewConnectionError):  # refused, or no such host
                if self._reached:  # it was there before: it may be starting again
                    raise _Unusable("nothing answers there any more") from None
                raise UserError(f"nothing answers at {self.url}: start the server or correct --llm-url") from None
            raise RunError(f"{self.url} broke the connection {ATTEMPTS} times ({type(_reason(error)).__name__})") from None
        except (requests.RequestException, HTTPError, UnicodeError) as error:
            raise UserError(f"{self.url} cannot be asked ({type(error).__name__}): correct --llm-url") from None

    @property
    def _session(self) -> requests.Session:
        """This thread's session: a connection that is kept open, and retries of whatever fails before an answer is there."""
        if not hasattr(self._local, "session"):
            retry = _Retry(
                total=ATTEMPTS - 1, connect=2, redirect=0, allowed_methods=None, status_forcelist=RETRIED,
                raise_on_status=False, backoff_factor=BACKOFF, backoff_max=LONGEST_BACKOFF, backoff_jitter=BACKOFF,
            )  # fmt: skip
            self._local.session = requests.Session()
            self._local.session.auth = self._key
            for scheme in ("http://", "https://"):
                self._local.session.mount(scheme, HTTPAdapter(max_retries=retry))
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
    if parts.username or parts.password or parts.query:
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

    def complaint(self, response: requests.Response) -> str:
        """Return the beginning of what a server says is wrong; nothing where that holds the key."""
        try:
            error = response.json()["error"]
            text = error["message"] if isinstance(error, dict) else error
        except (ValueError, LookupError, TypeError):
            text = response.text
        text = " ".join(str(text).split())
        return "" if self._key and self._key in text else text[:300]


def _reason(error: Exception):
    """Return what urllib3 gave up on, below what `requests` made of it."""
    cause = error.args[0] if error.args else None
    return getattr(cause, "reason", None) or cause


def _raise_for_status(response: requests.Response, url: str, model: str, key: _Key) -> None:
    status, complaint = response.status_code, ""
    if status == 200:
        return
    if status not in (401, 403):  # what is said there may hold a part of the key
        complaint = key.complaint(response)
    if status in (401, 403):
        raise UserError(f"{url} refuses the key (status {status}): set OPENAI_API_KEY to a key that is valid there")
    if status == 404:
        raise UserError(f"{url} has no such path or no model {model!r} (status 404): check --llm-url and --llm-model")
    if status in (400, 422):
        complaint = complaint or "check --llm-model and --max-tokens"
        raise RequestRefused(f"{url} rejects the request for model {model!r} (status {status}): {complaint}")
    if status == 402:
        raise RunError(f"{url} wants to be paid (status 402): top up the account")
    times = f"failed {ATTEMPTS} times, the last time" if status in RETRIED else "answered"
    raise RunError(f"{url} {times} with status {status}" + (f": {complaint}" if complaint else ""))


def _read_reply(body: object, model: str, latency: float, dropped: list[str]) -> Reply:
    """Read a chat completion; raise _Unusable where it is none. Only `content` is text, never a field of reasoning."""
    if isinstance(body, dict) and body.get("error"):
        raise _Unusable("the answer is an error")
    try:
        choice = body["choices"][0]
        if choice.get("error") or choice.get("finish_reason") == "error":
            raise _Unusable("the answer is an error")
        text = choice["message"].get("content") or ""
        finish_reason, name, usage = choice.get("finish_reason"), body.get("model") or model, body.get("usage") or {}
        if not (isinstance(text, str) and isinstance(name, str) and isinstance(finish_reason, str | None)):
            raise TypeError
        usage = {kind: n for kind, n in usage.items() if kind in COUNTED and isinstance(n, int)}
    except (LookupError, TypeError, AttributeError):
        raise _Unusable("the answer is not a chat completion: is it an OpenAI-compatible address?") from None
    name = " ".join(name.encode("utf-8", "replace").decode().split())
    reasoning = any(choice["message"].get(key) for key in ("reasoning", "reasoning_content", "thinking"))
    return Reply(text, name, finish_reason, usage, latency, reasoning, dropped)
