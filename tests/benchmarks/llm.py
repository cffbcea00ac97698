"""Print what the client costs: `python tests/benchmark_llm.py`. The server is a process of its own on this machine."""

import http.client
import json
import multiprocessing
import time
from dataclasses import replace
from tempfile import TemporaryDirectory

from servers import completion, serve

import minloro
from minloro.llm.transcript import Transcript

LATENCY, EPISODES, STEPS, ROUNDS = 0.05, 16, 30, 3
MESSAGES = [{"role": "user", "content": "Which torque?"}]


def run_server(latency: float, url) -> None:
    """Serve until the parent process ends; send the address through the pipe `url`."""

    def answer(body, headers):
        time.sleep(latency)
        return 200, completion("Action: 0.5", usage={"prompt_tokens": 300, "completion_tokens": 4})

    with serve(answer) as (address, received):
        url.send(address)
        while True:
            time.sleep(1)
            received.clear()


def start_server(latency: float) -> str:
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.Process(target=run_server, args=(latency, theirs), daemon=True).start()
    return ours.recv()


def collection(url: str, concurrency: int) -> float:
    """Calls a second of a collection of equally long episodes, the transcript on disk included."""
    task = replace(minloro.make_task("pendulum"), step_limit=STEPS)
    with TemporaryDirectory() as folder, Transcript(f"{folder}/llm.jsonl") as transcript:
        start = time.perf_counter()
        data = minloro.collect(task, minloro.ChatClient(url, "any"), EPISODES, 0, transcript, concurrency)
        return len(data) / (time.perf_counter() - start)


def bare_call(url: str, calls: int = 300) -> float:
    """Seconds a call of the same request over one open connection of the standard library."""
    host = url.split("/")[2]
    connection = http.client.HTTPConnection(host)
    body = json.dumps({"model": "any", "messages": MESSAGES, "max_tokens": 512})
    start = time.perf_counter()
    for _ in range(calls):
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        json.loads(connection.getresponse().read())
    return (time.perf_counter() - start) / calls


def client_call(url: str, calls: int = 300) -> float:
    """Seconds a call of the client, its line in a transcript included."""
    with TemporaryDirectory() as folder, Transcript(f"{folder}/llm.jsonl") as transcript:
        chat = minloro.ChatClient(url, "any")
        start = time.perf_counter()
        for step in range(calls):
            transcript.ask(chat, MESSAGES, (0, 0, step, 0), str.upper)
        return (time.perf_counter() - start) / calls


def main() -> None:
    url = start_server(0.0)
    rounds = [(bare_call(url), client_call(url)) for _ in range(ROUNDS)]  # in turn
    bare, client = (1000 * min(column) for column in zip(*rounds, strict=True))
    print(f"a call to a server that answers at once: {client:.2f} ms, of the standard library alone {bare:.2f} ms")
    print(f"overhead of the client and the transcript: {client - bare:.2f} ms a call")
    url = start_server(LATENCY)
    rounds = [(collection(url, 1), collection(url, EPISODES)) for _ in range(ROUNDS)]
    one, many = (max(column) for column in zip(*rounds, strict=True))
    print(f"a server that answers after {1000 * LATENCY:.0f} ms: {one:.1f} calls a second with one episode at a time, "
          f"{many:.0f} with {EPISODES}: {many / one:.1f} times as many")  # fmt: skip


if __name__ == "__main__":
    main()
