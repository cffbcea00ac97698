"""The README and the other pages: the code runs, the links lead somewhere, the map is true."""

import re

import pytest
from test_structure import MODULES, ORDER, ROOT, code_lines

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    path
    for folder in (".", ".github", "tutorials", "tutorials/reference", "tutorials/studies")
    for path in (ROOT / folder).glob("*.md")
)
REFERENCE = {path.stem: path for path in (ROOT / "tutorials" / "reference").glob("*.md")}
ARCHITECTURE = REFERENCE["architecture"].read_text(encoding="utf-8")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


EXAMPLES = [(name_of(path), code) for path in PAGES for code in python_blocks(path)]


@pytest.mark.parametrize(("page", "code"), EXAMPLES, ids=[page for page, _ in EXAMPLES])
def test_the_examples_run(page, code):
    names = {}
    exec(code, names)
    assert names["returns"][-1].env_steps >= 1000


def test_there_is_an_example_in_the_readme_and_one_of_an_own_environment():
    assert [page for page, _ in EXAMPLES].count("README.md") == 1
    assert "tutorials/reference/agents.md" in dict(EXAMPLES)


def test_the_map_lists_every_module_with_its_size():
    """In the order in which they may import each other."""
    rows = re.findall(r"^\| `minloro/([\w/]+)\.py` \| (\d+) \| .+ \|$", ARCHITECTURE, re.MULTILINE)
    listed = [(name.replace("/", "."), int(lines)) for name, lines in rows]
    true = [(name, code_lines(MODULES[name])) for name in ORDER]
    assert listed == true, "\n".join(f"{name} {lines}" for name, lines in true)


def test_the_map_by_folders_names_what_is_there():
    block = README.partition("## The map")[2].partition("```\n")[2].partition("```")[0]
    own = re.findall(r"^  ([\w.]+/?) ", block, re.MULTILINE)
    assert {"loro.py", "arms.py", "tasks/", "agents/", "llm/", "bench/"} <= set(own)
    for name in own:
        assert (ROOT / "minloro" / name).exists(), name
    folders = re.findall(r"^(\w+/) ", block, re.MULTILINE)
    for name in folders:
        assert (ROOT / name).is_dir(), name


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 160


def test_the_reference_has_a_page_for_every_purpose():
    pages = "agents architecture benchmarks decisions language_models protocol published_rollouts"
    assert sorted(REFERENCE) == pages.split()
    for path in REFERENCE.values():
        assert f"](tutorials/reference/{path.name}" in README, path.name


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_and_pictures_exist(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_anchors_exist(path):
    """A link to a heading, of this page or another one, leads to a heading."""
    text = path.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
        page = path.parent / target if target else path
        assert anchor in anchors(page.read_text(encoding="utf-8")), f"{target}#{anchor}"


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_scripts_in_commands_exist(path):
    text = path.read_text(encoding="utf-8")
    commands = re.findall(r"python (?:-m pytest [^`\n]*?)?((?:tests|tutorials)/[\w/]+\.py)", text)
    for script in commands:
        assert (ROOT / script).exists(), script


def test_the_two_commands_are_the_whole_set_up():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv ")]
    assert len(commands) == 2
    assert commands[0].endswith("-m minloro cartpole") and commands[1].endswith("-m pytest")
