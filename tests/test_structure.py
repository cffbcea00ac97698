"""The house: imports run one way, modules stay small, randomness comes from generators."""

import ast
import configparser
import re
import tokenize
from pathlib import Path

import pytest

import minloro

PACKAGE = Path(__file__).resolve().parents[1] / "minloro"
ROOT = PACKAGE.parent
# A module may import only from modules above it.
ORDER = """
    errors randomness files
    transitions replay dynamics
    agents.checkpoint agents.features agents.tabular agents.linear agents.mlp agents.actor_critic
    llm.prompts llm.gridworlds llm.client llm.standin llm.transcript llm.policy
    pong tasks rollout loro coverage sweep report plot
    runfolder progress experiment doctor paper flags cli __main__
""".split()
MODULES = {str(p.relative_to(PACKAGE))[:-3].replace("/", "."): p for p in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name: path for name, path in MODULES.items() if not name.endswith("__init__")}


def imported(path):
    """Every module that a file imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_order_lists_every_module():
    assert sorted(ORDER) == sorted(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name):
    above = ORDER[: ORDER.index(name)]
    own = {m.removeprefix("minloro.") for m in imported(MODULES[name]) if m.startswith("minloro.")}
    used = own & set(ORDER)
    assert used <= set(above), f"{name} imports {used - set(above)} from below"
    if name.startswith("agents."):
        assert not any(m.startswith("llm.") for m in used)
    if name.startswith("llm."):
        assert not any(m.startswith("agents.") for m in used)
    if name != "plot":
        assert not any(m.split(".")[0] == "matplotlib" for m in imported(MODULES[name]))
    if name != "flags":
        assert "argparse" not in set(imported(MODULES[name]))


def test_randomness_comes_from_generators():
    pattern = re.compile(r"np\.random\.(seed|rand|randn|randint|choice|uniform|normal|shuffle)\b|action_space\.sample")
    for path in (*PACKAGE.rglob("*.py"), *(ROOT / "tutorials").rglob("*.py")):
        assert not pattern.search(path.read_text()), path
        assert "random" not in set(imported(path)), path


def code_lines(path):
    """The lines of a module that hold code: no blank lines, comments or docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = set()
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.INDENT,
                                  tokenize.DEDENT, tokenize.ENDMARKER):  # fmt: skip
                lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_modules_and_package_stay_small():
    sizes = {name: code_lines(path) for name, path in MODULES.items()}
    assert max(sizes.values()) <= 250, sizes
    assert sum(sizes.values()) <= 3000, sizes


def test_functions_fit_on_a_screen():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{name}.{node.name}"


def test_public_names_are_documented():
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), name
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name}"


def test_every_dependency_has_a_lower_bound():
    """One that .ci/lower_bounds finds: a line of its own, NAME>=VERSION and nothing else."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = (settings["options"]["install_requires"], *settings["options.extras_require"].values())
    wanted = " ".join(lines).split()
    assert {"numpy", "pytest"} < {line.partition(">=")[0] for line in wanted}
    assert all(re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", line) for line in wanted), wanted
    found = re.findall(r"^ +([a-z0-9-]+>=.+)", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert sorted(found) == sorted(wanted)
    tested = re.search(r"-e '\.\[(.+?)\]'", (ROOT / ".ci" / "lower_bounds").read_text())[1].split(",")
    assert sorted(tested) == sorted(settings["options.extras_require"])


def test_the_changelog_and_the_citation_know_the_version():
    assert f"\n## [{minloro.__version__}] - " in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {minloro.__version__}\n" in (ROOT / "CITATION.cff").read_text()
