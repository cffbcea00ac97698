"""The grading of assignment 4: a student's tests against warmstart.py without defects, and with one defect at a time."""

from collections.abc import Iterator

from instructor.defects import DEFECTS, REAL, warmstart
from sandbox import ask

ALL_PASS, PER_DEFECT = 20, 80  # points; the second for all defects together


def grade_tests(files: dict[str, str], defects: tuple[str, ...], clock) -> Iterator[tuple]:
    """Yield (name, points, most points, what to say) for the correct code and for each defect.

    A test counts where it passes on the correct code, every time; a defect is caught where a test that counts fails.
    """
    defects = defects or REAL
    kept = {name: text for name, text in files.items() if name != "warmstart.py"}
    share = PER_DEFECT / len(defects)
    if "test_student.py" not in files:
        reason = ("there is no test_student.py in the folder, or it is larger than 1 MB",)
        yield "tests that pass on the correct code", 0, ALL_PASS, reason
        for number in range(len(defects)):
            yield f"defect {number + 1}", 0, share, reason
        return
    first = _run(kept, (), clock)
    if any(first["tests"].values()):
        broken = {name: _run(kept, (name,), clock) for name in defects}
        again = _run(kept, (), clock)
    else:  # nothing that could catch anything
        broken, again = dict.fromkeys(defects, first), first
    passed = [name for name in first["tests"] if first["tests"][name] and again["tests"].get(name)]
    caught = {name: [test for test in passed if broken[name]["tests"].get(test) is False] for name in defects}
    yield _on_correct_code(first, again, passed, any(caught.values()))
    for number, name in enumerate(defects, start=1):
        said = (f"not caught. It is {DEFECTS[name].where}: {DEFECTS[name].idea}",)
        if broken[name].get("failed", "").startswith("not run"):
            said = (broken[name]["failed"],)
        yield f"defect {number}", share if caught[name] else 0, share, () if caught[name] else said


def _on_correct_code(first: dict, again: dict, passed: list[str], any_caught: bool) -> tuple:
    tests, said = first["tests"], []
    for name, well in tests.items():
        if not well:
            said.append(f"{name} fails on the correct code and does not count: {first['texts'].get(name, 'it did not end')}")
        elif name not in passed:
            said.append(f"{name} passes on the correct code one time and fails the next: what in it is left to chance?")
    if "the file" in first["texts"]:
        said.append(f"test_student.py cannot be run: {first['texts']['the file']}")
    if "failed" in first:
        said.append(first["failed"])
    if not tests and not said:
        said.append("there are no tests: pytest takes functions whose name begins with test_")
    points = ALL_PASS * len(passed) / len(tests) if tests else 0
    if tests and not any_caught:
        points = 0
        said.append("these points are given once a defect is caught: tests that never fail say nothing")
    return "tests that pass on the correct code", round(points, 1), ALL_PASS, tuple(said)


def _run(files: dict[str, str], defects: tuple[str, ...], clock) -> dict:
    """Run the student's tests against one version; return which passed."""
    seconds = clock.left()
    if seconds <= 0:
        return {"tests": {}, "texts": {}, "failed": "not run: the tests before took all the time there is; make them faster"}
    answer = ask({"kind": "tests", "files": files, "source": warmstart(defects)}, seconds)
    return {"tests": _checked(answer.get("tests"), bool), "texts": _checked(answer.get("texts"), str)} | {
        key: answer[key] for key in ("failed",) if key in answer
    }


def _checked(found, kind: type) -> dict:
    """Return a dict of the kind that was expected, whatever came back."""
    return {str(k): v for k, v in found.items() if isinstance(v, kind)} if isinstance(found, dict) else {}
