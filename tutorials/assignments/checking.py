"""What a check is, and what is said where it fails.

A check runs a function of the student's and returns numbers under names. The same check runs on the package's own source:
its numbers are the right ones. Where they differ, they are compared with those of typical mistakes, each of them the
package's source with one place changed. The mistake that explains most names gives its message, then the next one.
So no message can be wrong about its own mistake, and the tests try every one of them.
"""

import types
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

MOST_NUMBERS = 10_000  # under one name


@dataclass(frozen=True)
class Check:
    """One line of the marks. run(module, rng): numbers by name. module: the package's, which nobody may import while graded.

    tolerance: how far numbers may be from the right ones, relative and absolute; large where chance has a part.
    """

    file: str
    name: str
    points: int
    run: Callable[[types.ModuleType, np.random.Generator], dict]
    tolerance: float = 1e-6

    def values(self, module: types.ModuleType, seed: int) -> dict[str, list]:
        """Run the check with its own generator; return plain lists, as they come back from another process."""
        rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(self.name.encode())]))
        with np.errstate(all="ignore"):
            return {name: _plain(name, value) for name, value in self.run(module, rng).items()}


@dataclass(frozen=True)
class Mistake:
    """A typical mistake: in the package's source of `file`, `right` becomes `wrong`.

    message: what helps, but is not the answer.
    """

    file: str
    right: str
    wrong: str
    message: str

    def put_into(self, source: str) -> str:
        """Return the source with the mistake in it."""
        return changed(source, self.right, self.wrong)


class NoAnswer(Exception):
    """The student's function returned something that is not made of numbers."""


def changed(source: str, right: str, wrong: str) -> str:
    """Return `source` with `right`, which must stand in it exactly once, replaced by `wrong`."""
    if source.count(right) != 1:
        raise LookupError(f"{right!r} stands {source.count(right)} times in the source, expected once: correct the table")
    return source.replace(right, wrong)


def module_from(source: str, name: str, filename: str) -> types.ModuleType:
    """Return a module made of `source`, as if it had been imported from `filename`."""
    import sys

    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module  # dataclasses look there
    exec(compile(source, filename, "exec"), module.__dict__)
    return module


def complaints(check: Check, values: dict, right: dict, mistakes: Iterable[tuple[str, dict]]) -> list[str]:
    """Return what to say about `values`: nothing where they are right.

    mistakes: messages with the values that the mistake leads to. Names are explained by as few mistakes as possible; of two
    that explain as many, the one that would spoil less of what is right.
    """

    def differing(found: dict, others: dict) -> set[str]:
        return {name for name in right if not _same(found.get(name), others.get(name), check.tolerance)}

    wrong = differing(values, right)
    left, said, explanations = set(wrong), [], []
    for message, found in mistakes if wrong else ():
        would_be_wrong = differing(found, right)
        explanations.append((message, would_be_wrong - differing(found, values), len(would_be_wrong - wrong)))
    while explanations:
        message, explained, _ = max(explanations, key=lambda row: (len(row[1] & left), -row[2]))
        if not explained & left:
            break
        said.append(f"{_listed([name for name in right if name in explained & left])}: {message}")
        left -= explained
    return said + [f"{name}: {_difference(values.get(name), right[name], check.tolerance)}" for name in right if name in left]


def _plain(name: str, value):
    if value is None or (isinstance(value, list | tuple) and any(item is None for item in value)):
        raise NoAnswer(f"{name}: None came back. Is there a `return` with what the docstring asks for, on every way through?")
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise NoAnswer(f"{name}: expected numbers, found {type(value).__name__}") from None
    if array.size > MOST_NUMBERS:
        raise NoAnswer(f"{name}: an array of the shape {array.shape} is far too large")
    return array.tolist()


def _same(value, right, tolerance: float) -> bool:
    value, right = _array(value), _array(right)
    if value is None or right is None or value.shape != right.shape:
        return False
    return bool(np.allclose(value, right, rtol=tolerance, atol=tolerance, equal_nan=True))


def _array(value) -> np.ndarray | None:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _difference(value, right, tolerance: float) -> str:
    """Say in what way `value` is not `right`, without saying what would be right."""
    value, right = _array(value), _array(right)
    if value is None:
        return "not an array of numbers"
    if value.shape != right.shape:
        return f"expected the shape {right.shape}, found {value.shape}"
    if not np.isfinite(value).all():
        return "holds NaN or infinite values"
    if _same(-value, right, tolerance):
        return "has the wrong sign everywhere"
    big = np.abs(right) > 1e-9
    ratio = float(np.median(value[big] / right[big])) if big.sum() > 1 else 0.0
    if ratio and _same(value / ratio, right, tolerance):
        return f"is {ratio:.4g} times what it should be, everywhere: look for a factor"
    if right.ndim == 0:
        return "is not the right number"
    wrong = np.argwhere(~np.isclose(value, right, rtol=tolerance, atol=tolerance))
    places = ", ".join(str(tuple(place.tolist()) if len(place) > 1 else int(place[0])) for place in wrong[:4])
    return f"{len(wrong)} of {right.size} numbers are wrong, at {places}{', …' if len(wrong) > 4 else ''}"
