"""Maps of grid worlds: where D has been, and what the greedy policy does in each cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from minloro.bench.plot import STYLE, WIDTH, save_figure
from minloro.dynamics import optimal_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from minloro.tasks.task import GridMap, Task
    from minloro.transitions import Transitions

ARROW_COLOUR = "#D55E00"
ARROW_LENGTH = 0.36  # cells
SMALL = 8  # points: the numbers and letters of cells


def policy_map(ax: Axes, grid: GridMap, values: np.ndarray, shade: np.ndarray, title: str) -> Axes:
    """Draw the greedy actions as arrows over the shades of the cells, and return the Axes.

    values: [S, A]. If several actions are best, all are drawn; if all are, nothing was learned, and
    none is drawn. shade: [S].
    """
    states = np.arange(grid.rows * grid.columns) * grid.states_per_cell + grid.offset
    shades = shade[states].astype(float)
    shades[list(grid.never_left)] = np.nan
    ax.set_facecolor("0.85")
    image = ax.imshow(shades.reshape(grid.rows, grid.columns), cmap="Blues", alpha=0.75)
    ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02)
    dark = np.asarray(image.norm(shades)) > 0.6
    for cell, state in enumerate(states):
        row, column = divmod(cell, grid.columns)
        if cell in grid.marks:
            colour = "white" if dark[cell] else "0.25"
            _write_mark(ax, row, column, grid.marks[cell], colour)
        if cell not in grid.never_left:
            for action in _best_actions(values[state]):
                _draw_move(ax, row, column, grid.moves[action])
    ax.set_xticks(range(grid.columns), _numbers(grid.columns), fontsize=SMALL)
    ax.set_yticks(range(grid.rows), _numbers(grid.rows), fontsize=SMALL)
    ax.set_title(title, fontsize="medium", loc="left")
    return ax


def _numbers(n: int) -> list[str]:
    return [str(number) for number in range(1, n + 1)]


def _best_actions(values: np.ndarray) -> np.ndarray:
    """Return the actions with the highest value; none if all actions are equal."""
    best = np.flatnonzero(values >= values.max() - 1e-9)
    return best if len(best) < len(values) else best[:0]


def _write_mark(ax: Axes, row: int, column: int, mark: str, colour: str) -> None:
    ax.text(
        column - 0.45,
        row - 0.42,
        mark,
        ha="left",
        va="top",
        fontsize=SMALL,
        color=colour,
        weight="bold",
    )


def _draw_move(ax: Axes, row: int, column: int, move: tuple[int, int] | str) -> None:
    """Draw an arrow, or the letter of an action that does not move."""
    if isinstance(move, str):
        ax.text(column, row, move, ha="center", va="center", fontsize=SMALL, color=ARROW_COLOUR)
        return
    down, right = move
    end = (column + ARROW_LENGTH * right, row + ARROW_LENGTH * down)
    arrow = {"arrowstyle": "->", "color": ARROW_COLOUR, "lw": 1.3}
    ax.annotate("", end, (column, row), arrowprops=arrow)


def save_map(
    path: str | Path, task: Task, data: Transitions, learned: np.ndarray, label: str
) -> None:
    """Write the map of a grid world: visits of D, the learned greedy policy and the optimal one.

    learned: [S, A] values of the agent called `label`.
    """
    grid = task.grid
    table = task.transition_table
    assert grid is not None and table is not None
    agent: Any = task.make_agent()
    optimal = optimal_values(table, agent.discount)
    cells = data.observations // grid.states_per_cell
    visits = np.bincount(cells, minlength=grid.rows * grid.columns)
    title = f"{task.name}. D: {data.behaviour}"
    if grid.state_note:
        title += f"\nArrows and their values: {grid.state_note}"
    wide = grid.columns >= 8
    line_break = " " if wide else "\n"
    learned_title = f"greedy policy of {label},{line_break}learned values"
    optimal_title = f"optimal policy,{line_break}its values (discount {agent.discount:g})"
    with plt.rc_context(STYLE):
        figure, axes = _three_maps(wide)
        no_values = np.zeros_like(learned)
        visits_by_state = np.repeat(visits, grid.states_per_cell)
        policy_map(axes[0], grid, no_values, visits_by_state, "visits of D, in steps")
        policy_map(axes[1], grid, learned, learned.max(axis=1), learned_title)
        policy_map(axes[2], grid, optimal, optimal.max(axis=1), optimal_title)
        figure.suptitle(title, x=0.01, ha="left", parse_math=False)
        save_figure(figure, path)


def _three_maps(wide: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure with three Axes: above one another for wide maps, else side by side."""
    rows, columns, height = (3, 1, 8.4) if wide else (1, 3, 3.4)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained")
    return figure, list(axes)
