"""ChatClient: one POST to {url}/chat/completions, the form that language-model servers have in common.

The key comes from the environment variable OPENAI_API_KEY only. It is handed to `requests` as an auth object, stands in
no message, file or repr, and is never sent along a redirect, because redirects are not followed.
"""

import os
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, NewConnectionError

from minloro.errors import RunError, UserError

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 300.0  # seconds; a large model on a small machine answers slowly
COUNTED = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Reply:
    """What a model answered: its text and what the server told about it."""

    text: str
    model: str
    finish_reason: str | None = None
    usage: dict = field(default_factory=dict)  # tokens by kind, of the COUNTED ones that the server reports
    latency: float = 0.0  # seconds


class ChatClient:
    """Ask a language model behind any OpenAI-compatible server.

    url: such as http://localhost:11434/v1, or None to answer from an earlier transcript alone. model: as the server
    names it. max_tokens: of one reply.
    """

    source = "LLM"

    def __init__(self, url: str | None, model: str, max_tokens: int = 512):
        if url is not None:
            _check_url(url)
        self.url, self.name, self.max_tokens = url and url.rstrip("/"), model, max_tokens
        self._session = requests.Session()
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UserError("OPENAI_API_KEY holds blanks, line breaks or characters that no key has: set it again")
        self._session.auth = _auth(key)

    @property
    def settings(self) -> dict:
        """How replies are sampled; part of every request, and of D's metadata."""
        return {"max_tokens": self.max_tokens}

    def request(self, messages: list[dict]) -> dict:
        """Return the JSON body of the call."""
        return {"model": self.name, "messages": messages, **self.settings}

    def complete(self, messages: list[dict], sample: tuple[int, ...]) -> Reply:
        """Ask once and return the Reply; `sample` only tells answers to the same question apart, in the transcript.

        Raises UserError where the server's address, key or model is wrong, RunError where its answer is unusable.
        """
        if self.url is None:
            raise UserError("the transcript does not hold the next reply; add --llm-url to go on asking the model")
        start = time.perf_counter()
        response = self._post(self.request(messages))
        return _read_reply(response, self.name, time.perf_counter() - start, self.url)

    def _post(self, body: dict) -> requests.Response:
        try:
            response = self._session.post(
                f"{self.url}/chat/completions",
                json=body,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
            )
        except requests.Timeout:
            raise RunError(f"{self.url} did not answer in time ({READ_TIMEOUT:.0f} s)") from None
        except requests.ConnectionError as error:
            reason = getattr(error.args[0] if error.args else None, "reason", None)
            if isinstance(reason, NewConnectionError):  # refused, or no such host
                raise UserError(f"nothing answers at {self.url}: start the server or correct --llm-url") from None
            raise RunError(f"{self.url} broke the connection ({type(error).__name__})") from None
        except (requests.RequestException, HTTPError, UnicodeError) as error:
            raise UserError(f"{self.url} cannot be asked ({type(error).__name__}): correct --llm-url") from None
        _raise_for_status(response, self.url, self.name)
        return response


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


def _auth(key: str):
    """Return what signs a request. Without a key it does nothing, but keeps `requests` from reading ~/.netrc."""

    def sign(request):
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    return sign


def _raise_for_status(response: requests.Response, url: str, model: str) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (401, 403):
        raise UserError(f"{url} refuses the key (status {status}): set OPENAI_API_KEY to a key that is valid there")
    if status == 404:
        raise UserError(f"{url} has no such path or no model {model!r} (status 404): check --llm-url and --llm-model")
    if status == 400:
        raise UserError(f"{url} rejects the request for model {model!r} (status 400): check --llm-model")
    raise RunError(f"{url} answered with status {status}")


def _read_reply(response: requests.Response, model: str, latency: float, url: str) -> Reply:
    try:
        body = response.json()
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            raise TypeError
        usage = {kind: n for kind, n in (body.get("usage") or {}).items() if kind in COUNTED and isinstance(n, int)}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RunError(
            f"{url} answered with something that is not a chat completion: is it an OpenAI-compatible address?"
        ) from None
    name = " ".join(str(body.get("model") or model).encode("utf-8", "replace").decode().split())
    return Reply(text, name, choice.get("finish_reason"), usage, latency)
