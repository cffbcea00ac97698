"""The assignments: starters fail, solutions pass, and typical mistakes are recognised.

No student code can change the marks of others.
"""

import importlib
import json
import re
import subprocess
import sys
import time

import pytest
from test_structure import ROOT

HERE = ROOT / "tutorials" / "assignments"
sys.path.append(str(HERE))  # the commands import their neighbours, as scripts do

import grade  # noqa: E402
import make_starters  # noqa: E402
import sandbox  # noqa: E402
from make_starters import (  # noqa: E402
    ASSIGNMENTS,
    Cut,
    solution,
    starter,
    without,
    write_solution,
    write_starter,
)

CHECKED = {number: importlib.import_module(f"checks_{number}") for number in (1, 2, 3)}


def run_python(*arguments, cwd):
    """Run Python in a folder and return what it printed and its exit status."""
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


def said(marks):
    return {mark.name: " ".join(mark.said) for mark in marks if mark.said}


def total(marks):
    return round(sum(mark.points for mark in marks), 6)


def folder_with(tmp_path, number, **changes):
    """A folder with full marks, in which some files are changed.

    changes: for the name of a file, without its ending, a function from its old text to its new.
    """
    folder = write_solution(ASSIGNMENTS[number], tmp_path)
    for name, change in changes.items():
        path = folder / f"{name}.py"
        path.write_text(change(path.read_text()))
    return folder


@pytest.mark.parametrize("number", ASSIGNMENTS)
def test_the_starter_fails_and_says_what_is_to_be_written(tmp_path, number):
    marks = grade.grade(number, write_starter(ASSIGNMENTS[number], tmp_path))
    assert total(marks) == 0 and sum(mark.most for mark in marks) == 100
    if number < 4:
        for mark in marks:
            assert mark.said[0].startswith("not written yet ("), mark
        everything = " ".join(said(marks).values())
        for cuts in ASSIGNMENTS[number].cuts.values():
            assert all(f"{cut.function}: {cut.hint}" in everything for cut in cuts)
    else:
        assert all("not caught" in mark.said[0] for mark in marks[1:])


@pytest.mark.parametrize("number", ASSIGNMENTS)
def test_the_solution_gets_full_marks_and_passes_the_public_tests(tmp_path, number):
    folder = write_solution(ASSIGNMENTS[number], tmp_path)
    marks = grade.grade(number, folder, seed=3)
    assert total(marks) == 100 and not said(marks)
    result = run_python("-m", "pytest", cwd=folder)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", ASSIGNMENTS)
def test_what_students_get(tmp_path, number):
    """No solution and no check, all docstrings, and public tests that fail before the work."""
    assignment = ASSIGNMENTS[number]
    folder = write_starter(assignment, tmp_path, task="taxi")
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    expected = {"README.md", "pytest.ini", *assignment.sources}
    if number == 4:
        expected |= {"test_student.py", "warmstart.py"}
    else:
        expected |= {"test_public.py"}
    assert set(texts) == expected and "{task}" not in texts["README.md"]
    for file in assignment.sources:
        assert texts[file].count("raise NotImplementedError") == len(assignment.cuts[file])
        docstrings = re.findall(r'""".*?"""', solution(assignment, file), re.DOTALL)
        assert re.findall(r'""".*?"""', texts[file], re.DOTALL) == docstrings
        own_mistakes = [m for m in CHECKED[number].MISTAKES if m.file == file]
        assert not [m.right for m in own_mistakes if m.right in texts[file]]
    result = run_python("-m", "pytest", cwd=folder)
    assert result.returncode == (0 if number == 4 else 1), result.stdout


def test_the_generator_stops_where_the_package_has_changed():
    start = "def f(x):\n    '''Doc.'''\n"
    source = start + "    # why\n    y = x\n    return y\n"
    raised = '    raise NotImplementedError("f: h")\n'
    assert without(source, Cut("f", "h")) == start + raised
    assert without(source, Cut("f", "h", "return")).endswith("    y = x\n" + raised)
    unknown = [Cut("g", "h"), Cut("f.g", "h"), Cut("f", "h", "z =")]
    for cut in (*unknown, Cut("f", "h", "return", "y =")):
        with pytest.raises(LookupError):
            without(source, cut)


@pytest.mark.parametrize("number", CHECKED)
def test_every_typical_mistake_is_a_change_of_the_package(number):
    for mistake in CHECKED[number].MISTAKES:
        changed = mistake.put_into(solution(ASSIGNMENTS[number], mistake.file))
        compile(changed, mistake.file, "exec")
        gives_the_answer = mistake.wrong.strip() != "" and mistake.wrong in mistake.message
        assert not gives_the_answer, "the message is not the answer"


@pytest.mark.slow
@pytest.mark.parametrize("number", CHECKED)
def test_every_typical_mistake_costs_points_and_gets_its_message(number):
    assignment = ASSIGNMENTS[number]
    mistakes = CHECKED[number].MISTAKES
    for mistake in mistakes:
        changed = mistake.put_into(solution(assignment, mistake.file))
        heard = []
        errors = 0
        for check in CHECKED[number].CHECKS:
            if check.file == mistake.file:
                try:
                    answer = {"values": grade._values(check, changed, seed=1)}
                except Exception as error:
                    kind = type(error).__name__
                    answer = {"error": kind, "raised": f"{kind}: {error}"}
                    errors += 1
                heard += grade._judge(assignment, check, answer, mistakes, seed=1)
        assert any(mistake.message in text for text in heard), (mistake, heard)
        others = {text for text in heard if mistake.message not in text}
        # An error may have other causes. Wrong numbers have one.
        assert len(others) <= 2 * errors, (mistake, others)


def test_three_typical_ways_to_fill_in_a_starter_wrongly(tmp_path):
    """The whole way: files in a folder, processes, messages."""

    def fill_in(text):
        through_the_end = "self.discount * bootstrap"
        right = "np.where(batch.terminated, 0, self.discount * bootstrap)"
        text = text.replace(right, through_the_end)
        right = "np.add.at(self.table, taken, self.step_size * td_error)"
        return text.replace(right, "self.table[taken] += self.step_size * td_error")

    def alias(text):
        old = "self.target_weights += self.target_step_size * (self.weights - self.target_weights)"
        return text.replace(old, "self.target_weights = self.weights")

    marks = grade.grade(1, folder_with(tmp_path, 1, tabular=fill_in, linear=alias))
    heard = said(marks)
    assert set(heard) == {
        "TabularQ.update, td_error",
        "TabularQ.update, the table",
        "LinearQ.update, the target weights",
    }
    message = "td_error of terminated rows: something is added to the reward"
    assert message in heard["TabularQ.update, td_error"]
    assert "repeated indices" in heard["TabularQ.update, the table"]
    assert "another name for the weights" in heard["LinearQ.update, the target weights"]
    assert total(marks) == 100 - 15 - 15 - 10


@pytest.mark.slow
def test_a_variant_of_a_rule(tmp_path, monkeypatch):
    """As the notes describe it: another rule in `solution`, and a copy of the package is wrong."""
    copied = folder_with(tmp_path / "copied", 1)

    def variant(assignment, file):
        old = "greedy = next_q.argmax"
        return solution(assignment, file).replace(old, "greedy = next_q_target.argmax")

    monkeypatch.setattr(make_starters, "solution", variant)
    monkeypatch.setattr(grade, "solution", variant)
    assert total(grade.grade(1, folder_with(tmp_path / "solved", 1))) == 100
    marks = grade.grade(1, copied)
    assert list(said(marks)) == ["double_q_target"] and total(marks) == 85


# The line before which hostile code is put, in TabularQ.learn.
BODY = "        target = reward if terminated else reward + self.discount"
IMPORT_AGAIN = """\
import sys, importlib
del sys.modules['minloro.agents.tabular']
module = importlib.import_module('minloro.agents.tabular')
return module.TabularQ.learn(self, 0, 0, 0.0, 0, True)
"""
HOSTILE = {
    "prints marks": ('print(\'{"score": 100, "values": {}}\')\nreturn 100', "td_error"),
    "ends": ("import os; os._exit(0)", "Python ended"),
    "raises SystemExit": ("raise SystemExit(0)", "nothing here should end the program"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal"),
    "takes all memory": ("return np.ones(10**9)", "MemoryError"),
    "loops for ever": ("while True: pass", "took longer than"),
    "returns words": ("return 'full marks'", "expected numbers, found str"),
    "returns too much": ("return np.zeros(10**6)", "far too large"),
    "borrows": ("from minloro.agents.tabular import TabularQ", "which is what you are to write"),
    "borrows by force": (IMPORT_AGAIN, "td_error"),
    "a wrong shape": ("return np.ones(3) + np.ones(4)", "the shapes do not fit"),
}


def with_code(tmp_path, code):
    """A folder with the solution of assignment 1, with further code in TabularQ.learn."""
    lines = "".join(f"        {line}\n" for line in code.splitlines())
    return folder_with(tmp_path, 1, tabular=lambda text: text.replace(BODY, lines + BODY))


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX systems")
def test_hostile_code_costs_its_own_check_only(tmp_path, kind, capfd):
    code, message = HOSTILE[kind]
    folder = with_code(tmp_path, code)
    marks = grade.grade(1, folder, clock=grade.Clock(seconds=4))
    assert list(said(marks)) == ["TabularQ.learn"] and message in said(marks)["TabularQ.learn"]
    assert total(marks) == 90 and capfd.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="process groups of POSIX systems")
def test_what_student_code_starts_is_ended(tmp_path):
    mark = tmp_path / "alive"
    child = f"time.sleep(3); open({str(mark)!r}, 'w')"
    folder = with_code(tmp_path, f"import os, time\nif os.fork() == 0:\n    {child}\n")
    assert total(grade.grade(1, folder)) == 100
    time.sleep(3.5)
    assert not mark.exists()


@pytest.mark.slow
def test_files_that_cannot_be_used_cost_their_points_at_once(tmp_path):
    changes = {
        "tabular": lambda text: text + "while True: pass\n",
        "linear": lambda text: text + "def f(:\n",
    }
    folder = folder_with(tmp_path, 1, **changes)
    start = time.monotonic()
    marks = grade.grade(1, folder, clock=grade.Clock(seconds=3))
    assert time.monotonic() - start < 12, "the file is imported once, not for every check"
    assert total(marks) == 0
    assert "while tabular.py was being imported: it took longer" in marks[0].said[0]
    assert marks[0].said[0] == marks[1].said[0]
    assert "is not Python" in marks[-1].said[0]
    (folder / "tabular.py").unlink()
    assert "there is no tabular.py" in grade.grade(1, folder)[0].said[0]


@pytest.mark.slow
def test_all_checks_together_keep_within_their_time(tmp_path):
    loop = "while True: pass\n        self.table = "
    folder = folder_with(tmp_path, 1, tabular=lambda text: text.replace("self.table = ", loop))
    start = time.monotonic()
    marks = grade.grade(1, folder, clock=grade.Clock(seconds=2, in_all=5))
    assert time.monotonic() - start < 9
    assert "not run: the checks before" in marks[-1].said[0] and total(marks) == 0


@pytest.mark.slow
def test_no_key_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    folder = with_code(tmp_path, "import os\nassert 'OPENAI_API_KEY' not in os.environ\n")
    assert total(grade.grade(1, folder)) == 100


def test_an_answer_to_another_question_is_none(tmp_path):
    path = tmp_path / "answer"
    for text in ('{"values": {}, "nonce": "y"}', '{"values": {}}', "[]", "no json", "[" * 100_000):
        path.write_text(text)
        assert sandbox._read(path, "x") == {}
    path.write_text('{"values": {"a": 1}, "nonce": "x"}')
    assert sandbox._read(path, "x") == {"values": {"a": 1}}


# Assignment 4


def graded_tests(tmp_path, text, defects=()):
    (tmp_path / "test_student.py").write_text(text)
    return grade.grade(4, tmp_path, defects=defects, clock=grade.Clock(seconds=5))


def test_each_defect_can_be_put_in_alone_and_with_the_others(tmp_path):
    from instructor.defects import DEFECTS, warmstart

    sources = {warmstart(), warmstart(tuple(DEFECTS)), *(warmstart((name,)) for name in DEFECTS)}
    assert len(sources) == len(DEFECTS) + 2
    for source in sources:
        compile(source, "warmstart.py", "exec")
    for name, defect in DEFECTS.items():
        assert name not in warmstart((name,)) and defect.idea


@pytest.mark.slow
def test_the_solution_catches_the_defects_of_variants(tmp_path):
    from instructor.defects import DEFECTS

    text = (HERE / "instructor" / "test_student.py").read_text()
    marks = graded_tests(tmp_path, text, tuple(DEFECTS))
    assert total(marks) == 100 and len(marks) == 1 + len(DEFECTS)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["warmstart.py", "the one that students get"])
def test_warmstart_runs_as_it_stands(tmp_path, module):
    folder = HERE / "instructor"
    if module != "warmstart.py":
        folder = write_starter(ASSIGNMENTS[4], tmp_path)
    result = run_python("-B", "warmstart.py", cwd=folder)
    assert result.returncode == 0 and result.stdout.count("repeat") == 3, result.stderr


SIGN = """
import warmstart
def test_sign():
    assert warmstart.describe([0, 0, 0.1, 0]) != warmstart.describe([0, 0, -0.1, 0])
"""


def test_partial_credit_for_one_defect(tmp_path):
    marks = graded_tests(tmp_path, SIGN)
    assert [mark.points for mark in marks] == [20, 0, 0, 0, 16, 0]


NOT_COUNTED = """
def test_wrong(): assert False
def test_source():
    import inspect
    assert "abs" not in inspect.getsource(warmstart)
def test_chance():
    import pathlib, time
    assert time.time_ns() < 0
"""


def test_tests_that_do_not_count(tmp_path):
    marks = graded_tests(tmp_path, SIGN + NOT_COUNTED)
    assert total(marks) == 5 + 16
    heard = said(marks)["tests that pass on the correct code"]
    for name in ("test_wrong", "test_source", "test_chance"):
        assert f"{name} fails on the correct code" in heard


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\ndef test_end(): os._exit(0)\n", "Python ended"),
        ("import time\ndef test_loop():\n    while True: time.sleep(0.1)\n", "took longer than"),
        ("def test(:\n", "cannot be run"),
        ("import nothing_like_this\n", "cannot be run"),
        ("def check(): pass\n", "there are no tests"),
        ("print('100 / 100')\nraise SystemExit(0)\n", "cannot be run"),
        ("import pytest\n@pytest.mark.skip\ndef test_skipped(): pass\n", "there are no tests"),
    ],
)
def test_test_files_that_catch_nothing(tmp_path, text, message):
    (tmp_path / "test_student.py").write_text(text)
    marks = grade.grade(4, tmp_path, clock=grade.Clock(seconds=2))
    assert total(marks) == 0
    assert message in said(marks)["tests that pass on the correct code"], marks


@pytest.mark.slow
def test_what_went_well_before_a_crash_counts(tmp_path):
    marks = graded_tests(tmp_path, SIGN + "def test_zz():\n    import os\n    os._exit(0)\n")
    assert [mark.points for mark in marks] == [10, 0, 0, 0, 16, 0]


# The commands


def run(command, *arguments, cwd=ROOT):
    return run_python(str(HERE / command), *arguments, cwd=cwd)


def test_the_command_and_results_json(tmp_path):
    folder = folder_with(tmp_path, 4, test_student=lambda text: SIGN)
    result = run("grade.py", "4", "--json", "results.json", cwd=folder)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert re.search(r"^total +36 / 100$", result.stdout, re.MULTILINE)
    results = json.loads((folder / "results.json").read_text())
    assert results["score"] == 36 and isinstance(results["execution_time"], int)
    keys = {
        "name": str,
        "score": int | float,
        "max_score": int | float,
        "status": str,
        "output": str,
        "visibility": str,
    }
    for test in results["tests"]:
        assert set(test) == set(keys)
        assert all(isinstance(test[key], kind) for key, kind in keys.items())
        assert test["status"] in ("passed", "failed") and 0 <= test["score"] <= test["max_score"]
        assert (test["status"] == "passed") == (test["score"] == test["max_score"])
    assert sum(test["score"] for test in results["tests"]) == 36


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "ASSIGNMENT"),
        (("5",), "invalid choice"),
        (("x",), "invalid int"),
        (("1", "no-such-folder"), "is not a folder"),
        (("1", "README.md"), "is not a folder"),
        (("1", "--seed", "-1"), "negative"),
        (("4", "--defects", "none"), "unknown"),
        (("1", "tests", "--json", "no/such/folder.json"), "cannot be written"),
    ],
)
def test_wrong_commands_are_told_in_one_line(arguments, message):
    result = run("grade.py", *arguments)
    assert result.returncode == 2, result
    assert message in result.stderr and result.stderr.count("\n") == 1, result


def test_the_generator_as_a_command(tmp_path):
    result = run("make_starters.py", str(tmp_path))
    assert result.returncode == 0 and len(result.stdout.split()) == 4
    again = run("make_starters.py", "1", str(tmp_path))
    assert again.returncode == 2
    assert "already there" in again.stderr and again.stderr.count("\n") == 1
    assert run("make_starters.py", "9", str(tmp_path)).returncode == 2
    misspelt = run("make_starters.py", "2", str(tmp_path / "x"), "--task", "cartpol")
    assert "did you mean" in misspelt.stderr
    solved = run("make_starters.py", "2", str(tmp_path / "s"), "--solutions")
    assert solved.returncode == 0
    written = (tmp_path / "s" / "2-warm-start" / "loro.py").read_text()
    assert starter(ASSIGNMENTS[2], "loro.py") != written


def test_the_documents_name_what_is_there():
    for name in ("README.md", "INSTRUCTOR.md"):
        text = (HERE / name).read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (HERE / target).exists(), target
    for number, assignment in ASSIGNMENTS.items():
        text = (HERE / assignment.folder / "README.md").read_text()
        for file in assignment.handed_in:
            assert f"`{file}`" in text
            if number < 4:
                checks = [check for check in CHECKED[number].CHECKS if check.file == file]
                points = sum(check.points for check in checks)
                assert f"`{file}` {points}" in (HERE / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", CHECKED)
def test_what_the_texts_suggest_to_try(tmp_path, number):
    folder = write_solution(ASSIGNMENTS[number], tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    result = run_python("-c", code, cwd=folder)
    assert result.returncode == 0 and "[" in result.stdout, result.stderr


def test_the_scripts_are_commands(tmp_path):
    assert make_starters.main(["1", str(tmp_path)]) == 0 and grade.main(["9"]) == 2
