"""Figures. The only module that imports matplotlib; functions take an Axes and return it."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from minloro.files import replace_file
from minloro.report import count, interval

# Okabe and Ito (2008): told apart with any kind of colour vision. Where curves lie on each other, the widths show it.
COLOURS = {"rl": "#000000", "loro": "#D55E00", "random-data": "#56B4E9", "mix": "#009E73", "llm": "#CC79A7"}
WIDTHS = {"loro": 5.0, "random-data": 3.0, "rl": 1.6, "mix": 1.2}  # widest first: the order of drawing
DASHES = {"mix": (0, (4, 2))}


def learning_curves(ax, returns: dict, data_steps: float, llm_return: float | None):
    """Draw the evaluation returns of every arm against environment steps, and return the Axes.

    returns: {(arm, seed): episode returns}. data_steps: transitions of D, shaded. llm_return: D's mean return.
    Thin lines are seeds; thick lines their mean, with its 95% interval as a band.
    """
    present = {arm for arm, _ in returns}
    extremes = []
    for arm in (arm for arm in WIDTHS if arm in present):
        curves = [_curve(rows) for (name, _), rows in returns.items() if name == arm]
        extremes += [value for _, values in curves for value in values]
        look = {"color": COLOURS[arm], "linestyle": DASHES.get(arm, "-")}
        for steps, values in curves:
            ax.plot(steps, values, linewidth=0.5, alpha=0.35, color=look["color"])
        steps, bands = _common(curves)
        look |= {"linewidth": WIDTHS[arm], "marker": "o", "markevery": [0], "label": f"{arm} (n = {len(curves)})"}
        ax.plot(steps, [b["mean"] for b in bands], **look)
        if len(curves) > 1:
            low, high = ([b[end] for b in bands] for end in ("low", "high"))
            ax.fill_between(steps, low, high, color=look["color"], alpha=0.15, linewidth=0)
    if "llm" in present:
        ax.axhline(llm_return, color=COLOURS["llm"], linestyle=":", linewidth=2, label="llm: mean return of D")
        extremes.append(llm_return)
    if data_steps:
        ax.axvspan(0, data_steps, color="0.88", zorder=0, linewidth=0, label="D is collected")
    margin = 0.05 * (max(extremes) - min(extremes)) or 1.0
    ax.set_ylim(min(extremes) - margin, max(extremes) + margin)  # returns that occurred, not the bands' edges
    ax.set_xlim(left=0)
    ax.set_xlabel("environment steps, D's included")
    ax.set_ylabel("return of the greedy policy")
    _tidy(ax)
    ax.legend(frameon=True, framealpha=0.8, edgecolor="none", fontsize=8, title="mean, 95% band", title_fontsize=8)
    return ax


def means(ax, summary: dict):
    """Draw two means of every arm's curve with their 95% intervals, and return the Axes."""
    arms = list(summary["arms"])
    for shift, name, marker, label in (
        (-0.14, "mean_return", "o", "over equal environment steps"),
        (0.14, "online_mean_return", "D", "over equal online steps"),
    ):
        for row, arm in enumerate(arms):
            figure = summary["arms"][arm][name]
            if figure["mean"] is None:
                continue
            low, high = figure["low"], figure["high"]
            error = None if low is None else [[figure["mean"] - low], [high - figure["mean"]]]
            face = COLOURS[arm] if marker == "o" else "white"
            look = {"color": COLOURS[arm], "markerfacecolor": face, "markersize": 6, "capsize": 3}
            ax.errorbar(figure["mean"], row + shift, xerr=error, fmt=marker, label=label if row == 0 else None, **look)
    ax.set_yticks(range(len(arms)), [f"{arm} (n = {summary['arms'][arm]['n_seeds']})" for arm in arms])
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.set_xlabel("mean of the evaluations, 95% interval")
    _tidy(ax)
    ax.legend(frameon=True, framealpha=0.8, edgecolor="none", fontsize=8)
    return ax


def save_learning_curves(path: str | Path, task, returns: dict, summary: dict) -> None:
    """Write the figure of a run; where the stand-in played, its title says so."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=(5, 3))
    data = summary["data"] or {"transitions": 0, "mean_return": None}
    learning_curves(left, returns, data["transitions"], data["mean_return"])
    means(right, summary)
    title = f"{task.name}, {summary['steps']:,} environment steps"
    if summary["data"]:
        title += f"\nD: {data['source']}, {count(data['episodes'])} episodes, {count(data['transitions'])} transitions"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=120))
    plt.close(figure)


def _tidy(ax) -> None:
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _curve(rows) -> tuple[list[int], list[float]]:
    evaluations = [row for row in rows if row.phase == "eval"]
    return [row.env_steps for row in evaluations], [row.episode_return for row in evaluations]


def _common(curves) -> tuple[list[float], list[dict]]:
    """Return the steps at which all curves have a value, and the interval there.

    The first evaluations stand where each seed's D ends, and are drawn at the mean of these places.
    """
    grid = sorted(set.intersection(*(set(steps[1:]) for steps, _ in curves)))
    on_grid = [dict(zip(steps[1:], values[1:], strict=True)) for steps, values in curves]
    start = float(np.mean([steps[0] for steps, _ in curves]))
    bands = [interval([values[0] for _, values in curves])]
    bands += [interval([values[step] for values in on_grid]) for step in grid]
    return [start, *grid], bands
