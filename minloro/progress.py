"""One line on stderr that says how far a run is; nothing where stderr is not a terminal."""

import os
import sys
import time
from collections import deque


class Progress:
    """The line, redrawn at every step; silent when `quiet` or where stderr goes to a file."""

    def __init__(self, quiet: bool):
        self._shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self.title = ""  # which of several experiments is shown
        self._what, self._recent = "", deque(maxlen=100)  # the last calls of `show`: when, and how much was done

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
        bar = min(width - len(line) - 4, 24)
        filled = round(bar * min(done / max(total, 1), 1))
        line += f"  [{'#' * filled}{'.' * (bar - filled)}]" if bar > 3 else ""
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def _time_left(self, total: int) -> str:
        """Say how long it will take, as fast as it went lately; what a resumed run finds in its folder is soon forgotten."""
        (start, before), (now, done) = self._recent[0], self._recent[-1]
        if done == before:
            return ""
        minutes, seconds = divmod(round((now - start) / (done - before) * max(total - done, 0)), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left  "

    def clear(self) -> None:
        """Remove the line, so that other output starts on an empty one."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """Say something that does not stop the run; shown even when quiet."""
        self.clear()
        print(f"minloro: warning: {message}", file=sys.stderr)
