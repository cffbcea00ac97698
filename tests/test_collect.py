"""Collecting with a model behind a server: several episodes at once, budgets, settings."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from servers import completion, serve

import minloro
from minloro.cli import main
from minloro.errors import RunError
from minloro.llm import client
from minloro.llm.transcript import BudgetSpent, Transcript
from minloro.transitions import COLUMNS


def lean(body, headers):
    """A server's answer: push towards the lean, as the last question about a state says it."""
    text = [m["content"] for m in body["messages"] if "The current state" in m["content"]][-1]
    usage = {"prompt_tokens": 100, "completion_tokens": 5}
    action = 2 if "leaning to the right" in text else 1
    return 200, completion(f"Action: {action}", usage=usage)


def same(a, b):
    """Whether two data sets hold the same bytes."""
    names = (*COLUMNS, "source")
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in names)


def test_the_data_do_not_depend_on_concurrency(cartpole, tmp_path):
    with serve(lean) as (url, received):
        sets = []
        counts = []
        for n in (1, 4, 9):
            chat = minloro.ChatClient(url, "tiny")
            with Transcript(tmp_path / f"{n}.jsonl") as transcript:
                data = minloro.collect(cartpole, chat, 6, 3, transcript, concurrency=n)
            sets.append(data)
            counts.append(len((tmp_path / f"{n}.jsonl").read_text().splitlines()))
    assert same(sets[0], sets[1]) and same(sets[0], sets[2])
    assert counts == [len(sets[0])] * 3 and len(received) == 3 * len(sets[0])
    assert sets[1].metadata["llm"] == {
        "calls": counts[0],
        "parse_failures": 0,
        "fallbacks": 0,
        "tokens": 105 * counts[0],
    }


def test_episodes_are_really_played_at_once(cartpole):
    together = [0]
    most = [0]
    lock = threading.Lock()

    def slow(body, headers):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.01)
        with lock:
            together[0] -= 1
        return lean(body, headers)

    with serve(slow) as (url, _):
        minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 6, concurrency=6)
    assert most[0] >= 5


def test_a_prompt_that_remembers_is_asked_in_order():
    task = minloro.make_task("frozenlake")
    llm = minloro.StandInLLM
    one, many = (minloro.collect(task, llm(task), 8, concurrency=n) for n in (1, 8))
    assert same(one, many)
    forgetful = replace(task, prompt=replace(task.prompt, remembers=False))
    alone = minloro.collect(forgetful, minloro.StandInLLM(forgetful), 8, concurrency=8)
    assert not same(one, alone)  # the memory does change what is played


def test_a_failure_in_one_episode_ends_the_others(cartpole):
    calls = []

    def failing(body, headers):
        calls.append(1)
        return lean(body, headers) if len(calls) < 40 else (500, {})

    with serve(failing) as (url, _):
        with pytest.raises(RunError, match="status|failed"):
            minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 50, concurrency=4)
    assert len(calls) < 40 + 4 * client.ATTEMPTS + 1


def test_a_budget_ends_a_collection_with_what_is_finished(cartpole, tmp_path):
    path = tmp_path / "llm.jsonl"
    with serve(lean) as (url, received):
        whole = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 6, 3)
        budget = int(whole.episode_lengths[:3].sum()) + 2
        received.clear()
        with Transcript(path, budget) as transcript:
            part = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 6, 3, transcript)
        assert len(received) == budget
        assert same(part, whole.first_episodes(3)) and part.metadata["episodes_asked"] == 6
        # It goes on and asks no question twice.
        with Transcript(path) as transcript:
            again = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 6, 3, transcript)
        assert same(again, whole)
        assert len(received) == len(whole)
    with pytest.raises(BudgetSpent), Transcript(None, 2) as transcript:
        minloro.collect(cartpole, minloro.StandInLLM(cartpole), 6, 3, transcript)


def test_a_run_whose_budget_is_spent_can_be_resumed(tmp_path, capsys):
    out = tmp_path / "run"
    argv = "cartpole --arms loro --seeds 1 --steps 1000 --episodes 4 --quiet".split()
    with serve(lean) as (url, received):
        model = ["--llm-url", url, "--llm-model", "tiny", "--concurrency", "2", "--out", str(out)]
        assert main([*argv, *model, "--call-budget", "120"]) == 1
        err = capsys.readouterr().err
        assert "of 4 episodes" in err and "rollouts-part.npz" in err
        assert f"--resume {out}" in err and err.count("\n") == 1
        assert len(received) == 120
        assert (out / "rollouts-part.npz").exists()
        assert not (out / "rollouts.npz").exists()
        assert main(["--resume", str(out), "--llm-url", url, "--call-budget", "5000"]) == 0
        summary = json.loads((out / "summary.json").read_text())
        assert len(received) == summary["data"]["transitions"]


def test_how_the_model_is_asked(tmp_path):
    argv = "cartpole --arms loro --seeds 1 --steps 1000 --episodes 2 --quiet".split()
    argv += "--llm-model tiny --reasoning cot --temperature 0.3 --top-p 0.9".split()
    with serve(lean) as (url, received):
        assert main([*argv, "--llm-url", url, "--out", str(tmp_path / "r")]) == 0
    body = received[0][1]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.3, 0.9, 2048)
    assert "step by step" in body["messages"][0]["content"]
    with np.load(tmp_path / "r" / "rollouts.npz") as file:
        metadata = json.loads(str(file["metadata"]))
    assert metadata["sampling"] == {
        "max_tokens": 2048,
        "temperature": 0.3,
        "top_p": 0.9,
        "dropped": [],
    }
    assert "step by step" in metadata["prompt"]


def test_the_doctor_says_what_a_server_can_do(capsys):
    def picky(body, headers):
        if "max_tokens" in body:
            return 400, {"error": {"message": "use max_completion_tokens"}}
        if "temperature" in body:
            return 400, {"error": {"message": "temperature is not supported"}}
        status, answer = lean(body, headers)
        answer["choices"][0]["message"]["reasoning_content"] = "Action: 1?"
        return status, answer | {"model": "tiny-v2"}

    with serve(picky) as (url, received):
        argv = ["doctor", "--llm-url", url, "--llm-model", "tiny", "--temperature", "0.5"]
        assert main(argv) == 0
    text = capsys.readouterr().out
    facts = (
        "as tiny-v2",
        "max_completion_tokens",
        "temperature",
        "in a field that is not read",
        "5 of 5 replies",
        "105 tokens",
    )
    assert all(fact in text for fact in facts), text
    assert len(received) == 7 and "hours for 10 episodes" in text
    assert main(["doctor"]) == 2 and "--llm-url" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["cartpole", "frozenlake", "pendulum"])
def test_a_dry_run_asks_nobody_and_writes_nothing(capsys, tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    with serve(lean) as (url, received):
        argv = [task, "--dry-run", "--llm-url", url, "--llm-model", "tiny", "--reasoning", "cot"]
        assert main(argv) == 0
    text = capsys.readouterr().out
    made = minloro.make_task(task)
    steps = len(minloro.collect(made, minloro.StandInLLM(made), 10))
    assert f"About {steps:,} calls" in text and " in all." in text
    assert not received and not list(tmp_path.iterdir())
