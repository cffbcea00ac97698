"""Figures. The only module that imports matplotlib; functions take an Axes and return it."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from minloro.files import replace_file
from minloro.loro import GRID
from minloro.report import interval

# Okabe and Ito (2008): told apart with any kind of colour vision.
COLOURS = {"rl": "#000000", "loro": "#D55E00", "random-data": "#0072B2", "mix": "#009E73", "llm": "#CC79A7"}


def learning_curves(ax, returns: dict, data_steps: float, llm_return: float | None):
    """Draw the evaluation returns of every arm against environment steps, and return the Axes.

    returns: {(arm, seed): episode returns}. data_steps: transitions of D, shaded. llm_return: D's mean return.
    Thin lines are seeds; thick lines their mean, with its 95% interval as a band.
    """
    arms = dict.fromkeys(arm for arm, _ in returns)
    for arm in arms:
        curves = [_curve(rows) for (name, _), rows in returns.items() if name == arm]
        if arm == "llm":
            ax.axhline(llm_return, color=COLOURS[arm], linestyle="--", label="llm: mean return of D")
            continue
        for steps, values in curves:
            ax.plot(steps, values, color=COLOURS[arm], linewidth=0.5, alpha=0.3)
        steps, bands = _common(curves)
        ax.plot(steps, [b["mean"] for b in bands], color=COLOURS[arm], label=f"{arm} (n = {len(curves)})", linewidth=1.8)
        if len(curves) > 1:
            low, high = ([b[end] for b in bands] for end in ("low", "high"))
            ax.fill_between(steps, low, high, color=COLOURS[arm], alpha=0.15, linewidth=0)
    if data_steps:
        ax.axvspan(0, data_steps, color="0.88", zorder=0, linewidth=0)
        ax.annotate("D", (data_steps / 2, 0.97), xycoords=("data", "axes fraction"), ha="center", va="top", color="0.35")
    ax.set_xlabel("environment steps, D's included")
    ax.set_ylabel("return of the greedy policy, one episode an evaluation")
    ax.set_xlim(left=0)
    ax.grid(color="0.92", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="best", title="mean and 95% interval")
    return ax


def save_learning_curves(path: str | Path, task, returns: dict, summary: dict) -> None:
    """Write the figure of a run; where the stand-in played, its title says so."""
    figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
    data = summary["data"] or {"transitions": 0, "mean_return": None}
    learning_curves(ax, returns, data["transitions"], data["mean_return"])
    title = f"{task.name}: learning curves"
    if summary["data"]:
        title += f"\nD: {data['source']}, {data['episodes']:g} episodes, {data['transitions']:,} transitions"
    ax.set_title(title, fontsize=10, loc="left")
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=150))
    plt.close(figure)


def _curve(rows) -> tuple[list[int], list[float]]:
    evaluations = [row for row in rows if row.phase == "eval"]
    return [row.env_steps for row in evaluations], [row.episode_return for row in evaluations]


def _common(curves) -> tuple[list[float], list[dict]]:
    """Return the steps at which all curves have a value, and the interval there.

    The first evaluations stand where each seed's D ends, and are drawn at the mean of these places.
    """
    grid = sorted(set.intersection(*(set(steps[1:]) for steps, _ in curves)))
    values = np.array([[v for s, v in zip(steps[1:], values[1:], strict=True) if s in grid] for steps, values in curves])
    first = [values[0] for _, values in curves]
    start = float(np.mean([steps[0] for steps, _ in curves]))
    return [start, *grid], [interval(first), *(interval(column) for column in values.T)]
