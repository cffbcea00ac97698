"""Grade an assignment: `python tutorials/assignments/grade.py ASSIGNMENT [FOLDER]`.

Every check runs in a process of its own (sandbox.py), so that whatever goes wrong in one costs the points of that one. No
network is used, and the same files always get the same marks. `--json FILE` also writes what Gradescope calls results.json.
"""

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

SECONDS, IN_ALL = 15.0, 110.0  # a check may take, and all of them together
LARGEST_FILE = 2**20


@dataclass(frozen=True)
class Mark:
    """One line of the result. said: what there is to say about it."""

    name: str
    points: float
    most: float
    said: tuple[str, ...] = ()


class Clock:
    """What time is left for a check, so that all of them together keep within their limit."""

    def __init__(self, seconds: float = SECONDS, in_all: float = IN_ALL):
        self.seconds, self.end = seconds, time.monotonic() + in_all

    def left(self) -> float:
        return round(min(self.seconds, self.end - time.monotonic()), 1)


def read_files(folder: Path) -> dict[str, str]:
    """Return the texts of a student's Python files by name; raise UserError where `folder` is no folder."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the one that holds the student's files")
    files = {}
    for path in sorted(folder.glob("*.py")):
        if path.is_file() and path.stat().st_size <= LARGEST_FILE:
            files[path.name] = path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\0", "")
    return files


def grade(number: int, folder: Path, seed: int = 0, defects: tuple[str, ...] = (), clock: Clock | None = None) -> list[Mark]:
    """Return the marks of the files in `folder`, one a check."""
    assignment, files, clock = ASSIGNMENTS[number], read_files(folder), clock or Clock()
    if number == 4:
        from checks_4 import grade_tests

        return [Mark(*row) for row in grade_tests(files, defects, clock)]
    return list(_marks(assignment, files, seed, clock))


def _marks(assignment: Assignment, files: dict[str, str], seed: int, clock: Clock) -> Iterator[Mark]:
    checks = import_module(f"checks_{assignment.number}")
    hopeless: dict[str, str] = {}  # why no check of a file can succeed
    for check in checks.CHECKS:
        reason = hopeless.get(check.file)
        if check.file not in files:
            reason = f"there is no {check.file} in the folder, or it is larger than 1 MB"
        if reason is None and clock.left() <= 0:
            reason = f"not run: the checks before it took {IN_ALL:g} s, which is all there is"
        if reason is not None:
            yield Mark(check.name, 0, check.points, (reason,))
            continue
        module = assignment.sources[check.file].removesuffix(".py").replace("/", ".")
        question = {"kind": "check", "assignment": assignment.number, "check": check.name, "seed": seed}
        answer = ask(question | {"files": files, "module": module}, clock.left())
        said = _judge(assignment, check, answer, checks.MISTAKES, seed)
        if answer.get("error") in ("SyntaxError", "IndentationError", "TabError"):
            hopeless[check.file] = said[0]
        if "failed" in answer and not answer.get("loaded"):
            hopeless[check.file] = said[0] = f"while {check.file} was being imported: {answer['failed']}"
        yield Mark(check.name, 0 if said else check.points, check.points, tuple(said))


def _judge(assignment: Assignment, check: Check, answer: dict, mistakes: list, seed: int) -> list[str]:
    """Return what there is to say about an answer of the sandbox: nothing where it is right."""
    if "failed" in answer:
        return [answer["failed"]]
    source = solution(assignment, check.file)
    if "error" not in answer:
        right = _values(check, source, seed)
        values = answer["values"] if isinstance(answer["values"], dict) else {}
        return complaints(check, values, right, _of_mistakes(check, source, mistakes, seed))
    said = [str(answer.get("text", ""))]
    if answer["error"] in ("ValueError", "IndexError", "AttributeError"):  # a typical mistake may raise just this
        found = _of_mistakes(check, source, mistakes, seed)
        said += [f"perhaps: {message}" for message, values in found if values.get("raised") == answer.get("raised")][:1]
    return said


def _values(check: Check, source: str, seed: int) -> dict:
    return check.values(module_from(source, f"_graded_{check.file.removesuffix('.py')}", check.file), seed)


def _of_mistakes(check: Check, source: str, mistakes: list, seed: int) -> Iterator[tuple[str, dict]]:
    """Yield each mistake's message and the values, or the error, that it leads to."""
    for mistake in mistakes:
        if mistake.file == check.file:
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
        lines.append(f"{mark.name:<{width}}  {mark.points:>4.4g} / {mark.most:<4.4g}{'' if mark.said else '  ok'}")
        for said in mark.said:
            for line in said.splitlines():
                lines += textwrap.wrap(line, 108, initial_indent="    ", subsequent_indent="    ")
    total, most = sum(mark.points for mark in marks), sum(mark.most for mark in marks)
    return "\n".join([*lines, "", f"{'total':<{width}}  {total:>4.4g} / {most:.4g}"])


def results(marks: list[Mark], seconds: float) -> dict:
    """Return the marks as Gradescope reads them (gradescope-autograders.readthedocs.io, "Autograder Specifications")."""
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
    return {"score": sum(mark.points for mark in marks), "execution_time": round(seconds), "tests": tests}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = OneLineParser(prog="grade.py", description="Grade an assignment, offline.", allow_abbrev=False)
    parser.add_argument("assignment", metavar="ASSIGNMENT", type=int, choices=ASSIGNMENTS, help="1 to 4")
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, default=Path("."), help="the student's files (default: .)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write Gradescope's results.json")
    parser.add_argument("--seed", type=int, default=0, help="other numbers in the checks of 1 to 3 (default 0)")
    parser.add_argument("--defects", type=defect_list, default=(), metavar="LIST", help="what is wrong in assignment 4")
    start = time.monotonic()
    try:
        given = parser.parse_args(arguments)
        if given.seed < 0:
            raise UserError("--seed must not be negative")
        marks = grade(given.assignment, given.folder, given.seed, given.defects)
        print(table(ASSIGNMENTS[given.assignment], given.folder, marks))
        if given.json:
            text = json.dumps(results(marks, time.monotonic() - start), indent=1)
            try:
                given.json.write_text(text + "\n", encoding="utf-8")
            except OSError as error:
                raise UserError(f"{given.json} cannot be written ({error.strerror}): give --json another file") from None
    except UserError as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
