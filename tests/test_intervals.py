"""How often do the 95% intervals hold the truth? Simulated, for numbers as returns are."""

from typing import NamedTuple

import numpy as np
import pytest

from minloro.bench.statistics import difference, interval

pytestmark = pytest.mark.slow
REPEATS = 2000
N_SEEDS = 10


class Case(NamedTuple):
    """A distribution, and how many of the intervals for its mean are expected to hold it.

    The share is lower than 95% for one-sided tails: ten values often hold nothing of the tail. The
    protocol says so.
    """

    draw: object  # rng and n to n values
    mean: float | None  # None: estimated from a million values
    least: float
    most: float
    bounds: tuple[float, float]  # of a single value


INFINITE = np.inf
CASES = {
    "normal": Case(lambda rng, n: rng.normal(3, 2, n), 3.0, 0.94, 0.98, (-INFINITE, INFINITE)),
    "uniform": Case(lambda rng, n: rng.uniform(0, 1, n), 0.5, 0.94, 0.98, (0, 1)),
    "nearly solved": Case(
        lambda rng, n: np.minimum(200, rng.normal(199, 3, n)), None, 0.85, 0.95, (-INFINITE, 200)
    ),
    "success rate": Case(lambda rng, n: rng.binomial(20, 0.7, n) / 20, 0.7, 0.94, 0.98, (0, 1)),
    "one seed in five fails": Case(
        lambda rng, n: np.where(rng.random(n) < 0.2, -1000.0, -150.0), -320.0, 0.84, 0.94, (-1e3, 0)
    ),
    "exponential tail": Case(
        lambda rng, n: -rng.exponential(100, n), -100.0, 0.86, 0.94, (-INFINITE, 0)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_coverage_with_ten_seeds(name):
    case = CASES[name]
    rng = np.random.default_rng(0)
    mean = case.draw(rng, 1_000_000).mean() if case.mean is None else case.mean
    samples = [case.draw(rng, N_SEEDS) for _ in range(REPEATS)]
    holds = []
    holds_when_cut = []
    for sample in samples:
        free = interval(sample)
        cut = interval(sample, case.bounds)
        holds.append(free["low"] <= mean <= free["high"])
        holds_when_cut.append(cut["low"] <= mean <= cut["high"])
    share = np.mean(holds)
    print(f"\n{name}: {share:.1%} of {REPEATS} intervals hold the true mean")
    assert case.least <= share <= case.most
    assert holds_when_cut == holds  # the true mean is never in a part that is cut off


def test_how_often_equal_arms_are_called_different():
    """Of comparisons of two equal arms over paired seeds, one in twenty has a false verdict."""
    rng = np.random.default_rng(1)
    verdicts = []
    for _ in range(REPEATS):
        luck = rng.normal(0, 10, 10)  # of the seed, shared by both arms
        ours = luck + rng.normal(0, 3, 10)
        theirs = luck + rng.normal(0, 3, 10)
        verdicts.append(difference(ours, theirs)["verdict"])
    wrong = np.mean([verdict != "no clear difference" for verdict in verdicts])
    print(f"\n{wrong:.1%} of {REPEATS} comparisons of equal arms end in better or worse")
    assert 0.02 <= wrong <= 0.06


def test_how_often_a_difference_is_found():
    """A true gain of one standard deviation of the paired differences is found in most cases."""
    rng = np.random.default_rng(2)
    verdicts = [difference(rng.normal(1, 1, 10), np.zeros(10))["verdict"] for _ in range(REPEATS)]
    found = np.mean([verdict == "better" for verdict in verdicts])
    print(f"\n{found:.1%} of {REPEATS} true gains are found")
    assert 0.7 <= found <= 0.9
