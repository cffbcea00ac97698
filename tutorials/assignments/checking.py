"""What a check is, and what is said if it fails.

A check runs a function of the student's and returns numbers under names. The same check runs on the
package's own source: its numbers are the right ones. If they differ, they are compared with those
of typical mistakes. Each typical mistake is the package's source with one place changed. The
mistake that explains the most names gives its message, then the next one. So no message can be
wrong about its own mistake, and the tests try every one of them.
"""

import sys
import types
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_NUMBERS = 10_000  # under one name


@dataclass(frozen=True)
class Check:
    """One line of the marks."""

    file: str
    name: str
    points: int
    # run(module, rng) returns numbers by name. While grading, nobody may import the package's
    # module: `module` is the student's or a copy.
    run: Callable[[types.ModuleType, np.random.Generator], dict]
    # How far numbers may be from the right ones, relative and absolute; large if chance has a part.
    tolerance: float = 1e-6

    def values(self, module: types.ModuleType, seed: int) -> dict[str, list]:
        """Run the check with its own generator.

        Returns plain lists, as they come back from another process.
        """
        rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(self.name.encode())]))
        with np.errstate(all="ignore"):
            return {name: _plain(name, value) for name, value in self.run(module, rng).items()}


@dataclass(frozen=True)
class Mistake:
    """A typical mistake: in the package's source of `file`, `right` becomes `wrong`."""

    file: str
    right: str
    wrong: str
    # What helps, but is not the answer.
    message: str

    def put_into(self, source: str) -> str:
        """Return the source with the mistake in it."""
        return changed(source, self.right, self.wrong)


class NoAnswer(Exception):
    """The student's function returned something that is not made of numbers."""


def changed(source: str, right: str, wrong: str) -> str:
    """Return `source` with `wrong` in the place of `right`, which must stand in it exactly once."""
    n = source.count(right)
    if n != 1:
        raise LookupError(
            f"{right!r} stands {n} times in the source, expected once: correct the table"
        )
    return source.replace(right, wrong)


def module_from(source: str, name: str, filename: str) -> types.ModuleType:
    """Return a module made of `source`, as if it had been imported from `filename`."""
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module  # dataclasses look there
    exec(compile(source, filename, "exec"), module.__dict__)
    return module


@dataclass(frozen=True)
class Explanation:
    """What one typical mistake says about a student's values."""

    message: str
    # Names whose values are those of the mistake.
    names: set[str]
    # How many names the mistake would spoil that the student has right.
    n_spoiled: int


def complaints(
    check: Check, values: dict, right: dict, mistakes: Iterable[tuple[str, dict]]
) -> list[str]:
    """Return what to say about `values`: nothing if they are right.

    mistakes: messages with the values that each mistake leads to. Names are explained by as few
    mistakes as possible. If two explain equally many, the one that would spoil less of what is
    right comes first.
    """
    wrong = _differing(check, values, right, right)
    if not wrong:
        return []
    explanations = []
    for message, found in mistakes:
        would_be_wrong = _differing(check, found, right, right)
        names = would_be_wrong - _differing(check, found, values, right)
        explanations.append(Explanation(message, names, len(would_be_wrong - wrong)))
    unexplained = set(wrong)
    said = []
    while explanations:
        best = max(explanations, key=lambda each: (len(each.names & unexplained), -each.n_spoiled))
        explained = best.names & unexplained
        if not explained:
            break
        said.append(f"{_listed([name for name in right if name in explained])}: {best.message}")
        unexplained -= explained
    for name in right:
        if name in unexplained:
            said.append(f"{name}: {_difference(values.get(name), right[name], check.tolerance)}")
    return said


def _differing(check: Check, found: dict, others: dict, names: Iterable[str]) -> set[str]:
    """Return the names under which the two hold different numbers."""
    return {name for name in names if not _same(found.get(name), others.get(name), check.tolerance)}


def _plain(name: str, value: Any) -> Any:
    """Return numbers as lists; raise NoAnswer if they are no numbers."""
    holds_none = isinstance(value, list | tuple) and any(item is None for item in value)
    if value is None or holds_none:
        raise NoAnswer(
            f"{name}: None came back. Is there a `return` with what the docstring asks for, on "
            "every way through?"
        )
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise NoAnswer(f"{name}: expected numbers, found {type(value).__name__}") from None
    if array.size > MOST_NUMBERS:
        raise NoAnswer(f"{name}: an array of the shape {array.shape} is far too large")
    return array.tolist()


def _same(value: Any, right: Any, tolerance: float) -> bool:
    found = _array(value)
    expected = _array(right)
    if found is None or expected is None or found.shape != expected.shape:
        return False
    return bool(np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True))


def _array(value: Any) -> np.ndarray | None:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _difference(value: Any, right: Any, tolerance: float) -> str:
    """Say in what way `value` is not `right`, without saying what would be right."""
    found = _array(value)
    expected = _array(right)
    if found is None:
        return "not an array of numbers"
    if found.shape != expected.shape:
        return f"expected the shape {expected.shape}, found {found.shape}"
    if not np.isfinite(found).all():
        return "holds NaN or infinite values"
    if _same(-found, expected, tolerance):
        return "has the wrong sign everywhere"
    ratio = _common_ratio(found, expected)
    if ratio and _same(found / ratio, expected, tolerance):
        return f"is {ratio:.4g} times what it should be, everywhere: look for a factor"
    if expected.ndim == 0:
        return "is not the right number"
    wrong = np.argwhere(~np.isclose(found, expected, rtol=tolerance, atol=tolerance))
    places = ", ".join(_place(index) for index in wrong[:4].tolist())
    more = ", …" if len(wrong) > 4 else ""
    return f"{len(wrong)} of {expected.size} numbers are wrong, at {places}{more}"


def _common_ratio(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the median ratio of the two; 0 if there are too few numbers for one."""
    big = np.abs(expected) > 1e-9
    if big.sum() < 2:
        return 0.0
    return float(np.median(found[big] / expected[big]))


def _place(index: list[int]) -> str:
    return str(index[0]) if len(index) == 1 else str(tuple(index))
