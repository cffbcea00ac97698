"""One line on stderr that says how far a run is; nothing where stderr is not a terminal."""

import shutil
import sys
import time


class Progress:
    """The line, redrawn at every step; silent when `quiet` or where stderr goes to a file."""

    def __init__(self, quiet: bool):
        self._shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._start = time.monotonic()

    def show(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Redraw the line: a bar of `done` out of `total`."""
        if not self._shown:
            return
        filled = round(24 * done / max(total, 1))
        seconds = time.monotonic() - self._start
        line = f"{what} [{'#' * filled}{'.' * (24 - filled)}] {done}/{total}  {seconds:.0f} s  {detail}"
        print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line, so that other output starts on an empty one."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """Say something that does not stop the run; shown even when quiet."""
        self.clear()
        print(f"minloro: warning: {message}", file=sys.stderr)
