"""The grading of assignment 4.

A student's tests run against warmstart.py without defects, and with one defect at a time.
"""

from collections.abc import Iterator
from typing import Any

from instructor.defects import DEFECTS, REAL, warmstart
from sandbox import ask

ALL_PASS = 20  # points
PER_DEFECT = 80  # points, for all defects together
CORRECT = "tests that pass on the correct code"


def grade_tests(files: dict[str, str], defects: tuple[str, ...], clock: Any) -> Iterator[tuple]:
    """Yield (name, points, most points, what to say) for the correct code and for each defect.

    A test counts if it passes on the correct code, every time. A defect is caught if a test that
    counts fails.
    """
    defects = defects or REAL
    kept = {name: text for name, text in files.items() if name != "warmstart.py"}
    share = PER_DEFECT / len(defects)
    if "test_student.py" not in files:
        reason = ("there is no test_student.py in the folder, or it is larger than 1 MB",)
        yield CORRECT, 0, ALL_PASS, reason
        for number in range(1, len(defects) + 1):
            yield f"defect {number}", 0, share, reason
        return
    first = _run(kept, (), clock)
    if any(first["tests"].values()):
        broken = {name: _run(kept, (name,), clock) for name in defects}
        again = _run(kept, (), clock)
    else:  # nothing that could catch anything
        broken = dict.fromkeys(defects, first)
        again = first
    counting = [
        test for test, passed in first["tests"].items() if passed and again["tests"].get(test)
    ]
    caught = {name: _is_caught(counting, broken[name]) for name in defects}
    yield _on_correct_code(first, again, counting, any(caught.values()))
    for number, name in enumerate(defects, start=1):
        if caught[name]:
            yield f"defect {number}", share, share, ()
        else:
            yield f"defect {number}", 0, share, (_not_caught(name, broken[name]),)


def _is_caught(counting: list[str], broken: dict) -> bool:
    """Return whether one of the tests that count fails."""
    return any(broken["tests"].get(test) is False for test in counting)


def _not_caught(name: str, broken: dict) -> str:
    """Return what to say about a defect that no test has found."""
    failed = broken.get("failed", "")
    if failed.startswith("not run"):
        return failed
    return f"not caught. It is {DEFECTS[name].where}: {DEFECTS[name].idea}"


def _on_correct_code(first: dict, again: dict, counting: list[str], any_caught: bool) -> tuple:
    """Return the line about the correct code."""
    tests = first["tests"]
    said = []
    for name, passed in tests.items():
        if not passed:
            how = first["texts"].get(name, "it did not end")
            said.append(f"{name} fails on the correct code and does not count: {how}")
        elif name not in counting:
            said.append(
                f"{name} passes on the correct code one time and fails the next: "
                "what in it is left to chance?"
            )
    if "the file" in first["texts"]:
        said.append(f"test_student.py cannot be run: {first['texts']['the file']}")
    if "failed" in first:
        said.append(first["failed"])
    if not tests and not said:
        said.append("there are no tests: pytest takes functions whose name begins with test_")
    points = ALL_PASS * len(counting) / len(tests) if tests else 0
    if tests and not any_caught:
        points = 0
        said.append(
            "these points are given once a defect is caught: tests that never fail say nothing"
        )
    return CORRECT, round(points, 1), ALL_PASS, tuple(said)


def _run(files: dict[str, str], defects: tuple[str, ...], clock: Any) -> dict:
    """Run the student's tests against one version; return which passed."""
    seconds = clock.left()
    if seconds <= 0:
        too_late = "not run: the tests before took all the time there is; make them faster"
        return {"tests": {}, "texts": {}, "failed": too_late}
    question = {"kind": "tests", "files": files, "source": warmstart(defects)}
    answer = ask(question, seconds)
    result = {
        "tests": _checked(answer.get("tests"), bool),
        "texts": _checked(answer.get("texts"), str),
    }
    if "failed" in answer:
        result["failed"] = answer["failed"]
    return result


def _checked(found: Any, kind: type) -> dict:
    """Return a dict of the kind that was expected, whatever came back."""
    if not isinstance(found, dict):
        return {}
    return {str(key): value for key, value in found.items() if isinstance(value, kind)}
