"""The key of a server: it signs requests, is never shown and never stands in an address."""

from urllib.parse import SplitResult, urlsplit

import requests

from minloro.errors import UserError

BEGINNING = 8  # characters of the key: a text that holds them is not shown


class Key:
    """Sign requests. An empty key signs nothing, but it keeps `requests` from reading ~/.netrc.

    Raises UserError if no server can have given out this key.
    """

    def __init__(self, key: str):
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UserError(
                "OPENAI_API_KEY holds blanks, line breaks or characters that no key has: "
                "set it again"
            )
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key to a request, as an auth object of `requests`."""
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def hide(self, text: str) -> str:
        """Return a text of the server with stars in the place of the key."""
        return text.replace(self._key, "***") if self._key else text

    def shows_in(self, text: str) -> bool:
        """Say whether a text of the server holds the beginning of the key."""
        return bool(self._key) and self._key[:BEGINNING] in text


def check_url(url: str) -> None:
    """Raise UserError if a URL is not the address of a server, or if it may hold a secret."""
    parts = _split_url(url)
    if parts is None:
        raise UserError(
            "--llm-url must be an http:// or https:// address such as http://localhost:11434/v1"
        )
    if parts.username or parts.password or parts.query or parts.fragment or ";" in url:
        raise UserError(
            "--llm-url must hold no key, user name or password; put the key into OPENAI_API_KEY"
        )


def _split_url(url: str) -> SplitResult | None:
    """Return the parts of a complete URL, or None if it is not one."""
    try:
        parts = urlsplit(url)
        hostname = parts.hostname
        port = parts.port
    except ValueError:  # unbalanced brackets of an IPv6 address, or a port that is no number
        return None
    is_web_address = parts.scheme in ("http", "https") and bool(hostname)
    is_plain_text = url.isascii() and url.isprintable()
    has_valid_port = port is None or port > 0
    return parts if is_web_address and is_plain_text and has_valid_port else None
