"""llm.jsonl: one line a call, appended and flushed before its action is used. Log, cache and resume point at once.

The key of a line covers the whole request and which sample it is (seed, episode, step, attempt): a state that is seen
again gets a fresh reply, and a run that is resumed gets the replies that it already had.
"""

import hashlib
import json
import os
import threading
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from minloro.errors import UserError
from minloro.llm.client import Reply, RequestRefused

KEPT = ("model", "finish_reason", "usage", "latency", "dropped")  # of a Reply, beside its text


class BudgetSpent(Exception):
    """As many calls were made as were allowed."""


class Transcript(AbstractContextManager):
    """Ask a model through a file of earlier calls; with path None nothing is written or remembered. Threads may share one.

    budget: how many new calls may be made before BudgetSpent is raised; answers from the file are free. Two processes cannot
    have the same file open.
    """

    def __init__(self, path: str | Path | None, budget: int | None = None):
        self.path, self.budget = None if path is None else Path(path), float("inf") if budget is None else budget
        self.stopped = False  # set, from any thread, to make every further call fail
        self._known: dict[str, dict] = {}
        self._lock = threading.Lock()
        self._file = None
        if self.path is not None:
            self._file = open(self.path, "a", encoding="utf-8")
            _lock_file(self._file)
            self._known = {call["key"]: call for call in _read_calls(self.path)}

    def ask(self, llm, messages: list[dict], sample: tuple[int, ...], parse) -> tuple[Reply, object]:
        """Return the model's Reply to this sample of this request, and what `parse` makes of its text."""
        text = json.dumps([llm.request(messages), sample], ensure_ascii=True, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        call = self._known.get(key)
        if call is not None:
            reply = Reply(call["reply"], **{name: call[name] for name in KEPT})
            return reply, parse(reply.answer)
        with self._lock:
            if self.stopped or self.budget <= 0:
                raise BudgetSpent
            self.budget -= 1
        try:
            reply = llm.complete(messages, sample)
        except RequestRefused:
            if sample[-1] == 0:
                raise
            reply = Reply("", llm.name, "refused")  # only with the reminder is it too long for the model
        action = parse(reply.answer)
        if self._file is not None:
            with self._lock:
                self._append(key, sample, messages, reply, parsed=action is not None)
        return reply, action

    def _append(self, key: str, sample: tuple[int, ...], messages: list[dict], reply: Reply, parsed: bool) -> None:
        prompt = json.dumps(messages, sort_keys=True)
        seed, episode, step, attempt = sample
        call = {"key": key, "seed": seed, "episode": episode, "step": step, "attempt": attempt}
        call |= {"prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(), "status": reply.status, "parsed": parsed}
        call |= {"reply": reply.text} | {name: getattr(reply, name) for name in KEPT} | {"latency": round(reply.latency, 4)}
        self._file.write(json.dumps(call) + "\n")
        self._file.flush()

    def __exit__(self, *_) -> None:
        if self._file is not None:
            self._file.close()
            if not self.path.stat().st_size:
                self.path.unlink()  # nobody was asked


def _lock_file(file) -> None:
    """Keep other processes away from an open file until it is closed; nothing is left behind by a kill."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(file.fileno(), 1 << 30, os.SEEK_SET)  # one and the same byte for everybody, far behind the text
        take = partial(msvcrt.locking, file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        take = partial(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        take()
    except OSError:
        raise UserError(f"another process is collecting into {file.name}: wait until it has ended") from None


def _read_calls(path: Path) -> list[dict]:
    """Return the calls of an earlier run, and cut off a last line that a kill tore."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with open(path, "r+b") as file:
            file.truncate(len(whole))
            os.fsync(file.fileno())
    try:
        calls = [json.loads(line) for line in whole.splitlines()]
        if not all({"key", "reply", *KEPT} <= call.keys() for call in calls):
            raise ValueError
    except (ValueError, AttributeError):
        raise UserError(f"{path} is damaged: it holds lines that minloro did not write; move it away") from None
    return calls
