"""The reading guide: every module once, true line counts, names that exist, and nothing used before it was read."""

import ast
import re

from test_structure import MODULES, ORDER, ROOT, code_lines, imported

GUIDE = (ROOT / "tutorials" / "reading_guide.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `minloro/([a-z_/]+)\.py` \| (\d+) \| (.*) \|$", GUIDE, re.MULTILINE)
LISTED = [name.replace("/", ".") for name, _, _ in ROWS]


def test_every_module_is_named_once():
    named = [name.replace("/", ".") for name in re.findall(r"`minloro/([a-z_/]+)\.py`", GUIDE)]
    assert sorted(named) == sorted(ORDER) and len(LISTED) > 20


def test_line_counts_are_true():
    true = [(name, code_lines(MODULES[name])) for name in LISTED]
    assert [(name, int(lines)) for name, (_, lines, _) in zip(LISTED, ROWS, strict=True)] == true


def test_nothing_is_used_before_it_was_read():
    around = {"errors", "files"}  # two lines, and writing a file whole
    for place, name in enumerate(LISTED):
        own = {module.removeprefix("minloro.") for module in imported(MODULES[name]) if module.startswith("minloro.")}
        later = own & set(ORDER) - set(LISTED[:place]) - around
        assert not later, f"{name} uses {later}, which come later"


def test_the_functions_that_are_named_exist():
    for name, _, text in ROWS:
        tree = ast.parse(MODULES[name.replace("/", ".")].read_text())
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for node in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            defined |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
        for mentioned in re.findall(r"`([A-Za-z_.]+)`", text):
            assert mentioned in defined | {"terminated", "truncated"}, f"{name}: {mentioned}"
