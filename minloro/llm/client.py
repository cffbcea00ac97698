"""ChatClient: ask an OpenAI-compatible server, by POST {url}/chat/completions.

OpenAI, Ollama, llama.cpp, vLLM, LM Studio and OpenRouter share this form. What they do differently
is handled here and in answer.py: which field limits the reply, settings that a model refuses,
reasoning in tags, answers without usage, and errors that come with status 200.

If the transport fails, the identical request is sent again. A reply without an action is no failure
of the transport: the policy deals with it.

The key comes from the environment variable OPENAI_API_KEY only. `requests` gets it as an auth
object. No message, file or repr holds it. Redirects are not followed, so it never goes elsewhere.
"""

import os
import re
import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    NewConnectionError,
    ProxyError,
)
from urllib3.util import Retry

from minloro.errors import RunError, UserError
from minloro.llm.answer import REQUEST_REFUSED, Unusable, raise_for_status, read_reply
from minloro.llm.key import Key, check_url
from minloro.llm.model import Messages, Reply, Sample
from minloro.randomness import stream, stream_seed

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 300.0  # seconds: a large model on a small machine answers slowly
ATTEMPTS = 8  # sendings of one request; then the run stops
CONNECTION_RETRIES = 2  # how often a connection that cannot be made is tried again
BACKOFF = 0.5  # seconds before the first repetition; each further wait is twice as long
LONGEST_BACKOFF = 30.0  # seconds; no such wait is longer
LONGEST_WAIT = 120.0  # seconds; if a server asks for a longer pause, the run stops
RETRIED = frozenset((408, 409, 429, *range(500, 600)))  # statuses of faults that may pass
OPTIONAL = ("temperature", "top_p", "seed")  # settings that are left out if a server refuses them
# What `requests` raises if an answer ends too early.
CUT_SHORT = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class ChatClient:
    """A language model behind any OpenAI-compatible server.

    url: such as http://localhost:11434/v1. None: there is no server, and only a transcript can
    answer. model: its name on the server. max_tokens: the most tokens of one reply. temperature,
    top_p: sent if they are given. Every request also has a seed, made from the sample, for servers
    that can use one.

    Threads may share a client: each of them has its own session.
    """

    source = "LLM"

    def __init__(
        self,
        url: str | None,
        model: str,
        max_tokens: int = 512,
        temperature: float | None = None,
        top_p: float | None = None,
    ):
        if url is not None:
            check_url(url)
        self.url = None if url is None else url.rstrip("/")
        self.name = model
        given = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
        self.settings: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        self.dropped: list[str] = []  # settings that the server refused
        self.limit_field = "max_tokens"  # the field in which the server wants max_tokens
        self.repeated = 0  # how often an answer, good or broken, needed more than one sending
        self._answered = False  # whether the server has ever answered
        self._key = Key(os.environ.get("OPENAI_API_KEY", "").strip())
        self._local = threading.local()
        self._lock = threading.Lock()

    def request(self, messages: Messages) -> dict[str, Any]:
        """Return the question as JSON. It includes settings that the server turns out to refuse."""
        return {"model": self.name, "messages": messages, **self.settings}

    def complete(self, messages: Messages, sample: Sample) -> Reply:
        """Ask until there is an answer.

        Raises UserError if the address, the key or the model is wrong, and RunError if the server
        keeps failing.
        """
        if self.url is None:
            raise UserError(
                "the transcript does not hold the next reply; "
                "add --llm-url to go on asking the model"
            )
        start = time.perf_counter()
        sendings = 0
        problem = ""
        while sendings < ATTEMPTS:
            if sendings > 0:
                time.sleep(_backoff(sendings, sample))
            sendings += 1
            try:
                response = self._post(self.url, messages, sample, retries=ATTEMPTS - sendings)
                sendings += _repetitions(response)
                text = self._text(response)
                return read_reply(text, self.name, time.perf_counter() - start, self.dropped)
            except Unusable as error:
                problem = str(error)
            finally:
                if sendings > 1:
                    self._count_repeated()
        raise RunError(f"{self.url} failed {ATTEMPTS} times, the last time because {problem}")

    def _count_repeated(self) -> None:
        with self._lock:
            self.repeated += 1

    def _post(
        self, url: str, messages: Messages, sample: Sample, retries: int
    ) -> requests.Response:
        """Send the request without what the server refuses, and remember what helped."""
        dropped = self.dropped
        limit_field = self.limit_field
        while True:
            body = self._body(messages, sample, dropped, limit_field)
            response = self._send(url, body, retries)
            if response.status_code not in REQUEST_REFUSED:
                break
            complaint = self._text(response)
            refused = _named_setting(complaint, body)
            if limit_field == "max_tokens" and "max_completion_tokens" in complaint:
                limit_field = "max_completion_tokens"
            elif refused is not None:
                dropped = sorted({*dropped, refused})
            else:
                break
        sendings = ATTEMPTS if response.status_code in RETRIED else 1
        raise_for_status(response, url, self.name, self._key, sendings)
        with self._lock:
            self._answered = True
            self.limit_field = limit_field
            self.dropped = sorted({*self.dropped, *dropped})
        return response

    def _text(self, response: requests.Response) -> str:
        """Return the body of an answer without the key, in case the server repeats it."""
        return self._key.hide(response.content.decode("utf-8", "replace"))

    def _body(
        self, messages: Messages, sample: Sample, dropped: list[str], limit_field: str
    ) -> dict[str, Any]:
        """Return the JSON that is sent."""
        asked = self.request(messages) | {"seed": stream_seed(0, "llm", *sample)}
        body = {name: value for name, value in asked.items() if name not in dropped}
        body[limit_field] = body.pop("max_tokens")
        return body

    def _send(self, url: str, body: dict[str, Any], retries: int) -> requests.Response:
        """Post the body, and again up to `retries` times if it fails before the answer begins."""
        session = self._session
        adapter = session.get_adapter(url)
        assert isinstance(adapter, HTTPAdapter)  # a session has no others
        adapter.max_retries = _retries(retries)
        try:
            return session.post(
                f"{url}/chat/completions",
                json=body,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError, UnicodeError, _LongPause) as error:
            failure = self._failure(url, error)
        # Raised out here, it has no context. A context would hold the request, and so the key.
        raise failure

    def _failure(self, url: str, error: Exception) -> Exception:
        """Return what to raise in the place of an exception of `requests`."""
        cause = error.args[0] if error.args else None
        reason = getattr(cause, "reason", None)
        if isinstance(error, _LongPause):
            return RunError(str(error))
        if isinstance(reason, NewConnectionError):  # refused, or no such host
            return _gone() if self._answered else _nobody_there(url)
        if isinstance(reason, ConnectTimeoutError | ProxyError):
            return _unreachable(url, reason)
        if isinstance(cause, MaxRetryError):
            return _broken_connection(url, reason)
        if isinstance(error, CUT_SHORT):  # while the body was read: urllib3 does not retry then
            return _cut_short()
        return _wrong_address(url, error)

    @property
    def _session(self) -> requests.Session:
        """This thread's session: its connection is kept open."""
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.auth = self._key
            self._local.session = session
        return self._local.session


def _repetitions(response: requests.Response) -> int:
    """Return how often urllib3 sent a request again before it got this answer."""
    retries = response.raw.retries
    return 0 if retries is None else len(retries.history)


def _nobody_there(url: str) -> UserError:
    return UserError(f"nothing answers at {url}: start the server or correct --llm-url")


def _gone() -> Unusable:
    """Return what makes the client try again: a server that was there may be restarting."""
    return Unusable("nothing answers there any more")


def _unreachable(url: str, reason: Exception) -> RunError:
    return RunError(f"{url} cannot be reached ({type(reason).__name__})")


def _broken_connection(url: str, reason: Exception | None) -> RunError:
    return RunError(f"{url} broke the connection {ATTEMPTS} times ({type(reason).__name__})")


def _cut_short() -> Unusable:
    return Unusable("the answer was cut short")


def _wrong_address(url: str, error: Exception) -> UserError:
    return UserError(f"{url} cannot be asked ({type(error).__name__}): correct --llm-url")


def _named_setting(complaint: str, body: dict[str, Any]) -> str | None:
    """Return the first optional setting of a body that a server complains about."""
    for name in OPTIONAL:
        if name in body and re.search(rf"\b{name}\b", complaint):
            return name
    return None


def _backoff(sendings: int, sample: Sample) -> float:
    """Return the seconds to wait after so many sendings: longer and longer, partly by chance."""
    jitter = stream(0, "backoff", *sample, sendings).random()
    return min(BACKOFF * (2 ** (sendings - 1) + jitter), LONGEST_BACKOFF)


class _LongPause(Exception):
    """The server asks for a longer pause than anybody wants to wait for."""


class _Retry(Retry):
    """urllib3's retries. Here, Retry-After may be a decimal number and has a limit."""

    def parse_retry_after(self, retry_after: str) -> float:
        """Return the seconds that a server asks for; raise _LongPause if they are too many."""
        seconds = self._seconds(retry_after)
        if not seconds <= LONGEST_WAIT:  # also true of NaN
            raise _LongPause(
                f"the server asks for a pause of more than {LONGEST_WAIT:.0f} s: go on later"
            )
        return max(seconds, 0.0)

    def _seconds(self, retry_after: str) -> float:
        try:
            return float(retry_after)
        except ValueError:
            pass  # it may be a date
        try:
            return super().parse_retry_after(retry_after)
        except (InvalidHeader, ValueError, OverflowError):  # no date, or of an impossible year
            return 0.0  # the ordinary backoff


def _retries(total: int) -> _Retry:
    """Return how often urllib3 sends a request again, and after which waits."""
    return _Retry(
        total=total,
        connect=min(total, CONNECTION_RETRIES),
        redirect=0,
        allowed_methods=None,
        status_forcelist=RETRIED,
        raise_on_status=False,
        backoff_factor=BACKOFF,
        backoff_max=LONGEST_BACKOFF,
        backoff_jitter=BACKOFF,
    )
