"""Run somebody else's code in its own process, and bring numbers back.

The process has a time limit, a memory limit, an empty folder as its home, and no keys in its
environment. It reads from stdin what to do. It answers in a file that only this one question names.
What the code prints goes elsewhere, so nothing printed can look like an answer. The answer holds
numbers, not marks: the process that asked gives the marks. In the end the whole process group is
killed, whatever the code has started.

This keeps mistakes and simple tricks away from the marks. It is not a wall against somebody who
wants to do harm: on a server, run it in a container without a network, as Gradescope does.
"""

import json
import os
import secrets
import signal
import site
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

MEMORY = 2 * 2**30  # bytes of address space
FILE_SIZE = 50 * 2**20  # bytes that a file may have
LONGEST_ANSWER = 10 * 2**20  # bytes; a longer answer is not read
PASSED_ON = (
    "PATH",
    "PYTHONPATH",
    "SYSTEMROOT",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "VIRTUAL_ENV",
)


def ask(question: dict, seconds: float) -> dict:
    """Let a fresh process work on `question`.

    Returns its answer, or {"failed": why} if there is none.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        path = Path(folder) / secrets.token_hex(16)
        nonce = secrets.token_hex(16)
        limits = {"answer": str(path), "nonce": nonce, "seconds": seconds}
        failed = _run(question | limits, seconds, home)
        answer = _read(path, nonce)
    if "values" in answer or "error" in answer:
        return answer
    return answer | {"failed": failed}


def _run(question: dict, seconds: float, home: Path) -> str:
    """Run the process to its end; return how it ended."""
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(
            [sys.executable, "-B", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=nowhere,
            stderr=nowhere,
            cwd=home,
            env=_environment(home),
            start_new_session=True,
        )
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(question).encode())
                process.stdin.close()
            process.wait(seconds)
            return _how_it_ended(process.returncode)
        except subprocess.TimeoutExpired:
            return (
                f"it took longer than {seconds:g} s and was stopped: is there a loop that does "
                "not end?"
            )
        finally:
            _kill(process)


def _how_it_ended(status: int) -> str:
    if status < 0:
        return f"Python was killed by signal {-status}: did it take too much memory or time?"
    return (
        f"Python ended (exit status {status}) before the check was over: nothing here should end "
        "the program"
    )


def _environment(home: Path) -> dict[str, str]:
    """Return what student code may see of the environment: nothing that could be a key."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    kept |= {name: str(home) for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP")}
    kept |= {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
    return kept | {
        "PYTHONHASHSEED": "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONUTF8": "1",
        "PYTHONUSERBASE": site.getuserbase() or "",
        "MPLBACKEND": "Agg",
    }


def _kill(process: subprocess.Popen) -> None:
    """End the process and everything that it has started and that is still in its group."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _read(path: Path, nonce: str) -> dict:
    """Return the answer in a file, or {} if it is no answer to this question."""
    try:
        if path.stat().st_size > LONGEST_ANSWER:
            return {}
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(answer, dict) or answer.pop("nonce", None) != nonce:
        return {}
    return answer


# What follows runs in the student code's own process.


def _limit(seconds: float) -> None:
    """Limit memory, processor time and the size of files, if the system can."""
    try:
        import resource
    except ImportError:  # Windows: only the time limit holds
        return
    limits = {
        "RLIMIT_AS": MEMORY,
        "RLIMIT_CPU": int(seconds) + 5,
        "RLIMIT_FSIZE": FILE_SIZE,
        "RLIMIT_CORE": 0,
    }
    for name, most in limits.items():
        with suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, name), (most, most))


def _main() -> None:
    question = json.loads(sys.stdin.read())
    sys.stdin = open(os.devnull)
    _limit(question["seconds"])
    owner = os.getpid()
    path = question.pop("answer")
    nonce = question.pop("nonce")

    def answer(found: dict) -> None:
        """Write an answer, whole or not at all.

        A process that student code has forked off has nothing to say.
        """
        if os.getpid() == owner:
            with open(path + ".part", "w", encoding="utf-8") as file:
                json.dump(found | {"nonce": nonce}, file)
            os.replace(path + ".part", path)

    from student import work

    work(question, answer)
    os._exit(0)  # threads and exit handlers that are left do not matter


if __name__ == "__main__":
    _main()
