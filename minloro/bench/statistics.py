"""Intervals over seeds, and verdicts in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

Bounds = tuple[float, float]  # the smallest and the largest possible value
Interval = dict[str, Any]  # {"mean", "low", "high"}: numbers, or None

ENOUGH_SEEDS = 10  # with fewer, a verdict is called indicative
RESAMPLES = 10_000


@lru_cache
def t_quantile(df: int, probability: float = 0.975) -> float:
    """Return the quantile of Student's t distribution.

    With t = sqrt(df) tan(x), its density becomes proportional to cos(x)^(df - 1) on (-pi/2, pi/2).
    This is smooth and bounded, so a cumulative sum gives the distribution function.

    >>> round(t_quantile(4), 3), round(t_quantile(9), 3)
    (2.776, 2.262)
    """
    edges = np.linspace(-np.pi / 2, np.pi / 2, 200_001)
    middles = (edges[1:] + edges[:-1]) / 2
    density = np.cos(middles) ** (df - 1)
    cumulative = np.append(0.0, np.cumsum(density))
    x = np.interp(probability, cumulative / cumulative[-1], edges)
    return float(np.sqrt(df) * np.tan(x))


def interval(values: Sequence[float] | np.ndarray, bounds: Bounds | None = None) -> Interval:
    """Return the mean of independent values and its 95% interval: {"mean", "low", "high"}.

    Student's t and the percentile bootstrap (fixed generator) are both computed; the wider one
    decides. A single value has no interval, and no values have no mean.

    bounds: the smallest and the largest possible value. The interval is cut to them. It still
    holds the true mean as often as before: the true mean lies within the bounds, so no part that
    is cut off could hold it. The mean of the values always stays inside the interval.

    >>> interval([150.0, 200.0], bounds=(0, 200))
    {'mean': 175.0, 'low': 0.0, 'high': 200.0}
    """
    sample = np.asarray(values, np.float64)
    if len(sample) < 2:
        only = float(sample[0]) if len(sample) else None
        return {"mean": only, "low": None, "high": None}
    mean = float(sample.mean())
    low, high = _wider_interval(sample, mean)
    if bounds is not None:
        low = min(max(low, bounds[0]), mean)
        high = max(min(high, bounds[1]), mean)
    return {"mean": mean, "low": float(low), "high": float(high)}


def _wider_interval(sample: np.ndarray, mean: float) -> tuple[float, float]:
    """Return the ends of Student's interval or of the bootstrap's, whichever is wider."""
    n = len(sample)
    half = t_quantile(n - 1) * sample.std(ddof=1) / np.sqrt(n)  # of Student's interval
    resamples = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    bootstrap = np.quantile(sample[resamples].mean(axis=1), (0.025, 0.975))
    if 2 * half >= np.ptp(bootstrap):
        return mean - half, mean + half
    return bootstrap[0], bootstrap[1]


def difference(
    ours: Sequence[float], theirs: Sequence[float], bounds: Bounds | None = None
) -> Interval:
    """Return the interval of the paired differences and the verdict.

    Both sides list their seeds in the same order. bounds: of a single value on either side.
    """
    difference_bounds = None
    if bounds is not None:
        low, high = bounds
        difference_bounds = (low - high, high - low)
    result = interval(np.subtract(ours, theirs), difference_bounds)
    word = _verdict(result["low"], result["high"])
    if len(ours) < ENOUGH_SEEDS:
        word = f"indicative: {word}"
    return result | {"verdict": word}


def _verdict(low: float | None, high: float | None) -> str:
    if low is not None and low > 0:
        return "better"
    if high is not None and high < 0:
        return "worse"
    return "no clear difference"
