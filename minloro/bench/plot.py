"""Learning curves and comparisons. Functions take an Axes and return it.

matplotlib is imported here and in maps.py only.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

if "ipykernel" not in sys.modules:  # a notebook shows its figures; everywhere else they are saved
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from minloro.bench.metrics import Curve, evaluation_curve, mean_curve
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

MOST_COLUMNS = 3  # of panels
PANEL_ARMS = ("rl", "loro", "guided", "random-data", "llm")  # more arms hide one another
PANEL_WINDOW = 5  # evaluations per point
MODEL_MARKERS = "osv^P*"  # one per column of the comparison
IN_OWN_PLACE: dict[str, Any] = {"loc": "center left", "frameon": False, "alignment": "left"}


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
    if llm_return is not None and any(arm == "llm" for arm, _ in returns):
        ax.axhline(llm_return, label="llm: mean return of D", **_line_style("llm"))
        heights.append(llm_return)
    if data_steps:
        ax.axvspan(0, data_steps, color=DATA_COLOUR, zorder=0, linewidth=0, label="D is collected")
    _fit(ax, heights)
    ax.set_xlabel(STEPS_LABEL)
    ax.set_ylabel(_return_label(window))
    _tidy(ax)
    if legend_columns:
        addition = "; thin lines: seeds" if thin_lines else ""
        _legend_below(ax, legend_columns, f"mean over n seeds, 95% band{addition}")
    return ax


def _return_label(window: int) -> str:
    smoothed = f",\nmean of the last {window} evaluations" if window > 1 else ""
    return f"return of the greedy policy{smoothed}"


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
        _mark(ax, metrics["mean_return"], row - 0.16, "o", colour, colour)
        _mark(ax, metrics["online_mean_return"], row + 0.16, "D", colour, "white")
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.set_xlabel("mean of the evaluations, 95% interval")
    _tidy(ax)
    for marker, face, label in (
        ("o", "black", "over equal environment steps"),
        ("D", "white", "over equal online steps"),
    ):
        ax.plot([], [], marker, color="black", markerfacecolor=face, label=label)
    _legend_below(ax, columns=2)
    return ax


def _mark(ax: Axes, metric: Mapping[str, Any], y: float, marker: str, edge: str, face: str) -> None:
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


def save_panels(path: str | Path, panels: Sequence[tuple[Task, Returns, Any]]) -> None:
    """Write the learning curves of several tasks; panels: (task, returns, summary).

    They show the arms that read well together, and no lines of seeds.
    """
    with plt.rc_context(STYLE):
        figure, axes, legend_ax = _panels(len(panels), height=2.8)
        for ax, (task, returns, summary) in zip(axes, panels, strict=True):
            data = summary["data"]
            learning_curves(
                ax,
                {key: rows for key, rows in returns.items() if key[0] in PANEL_ARMS},
                data["transitions"],
                data["mean_return"],
                window=PANEL_WINDOW,
                return_range=task.return_range,
                seed_lines=False,
                legend_columns=0,
            )
            ax.set(xlabel="", ylabel="")
            ax.set_title(f"{task.name}, D: {format_count(data['transitions'])} steps", loc="left")
            ax.locator_params(axis="x", nbins=3)
        handles, labels = axes[0].get_legend_handles_labels()
        legend_ax.legend(handles, labels, title="mean over n seeds,\n95% band", **IN_OWN_PLACE)
        figure.supxlabel(STEPS_LABEL, fontsize="medium")
        figure.supylabel(_return_label(PANEL_WINDOW), fontsize="medium", multialignment="center")
        source = panels[0][2]["data"]["source"]
        figure.suptitle(f"D: {source}", x=0.01, ha="left", parse_math=False)
        save_figure(figure, path)


def save_sums(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write every arm's sum over the rounds with its interval, one panel per task.

    rows: of paper.csv, of the measure paper_cumulative_reward. Published numbers stand beside them
    if they are sums over as many rounds.
    """
    rows = [row for row in rows if row["arm"] in COLOURS]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    columns = list(dict.fromkeys(row["column"] for row in rows))
    arms = [arm for arm in COLOURS if any(row["arm"] == arm for row in rows)]
    with plt.rc_context(STYLE):
        figure, axes, legend_ax = _panels(len(tasks), height=0.9 + 0.34 * len(arms))
        for place, (ax, task) in enumerate(zip(axes, tasks, strict=True)):
            own = [row for row in rows if row["task"] == task]
            _draw_sums(ax, own, arms, columns)
            ax.set_title(f"{task}, {own[0]['rounds']} rounds", loc="left")
            if place % MOST_COLUMNS:
                ax.set_yticklabels([])
        for column in columns:
            legend_ax.plot([], [], _model_marker(column, columns), color="black", label=column)
        legend_ax.plot([], [], "D", color="0.4", markerfacecolor="none", label="published")
        legend_ax.legend(title="mean, 95% interval", **IN_OWN_PLACE)
        figure.supxlabel("sum over the rounds, by the paper's accounting", fontsize="medium")
        save_figure(figure, path)


def _draw_sums(
    ax: Axes, rows: Sequence[Mapping[str, Any]], arms: list[str], columns: list[str]
) -> None:
    """Draw the sums of one task: one line per arm, the columns side by side in it."""
    for row in rows:
        line = arms.index(row["arm"])
        shift = 0.7 * (columns.index(row["column"]) + 0.5) / len(columns) - 0.35
        colour = COLOURS[row["arm"]]
        _mark(ax, row, line + shift, _model_marker(row["column"], columns), colour, colour)
        if row["published"] is not None and row["published_rounds"] == row["rounds"]:
            ax.plot(row["published"], line, "D", color="0.4", markerfacecolor="none", zorder=3)
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.locator_params(axis="x", nbins=3)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    _tidy(ax)


def _model_marker(column: str, columns: list[str]) -> str:
    return MODEL_MARKERS[columns.index(column) % len(MODEL_MARKERS)]


def _panels(n: int, height: float) -> tuple[Figure, list[Axes], Axes]:
    """Return a figure, n Axes for panels of that height in inches, and one for the legend."""
    columns = min(n + 1, MOST_COLUMNS)
    rows = n // columns + 1
    figure, grid = plt.subplots(
        rows, columns, figsize=(WIDTH, height * rows), layout="constrained", squeeze=False
    )
    for ax in grid.flat[n:]:
        ax.set_axis_off()
    axes = list(grid.flat)
    return figure, axes[:n], axes[n]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG and close it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # in a model's name
        replace_file(path, lambda file: figure.savefig(file, format="png", dpi=150))
    plt.close(figure)


def _tidy(ax: Axes) -> None:
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
