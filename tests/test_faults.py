"""Servers that fail, processes that are killed: nothing that was answered is lost or asked twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from servers import completion, serve
from test_collect import lean, same

import minloro
from minloro.llm import client
from minloro.llm.transcript import Transcript

pytestmark = pytest.mark.slow
FAULTS = [
    "reset", None, "hang", (429, {}), (429, {}, {"Retry-After": "0.01"}), (500, {}), (503, {}), (200, b'{"choi'), (200, [1]),
    (200, b'{"choices": [', {"X-Half": "yes"}), (200, {"error": {"message": "overloaded"}}), (200, completion(5)),
    (200, completion("Action: 1", usage=7)), (200, b"[" * 100_000), (200, b" ", {"X-Half": "yes", "X-Stall": "yes"}),
]  # fmt: skip


def faulty(answer, share, seed=0):
    """Answer like `answer`, but let a seeded share of the requests fail; count the answers that were given."""
    rng, lock, given, streak = random.Random(seed), threading.Lock(), [], {}

    def wrapped(body, headers):
        key = json.dumps(body)
        with lock:
            streak[key] = streak.get(key, 0) + 1
            fault = rng.choice(FAULTS) if rng.random() < share and streak[key] < client.ATTEMPTS - 1 else "none"
            if fault == "none":
                streak[key] = 0
                given.append(key)
        if fault == "none":
            return answer(body, headers)
        if fault == "hang":
            time.sleep(0.5)
            return None
        return fault

    return wrapped, given


def test_five_thousand_calls_through_a_faulty_server(cartpole, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.25)
    with serve(lean) as (url, _):
        healthy = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 125, 0, concurrency=8)
    assert len(healthy) > 5000
    answer, given = faulty(lean, share=0.15)
    with serve(answer) as (url, received), Transcript(tmp_path / "llm.jsonl") as transcript:
        data = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 125, 0, transcript, concurrency=8)
    assert same(data, healthy)
    assert len(received) > 1.1 * len(healthy)  # the faults were real
    assert len(given) == len(healthy) == len((tmp_path / "llm.jsonl").read_text().splitlines())


def test_replies_that_say_nothing_are_counted(cartpole):
    bodies = ["", "\u202eAction: 1\u202c", "\x00\x07", "Action: 1" + "\u200f", "x" * 10_000_000, None]
    cut = completion("Action: 1")
    cut["choices"][0]["finish_reason"] = "length"
    turns, lock = [0], threading.Lock()

    def strange(body, headers):
        with lock:
            turns[0] += 1
            turn = turns[0] % 40
        if turn == 0:
            return 200, cut
        return (200, completion(bodies[turn % len(bodies)])) if turn % 5 == 0 else lean(body, headers)

    with serve(strange) as (url, received):
        data = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 5)
    counts = data.metadata["llm"]
    assert counts["calls"] == len(received)
    assert counts["parse_failures"] == counts["calls"] - len(data) + counts["fallbacks"]
    assert counts["parse_failures"] > 20 and set(data.source) >= {"reply", "retry"}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_fifty_kills(tmp_path, concurrency):
    """SIGKILL at 25 random moments of a collection, then --resume: the same D, at most one call a kill and worker too many."""
    last = [0.0]

    def slow(body, headers):
        time.sleep(0.004)
        last[0] = time.monotonic()
        return lean(body, headers)

    minloro_ = [sys.executable, "-m", "minloro"]
    rng = np.random.default_rng(concurrency)
    with serve(slow) as (url, received):
        asked = ["--llm-url", url, "--concurrency", str(concurrency)]
        first = ["cartpole", "--llm-model", "tiny", "--arms", "llm", "--episodes", "30", *asked, "--out"]
        subprocess.run([*minloro_, *first, tmp_path / "whole"], check=True, capture_output=True)
        calls, kills, arguments = len(received), 0, [*first, tmp_path / "killed"]
        for _ in range(25):
            start = time.monotonic()
            process = subprocess.Popen([*minloro_, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            while last[0] < start and process.poll() is None:  # until it has asked for something
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.1))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.communicate()
            arguments = ["--resume", tmp_path / "killed", *asked]
        subprocess.run([*minloro_, *arguments], check=True, capture_output=True)
    assert kills == 25
    assert len(received) - calls <= calls + kills * concurrency
    for name in ("rollouts.npz", "returns.csv", "summary.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    lines = (tmp_path / "killed" / "llm.jsonl").read_text().splitlines()
    assert len(lines) == calls and len({json.loads(line)["key"] for line in lines}) == calls
