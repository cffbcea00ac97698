import socket

import pytest
from servers import completion, serve

import minloro
from minloro.errors import RunError, UserError
from minloro.llm import client

MESSAGES = [{"role": "user", "content": "Which way?"}]
SAMPLE = (0, 0, 0, 0)
KEY = "sk-a-key-that-nobody-may-see"


def ask(url, model="tiny"):
    return minloro.ChatClient(url, model).complete(MESSAGES, SAMPLE)


def test_a_call_and_its_answer():
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "details": {"cached": 1}}
    with serve(lambda *_: (200, completion("Action: 2", model="tiny-v2", usage=usage))) as (url, received):
        reply = ask(url + "/")
    assert (reply.text, reply.model, reply.finish_reason) == ("Action: 2", "tiny-v2", "stop")
    assert reply.usage == {"prompt_tokens": 7, "completion_tokens": 3} and reply.latency > 0
    path, body, headers = received[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    assert body == {"model": "tiny", "messages": MESSAGES, "max_tokens": 512}


def test_what_a_server_may_leave_out():
    for body in (
        completion("hi"),
        completion("hi", usage=None, model=None),
        {"choices": [{"message": {"content": "hi"}}]},
    ):
        with serve(lambda *_, body=body: (200, body)) as (url, _):
            reply = ask(url)
        assert (reply.text, reply.model, reply.usage) == ("hi", "tiny", {})
    with serve(lambda *_: (200, completion(None))) as (url, _):
        assert ask(url).text == ""


def test_the_key_is_sent_and_shown_nowhere(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(lambda *_: (200, completion("x"))) as (url, received):
        chat = minloro.ChatClient(url, "tiny")
        chat.complete(MESSAGES, SAMPLE)
    assert received[0][2]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(chat) + repr(vars(chat)) + str(chat.request(MESSAGES))
    for answer in ((401, {"error": f"bad key {KEY}"}), (500, KEY.encode()), (200, KEY.encode())):
        with serve(lambda *_, answer=answer: answer) as (url, _), pytest.raises((UserError, RunError)) as caught:
            ask(url)
        assert KEY not in str(caught.value) and caught.value.__suppress_context__ | (caught.value.__context__ is None)


def test_without_a_key_netrc_is_not_read(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(lambda *_: (200, completion("x"))) as (url, received):
        ask(url)
    assert "Authorization" not in received[0][2]


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((401, {}), UserError, "OPENAI_API_KEY"),
        ((403, {}), UserError, "OPENAI_API_KEY"),
        ((404, {}), UserError, "no model 'tiny'"),
        ((400, {}), UserError, "status 400"),
        ((500, {}), RunError, "status 500"),
        ((302, {}, {"Location": "http://127.0.0.1:9/"}), RunError, "status 302"),
        ((200, b"<html>"), RunError, "not a chat completion"),
        ((200, []), RunError, "not a chat completion"),
        ((200, {"choices": []}), RunError, "not a chat completion"),
        ((200, {"choices": [{"message": None}]}), RunError, "not a chat completion"),
        ((200, {"choices": [{"message": {"content": ["x"]}}]}), RunError, "not a chat completion"),
        ((200, {"error": {"message": "overloaded"}}), RunError, "not a chat completion"),
        (None, RunError, "broke the connection"),
    ],
)
def test_unusable_answers_end_in_one_line(answer, kind, message):
    with serve(lambda *_: answer) as (url, received), pytest.raises(kind, match=message) as caught:
        ask(url)
    assert "\n" not in str(caught.value) and url in str(caught.value)
    assert len(received) == 1  # no redirect is followed


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="nothing answers at http://127.0.0.1"):
        ask(f"http://127.0.0.1:{port}/v1")


def test_a_server_that_hangs(monkeypatch):
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(RunError, match="did not answer in time"):
            ask(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://x/v1", "", "http://", "http://me:secret@x/v1", "http://x/v1?key=secret", "http://[x/v1"])  # fmt: skip  # noqa: E501
def test_addresses_that_cannot_be_asked(url):
    with pytest.raises(UserError, match="--llm-url") as caught:
        minloro.ChatClient(url, "tiny")
    assert "secret" not in str(caught.value)
