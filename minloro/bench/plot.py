"""Learning curves and comparisons. Functions take an Axes and return it.

matplotlib is imported here, in panels.py and in maps.py only.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

if "ipykernel" not in sys.modules:  # a notebook shows its figures; everywhere else they are saved
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from minloro.bench.metrics import Curve, evaluation_curve, mean_curve, takeover_step
from minloro.bench.statistics import Bounds, Interval
from minloro.bench.text import format_count
from minloro.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from minloro.bench.metrics import Returns
    from minloro.tasks.task import Task


@dataclass(frozen=True)
class Look:
    """How an arm is drawn."""

    colour: str
    width: float
    # Lengths of dashes and gaps in line widths; none: a solid line.
    dashes: tuple[float, ...]
    marker: str
    # An arm with a higher layer lies on top.
    layer: int


# Okabe and Ito (2008), told apart with any kind of colour vision; grey, as their yellow is too pale
# for a line on white. Arms often coincide, for example at the ceiling. So the lower layers are
# wide, the upper ones narrow or dashed: below and between them, the others show.
LOOKS = {
    "rl": Look("#000000", 1.4, (), "^", layer=7),
    "loro": Look("#D55E00", 4.2, (), "o", layer=1),
    "guided": Look("#009E73", 2.0, (5.0, 2.0), "D", layer=5),
    "random-data": Look("#56B4E9", 3.0, (3.0, 1.5), "s", layer=4),
    "mix": Look("#0072B2", 1.6, (4.0, 2.0), "v", layer=6),
    "own-data": Look("#E69F00", 3.6, (2.0, 1.0), "p", layer=2),
    "clone": Look("#7F7F7F", 3.4, (1.0, 1.0), "X", layer=3),
    "llm": Look("#CC79A7", 2.2, (1.0, 1.5), "", layer=0),
}
COLOURS = {arm: look.colour for arm, look in LOOKS.items()}

WIDTH = 8.4  # inches: a page shows a figure about 800 pixels wide, so 11 points stay 11 points
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "legend.fontsize": 11,
    "figure.titlesize": 11,
}
DATA_COLOUR = "#FBEFCB"
STEPS_LABEL = "environment steps, D's included"
MARKERS_PER_CURVE = 4
MOST_SEED_LINES = 5  # with more seeds, only their mean and its band are drawn


def learning_curves(
    ax: Axes,
    returns: Returns,
    data_steps: float,
    llm_return: float | None,
    window: int = 1,
    return_range: Bounds | None = None,
    seed_lines: bool = True,
    legend_columns: int = 2,
) -> Axes:
    """Draw the evaluation returns of every arm against environment steps, and return the Axes.

    Each arm is a mean over seeds with its 95% interval as a band. With at most five seeds, every
    seed is a faint line, too.

    returns: {(arm, seed): episode returns}. data_steps: transitions of D, shaded. llm_return: D's
    mean return. window: each point but the first is the mean of that many evaluations.
    return_range: smallest and largest possible return; bands do not leave it. legend_columns: 0 for
    no legend.
    """
    curves = _curves_by_arm(returns, window)
    n_seeds = max((len(of_arm) for of_arm in curves.values()), default=0)
    thin_lines = seed_lines and 1 < n_seeds <= MOST_SEED_LINES
    heights = []
    for place, (arm, of_arm) in enumerate(curves.items()):
        if thin_lines:
            heights += _draw_seeds(ax, arm, of_arm)
        steps, intervals = mean_curve(of_arm, window, return_range)
        label = f"{arm} (n = {len(of_arm)})"
        stagger = (place + 0.5) / len(curves)
        heights += _draw_mean(ax, arm, steps, intervals, label, stagger)
        _mark_takeover(ax, arm, returns, steps, [found["mean"] for found in intervals])
    if llm_return is not None and any(arm == "llm" for arm, _ in returns):
        ax.axhline(llm_return, label="llm: mean return of D", **_line_style("llm"))
        heights.append(llm_return)
    if data_steps:
        ax.axvspan(0, data_steps, color=DATA_COLOUR, zorder=0, linewidth=0, label="D is collected")
    _fit(ax, heights)
    ax.set_xlabel(STEPS_LABEL)
    ax.set_ylabel(return_label(window))
    tidy(ax)
    if legend_columns:
        addition = "; thin lines: seeds" if thin_lines else ""
        _legend_below(ax, legend_columns, f"mean over n seeds, 95% band{addition}")
    return ax


def return_label(window: int) -> str:
    """Return the label of the axis of returns; window: evaluations per point."""
    smoothed = f",\nmean of the last {window} evaluations" if window > 1 else ""
    return f"evaluation return{smoothed}"


def _line_style(arm: str) -> dict[str, Any]:
    look = LOOKS[arm]
    return {
        "color": look.colour,
        "linewidth": look.width,
        "linestyle": (0, look.dashes) if look.dashes else "-",
        "zorder": 2 + look.layer / 10,
    }


def _draw_seeds(ax: Axes, arm: str, curves: list[Curve]) -> list[float]:
    """Draw a faint line per seed; return the heights that must be visible."""
    for steps, values in curves:
        ax.plot(steps, values, linewidth=0.6, alpha=0.35, color=COLOURS[arm])
    return [value for _, values in curves for value in values]


def _draw_mean(
    ax: Axes,
    arm: str,
    steps: list[float],
    intervals: list[Interval],
    label: str,
    stagger: float,
) -> list[float]:
    """Draw the mean of an arm with its band; return the heights that must be visible.

    stagger: where its markers stand between those of the other arms, from 0 to 1.
    """
    means = [found["mean"] for found in intervals]
    line = _line_style(arm)
    markers: dict[str, Any] = {
        "marker": LOOKS[arm].marker,
        "markersize": 7.5,
        "markeredgecolor": "white",
        "markevery": _marked(steps, stagger),
    }
    ax.plot(steps, means, label=label, **line, **markers)
    # Once more without the line: no marker lies under the line of another arm.
    ax.plot(steps, means, **markers, color=line["color"], linestyle="none", zorder=3)
    if intervals[0]["low"] is not None:
        low = [found["low"] for found in intervals]
        high = [found["high"] for found in intervals]
        ax.fill_between(steps, low, high, color=COLOURS[arm], alpha=0.15, linewidth=0)
    return means


def _mark_takeover(
    ax: Axes, arm: str, returns: Returns, steps: list[float], means: list[float]
) -> None:
    """Mark with a star where the learner takes over from the clone for good, in the median seed.

    No star if half of the seeds or more never come to that.
    """
    of_seeds = [takeover_step(rows) for (name, _), rows in returns.items() if name == arm]
    taken = sorted(step for step in of_seeds if step is not None)
    if 2 * len(taken) <= len(of_seeds):
        return
    place = taken[len(of_seeds) // 2]
    height = np.interp(place, steps, means)
    ax.plot(
        place,
        height,
        "*",
        markersize=16,
        color=COLOURS[arm],
        markeredgecolor="black",
        zorder=4,
        linestyle="none",
        label=f"{arm}: learner takes over",
    )


def _marked(steps: list[float], stagger: float) -> list[int]:
    """Return the points that get a marker: the first, and some at places of the arm's own."""
    places = steps[-1] * (np.arange(MARKERS_PER_CURVE) + stagger) / MARKERS_PER_CURVE
    return [0, *np.searchsorted(steps, places[places > steps[0]]).tolist()]


def _fit(ax: Axes, heights: list[float]) -> None:
    """Set the limits: all heights are inside, with some room above the ceiling and at the sides.

    heights: of lines. A band that is much wider than they are does not decide.
    """
    lowest = min(heights)
    highest = max(heights)
    span = highest - lowest
    low = max(ax.dataLim.y0, lowest - span / 4)
    high = min(ax.dataLim.y1, highest + span / 4)
    margin = 0.06 * span or 1.0
    ax.set_ylim(low - margin, high + margin)
    last_step = ax.dataLim.x1
    ax.set_xlim(-0.015 * last_step, 1.015 * last_step)
    ax.xaxis.set_major_formatter("{x:,.0f}")


def _legend_below(ax: Axes, columns: int, title: str = "") -> None:
    """Put the legend under the label of the x-axis, where it covers no curve."""
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=3.6,  # in letters: below the numbers and the label
        ncols=columns,
        frameon=False,
        title=title,
    )


def mean_intervals(ax: Axes, summary: Mapping[str, Any]) -> Axes:
    """Draw two means of every arm's curve with their 95% intervals, and return the Axes."""
    arms = [arm for arm in summary["arms"] if arm != "llm"]  # nothing was played for it
    for row, arm in enumerate(arms):
        metrics = summary["arms"][arm]
        colour = COLOURS[arm]
        mark(ax, metrics["mean_return"], row - 0.16, "o", colour, colour)
        mark(ax, metrics["online_mean_return"], row + 0.16, "D", colour, "white")
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.set_xlabel("mean of the evaluations, 95% interval")
    tidy(ax)
    for marker, face, label in (
        ("o", "black", "over equal environment steps"),
        ("D", "white", "over equal online steps"),
    ):
        ax.plot([], [], marker, color="black", markerfacecolor=face, label=label)
    _legend_below(ax, columns=2)
    return ax


def mark(ax: Axes, metric: Mapping[str, Any], y: float, marker: str, edge: str, face: str) -> None:
    """Mark a mean and its interval, if there are any."""
    mean = metric["mean"]
    if mean is None:
        return
    ends = None
    if metric["low"] is not None:
        ends = [[mean - metric["low"]], [metric["high"] - mean]]
    ax.errorbar(
        mean, y, xerr=ends, fmt=marker, color=edge, markerfacecolor=face, capsize=3, markersize=6.5
    )


def save_learning_curves(
    path: str | Path, task: Task, returns: Returns, summary: Mapping[str, Any]
) -> None:
    """Write the figure of a run. If the stand-in played, its title says so."""
    data = summary["data"] or {"transitions": 0, "mean_return": None}
    title = f"{task.name}, {summary['steps']:,} environment steps"
    if summary["data"]:
        title += (
            f"\nD: {data['source']}, {format_count(data['episodes'])} episodes, "
            f"{format_count(data['transitions'])} transitions"
        )
        if data["return_rescaled_to_step_limit"]:
            title += ";\nits return per step is scaled to the step limit"
    n_rows = len(summary["arms"])
    with plt.rc_context(STYLE):
        figure, (upper, lower) = plt.subplots(
            2,
            1,
            figsize=(WIDTH, 5.4 + 0.4 * n_rows),
            layout="constrained",
            height_ratios=(4.0, 0.4 * n_rows),
        )
        learning_curves(
            upper,
            returns,
            data["transitions"],
            data["mean_return"],
            return_range=task.return_range,
            legend_columns=3,
        )
        mean_intervals(lower, summary)
        figure.suptitle(title, x=0.01, ha="left", parse_math=False)
        save_figure(figure, path)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG and close it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # in a model's name
        replace_file(path, lambda file: figure.savefig(file, format="png", dpi=150))
    plt.close(figure)


def tidy(ax: Axes) -> None:
    """Draw a faint grid below the curves, and no frame above and to the right."""
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _curves_by_arm(returns: Returns, window: int) -> dict[str, list[Curve]]:
    """Return the curves of every arm that has played, one per seed, in the order of LOOKS."""
    curves: dict[str, list[Curve]] = {}
    for (arm, _), rows in returns.items():
        if arm in LOOKS and arm != "llm":
            curves.setdefault(arm, []).append(evaluation_curve(rows, window))
    return {arm: curves[arm] for arm in LOOKS if arm in curves}
