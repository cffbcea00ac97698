"""Figures. The only module that imports matplotlib; functions take an Axes and return it."""

import sys
import warnings
from pathlib import Path

import matplotlib

if "ipykernel" not in sys.modules:  # a notebook shows its figures; everywhere else they are only written
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from minloro.dynamics import optimal_values
from minloro.files import replace_file
from minloro.report import count, interval

# Okabe and Ito (2008): told apart with any kind of colour vision. Where curves lie on each other, the widths show it.
COLOURS = {
    "rl": "#000000", "loro": "#D55E00", "random-data": "#56B4E9", "mix": "#009E73", "llm": "#CC79A7", "own-data": "#E69F00",
}  # fmt: skip
WIDTHS = {"loro": 5.0, "own-data": 4.0, "random-data": 3.0, "rl": 1.6, "mix": 1.2}  # widest first: the order of drawing
DASHES = {"mix": (0, (4, 2))}


def learning_curves(ax, returns: dict, data_steps: float, llm_return: float | None, window: int = 1):
    """Draw the evaluation returns of every arm against environment steps, and return the Axes.

    returns: {(arm, seed): episode returns}. data_steps: transitions of D, shaded. llm_return: D's mean return. window:
    evaluations of which each point but the first is the mean.
    Thin lines are seeds; thick lines their mean, with its 95% interval as a band.
    """
    present = {arm for arm, _ in returns}
    extremes = []
    for arm in (arm for arm in WIDTHS if arm in present):
        curves = [_curve(rows, window) for (name, _), rows in returns.items() if name == arm]
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
        ax.axvspan(0, data_steps, color="#FBEFCB", zorder=0, linewidth=0, label="D is collected")
    margin = 0.05 * (max(extremes) - min(extremes)) or 1.0
    ax.set_ylim(min(extremes) - margin, max(extremes) + margin)  # returns that occurred, not the bands' edges
    ax.set_xlim(left=0)
    ax.set_xlabel("environment steps, D's included")
    ax.set_ylabel("return of the greedy policy" + (f",\nmean of the last {window} evaluations" if window > 1 else ""))
    _tidy(ax)
    ax.legend(frameon=True, framealpha=0.8, edgecolor="none", fontsize=8, title="mean, 95% band", title_fontsize=8)
    return ax


def means(ax, summary: dict):
    """Draw two means of every arm's curve with their 95% intervals, and return the Axes."""
    arms = [arm for arm in summary["arms"] if arm != "llm"]  # nothing was played for it
    for shift, name, marker, label in (
        (-0.14, "mean_return", "o", "over equal environment steps"),
        (0.14, "online_mean_return", "D", "over equal online steps"),
    ):
        for row, arm in enumerate(arms):
            face = COLOURS[arm] if marker == "o" else "white"
            look = {"color": COLOURS[arm], "markerfacecolor": face, "label": label if row == 0 else None}
            _interval_mark(ax, summary["arms"][arm][name], row + shift, fmt=marker, **look)
    ax.set_yticks(range(len(arms)), [f"{arm} (n = {summary['arms'][arm]['n_seeds']})" for arm in arms])
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.set_xlabel("mean of the evaluations, 95% interval")
    _tidy(ax)
    if arms:
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
        if data["return_rescaled_to_step_limit"]:
            title += "; its return per step is scaled to the step limit"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", parse_math=False)
    _save(figure, path)


def save_panels(path: str | Path, panels: list[tuple]) -> None:
    """Write the learning curves of several tasks; panels: (name, returns, summary)."""
    columns = min(3, len(panels))
    shape = (-(-len(panels) // columns), columns)
    figure, axes = plt.subplots(*shape, figsize=(5.2 * columns, 4.2 * shape[0]), layout="constrained", squeeze=False)
    for ax, (name, returns, summary) in zip(axes.flat, panels, strict=False):
        learning_curves(ax, returns, summary["data"]["transitions"], summary["data"]["mean_return"], window=5)
        if ax is not axes[0, 0]:
            ax.get_legend().remove()
        ax.set_title(f"{name}. D: {count(summary['data']['transitions'])} transitions", fontsize=10, loc="left")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    figure.suptitle(f"D: {panels[0][2]['data']['source']}", fontsize=10, x=0.01, ha="left", parse_math=False)
    _save(figure, path)


def save_sums(path: str | Path, rows: list[dict]) -> None:
    """Write every arm's sum over the rounds with its interval, a panel a task, and the published numbers.

    rows: of paper.csv, of the measure paper_cumulative_reward.
    """
    rows = [row for row in rows if row["arm"] in COLOURS]
    tasks, labels = list(dict.fromkeys(row["task"] for row in rows)), list(dict.fromkeys(row["column"] for row in rows))
    arms = [arm for arm in COLOURS if any(row["arm"] == arm for row in rows)]
    figure, axes = plt.subplots(1, len(tasks), figsize=(3.4 * len(tasks), 3.6), layout="constrained", squeeze=False)
    for ax, task in zip(axes.flat, tasks, strict=True):
        own = [row for row in rows if row["task"] == task]
        for row in own:
            where = arms.index(row["arm"]) + 0.22 * (labels.index(row["column"]) - (len(labels) - 1) / 2)
            _interval_mark(ax, row, where, fmt="o", color=COLOURS[row["arm"]])
            if row["published"] is not None and row["published_rounds"] == row["rounds"]:
                ax.plot(row["published"], arms.index(row["arm"]), marker="D", color="0.5", markerfacecolor="none")
        ax.set_yticks(range(len(arms)), arms if ax is axes[0, 0] else [""] * len(arms))
        ax.set_ylim(len(arms) - 0.4, -0.6)
        ax.set_title(f"{task}, {own[0]['rounds']} rounds", fontsize=10, loc="left")
        ax.locator_params(axis="x", nbins=4)
        _tidy(ax)
    figure.supxlabel("sum over the rounds, by the paper's accounting; dots: minloro, diamonds: published", fontsize=9)
    _save(figure, path)


def policy_map(ax, grid, values: np.ndarray, shade: np.ndarray, title: str):
    """Draw the greedy actions of `values`, (S, A), as arrows over the cells' shades, (S,), and return the Axes.

    Where several actions are best, all are drawn; nothing is drawn where no value was ever learned.
    """
    states = np.arange(grid.rows * grid.columns) * grid.states_per_cell + grid.offset
    shown = shade[states].astype(float)
    shown[list(grid.never_left)] = np.nan
    ax.set_facecolor("0.85")
    image = ax.imshow(shown.reshape(grid.rows, grid.columns), cmap="Blues", alpha=0.75)
    ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02)
    for cell, state in enumerate(states):
        row, column = divmod(cell, grid.columns)
        if mark := grid.marks.get(cell):
            colour = "white" if image.norm(shown[cell]) > 0.6 else "0.25"
            ax.text(column - 0.45, row - 0.42, mark, ha="left", va="top", fontsize=7, color=colour, weight="bold")
        if cell in grid.never_left:
            continue
        best = np.flatnonzero(values[state] >= values[state].max() - 1e-9)
        for move in (grid.moves[action] for action in best if len(best) < values.shape[1]):
            if isinstance(move, str):
                ax.text(column, row, move, ha="center", va="center", fontsize=7, color="#D55E00")
            else:
                end = (column + 0.36 * move[1], row + 0.36 * move[0])
                ax.annotate("", end, (column, row), arrowprops={"arrowstyle": "->", "color": "#D55E00", "lw": 1.3})
    ax.set_xticks(range(grid.columns), range(1, grid.columns + 1), fontsize=7)
    ax.set_yticks(range(grid.rows), range(1, grid.rows + 1), fontsize=7)
    ax.set_title(title, fontsize=9, loc="left")
    return ax


def save_map(path: str | Path, task, data, learned: np.ndarray, label: str) -> None:
    """Write the map of a grid world: where D has been, the learned greedy policy, and the optimal one.

    learned: (S, A) values of the agent called `label`.
    """
    grid, discount = task.grid, task.make_agent().discount
    optimal = optimal_values(task.transition_table, discount)
    shape, size = ((1, 3), (11, 4.4)) if grid.columns < 8 else ((3, 1), (9, 9))
    figure, axes = plt.subplots(*shape, figsize=size, layout="constrained")
    cells = data.observations // grid.states_per_cell
    visits = np.repeat(np.bincount(cells, minlength=grid.rows * grid.columns), grid.states_per_cell)
    about = f"\n{grid.about}" if grid.about else ""
    policy_map(axes[0], grid, np.zeros_like(learned), visits, "visits of D, in steps")
    policy_map(axes[1], grid, learned, learned.max(axis=1), f"greedy policy of {label}, learned values{about}")
    policy_map(axes[2], grid, optimal, optimal.max(axis=1), f"optimal policy, its values (discount {discount:g}){about}")
    figure.suptitle(f"{task.name}. D: {data.behaviour}", fontsize=10, x=0.01, ha="left", parse_math=False)
    _save(figure, path)


def _save(figure, path: str | Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # in a model's name
        replace_file(path, lambda file: figure.savefig(file, format="png", dpi=110))
    plt.close(figure)


def _interval_mark(ax, figure: dict, where: float, **look) -> None:
    """Mark a mean and its interval, where there are any."""
    mean, low, high = figure["mean"], figure["low"], figure["high"]
    if mean is not None:
        ax.errorbar(mean, where, xerr=None if low is None else [[mean - low], [high - mean]], capsize=3, markersize=6, **look)


def _tidy(ax) -> None:
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _curve(rows, window: int) -> tuple[list[int], list[float]]:
    evaluations = [(row.env_steps, row.episode_return) for row in rows if row.phase == "eval"]
    (start, first), (steps, values) = evaluations[0], zip(*evaluations[1:], strict=True)
    window = min(window, len(values))
    return [start, *steps[window - 1 :]], [first, *np.convolve(values, np.ones(window) / window, mode="valid")]


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
