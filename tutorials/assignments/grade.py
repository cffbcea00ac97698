"""Grade an assignment: `python tutorials/assignments/grade.py ASSIGNMENT [FOLDER]`.

Every check runs in its own process (sandbox.py), so what goes wrong in one check costs the points
of that check only. No network is used, and the same files always get the same marks. `--json FILE`
also writes what Gradescope calls results.json.
"""

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from checking import Check, complaints, module_from
from make_starters import ASSIGNMENTS, Assignment, OneLineParser, defect_list, solution
from sandbox import ask

from minloro.errors import UserError

SECONDS = 15.0  # that a check may take
IN_ALL = 110.0  # seconds that all checks together may take
LARGEST_FILE = 2**20  # bytes; a larger one is taken for missing
PAGE_WIDTH = 108  # columns of a message
NOT_PYTHON = ("SyntaxError", "IndentationError", "TabError")
TYPICAL_ERRORS = ("ValueError", "IndexError", "AttributeError")  # a typical mistake may raise these


@dataclass(frozen=True)
class Mark:
    """One line of the result."""

    name: str
    points: float
    most: float
    # What there is to say about it.
    said: tuple[str, ...] = ()


class Clock:
    """The time that is left for a check, so that all checks together keep within their limit."""

    def __init__(self, seconds: float = SECONDS, in_all: float = IN_ALL):
        self.seconds = seconds
        self.end = time.monotonic() + in_all

    def left(self) -> float:
        """Return the seconds that the next check may take."""
        return round(min(self.seconds, self.end - time.monotonic()), 1)


def read_files(folder: Path) -> dict[str, str]:
    """Return the texts of a student's Python files by name.

    Raises UserError if `folder` is no folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the one that holds the student's files")
    files = {}
    for path in sorted(folder.glob("*.py")):
        if path.is_file() and path.stat().st_size <= LARGEST_FILE:
            text = path.read_bytes().decode("utf-8-sig", "replace")
            files[path.name] = text.replace("\r\n", "\n").replace("\0", "")
    return files


def grade(
    number: int,
    folder: Path,
    seed: int = 0,
    defects: tuple[str, ...] = (),
    clock: Clock | None = None,
) -> list[Mark]:
    """Return the marks of the files in `folder`, one per check."""
    files = read_files(folder)
    clock = clock or Clock()
    if number == 4:
        from checks_4 import grade_tests

        return [Mark(*row) for row in grade_tests(files, defects, clock)]
    return list(_marks(ASSIGNMENTS[number], files, seed, clock))


def _marks(
    assignment: Assignment, files: dict[str, str], seed: int, clock: Clock
) -> Iterator[Mark]:
    checks = import_module(f"checks_{assignment.number}")
    hopeless: dict[str, str] = {}  # file: why no check of it can succeed
    for check in checks.CHECKS:
        reason = _why_not(check, files, hopeless, clock)
        if reason is not None:
            yield Mark(check.name, 0, check.points, (reason,))
            continue
        module = assignment.sources[check.file].removesuffix(".py").replace("/", ".")
        question = {
            "kind": "check",
            "assignment": assignment.number,
            "check": check.name,
            "seed": seed,
            "files": files,
            "module": module,
        }
        answer = ask(question, clock.left())
        said = _judge(assignment, check, answer, checks.MISTAKES, seed)
        if answer.get("error") in NOT_PYTHON:
            hopeless[check.file] = said[0]
        if "failed" in answer and not answer.get("loaded"):
            said[0] = f"while {check.file} was being imported: {answer['failed']}"
            hopeless[check.file] = said[0]
        yield Mark(check.name, 0 if said else check.points, check.points, tuple(said))


def _why_not(
    check: Check, files: dict[str, str], hopeless: dict[str, str], clock: Clock
) -> str | None:
    """Return why a check is not run, or None if it is."""
    if check.file not in files:
        return f"there is no {check.file} in the folder, or it is larger than 1 MB"
    if check.file in hopeless:
        return hopeless[check.file]
    if clock.left() <= 0:
        return f"not run: the checks before it took {IN_ALL:g} s, which is all there is"
    return None


def _judge(
    assignment: Assignment, check: Check, answer: dict, mistakes: list, seed: int
) -> list[str]:
    """Return what there is to say about an answer of the sandbox: nothing if it is right."""
    if "failed" in answer:
        return [answer["failed"]]
    source = solution(assignment, check.file)
    if "error" not in answer:
        right = _values(check, source, seed)
        values = answer["values"] if isinstance(answer["values"], dict) else {}
        return complaints(check, values, right, _of_mistakes(check, source, mistakes, seed))
    said = [str(answer.get("text", ""))]
    if answer["error"] in TYPICAL_ERRORS:
        for message, values in _of_mistakes(check, source, mistakes, seed):
            if values.get("raised") == answer.get("raised"):
                said.append(f"perhaps: {message}")
                break
    return said


def _values(check: Check, source: str, seed: int) -> dict:
    module_name = f"_graded_{check.file.removesuffix('.py')}"
    return check.values(module_from(source, module_name, check.file), seed)


def _of_mistakes(
    check: Check, source: str, mistakes: list, seed: int
) -> Iterator[tuple[str, dict]]:
    """Yield each mistake's message and the values, or the error, that it leads to."""
    for mistake in mistakes:
        if mistake.file != check.file:
            continue
        try:
            wrong = mistake.put_into(source)
        except LookupError:  # in a variant of the assignment the place may be gone
            continue
        try:
            yield mistake.message, _values(check, wrong, seed)
        except Exception as error:
            yield mistake.message, {"raised": f"{type(error).__name__}: {error}"[:300]}


def table(assignment: Assignment, folder: Path, marks: list[Mark]) -> str:
    """Return the marks as text."""
    width = max(len(mark.name) for mark in marks)
    lines = [f"Assignment {assignment.number}: {assignment.title} ({folder})", ""]
    for mark in marks:
        ok = "" if mark.said else "  ok"
        lines.append(f"{mark.name:<{width}}  {mark.points:>4.4g} / {mark.most:<4.4g}{ok}")
        for line in "\n".join(mark.said).splitlines():
            indent = " " * 4
            lines += textwrap.wrap(
                line, PAGE_WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    total = sum(mark.points for mark in marks)
    most = sum(mark.most for mark in marks)
    return "\n".join([*lines, "", f"{'total':<{width}}  {total:>4.4g} / {most:.4g}"])


def results(marks: list[Mark], seconds: float) -> dict:
    """Return the marks as Gradescope reads them.

    Source: gradescope-autograders.readthedocs.io, "Autograder Specifications".
    """
    tests = [
        {
            "name": mark.name,
            "score": mark.points,
            "max_score": mark.most,
            "status": "passed" if mark.points == mark.most else "failed",
            "output": "\n".join(mark.said) or "ok",
            "visibility": "visible",
        }
        for mark in marks
    ]
    score = sum(mark.points for mark in marks)
    return {"score": score, "execution_time": round(seconds), "tests": tests}


def write_results(path: Path, marks: list[Mark], seconds: float) -> None:
    """Write results.json; raise UserError if that is not possible."""
    text = json.dumps(results(marks, seconds), indent=1)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): give --json another file"
        ) from None


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return what was typed; raise UserError if it is wrong."""
    parser = OneLineParser(
        prog="grade.py", description="Grade an assignment, offline.", allow_abbrev=False
    )
    add = parser.add_argument
    add("assignment", metavar="ASSIGNMENT", type=int, choices=ASSIGNMENTS, help="1 to 4")
    add(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        default=Path("."),
        help="the student's files (default: .)",
    )
    add("--json", metavar="FILE", type=Path, help="also write Gradescope's results.json")
    add("--seed", type=int, default=0, help="other numbers in the checks of 1 to 3 (default 0)")
    add(
        "--defects",
        type=defect_list,
        default=(),
        metavar="LIST",
        help="what is wrong in assignment 4",
    )
    given = parser.parse_args(arguments)
    if given.seed < 0:
        raise UserError("--seed must not be negative")
    return given


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    start = time.monotonic()
    try:
        given = parse_arguments(arguments)
        marks = grade(given.assignment, given.folder, given.seed, given.defects)
        print(table(ASSIGNMENTS[given.assignment], given.folder, marks))
        if given.json:
            write_results(given.json, marks, time.monotonic() - start)
    except UserError as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
