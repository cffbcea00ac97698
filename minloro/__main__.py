"""`python -m minloro`."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from minloro.cli import main


def run() -> NoReturn:
    """Run the command line and end the process.

    It ends even if a thread still waits for a server that does not answer.
    """
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # it is closed, or there is none
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
