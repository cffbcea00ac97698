"""Loopback servers that behave as the known ones do, each with its own way of saying things."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import completion, serve

import minloro
from minloro.cli import main
from minloro.errors import RunError, UserError
from minloro.llm import client
from minloro.llm.transcript import Transcript

MESSAGES = [{"role": "user", "content": "Which way?"}]
SAMPLE = (0, 0, 0, 0)
USAGE = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}


def openai(body, headers):
    """Reasoning models want another field for the limit, and refuse sampling settings one at a time."""
    if headers["Authorization"] != "Bearer sk-good":
        message = "Incorrect API key provided: sk-ba***ad. You can find your API key at https://platform.openai.com."
        return 401, {"error": {"message": message, "type": "invalid_request_error", "code": "invalid_api_key"}}
    if "max_tokens" in body:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        return 400, {"error": {"message": message, "param": "max_tokens", "code": "unsupported_parameter"}}
    for name in ("temperature", "top_p", "seed"):
        if name in body:
            message = f"Unsupported value: '{name}' does not support {body[name]} with this model."
            return 400, {"error": {"message": message, "param": name, "code": "unsupported_value"}}
    details = {"completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0}}
    answer = completion("Action: 2", id="chatcmpl-1", model="o4-mini-2025-04-16", usage=USAGE | details)
    answer["choices"][0]["message"] |= {"refusal": None, "annotations": []}
    return 200, answer


def ollama(body, headers):
    """It knows max_tokens only, thinks in a field `reasoning`, and says 404 where a model has not been pulled."""
    if body["model"] != "qwen3:8b":
        message = f'model "{body["model"]}" not found, try pulling it first'
        return 404, {"error": {"message": message, "type": "api_error", "param": None, "code": None}}
    limit = body.get("max_tokens", 10**6)
    answer = completion("Action: 2" if limit >= 100 else "", model="qwen3:8b", usage=USAGE, system_fingerprint="fp_ollama")
    answer["choices"][0]["message"]["reasoning"] = "The pole leans to the left.\nAction: 1"
    answer["choices"][0]["finish_reason"] = "stop" if limit >= 100 else "length"
    return 200, answer


def llama_cpp():
    """It answers 503 while the model is loading, whatever the model's name, with `timings` beside the usage."""
    calls = []

    def answer(body, headers):
        calls.append(body)
        if len(calls) < 4:
            return 503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
        more = {"timings": {"prompt_n": 100, "predicted_ms": 41.5}, "created": 1763800000, "object": "chat.completion"}
        answer = completion("Action: 2", model="gpt-3.5-turbo", usage=USAGE, **more)
        answer["choices"][0]["message"]["reasoning_content"] = "Action: 1"
        return 200, answer

    return answer


def vllm(body, headers):
    """Content is null while a reasoning parser holds all of it, and the context's length is checked with the limit."""
    if body.get("max_tokens", body.get("max_completion_tokens")) > 1000:
        message = (
            "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is 1024 tokens."
        )
        return 400, {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}
    answer = completion(None, model="served", usage=USAGE | {"prompt_tokens_details": None}, prompt_logprobs=None)
    answer["choices"][0] |= {"stop_reason": None, "logprobs": None}
    answer["choices"][0]["message"] |= {"reasoning_content": "Action: 1", "tool_calls": []}
    return 200, answer


def lm_studio(body, headers):
    """What it does not know gets a 200 whose `error` is a text."""
    return 200, {"error": "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"}


def openrouter():
    """Blanks keep the connection open before a slow answer; a provider that fails does so inside a choice."""
    answers = [
        (
            200,
            {
                "choices": [
                    {
                        "error": {"code": 502, "message": "Provider returned error"},
                        "finish_reason": "error",
                        "message": {"role": "assistant", "content": ""},
                    }
                ]
            },
        ),  # fmt: skip
        (429, {"error": {"code": 429, "message": "Rate limited upstream"}}, {"Retry-After": "0.02"}),
        (200, b"\n   \n  " + json.dumps(completion("Action: 2", model="qwen/qwen3", provider="X", usage=USAGE)).encode()),
    ]
    return lambda *_: answers.pop(0)


def ask(url, model, **settings):
    return minloro.ChatClient(url, model, **settings).complete(MESSAGES, SAMPLE)


def test_openai(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    with serve(openai) as (url, received):
        reply = ask(url, "o4-mini", temperature=0.2, top_p=0.9)
    assert (reply.text, reply.dropped, len(received)) == ("Action: 2", ["seed", "temperature", "top_p"], 5)
    assert reply.usage == {"prompt_tokens": 100, "completion_tokens": 5} and reply.model == "o4-mini-2025-04-16"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-bad")
    with serve(openai) as (url, received), pytest.raises(UserError, match="set OPENAI_API_KEY") as caught:
        ask(url, "o4-mini")
    assert "sk-" not in str(caught.value) and len(received) == 1


def test_ollama():
    with serve(ollama) as (url, _):
        assert ask(url, "qwen3:8b").answer == "Action: 2"
        short = ask(url, "qwen3:8b", max_tokens=50)
        assert (short.answer, short.status, short.reasoning) == ("", "cut off", True)
        with pytest.raises(UserError, match="no model 'qwen3:80b'"):
            ask(url, "qwen3:80b")


def test_llama_cpp():
    with serve(llama_cpp()) as (url, received):
        reply = ask(url, "anything")
    assert (reply.answer, reply.model, reply.reasoning, len(received)) == ("Action: 2", "gpt-3.5-turbo", True, 4)


def test_vllm():
    with serve(vllm) as (url, received):
        assert ask(url, "served").status == "empty"
        with pytest.raises(UserError, match="maximum context length is 1024 tokens"):
            ask(url, "served", max_tokens=2048)


def test_lm_studio():
    with serve(lm_studio) as (url, _), pytest.raises(RunError, match="the answer is an error"):
        ask(url, "any")


def test_openrouter():
    with serve(openrouter()) as (url, received):
        reply = ask(url, "qwen/qwen3:free")
    assert (reply.answer, reply.model, len(received)) == ("Action: 2", "qwen/qwen3", 3)


def test_mistral():
    """A field that it does not know is a 422, by name."""

    def answer(body, headers):
        unknown = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}
        return (422, {"detail": [unknown]}) if "seed" in body else (200, completion("Action: 2"))

    with serve(answer) as (url, received):
        assert ask(url, "small").dropped == ["seed"]
    assert len(received) == 2


def test_a_refusal_that_holds_the_key_is_not_repeated(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    echo = 400, {"error": {"message": "cannot read the header Authorization: Bearer sk-good"}}
    with serve(lambda *_: echo) as (url, _), pytest.raises(UserError, match="check --llm-model") as caught:
        ask(url, "any")
    assert "sk-good" not in str(caught.value)


def test_a_server_that_restarts_is_waited_for():
    """Refused connections end a run at once only where the server has never answered."""
    with serve(lambda *_: (200, completion("Action: 1"))) as (url, _):
        chat = minloro.ChatClient(url, "tiny")
        chat.complete(MESSAGES, SAMPLE)
    later = ThreadPoolExecutor(1)  # a thread has a connection of its own, which was not open before
    with pytest.raises(RunError, match="8 times, the last time because nothing answers there any more"):
        later.submit(chat.complete, MESSAGES, SAMPLE).result()


def test_a_reminder_that_is_too_long_is_a_counted_failure(cartpole, tmp_path):
    """The question fits into the model's context, question, reply and reminder do not: a random action, marked."""

    def short(body, headers):
        if len(body["messages"]) > 2:
            return 400, {"error": {"message": "This model's maximum context length is 400 tokens."}}
        return 200, completion("I push it.")

    with serve(short) as (url, _):
        data = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 1)
        assert set(data.source) == {"fallback"} and data.metadata["llm"]["fallbacks"] == len(data)
        with Transcript(tmp_path / "llm.jsonl") as transcript:
            written = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 1, 0, transcript)
    with Transcript(tmp_path / "llm.jsonl") as transcript:
        again = minloro.collect(cartpole, minloro.ChatClient(None, "tiny"), 1, 0, transcript)
    assert again.metadata == written.metadata == data.metadata and (again.actions == data.actions).all()
    statuses = [json.loads(line)["status"] for line in (tmp_path / "llm.jsonl").read_text().splitlines()]
    assert statuses == ["answered", "refused"] * len(data)


def test_what_an_overloaded_server_says_is_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    with serve(lambda *_: (500, {"error": {"message": "the model 'x' cannot be loaded"}})) as (url, received):
        with pytest.raises(RunError, match="8 times, the last time with status 500: the model 'x' cannot be loaded"):
            ask(url, "x")
    assert len(received) == client.ATTEMPTS


def test_the_doctor_sees_a_limit_that_is_not_kept(capsys):
    def talkative(body, headers):
        return 200, completion("x" * 1000, usage={"prompt_tokens": 10, "completion_tokens": 400})

    with serve(talkative) as (url, _):
        assert main(["doctor", "--llm-url", url, "--llm-model", "t", "--max-tokens", "16"]) == 0
    out = capsys.readouterr().out
    assert "one has 400: the limit is not kept" in out and "as t (the name that was asked for)" in out


def test_a_data_set_of_random_actions_is_warned_about(tmp_path, capsys):
    run = ["cartpole", "--llm-model", "mute", "--arms", "llm", "--episodes", "2", "--out", str(tmp_path / "run"), "--llm-url"]
    with serve(lambda *_: (200, completion("Hm."))) as (url, _):
        assert main([*run, url]) == 0
    assert "actions in D are random, because mute did not answer in the asked form" in capsys.readouterr().err


def test_an_error_in_the_middle_says_how_to_go_on(tmp_path, capsys):
    calls = []

    def answer(body, headers):
        calls.append(1)
        return (200, completion("Action: 1")) if len(calls) < 5 else (401, {})

    run = ["cartpole", "--llm-model", "t", "--arms", "llm", "--out", str(tmp_path / "run"), "--llm-url"]
    with serve(answer) as (url, _):
        assert main([*run, url]) == 2
    assert f"then go on with: python -m minloro --resume {tmp_path / 'run'} --llm-url {url}" in capsys.readouterr().err
    assert len((tmp_path / "run" / "llm.jsonl").read_text().splitlines()) == 4
