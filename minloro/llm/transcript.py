"""llm.jsonl: one line per call. It is a log, a cache and the point from which a run is resumed.

A line is written and flushed before its action is used. Its key covers the whole request and the
sample (seed, episode, step, attempt). So a state that is seen again gets a new reply, and a resumed
run gets the replies that it already had.
"""

import hashlib
import json
import math
import os
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from minloro.errors import UserError
from minloro.llm.model import LanguageModel, Messages, Reply, RequestRefused, Sample

# What a line holds of a Reply, besides its text.
KEPT = ("model", "finish_reason", "usage", "latency", "dropped")
Action = TypeVar("Action")


class BudgetSpent(Exception):
    """As many calls were made as were allowed."""


class Transcript(AbstractContextManager):
    """Ask a model through a file of earlier calls. Threads may share a transcript.

    path: the file, which no other process can have open. None: nothing is written or remembered.
    budget: how many new calls may be made. Answers from the file do not count.
    """

    def __init__(self, path: str | Path | None, budget: int | None = None):
        self.path = None if path is None else Path(path)
        self.budget = math.inf if budget is None else budget
        self.stopped = False  # whether every further call fails
        self._known: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        if self.path is not None:
            self._file = open(self.path, "a", encoding="utf-8")
            _lock_file(self._file)
            self._known = {call["key"]: call for call in _read_calls(self.path)}

    def ask(
        self,
        llm: LanguageModel,
        messages: Messages,
        sample: Sample,
        parse: Callable[[str], Action],
    ) -> tuple[Reply, Action]:
        """Return the model's reply to this sample of a request, and what `parse` reads in it.

        Raises BudgetSpent if a new call would be needed and none is allowed.
        """
        key = _key(llm.request(messages), sample)
        known = self._known.get(key)
        if known is not None:
            reply = Reply(known["reply"], **{name: known[name] for name in KEPT})
            return reply, parse(reply.answer)
        self._spend_a_call()
        reply = _complete(llm, messages, sample)
        action = parse(reply.answer)
        if self._file is not None:
            line = _line(key, sample, messages, reply, parsed=action is not None)
            self._append(self._file, line)
        return reply, action

    def stop(self) -> None:
        """Make every further call fail, from any thread."""
        self.stopped = True

    def _spend_a_call(self) -> None:
        with self._lock:
            if self.stopped or self.budget <= 0:
                raise BudgetSpent
            self.budget -= 1

    def _append(self, file: TextIO, line: dict[str, Any]) -> None:
        with self._lock:
            file.write(json.dumps(line) + "\n")
            file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file is None or self.path is None:
            return
        self._file.close()
        if self.path.stat().st_size == 0:
            self.path.unlink()  # nobody was asked


def _key(request: dict[str, Any], sample: Sample) -> str:
    """Return the key of a call: a hash of what was asked, and of which sample it is."""
    text = json.dumps([request, sample], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _complete(llm: LanguageModel, messages: Messages, sample: Sample) -> Reply:
    """Ask the model. If only the reminder makes a request too long, return an empty reply."""
    *_, attempt = sample
    try:
        return llm.complete(messages, sample)
    except RequestRefused:
        if attempt == 0:
            raise
        return Reply("", llm.name, finish_reason="refused")


def _line(
    key: str, sample: Sample, messages: Messages, reply: Reply, parsed: bool
) -> dict[str, Any]:
    """Return what is written about a call."""
    seed, episode, step, attempt = sample
    prompt = json.dumps(messages, sort_keys=True)
    kept = {name: getattr(reply, name) for name in KEPT}
    kept["latency"] = round(reply.latency, 4)
    return {
        "key": key,
        "seed": seed,
        "episode": episode,
        "step": step,
        "attempt": attempt,
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(),
        "status": reply.status,
        "parsed": parsed,
        "reply": reply.text,
        **kept,
    }


def _lock_file(file: TextIO) -> None:
    """Keep other processes away from an open file until it is closed, or its process is killed."""
    try:
        _take_lock(file)
    except OSError:
        raise UserError(
            f"another process is collecting into {file.name}: wait until it has ended"
        ) from None


def _take_lock(file: TextIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file.fileno(), 1 << 30, os.SEEK_SET)  # the same byte for all, far behind the text
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_calls(path: Path) -> list[dict[str, Any]]:
    """Return the calls of an earlier run. If a kill tore the last line, cut it off."""
    content = path.read_bytes()
    whole_lines = content[: content.rfind(b"\n") + 1]
    if whole_lines != content:
        with open(path, "r+b") as file:
            file.truncate(len(whole_lines))
            os.fsync(file.fileno())
    try:
        calls = [json.loads(line) for line in whole_lines.splitlines()]
        complete = all({"key", "reply", *KEPT} <= call.keys() for call in calls)
    except (ValueError, AttributeError):
        complete = False
    if not complete:
        raise UserError(
            f"{path} is damaged: it holds lines that minloro did not write; move it away"
        )
    return calls
