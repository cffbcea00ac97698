"""The reading guide: every module once, true line counts, and names that exist.

Nothing is used before it was read.
"""

import ast
import re

from test_structure import MODULES, ORDER, ROOT, code_lines, own_imports, parse

GUIDE = (ROOT / "tutorials" / "reading_guide.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `minloro/([a-z_/]+)\.py` \| (\d+) \| (.*) \|$", GUIDE, re.MULTILINE)
LISTED = [name.replace("/", ".") for name, _, _ in ROWS]
FUNCTION_OR_CLASS = ast.FunctionDef | ast.ClassDef


def test_every_module_is_named_once():
    named = [name.replace("/", ".") for name in re.findall(r"`minloro/([a-z_/]+)\.py`", GUIDE)]
    assert sorted(named) == sorted(ORDER) and len(LISTED) > 20


def test_line_counts_are_true():
    listed = [(name, int(lines)) for name, (_, lines, _) in zip(LISTED, ROWS, strict=True)]
    assert listed == [(name, code_lines(MODULES[name])) for name in LISTED]


def test_nothing_is_used_before_it_was_read():
    """The guide begins with loro.py, whose words it explains in the files after it."""
    around = {"errors", "files"}  # two lines, and writing a file whole
    assert LISTED[0] == "loro"
    for place, name in enumerate(LISTED[1:], start=1):
        later = own_imports(name, with_annotations=False) - set(LISTED[:place]) - around
        assert not later, f"{name} uses {later}, which come later"


def defined_names(path):
    """The functions, classes and methods of a module."""
    tree = parse(path)
    names = {node.name for node in tree.body if isinstance(node, FUNCTION_OR_CLASS)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = [child.name for child in node.body if isinstance(child, ast.FunctionDef)]
            names |= {f"{node.name}.{method}" for method in methods}
    return names


def test_the_functions_that_are_named_exist():
    for name, (_, _, text) in zip(LISTED, ROWS, strict=True):
        known = defined_names(MODULES[name]) | {"terminated", "truncated"}
        for mentioned in re.findall(r"`([A-Za-z_.]+)`", text):
            assert mentioned in known, f"{name}: {mentioned}"
