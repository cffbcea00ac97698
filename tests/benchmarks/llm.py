"""Print what the client for language models costs: `python tests/benchmarks/llm.py`.

The server is a process of its own on this machine.
"""

import http.client
import json
import multiprocessing
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import minloro
from minloro.llm.transcript import Transcript

sys.path.append(str(Path(__file__).resolve().parents[1]))
from servers import completion, serve

LATENCY = 0.05  # seconds that the slow server takes for an answer
EPISODES = 16
STEPS = 30  # of an episode
ROUNDS = 3
CALLS = 300
MESSAGES = [{"role": "user", "content": "Which torque?"}]


def run_server(latency: float, address_pipe) -> None:
    """Serve until the parent process ends; send the address through the pipe."""

    def answer(body, headers):
        time.sleep(latency)
        return 200, completion("Action: 0.5", usage={"prompt_tokens": 300, "completion_tokens": 4})

    with serve(answer) as (address, received):
        address_pipe.send(address)
        while True:
            time.sleep(1)
            received.clear()


def start_server(latency: float) -> str:
    """Start a server in a process of its own; return its address."""
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.Process(target=run_server, args=(latency, theirs), daemon=True).start()
    return ours.recv()


def collection(url: str, concurrency: int) -> float:
    """Return the calls per second of a collection of equally long episodes.

    The transcript on disk is included.
    """
    task = replace(minloro.make_task("pendulum"), step_limit=STEPS)
    chat = minloro.ChatClient(url, "any")
    with TemporaryDirectory() as folder, Transcript(f"{folder}/llm.jsonl") as transcript:
        start = time.perf_counter()
        data = minloro.collect(task, chat, EPISODES, 0, transcript, concurrency)
        return len(data) / (time.perf_counter() - start)


def bare_call(url: str) -> float:
    """Return the seconds per call of the same request over one standard connection."""
    host = url.split("/")[2]
    connection = http.client.HTTPConnection(host)
    body = json.dumps({"model": "any", "messages": MESSAGES, "max_tokens": 512})
    headers = {"Content-Type": "application/json"}
    start = time.perf_counter()
    for _ in range(CALLS):
        connection.request("POST", "/v1/chat/completions", body, headers)
        json.loads(connection.getresponse().read())
    return (time.perf_counter() - start) / CALLS


def client_call(url: str) -> float:
    """Return the seconds per call of the client, its line in a transcript included."""
    chat = minloro.ChatClient(url, "any")
    with TemporaryDirectory() as folder, Transcript(f"{folder}/llm.jsonl") as transcript:
        start = time.perf_counter()
        for step in range(CALLS):
            transcript.ask(chat, MESSAGES, (0, 0, step, 0), str.upper)
        return (time.perf_counter() - start) / CALLS


def print_overhead() -> None:
    """Print what a call takes: with the client and with the standard library, measured in turn."""
    url = start_server(0.0)
    rounds = [(bare_call(url), client_call(url)) for _ in range(ROUNDS)]
    bare, client = (1000 * min(column) for column in zip(*rounds, strict=True))
    print(
        f"a call to a server that answers at once: {client:.2f} ms, "
        f"of the standard library alone {bare:.2f} ms"
    )
    print(f"overhead of the client and the transcript: {client - bare:.2f} ms per call")


def print_concurrency() -> None:
    """Print how many calls per second there are, with one episode at a time and with many."""
    url = start_server(LATENCY)
    rounds = [(collection(url, 1), collection(url, EPISODES)) for _ in range(ROUNDS)]
    one, many = (max(column) for column in zip(*rounds, strict=True))
    print(
        f"a server that answers after {1000 * LATENCY:.0f} ms: {one:.1f} calls per second with one "
        f"episode at a time, {many:.0f} with {EPISODES}: {many / one:.1f} times as many"
    )


if __name__ == "__main__":
    print_overhead()
    print_concurrency()
