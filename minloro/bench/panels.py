"""The figures of the paper's comparison: one panel per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt

from minloro.bench.plot import (
    COLOURS,
    STEPS_LABEL,
    STYLE,
    WIDTH,
    learning_curves,
    mark,
    return_label,
    save_figure,
    tidy,
)
from minloro.bench.text import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from minloro.bench.metrics import Returns
    from minloro.tasks.task import Task

MOST_COLUMNS = 3  # of panels
PANEL_ARMS = ("rl", "loro", "guided", "random-data", "llm")  # more arms hide one another
PANEL_WINDOW = 5  # evaluations per point
MODEL_MARKERS = "osv^P*"  # one per column of the comparison
IN_OWN_PLACE: dict[str, Any] = {"loc": "center left", "frameon": False, "alignment": "left"}


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
        handles: dict[Any, Any] = {}
        for ax in axes:
            found, labels = ax.get_legend_handles_labels()
            handles |= dict(zip(labels, found, strict=True))
        title = "mean over n seeds,\n95% band"
        legend_ax.legend(handles.values(), handles, title=title, **IN_OWN_PLACE)
        figure.supxlabel(STEPS_LABEL, fontsize="medium")
        figure.supylabel(return_label(PANEL_WINDOW), fontsize="medium", multialignment="center")
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
        mark(ax, row, line + shift, _model_marker(row["column"], columns), colour, colour)
        if row["published"] is not None and row["published_rounds"] == row["rounds"]:
            ax.plot(row["published"], line, "D", color="0.4", markerfacecolor="none", zorder=3)
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.locator_params(axis="x", nbins=3)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    tidy(ax)


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
