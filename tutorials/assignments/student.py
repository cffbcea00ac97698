"""The work that is done on a student's files, in the process that sandbox.py starts."""

import linecache
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from checking import NoAnswer, module_from

WHY = {
    "IndexError": "is an index beyond the end of an array, or an axis one too many?",
    "ModuleNotFoundError": "only NumPy, Gymnasium and minloro are there.",
    "MemoryError": "how large is the array that is made there? Ask for its shape.",
    "NameError": "is the name spelled as where it was made? `self.` in front?",
    "AttributeError": "is the name spelled as where it was made?",
    "RecursionError": "a function calls itself without end.",
    "SystemExit": "nothing here should end the program: take calls of exit() out.",
}
SHAPES = ("broadcast", "shape", "matmul", "dimension", "size", "einsum", "aligned", "axis")


def work(question: dict, answer: Callable[[dict], None]) -> None:
    """Do what `question` asks for.

    Hands numbers to `answer`, or how it went wrong.
    """
    folder = Path.cwd() / "submission"
    folder.mkdir()
    for name, text in question["files"].items():
        (folder / name).write_text(text, encoding="utf-8")
    if question["kind"] == "tests":
        sys.path.pop(0)  # the grader's own folder: what stands in it is not for students to import
        _run_tests(folder, question["source"], answer)
    else:
        _run_check(folder, question, answer)


def _run_check(folder: Path, question: dict, answer: Callable[[dict], None]) -> None:
    """Run one check on one file of a student's."""
    checks = import_module(f"checks_{question['assignment']}").CHECKS
    check = next(check for check in checks if check.name == question["check"])
    sys.path.pop(0)  # as above
    sys.path.append(str(folder))  # at the end: nothing there replaces a module that is installed
    path = str(folder / check.file)
    blocked = "minloro." + question["module"]
    sys.modules[blocked] = None  # what is to be written cannot be borrowed from the package
    try:
        module = module_from(question["files"][check.file], Path(path).stem, path)
        if sys.modules.get(blocked) is not None:
            raise ImportError(f"import of {blocked}")
        answer({"loaded": True})
        answer({"values": check.values(module, question["seed"])})
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a student's, too
        raised = f"{type(error).__name__}: {error}"[:300]
        text = describe(error, path, blocked)
        answer({"error": type(error).__name__, "raised": raised, "text": text})


def describe(error: BaseException, path: str, blocked: str = "") -> str:
    """Say in a line or two what was raised, where in the student's file, and what to look at."""
    name = type(error).__name__
    file = Path(path).name
    text = " ".join(str(error).split())[:300]
    if isinstance(error, NotImplementedError):
        return f"not written yet ({text})"
    if isinstance(error, NoAnswer):
        return text
    if isinstance(error, ImportError) and blocked and f"import of {blocked}" in text:
        return f"{file} takes its answer from {blocked}, which is what you are to write"
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"{file}, line {error.lineno}, is not Python: {error.msg}"
    said = f"{name}: {text}" if text else name
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    if lines:
        source = linecache.getline(path, lines[-1]).strip()[:120]
        said += f", at {file}, line {lines[-1]}: {source}"
    hint = _hint(error, text)
    return f"{said}\n{hint}" if hint else said


def _hint(error: BaseException, text: str) -> str:
    """Return what to look at after an error."""
    if "NoneType" in text:
        return (
            "something is None here: does every function `return` what its docstring says, on "
            "every way through?"
        )
    if isinstance(error, ValueError) and any(word in text for word in SHAPES):
        return "the shapes do not fit: print them, and compare with those in the docstring."
    return WHY.get(type(error).__name__, "")


class _Recorder:
    """Keeps which tests passed. A test that was begun and never reported has failed."""

    def __init__(self, answer: Callable[[dict], None]):
        self.answer = answer
        self.passed = {}
        self.texts = {}

    def tell(self) -> None:
        self.answer({"tests": self.passed, "texts": self.texts})

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self.passed[nodeid.partition("::")[2]] = False
        self.tell()

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.partition("::")[2]
        if report.skipped:
            self.passed.pop(name, None)
        elif report.when == "call":
            self.passed[name] = report.passed
        elif report.failed:
            self.passed[name] = False
        if report.failed and name not in self.texts:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = getattr(crash, "message", str(report.longrepr))
            self.texts[name] = " ".join(message.split())[:200]
        self.tell()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.texts["the file"] = " ".join(str(report.longrepr).split())[-300:]
            self.tell()


def _run_tests(folder: Path, source: str, answer: Callable[[dict], None]) -> None:
    """Run test_student.py against a version of warmstart.py.

    The text of that version can be read nowhere.
    """
    import pytest

    module_from(source, "warmstart", "warmstart.py")
    recorder = _Recorder(answer)
    recorder.tell()
    path = str(folder / "test_student.py")
    ini = folder / "pytest.ini"
    ini.write_text("[pytest]\n", encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--noconftest", "-c", str(ini)]
    finished = (
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    )
    try:
        status = pytest.main([path, *options, "--rootdir", str(folder)], plugins=[recorder])
        if status not in finished:
            stopped = f"pytest stopped ({status.name}); does something in it end the program?"
            recorder.texts.setdefault("the file", stopped)
    except BaseException as error:
        recorder.texts["the file"] = describe(error, path)
    answer({"values": {}, "tests": recorder.passed, "texts": recorder.texts})
