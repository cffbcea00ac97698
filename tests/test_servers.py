"""Loopback servers that behave as the known ones do, each with its own way of saying things."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import always, completion, serve

import minloro
from minloro.cli import main
from minloro.errors import RunError, UserError
from minloro.llm import client
from minloro.llm.transcript import Transcript

MESSAGES = [{"role": "user", "content": "Which way?"}]
SAMPLE = (0, 0, 0, 0)
USAGE = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}


def error(message, **fields):
    """The body of an error."""
    return {"error": {"message": message, **fields}}


def openai(body, headers):
    """Reasoning models want another field for the limit and refuse a sampling setting per try."""
    if headers["Authorization"] != "Bearer sk-good":
        message = (
            "Incorrect API key provided: sk-ba***ad. You can find your API key at "
            "https://platform.openai.com."
        )
        return 401, error(message, type="invalid_request_error", code="invalid_api_key")
    if "max_tokens" in body:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead."
        )
        return 400, error(message, param="max_tokens", code="unsupported_parameter")
    for name in ("temperature", "top_p", "seed"):
        if name in body:
            message = f"Unsupported value: '{name}' does not support {body[name]} with this model."
            return 400, error(message, param=name, code="unsupported_value")
    usage = USAGE | {"completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0}}
    answer = completion("Action: 2", id="chatcmpl-1", model="o4-mini-2025-04-16", usage=usage)
    answer["choices"][0]["message"] |= {"refusal": None, "annotations": []}
    return 200, answer


def ollama(body, headers):
    """It knows max_tokens only and thinks in a field `reasoning`.

    A model that was not pulled is a 404.
    """
    if body["model"] != "qwen3:8b":
        message = f'model "{body["model"]}" not found, try pulling it first'
        return 404, error(message, type="api_error", param=None, code=None)
    enough = body.get("max_tokens", 10**6) >= 100
    text = "Action: 2" if enough else ""
    fields = {"model": "qwen3:8b", "usage": USAGE, "system_fingerprint": "fp_ollama"}
    answer = completion(text, **fields)
    answer["choices"][0]["message"]["reasoning"] = "The pole leans to the left.\nAction: 1"
    answer["choices"][0]["finish_reason"] = "stop" if enough else "length"
    return 200, answer


def llama_cpp():
    """It answers 503 while it loads a model. Any name of a model will do.

    `timings` stand beside the usage.
    """
    calls = []

    def answer(body, headers):
        calls.append(body)
        if len(calls) < 4:
            return 503, error("Loading model", code=503, type="unavailable_error")
        fields = {"created": 1763800000, "object": "chat.completion"}
        fields["timings"] = {"prompt_n": 100, "predicted_ms": 41.5}
        answer = completion("Action: 2", model="gpt-3.5-turbo", usage=USAGE, **fields)
        answer["choices"][0]["message"]["reasoning_content"] = "Action: 1"
        return 200, answer

    return answer


def vllm(body, headers):
    """Content is null if a reasoning parser took all of it.

    The limit of tokens is checked with the length of the context.
    """
    if body.get("max_tokens", body.get("max_completion_tokens")) > 1000:
        message = (
            "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum "
            "context length is 1024 tokens."
        )
        refusal = {"object": "error", "message": message, "type": "BadRequestError"}
        return 400, refusal | {"param": None, "code": 400}
    usage = USAGE | {"prompt_tokens_details": None}
    answer = completion(None, model="served", usage=usage, prompt_logprobs=None)
    answer["choices"][0] |= {"stop_reason": None, "logprobs": None}
    answer["choices"][0]["message"] |= {"reasoning_content": "Action: 1", "tool_calls": []}
    return 200, answer


def lm_studio(body, headers):
    """What it does not know gets a 200 whose `error` is a text."""
    message = "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"
    return 200, {"error": message}


def openrouter():
    """Blanks keep the connection open before a slow answer.

    If a provider fails, the error stands inside a choice.
    """
    failed = completion("")
    failed["choices"][0]["finish_reason"] = "error"
    failed["choices"][0] |= error("Provider returned error", code=502)
    limited = error("Rate limited upstream", code=429)
    good = completion("Action: 2", model="qwen/qwen3", provider="X", usage=USAGE)
    after_blanks = b"\n   \n  " + json.dumps(good).encode()
    answers = [(200, failed), (429, limited, {"Retry-After": "0.02"}), (200, after_blanks)]
    return lambda *_: answers.pop(0)


def ask(url, model, **settings):
    return minloro.ChatClient(url, model, **settings).complete(MESSAGES, SAMPLE)


def test_openai(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    with serve(openai) as (url, received):
        reply = ask(url, "o4-mini", temperature=0.2, top_p=0.9)
    assert (reply.text, len(received)) == ("Action: 2", 5)
    assert reply.dropped == ["seed", "temperature", "top_p"]
    assert reply.usage == {"prompt_tokens": 100, "completion_tokens": 5}
    assert reply.model == "o4-mini-2025-04-16"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-bad")
    with serve(openai) as (url, received):
        with pytest.raises(UserError, match="set OPENAI_API_KEY") as caught:
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
    assert (reply.answer, reply.model) == ("Action: 2", "gpt-3.5-turbo")
    assert reply.reasoning is True and len(received) == 4


def test_vllm():
    with serve(vllm) as (url, received):
        assert ask(url, "served").status == "empty"
        with pytest.raises(UserError, match="maximum context length is 1024 tokens"):
            ask(url, "served", max_tokens=2048)


def test_lm_studio():
    with serve(lm_studio) as (url, _):
        with pytest.raises(RunError, match="the answer is an error"):
            ask(url, "any")


def test_openrouter():
    with serve(openrouter()) as (url, received):
        reply = ask(url, "qwen/qwen3:free")
    assert (reply.answer, reply.model, len(received)) == ("Action: 2", "qwen/qwen3", 3)


def test_mistral():
    """A field that it does not know is a 422, which names it."""

    def answer(body, headers):
        unknown = {"type": "extra_forbidden", "loc": ["body", "seed"], "input": 1}
        unknown["msg"] = "Extra inputs are not permitted"
        return (422, {"detail": [unknown]}) if "seed" in body else (200, completion("Action: 2"))

    with serve(answer) as (url, received):
        assert ask(url, "small").dropped == ["seed"]
    assert len(received) == 2


def test_a_refusal_that_holds_the_key_is_not_repeated(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    echo = error("cannot read the header Authorization: Bearer sk-good")
    with serve(always(400, echo)) as (url, _):
        with pytest.raises(UserError, match="check --llm-model") as caught:
            ask(url, "any")
    assert "sk-good" not in str(caught.value)


def test_a_server_that_restarts_is_waited_for():
    """Refused connections end a run at once only if the server has never answered."""
    with serve(always(200, completion("Action: 1"))) as (url, _):
        chat = minloro.ChatClient(url, "tiny")
        chat.complete(MESSAGES, SAMPLE)
    later = ThreadPoolExecutor(1)  # a thread has a connection of its own, which was not open before
    message = "8 times, the last time because nothing answers there any more"
    with pytest.raises(RunError, match=message):
        later.submit(chat.complete, MESSAGES, SAMPLE).result()


def test_a_reminder_that_is_too_long_is_a_counted_failure(cartpole, tmp_path):
    """The question fits into the model's context; question, reply and reminder do not.

    Then a random action is taken, and marked.
    """

    def short(body, headers):
        if len(body["messages"]) > 2:
            return 400, error("This model's maximum context length is 400 tokens.")
        return 200, completion("I push it.")

    with serve(short) as (url, _):
        data = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 1)
        assert set(data.source) == {"fallback"} and data.metadata["llm"]["fallbacks"] == len(data)
        with Transcript(tmp_path / "llm.jsonl") as transcript:
            written = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 1, 0, transcript)
    with Transcript(tmp_path / "llm.jsonl") as transcript:
        again = minloro.collect(cartpole, minloro.ChatClient(None, "tiny"), 1, 0, transcript)
    assert again.metadata == written.metadata == data.metadata
    assert (again.actions == data.actions).all()
    lines = (tmp_path / "llm.jsonl").read_text().splitlines()
    statuses = [json.loads(line)["status"] for line in lines]
    assert statuses == ["answered", "refused"] * len(data)


def test_what_an_overloaded_server_says_is_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    problem = "the model 'x' cannot be loaded"
    with serve(always(500, error(problem))) as (url, received):
        message = f"8 times, the last time with status 500: {problem}"
        with pytest.raises(RunError, match=message):
            ask(url, "x")
    assert len(received) == client.ATTEMPTS


def test_the_doctor_sees_a_limit_that_is_not_kept(capsys):
    def talkative(body, headers):
        return 200, completion("x" * 1000, usage={"prompt_tokens": 10, "completion_tokens": 400})

    with serve(talkative) as (url, _):
        assert main(["doctor", "--llm-url", url, "--llm-model", "t", "--max-tokens", "16"]) == 0
    out = capsys.readouterr().out
    assert "one has 400: the limit is not kept" in out
    assert "as t (the name that was asked for)" in out


def test_a_data_set_of_random_actions_is_warned_about(tmp_path, capsys):
    argv = "cartpole --llm-model mute --arms llm --episodes 2".split()
    with serve(always(200, completion("Hm."))) as (url, _):
        assert main([*argv, "--llm-url", url, "--out", str(tmp_path / "run")]) == 0
    warning = "actions in D are random, because mute did not answer in the asked form"
    assert warning in capsys.readouterr().err


def test_an_error_in_the_middle_says_how_to_go_on(tmp_path, capsys):
    calls = []

    def answer(body, headers):
        calls.append(1)
        return (200, completion("Action: 1")) if len(calls) < 5 else (401, {})

    out = tmp_path / "run"
    argv = "cartpole --llm-model t --arms llm".split()
    with serve(answer) as (url, _):
        assert main([*argv, "--llm-url", url, "--out", str(out)]) == 2
    advice = f"then go on with: python -m minloro --resume {out} --llm-url {url}"
    assert advice in capsys.readouterr().err
    assert len((out / "llm.jsonl").read_text().splitlines()) == 4
