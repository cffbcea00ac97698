"""`python -m minloro`."""

import os
import sys
from contextlib import suppress

from minloro.cli import main


def run() -> None:
    """Run the command line and end the process, also where a thread still waits for a server that does not answer."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or not there
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
