"""Numbers and intervals as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def format_number(value: float, like: float | None = None) -> str:
    """Format a number: three decimals below 10, one below 1000, none above; no negative zero.

    like: the number whose size decides, if it is not `value` itself.

    >>> format_number(0.7442), format_number(186.04), format_number(-41858.3)
    ('0.744', '186.0', '-41,858')
    >>> format_number(-0.0001)
    '0.000'
    """
    size = abs(value if like is None else like)
    if size < 10:
        digits = 3
    elif size < 1000:
        digits = 1
    else:
        digits = 0
    without_sign_of_zero = round(value, digits) + 0.0
    return f"{without_sign_of_zero:,.{digits}f}"


def format_count(value: float) -> str:
    """Format a number of things, or the mean of several such numbers.

    >>> format_count(1200), format_count(462.7)
    ('1,200', '462.7')
    """
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def format_interval(metric: Mapping[str, Any], n_seeds: int) -> str:
    """Format a mean with its interval, and with the number of seeds if some do not have it.

    >>> format_interval({"mean": 186.0, "low": 171.25, "high": 200.0}, 5)
    '186.0 [171.2, 200.0]'
    >>> format_interval({"mean": 1080.0, "low": None, "high": None, "n_reached": 1}, 5)
    '1,080 (1/5)'
    """
    if metric["mean"] is None:
        return "never" if metric.get("possible") else "-"
    values = [metric[name] for name in ("mean", "low", "high") if metric[name] is not None]
    largest = max(abs(value) for value in values)
    mean, *ends = (format_number(value, like=largest) for value in values)
    text = f"{mean} [{', '.join(ends)}]" if ends else mean
    reached = metric.get("n_reached", n_seeds)
    return text if reached == n_seeds else f"{text} ({reached}/{n_seeds})"
