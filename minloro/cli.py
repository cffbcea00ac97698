"""The command line: `main` hands over to one command and reports its errors in one line.

Nothing heavy is imported before the flags are read.
"""

import os
import signal
import sys
from typing import NoReturn

from minloro.errors import RunError, UserError
from minloro.flags import make_parser

# BLAS reads these when NumPy is loaded. One thread: the matrices are small, and seeds run side by
# side.
BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0: done. 1: the run failed. 2: wrong usage or input. 130: Ctrl-C.
    """
    for variable in BLAS_THREADS:
        os.environ[variable] = "1"
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        flags = make_parser().parse_args(argv)
        from minloro.commands import command_for  # loads NumPy

        command = command_for(flags)
        command(flags)
    except UserError as error:
        return _fail(str(error), status=2)
    except (RunError, OSError, MemoryError) as error:
        return _fail(str(error) or type(error).__name__, status=1)
    except UnicodeEncodeError:
        return _fail(
            "the terminal cannot show these characters: set PYTHONIOENCODING=utf-8", status=1
        )
    except KeyboardInterrupt as interruption:
        return _fail(str(interruption) or "interrupted", status=130)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, status: int) -> int:
    """Print an error as one line that any terminal can show; return the exit status."""
    if sys.stderr is not None:
        line = f"minloro: error: {message}".replace("\n", " ")
        printable = line.encode("ascii", "backslashreplace").decode()
        # Begin over what is left of a progress bar.
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(start + printable, file=sys.stderr)
    return status
