"""The HTTP client: what it sends, what it accepts, faults and their repetition, and the key."""

import json
import socket
import threading
import traceback
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from servers import always, completion, serve

import minloro
from minloro.errors import RunError, UserError
from minloro.llm import client
from minloro.llm.model import Reply
from minloro.randomness import stream_seed

MESSAGES = [{"role": "user", "content": "Which way?"}]
SAMPLE = (0, 0, 0, 0)
KEY = "sk-a-key-that-nobody-may-see"
GOOD = (200, completion("Action: 2"))


def ask(url, model="tiny", **settings):
    return minloro.ChatClient(url, model, **settings).complete(MESSAGES, SAMPLE)


def in_turn(*answers):
    """Answer with each of `answers`, then with the last one for ever."""
    left = list(answers)
    return lambda *_: left.pop(0) if len(left) > 1 else left[0]


def test_a_call_and_its_answer():
    tokens = {"prompt_tokens": 7, "completion_tokens": 3}
    usage = tokens | {"total_tokens": 10, "details": {"cached": 1}}
    body = completion("Action: 2", model="tiny-v2", usage=usage)
    with serve(always(200, body)) as (url, received):
        reply = ask(url + "/", temperature=0.5, top_p=0.9, max_tokens=77)
    assert (reply.text, reply.model, reply.finish_reason) == ("Action: 2", "tiny-v2", "stop")
    assert reply.usage == tokens and reply.latency > 0
    path, body, headers = received[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    assert body.pop("seed") == stream_seed(0, "llm", *SAMPLE)  # every sample has its own
    assert body == {
        "model": "tiny",
        "messages": MESSAGES,
        "max_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
    }


def test_usage_that_cannot_be_true_is_not_counted():
    for odd in (True, -1000, 10**4000, "7", 1.5, None):
        body = completion("hi", usage={"prompt_tokens": odd, "completion_tokens": 3})
        with serve(always(200, body)) as (url, _):
            assert ask(url).usage == {"completion_tokens": 3}


def test_what_a_server_may_leave_out():
    bare = {"choices": [{"message": {"content": "hi"}}]}
    for body in (completion("hi"), completion("hi", usage=None, model=None), bare):
        with serve(always(200, body)) as (url, _):
            reply = ask(url)
        assert (reply.text, reply.model, reply.usage) == ("hi", "tiny", {})
    with serve(always(200, completion(None))) as (url, _):
        assert ask(url).text == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Action: 1", "Action: 1"),
        ("<think>Action: 1\n</think>\nAction: 2", "\nAction: 2"),
        ("<think>Action: 1", ""),
        ("a hidden thought\n</think>Action: 2", "Action: 2"),
        ("Well.<think>x</think>Action: 2<think>Action: 1", "Action: 2"),
        ("", ""),
        ("<think></think>", ""),
    ],
)
def test_reasoning_in_tags_is_no_answer(text, answer):
    assert Reply(text, "m").answer == answer


def test_reasoning_fields_are_never_read():
    body = completion(None)
    for field in ("reasoning_content", "reasoning", "thinking"):
        body["choices"][0]["message"][field] = "Action: 1"
    with serve(always(200, body)) as (url, _):
        assert ask(url).answer == ""


def test_a_reply_that_was_cut_off_is_no_answer():
    body = completion("So I choose\nAction: 1")
    body["choices"][0]["finish_reason"] = "length"
    with serve(always(200, body)) as (url, received):
        reply = ask(url)
    assert reply.answer == "" and "Action: 1" in reply.text and len(received) == 1


def test_the_token_limit_changes_its_name_only_where_the_server_says_so():
    """OpenAI's newer models say so. Ollama knows only max_tokens and silently ignores the other."""
    message = "Unsupported parameter: use 'max_completion_tokens' instead of 'max_tokens'."

    def answer(body, headers):
        if "max_tokens" in body:
            return 400, {"error": {"message": message}}
        return GOOD

    with serve(answer) as (url, received):
        chat = minloro.ChatClient(url, "o1", max_tokens=99)
        for _ in range(3):
            assert chat.complete(MESSAGES, SAMPLE).text == "Action: 2"
    limits = [("max_tokens" in body, body.get("max_completion_tokens")) for _, body, _ in received]
    assert limits == [(True, None), (False, 99), (False, 99), (False, 99)]
    # The key of a call does not depend on the server's name for the limit.
    assert chat.request(MESSAGES)["max_tokens"] == 99


@pytest.mark.parametrize(
    "refused", [("temperature",), ("top_p",), ("seed",), ("seed", "temperature", "top_p")]
)
def test_a_setting_that_a_model_refuses_is_dropped_once_and_remembered(refused):
    def answer(body, headers):
        for name in refused:
            if name in body:
                message = f"Unsupported value: '{name}' does not support 0.5 with this model."
                return 400, {"error": {"message": message}}
        return GOOD

    with serve(answer) as (url, received):
        chat = minloro.ChatClient(url, "o1", temperature=0.5, top_p=0.5)
        for _ in range(3):
            reply = chat.complete(MESSAGES, SAMPLE)
    assert len(received) == len(refused) + 3 and chat.dropped == reply.dropped == list(refused)
    assert not set(refused) & received[-1][1].keys()


def test_a_refusal_of_something_else_is_final():
    refusal = {"error": {"message": "context length exceeded"}}
    with serve(always(400, refusal)) as (url, received):
        with pytest.raises(UserError, match=r"\(status 400\): context length exceeded$"):
            ask(url, temperature=0.5)
    assert len(received) == 1


def choice(**fields):
    """An answer with one choice, which holds these fields."""
    return (200, {"choices": [fields]})


FAULTS = {
    **{f"status {status}": (status, {}) for status in (408, 409, 429, 500, 502, 503, 529)},
    "hangs up": None,
    "half a body": (200, b'{"choices": [{"mess', {"X-Half": "yes"}),
    "broken JSON": (200, b'{"choices": ['),
    "nested without end": (200, b"[" * 200_000),
    "false for a text": choice(message={"content": False}),
    "an error in a 200 answer": (200, {"error": {"message": "overloaded", "code": 502}}),
    "an error in place of the text": choice(message={"content": ""}, finish_reason="error"),
    "an error beside the text": choice(message={"content": "Action: 1"}, error={"code": 502}),
    "a list": (200, [1]),
    "no choices": (200, {"choices": []}),
    "a number for a text": (200, completion(5)),
    "a list for a text": (200, completion(["Action: 2"])),
    "no message": choice(message=None),
    "a text for usage": (200, completion("Action: 2", usage="many")),
    "a number for a model": (200, completion("Action: 2", model=5)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_identical_request_is_sent_again(fault):
    with serve(in_turn(FAULTS[fault], FAULTS[fault], GOOD)) as (url, received):
        assert ask(url).text == "Action: 2"
    bodies = [json.dumps(body) for _, body, _ in received]
    assert len(bodies) == 3 and len(set(bodies)) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_ends_in_one_line(fault):
    with serve(lambda *_: FAULTS[fault]) as (url, received):
        with pytest.raises(RunError) as caught:
            ask(url)
    assert "\n" not in str(caught.value) and url in str(caught.value)
    assert len(received) == client.ATTEMPTS


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "no model 'tiny'"), (400, "400")],
)
def test_what_no_repetition_can_mend(status, message):
    with serve(always(status, {"error": "no"})) as (url, received):
        with pytest.raises(UserError, match=message):
            ask(url)
    assert len(received) == 1


def test_redirects_are_not_followed():
    with serve(always(*GOOD)) as (other, reached):
        redirect = (302, {}, {"Location": f"{other}/chat/completions"})
        with serve(always(*redirect)) as (url, _):
            with pytest.raises(RunError, match="status 302"):
                ask(url)
    assert not reached


def test_retry_after_is_waited_for(monkeypatch):
    waits = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=40), usegmt=True)
    for header, low, high in (("7", 7, 7), ("0.25", 0.25, 0.25), (soon, 30, 41)):
        waits.clear()
        with serve(in_turn((429, {}, {"Retry-After": header}), GOOD)) as (url, _):
            ask(url)
        assert len(waits) == 1 and low <= waits[0] <= high
    waits.clear()
    with serve(in_turn((503, {}, {"Retry-After": "soon"}), GOOD)) as (url, _):
        assert ask(url).text == "Action: 2"
    for header in ("121", "86400", "1e9", "inf", "nan"):
        with serve(always(429, {}, {"Retry-After": header})) as (url, received):
            with pytest.raises(RunError, match="go on later"):
                ask(url)
        assert len(received) == 1


def test_the_key_is_sent_and_shown_nowhere(monkeypatch, tmp_path, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(always(*GOOD)) as (url, received):
        chat = minloro.ChatClient(url, "tiny")
        chat.complete(MESSAGES, SAMPLE)
    assert received[0][2]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(chat) + repr(vars(chat)) + str(chat.request(MESSAGES)) + caplog.text
    refusals = [(401, {"error": f"bad key {KEY}"}), (500, KEY.encode()), (200, KEY.encode()), None]
    for answer in refusals:
        with serve(lambda *_, answer=answer: answer) as (url, _):
            with pytest.raises((UserError, RunError)) as caught:
                ask(url)
        error = caught.value
        assert KEY not in str(error)
        assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.parametrize("key", ["sk-1\nsk-2", "sk-ü", "sk 1", "sk-\x00"])
def test_a_key_that_cannot_be_one_is_refused_unseen(monkeypatch, key):
    if "\x00" in key:
        pytest.skip("no environment holds a NUL")
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="OPENAI_API_KEY") as caught:
        minloro.ChatClient("http://localhost:1/v1", "tiny")
    assert key not in str(caught.value)


def test_without_a_key_netrc_is_not_read(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(always(*GOOD)) as (url, received):
        ask(url)
    assert "Authorization" not in received[0][2]


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    with serve(always(*GOOD)) as (proxy, received):
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert ask("http://model.invalid/v1").text == "Action: 2"
    assert received[0][0] == "http://model.invalid/v1/chat/completions"


def test_threads_have_sessions_of_their_own():
    sessions = []
    with serve(always(*GOOD)) as (url, received):
        chat = minloro.ChatClient(url, "tiny")

        def work():
            chat.complete(MESSAGES, SAMPLE)
            sessions.append(chat._session)

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({id(s) for s in sessions}) == 5 and len(received) == 5


def test_a_server_that_stalls_within_a_body(monkeypatch):
    """If only headers and blanks arrive and then nothing, the request is sent again.

    Some servers send blanks to keep a connection open.
    """
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.1)
    turns = []

    def stall(body, headers):
        turns.append(1)
        return (200, b"   ", {"X-Half": "yes", "X-Stall": "yes"}) if len(turns) < 3 else GOOD

    with serve(stall) as (url, received):
        assert ask(url).text == "Action: 2"
    assert len(received) == 3


def test_both_kinds_of_faults_share_one_count():
    answers = [(500, {}), (200, {"error": "overloaded"})] * 50
    with serve(lambda *_: answers.pop(0)) as (url, received):
        with pytest.raises(RunError):
            ask(url)
    assert len(received) == client.ATTEMPTS


@pytest.mark.parametrize(
    "message", ["context length exceeded", "'max_tokens' or 'max_completion_tokens' is too large"]
)
def test_a_refusal_that_repeats_the_request_drops_nothing_for_good(message):
    """Some servers put the request into the error, and with it the name of every setting."""

    def short(body, headers):
        too_long = len(body["messages"]) > 1
        return (400, {"error": {"message": message, "input": body}}) if too_long else GOOD

    with serve(short) as (url, _):
        chat = minloro.ChatClient(url, "tiny", temperature=0.0)
        with pytest.raises(UserError, match="status 400"):
            chat.complete(MESSAGES * 2, SAMPLE)
        assert chat.complete(MESSAGES, SAMPLE).dropped == [] and chat.limit_field == "max_tokens"


def test_no_exception_holds_the_key(monkeypatch):
    """Neither it, nor what it came from, nor the variables of its traceback."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.2)
    too_long = (429, {}, {"Retry-After": "1000"})
    too_late = (429, {}, {"Retry-After": "Fri, 31 Dec 99999 23:59:59 GMT"})
    llm_folder = Path(client.__file__).parent
    for fault in (*FAULTS.values(), "reset", (401, {}), too_long, too_late):
        with serve(lambda *_, fault=fault: fault) as (url, _):
            with pytest.raises((RunError, UserError)) as caught:
                ask(url)
        assert caught.value.__context__ is None
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        own = [frame for frame in frames if Path(frame.f_code.co_filename).parent == llm_folder]
        assert own
        for frame in own:
            assert KEY not in str(frame.f_locals), fault


def test_a_key_that_the_server_repeats_is_hidden(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def repeat(body, headers):
        return 200, completion(headers["Authorization"], model=f"m {KEY}")

    with serve(repeat) as (url, _):
        reply = ask(url)
    assert (reply.text, reply.model) == ("Bearer ***", "m ***")


def test_what_a_server_says_cannot_control_the_terminal():
    escape = "\x1b]0;title\x07\u202e"
    with serve(always(200, completion("hi", model=f"tiny{escape}"))) as (url, _):
        assert ask(url).model == "tiny]0;title"
    with serve(always(400, {"error": {"message": f"no{escape}"}})) as (url, _):
        with pytest.raises(UserError) as caught:
            ask(url)
    assert str(caught.value).isprintable()


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="nothing answers at http://127.0.0.1"):
        ask(f"http://127.0.0.1:{port}/v1")


def test_a_server_that_hangs(monkeypatch):
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        with pytest.raises(RunError, match=r"8 times \(ReadTimeoutError\)"):
            ask(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:11434",
        "ftp://x/v1",
        "",
        "http://",
        "http://me:secret@x/v1",
        "http://x/v1?key=secret",
        "http://[x/v1",
        "http://ü/v1",
        "http://x/v1#secret",
        "http://x/v1;secret",
        "http://x:99999/v1",
        "http://x:secret/v1",
    ],
)
def test_addresses_that_cannot_be_asked(url):
    with pytest.raises(UserError, match="--llm-url") as caught:
        minloro.ChatClient(url, "tiny")
    assert "secret" not in str(caught.value)
