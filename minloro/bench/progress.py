"""One line on stderr that says how far a run is."""

from __future__ import annotations

import os
import sys
import time
from collections import deque

CLEAR_LINE = "\r\x1b[K"  # back to the start of the terminal's line, and erase it
LONGEST_BAR = 24  # characters
SHORTEST_BAR = 4
REMEMBERED = 100  # calls of `show` from which the time left is estimated


class Progress:
    """A line that is redrawn at every step; silent if `quiet`, or if stderr is no terminal."""

    def __init__(self, quiet: bool):
        self.title = ""  # which of several experiments is shown
        self._shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._what = ""
        # Of each of the last calls: the time in seconds, and how much was done.
        self._recent: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)

    def show(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Redraw the line: a bar of `done` out of `total`."""
        if not self._shown:
            return
        what = self.title + what
        if what != self._what:
            self._what = what
            self._recent.clear()
        self._recent.append((time.monotonic(), done))
        width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
        line = f"{what} {done}/{total}  {self._time_left(total)}{detail}"[:width]
        length = min(width - len(line) - 4, LONGEST_BAR)
        if length >= SHORTEST_BAR:
            filled = round(length * min(done / max(total, 1), 1))
            line += f"  [{'#' * filled}{'.' * (length - filled)}]"
        print(f"{CLEAR_LINE}{line}", end="", file=sys.stderr, flush=True)

    def _time_left(self, total: int) -> str:
        """Estimate the time left from the speed of the last calls.

        What a resumed run finds in its folder counts as done at once; this is soon forgotten.
        """
        start, done_before = self._recent[0]
        now, done = self._recent[-1]
        if done == done_before:
            return ""
        seconds_each = (now - start) / (done - done_before)
        minutes, seconds = divmod(round(seconds_each * max(total - done, 0)), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left  "

    def clear(self) -> None:
        """Remove the line, so that other output starts on an empty one."""
        if self._shown:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """Say something that does not stop the run; it is shown even if `quiet`."""
        self.clear()
        print(f"minloro: warning: {message}", file=sys.stderr)
