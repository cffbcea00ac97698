"""The numbered tutorials run as plain Python and print what their gallery shows.

The answers to their exercises are true.
"""

import ast
import json
import re
import shutil
import subprocess
import sys

import pytest
from test_structure import ROOT, imported

FOLDER = ROOT / "tutorials"
SCRIPTS = sorted(FOLDER.glob("[0-9]_*.py"))
GALLERY = (FOLDER / "README.md").read_text()
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
# By how much a number may differ from the one shown, relative to it. Tables learn in 64-bit
# numbers, which are the same everywhere. What is learned in 32-bit numbers depends a little on the
# processor: its matrix products add in another order.
TOLERANCE = {"1": 1e-9, "2": 0.03, "3": 0.01, "4": 1e-9, "5": 0.03, "6": 0.25, "7": 0.03, "8": 0.05}
# Exercises that ask for code: a solution, and the number that the tutorial gives.
SOLUTIONS = {
    "3_playing_through_text": (
        """
def number_behind(name, text):
    return float(re.search(rf"^Pole {name}: (\\S+)", text, re.M)[1])

def solution(text):
    angle = number_behind("angle", text)
    speed = number_behind("angular velocity", text)
    return 2 if angle + speed > 0 else 1
better = replace(task, stand_in_rule=solution)
""",
        "played(better, minloro.StandInLLM(better, skill=1.0)).episode_returns.mean()",
        "200.0",
    ),
    "8_your_own": (
        """
from dataclasses import replace
def solution(text):
    room, heater = (float(number) for number in re.findall(r"([0-9.]+) °C", text))
    return 2 if room + 0.2 * (heater - room) < 21 else 1
better = replace(task, stand_in_rule=solution)
""",
        "minloro.collect(better, minloro.StandInLLM(better, skill=1), 100).episode_returns.mean()",
        "-49.0",
    ),
}


def cells(script):
    """The cells of a script in the percent format: (whether it is text, source)."""
    found = re.split(r"^# %%( \[markdown\])?\n", script.read_text(), flags=re.MULTILINE)
    assert found[0] == "", "a tutorial begins with a cell"
    return [(bool(kind), source) for kind, source in zip(found[1::2], found[2::2], strict=True)]


def prose(script):
    """All text of a tutorial, as Markdown."""
    texts = [source for is_text, source in cells(script) if is_text]
    return "\n\n".join(re.sub(r"^# ?", "", source, flags=re.MULTILINE) for source in texts)


def checks(script):
    """The answers to the exercises: (expression, value as written)."""
    text = re.sub(r"\s*\n\s*", " ", prose(script))
    return re.findall(r'Check: `([^`]+)` gives ("[^"]+"|None|True|-?[\d.]*\d)', text)


def shown(script):
    """What the gallery says that a script prints."""
    section = GALLERY.partition(f"]({script.name})")[2]
    return re.search(r"```text\n(.*?)```", section, re.DOTALL)[1]


def same(actual, expected, tolerance):
    """Whether two texts are the same but for blanks, with numbers that are nearly the same."""
    skeletons = [" ".join(NUMBER.sub("0", text).split()) for text in (actual, expected)]
    if skeletons[0] != skeletons[1]:
        return False
    for ours, theirs in zip(NUMBER.findall(actual), NUMBER.findall(expected), strict=True):
        last_digit = 10.0 ** -len(theirs.partition(".")[2])
        found, wanted = (float(number.replace(",", "")) for number in (ours, theirs))
        if abs(found - wanted) > 0.51 * last_digit + tolerance * max(abs(wanted), 1):
            return False
    return True


def test_there_are_eight():
    assert [script.name[0] for script in SCRIPTS] == list("12345678")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
class TestForm:
    def test_it_is_short_and_in_the_percent_format(self, script):
        assert len(script.read_text().splitlines()) <= 200
        for is_text, source in cells(script):
            if is_text:
                assert all(line.startswith("#") for line in source.strip().splitlines())
            else:
                ast.parse(source)

    def test_it_has_its_parts(self, script):
        text = prose(script)
        title, _, rest = text.partition("\n")
        assert re.fullmatch(rf"# {script.name[0]}\. .+", title)
        assert rest.strip().startswith("**Question.** ")
        assert text.index("## What could mislead you") < text.index("## Exercises")
        exercises = re.split(r"^\d\. ", text.partition("## Exercises")[2], flags=re.MULTILINE)[1:]
        assert 2 <= len(exercises) <= 3
        assert all("Check: " in exercise for exercise in exercises)

    def test_it_imports_minloro_and_little_else(self, script):
        known = {"minloro", "numpy", "matplotlib", "gymnasium", *sys.stdlib_module_names}
        assert {name.split(".")[0] for name in imported(script)} <= known

    def test_its_figure_is_in_the_gallery(self, script):
        figures = re.findall(r'savefig\(folder / "(.+?)"', script.read_text())
        assert figures == [f"{script.stem}.png"]
        assert (FOLDER / "figures" / figures[0]).stat().st_size < 100_000
        assert f"](figures/{figures[0]})" in GALLERY
        question = prose(script).partition("**Question.** ")[2].partition("\n\n")[0]
        assert question.replace("\n", " ") in GALLERY


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_it_prints_what_the_gallery_shows_and_its_answers_are_true(script, tmp_path):
    copy = shutil.copy(script, tmp_path)  # figures go beside the script
    asked = checks(script)
    assert asked
    before, expression, value = SOLUTIONS.get(script.stem, ("", "", ""))
    if value:
        assert value in prose(script).partition("## Exercises")[2]
        asked.append((expression, value))
    with open(copy, "a", encoding="utf-8") as file:
        file.write(f'{before}\nprint("=====")\nimport json\n')
        for expression, _ in asked:
            file.write(f"print(json.dumps({expression}, default=float))\n")
    captured = {"capture_output": True, "encoding": "utf-8", "timeout": 1200}
    done = subprocess.run([sys.executable, copy], cwd=tmp_path, **captured)
    assert done.returncode == 0, done.stderr
    printed, _, answers = done.stdout.partition("=====\n")
    tolerance = TOLERANCE[script.name[0]]
    both = f"{script.name} prints\n{printed}\nthe gallery shows\n{shown(script)}"
    assert same(printed, shown(script), tolerance), both
    for (expression, value), answer in zip(asked, answers.splitlines(), strict=True):
        words = {"None": None, "True": True}
        found = json.loads(answer)
        if value in words:
            assert found is words[value], expression
        else:
            problem = f"{expression} gives {answer}, not {value}"
            assert same(str(found), value.strip('"'), tolerance), problem
    assert (tmp_path / "figures" / f"{script.stem}.png").exists()


def test_links_and_pictures_of_the_gallery_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", GALLERY):
        assert (FOLDER / target).exists(), target


def test_the_gallery_names_every_script():
    others = [*FOLDER.glob("studies/*.py"), *FOLDER.glob("recipes/*.py")]
    assert len(others) >= 8
    for script in (*FOLDER.glob("*.py"), *others):
        path = script.relative_to(FOLDER).as_posix()
        assert f"]({path})" in GALLERY, path


BACKEND = """
import sys, matplotlib
matplotlib.use("svg")
if sys.argv[1] == "notebook":
    sys.modules["ipykernel"] = sys
import minloro.bench.plot
print(matplotlib.get_backend())
"""


@pytest.mark.parametrize(("where", "backend"), [("script", "agg"), ("notebook", "svg")])
def test_figures_are_shown_in_a_notebook_and_only_written_elsewhere(where, backend):
    command = [sys.executable, "-c", BACKEND, where]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().lower() == backend
