"""Servers that fail, processes that are killed: no answer is lost, and nothing is asked twice."""

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
    "reset",
    None,
    "hang",
    (429, {}),
    (429, {}, {"Retry-After": "0.01"}),
    (500, {}),
    (503, {}),
    (200, b'{"choi'),
    (200, [1]),
    (200, b'{"choices": [', {"X-Half": "yes"}),
    (200, {"error": {"message": "overloaded"}}),
    (200, completion(5)),
    (200, completion("Action: 1", usage=7)),
    (200, b"[" * 100_000),
    (200, b" ", {"X-Half": "yes", "X-Stall": "yes"}),
]


def faulty(answer, share, seed=0):
    """Answer like `answer`, but let a share of the requests fail, drawn with a seed.

    Also return a list of the requests that were answered.
    """
    rng = random.Random(seed)
    lock = threading.Lock()
    given = []
    streak = {}

    def wrapped(body, headers):
        key = json.dumps(body)
        with lock:
            streak[key] = streak.get(key, 0) + 1
            fails = rng.random() < share and streak[key] < client.ATTEMPTS - 1
            if fails:
                fault = rng.choice(FAULTS)
            else:
                streak[key] = 0
                given.append(key)
        if not fails:
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
        chat = minloro.ChatClient(url, "tiny")
        data = minloro.collect(cartpole, chat, 125, 0, transcript, concurrency=8)
    assert same(data, healthy)
    assert len(received) > 1.1 * len(healthy)  # the faults were real
    assert len(given) == len(healthy) == len((tmp_path / "llm.jsonl").read_text().splitlines())


def test_replies_that_say_nothing_are_counted(cartpole):
    marked = ["\u202eAction: 1\u202c", "\x00\x07", "Action: 1" + "\u200f"]
    bodies = ["", *marked, "x" * 10_000_000, None]
    cut = completion("Action: 1")
    cut["choices"][0]["finish_reason"] = "length"
    turns = [0]
    lock = threading.Lock()

    def strange(body, headers):
        with lock:
            turns[0] += 1
            turn = turns[0] % 40
        if turn == 0:
            return 200, cut
        if turn % 5 == 0:
            return 200, completion(bodies[turn % len(bodies)])
        return lean(body, headers)

    with serve(strange) as (url, received):
        data = minloro.collect(cartpole, minloro.ChatClient(url, "tiny"), 5)
    counts = data.metadata["llm"]
    assert counts["calls"] == len(received)
    assert counts["parse_failures"] == counts["calls"] - len(data) + counts["fallbacks"]
    assert counts["parse_failures"] > 20 and set(data.source) >= {"reply", "retry"}


def killed(command, wait, asked_since):
    """Start a command, wait until it has asked for something, and kill it; return whether it ran.

    wait: seconds between its first question and the kill. asked_since: tells whether a question
    came after a moment.
    """
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not asked_since(start) and process.poll() is None:
        time.sleep(0.001)
    time.sleep(wait)
    running = process.poll() is None
    if running:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return running


@pytest.mark.parametrize("concurrency", [1, 3])
def test_fifty_kills(tmp_path, concurrency):
    """SIGKILL at 25 random moments of a collection, each followed by --resume.

    D is the same as without kills, and every kill costs at most one call per worker.
    """
    last = [0.0]

    def slow(body, headers):
        time.sleep(0.004)
        last[0] = time.monotonic()
        return lean(body, headers)

    program = [sys.executable, "-m", "minloro"]
    rng = np.random.default_rng(concurrency)
    with serve(slow) as (url, received):
        asked = ["--llm-url", url, "--concurrency", str(concurrency)]
        argv = "cartpole --llm-model tiny --arms llm --episodes 30".split()
        first = [*program, *argv, *asked, "--out"]
        resume = [*program, "--resume", tmp_path / "killed", *asked]
        subprocess.run([*first, tmp_path / "whole"], check=True, capture_output=True)
        calls = len(received)
        kills = 0
        command = [*first, tmp_path / "killed"]
        for _ in range(25):
            kills += killed(command, rng.uniform(0, 0.1), lambda start: last[0] >= start)
            command = resume
        subprocess.run(resume, check=True, capture_output=True)
    assert kills == 25
    assert len(received) - calls <= calls + kills * concurrency
    for name in ("rollouts.npz", "returns.csv", "summary.json"):
        whole, pieced = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert whole == pieced, name
    lines = (tmp_path / "killed" / "llm.jsonl").read_text().splitlines()
    assert len(lines) == calls and len({json.loads(line)["key"] for line in lines}) == calls
