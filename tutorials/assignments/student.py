"""The work that is done on a student's files, in the process that sandbox.py starts."""

import linecache
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path

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


def work(question: dict, answer) -> None:
    """Do what `question` asks for and hand numbers, or how it went wrong, to `answer`."""
    folder = Path.cwd() / "submission"
    folder.mkdir()
    for name, text in question["files"].items():
        (folder / name).write_text(text, encoding="utf-8")
    if question["kind"] == "tests":
        sys.path.pop(0)  # the grader's own folder: what stands in it is not for students to import
        _run_tests(folder, question["source"], answer)
        return
    checks = import_module(f"checks_{question['assignment']}").CHECKS
    check = next(check for check in checks if check.name == question["check"])
    sys.path.pop(0)
    sys.path.append(str(folder))  # at the end, so that nothing there stands for a module that is installed
    path, blocked = str(folder / check.file), "minloro." + question["module"]
    sys.modules[blocked] = None  # what is to be written cannot be borrowed from the package
    try:
        module = module_from(question["files"][check.file], path.removesuffix(".py").rpartition(os.sep)[2], path)
        if sys.modules.get(blocked) is not None:
            raise ImportError(f"import of {blocked}")
        answer({"loaded": True})
        answer({"values": check.values(module, question["seed"])})
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a student's, too
        text = describe(error, path, blocked)
        answer({"error": type(error).__name__, "raised": f"{type(error).__name__}: {error}"[:300], "text": text})


def describe(error: BaseException, path: str, blocked: str = "") -> str:
    """Say in a line or two what was raised, where in the student's file, and what to look at."""
    name, text = type(error).__name__, " ".join(str(error).split())[:300]
    if isinstance(error, NotImplementedError):
        return f"not written yet ({text})"
    if isinstance(error, NoAnswer):
        return text
    if isinstance(error, ImportError) and blocked and f"import of {blocked}" in text:
        return f"{Path(path).name} takes its answer from {blocked}, which is what you are to write"
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"{Path(path).name}, line {error.lineno}, is not Python: {error.msg}"
    places = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    said = f"{name}: {text}" if text else name
    if places:
        said += f", at {Path(path).name}, line {places[-1]}: {linecache.getline(path, places[-1]).strip()[:120]}"
    if "NoneType" in text:
        return f"{said}\nsomething is None here: does every function `return` what its docstring says, on every way through?"
    shapes = isinstance(error, ValueError) and any(word in text for word in SHAPES)
    hint = "the shapes do not fit: print them, and compare with those in the docstring." if shapes else WHY.get(name, "")
    return f"{said}\n{hint}" if hint else said


class _Recorder:
    """Keeps which tests passed; a test that was begun and never reported has failed."""

    def __init__(self, answer):
        self.answer, self.passed, self.texts = answer, {}, {}

    def tell(self) -> None:
        self.answer({"tests": self.passed, "texts": self.texts})

    def pytest_runtest_logstart(self, nodeid, location):
        self.passed[nodeid.partition("::")[2]] = False
        self.tell()

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.partition("::")[2]
        if report.when == "call":
            self.passed[name] = report.passed
            if report.skipped:
                del self.passed[name]
        elif report.skipped:
            self.passed.pop(name, None)
        elif report.failed:
            self.passed[name] = False
        if report.failed and name not in self.texts:
            message = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
            self.texts[name] = " ".join(message.split())[:200]
        self.tell()

    def pytest_collectreport(self, report):
        if report.failed:
            self.texts["the file"] = " ".join(str(report.longrepr).split())[-300:]
            self.tell()


def _run_tests(folder: Path, source: str, answer) -> None:
    """Run test_student.py against a version of warmstart.py whose text is nowhere to be read."""
    import pytest

    module_from(source, "warmstart", "warmstart.py")
    recorder = _Recorder(answer)
    recorder.tell()
    path, ini = folder / "test_student.py", folder / "pytest.ini"
    ini.write_text("[pytest]\n", encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--noconftest", "-c", str(ini), "--rootdir", str(folder)]
    try:
        status = pytest.main([str(path), *options], plugins=[recorder])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            recorder.texts.setdefault("the file", f"pytest stopped ({status.name}); does something in it end the program?")
    except BaseException as error:
        recorder.texts["the file"] = describe(error, str(path))
    answer({"values": {}, "tests": recorder.passed, "texts": recorder.texts})
