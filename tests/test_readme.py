"""The README's code runs, and its map of files is true."""

import re

import pytest
from test_structure import MODULES, ORDER, ROOT, code_lines

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_examples_run(code):
    names = {}
    exec(code, names)
    assert names["returns"][-1].env_steps >= 1000


def test_the_map_lists_every_module_with_its_size():
    rows = re.findall(r"^\| `minloro/([\w/]+)\.py` \| (\d+) \| .+ \|$", README, re.MULTILINE)
    listed = [(name.replace("/", "."), int(lines)) for name, lines in rows]
    true = [(name, code_lines(MODULES[name])) for name in ORDER]
    assert listed == true, "\n".join(f"{name} {lines}" for name, lines in true)


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_two_commands_are_the_whole_set_up():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv ")]
    assert len(commands) == 2
    assert commands[0].endswith("-m minloro cartpole") and commands[1].endswith("-m pytest")
