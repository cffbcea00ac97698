"""What the prompts of the grid worlds share: names of cells, and a memory of what happened so far.

Prompts count rows from the top and columns from the left, both from 1. They do not tell what the
environment has not shown yet: where the holes and the cliff are. Instead, the text carries a memory
of what happened so far in all episodes of the same collection, as the paper's prompts do. The
memory names every cell at most once, so that its length is bounded.

A cell's number is row * columns + column, both counted from 0.
"""

import re
from collections.abc import Collection, Iterable

from minloro.tasks.task import Rows
from minloro.transitions import COLUMNS

# What a move does to (row, column).
LEFT = (0, -1)
DOWN = (1, 0)
RIGHT = (0, 1)
UP = (-1, 0)

# Where these columns are in a row of D.
STATE = COLUMNS.index("observations")
ACTION = COLUMNS.index("actions")
REWARD = COLUMNS.index("rewards")
NEXT_STATE = COLUMNS.index("next_observations")
TERMINATED = COLUMNS.index("terminated")
TRUNCATED = COLUMNS.index("truncated")


def place_name(row: int, column: int) -> str:
    """Return the name of a place; both numbers count from 0.

    >>> place_name(0, 3)
    'row 1, column 4'
    """
    return f"row {row + 1}, column {column + 1}"


def cell_name(cell: int, columns: int) -> str:
    """Return the name of the cell with this number, on a map with so many columns.

    >>> cell_name(13, columns=12)
    'row 2, column 2'
    """
    row, column = divmod(int(cell), columns)
    return place_name(row, column)


def named_places(text: str) -> list[tuple[int, int]]:
    """Return every (row, column) that a text names, counted from 1 as in the text.

    >>> named_places("You are at row 1, column 4.")
    [(1, 4)]
    """
    places = re.findall(r"row (\d+), column (\d+)", text)
    return [(int(row), int(column)) for row, column in places]


def position_and_memory(
    state: int,
    rows: Rows,
    *,
    columns: int,
    moves: tuple[str, ...],
    dangers: Collection[int],
    dangers_title: str,
    entered: Rows,
) -> str:
    """Describe a position and the memory: the last move, the dangers, the cells that were entered.

    rows: everything that happened so far. columns: of the map. moves: what each action is called.
    dangers: cells that were found to be dangerous. entered: those of the rows that led into a
    safe cell.
    """
    lines = [
        f"You are at {cell_name(state, columns)}.",
        _last_move(rows, columns, moves),
    ]
    if dangers:
        names = "; ".join(cell_name(cell, columns) for cell in sorted(dangers))
        lines.append(f"{dangers_title}: {names}.")
    lines.extend(_entered_cells(entered, columns))
    lines.append("Where do you go?")
    return "\n".join(lines)


def episode_ended(row: tuple) -> bool:
    """Say whether a row is the last one of its episode."""
    return bool(row[TERMINATED] or row[TRUNCATED])


def _last_move(rows: Rows, columns: int, moves: tuple[str, ...]) -> str:
    """Return the line about the last move of this episode, or about its beginning."""
    if not rows:
        return "The first episode begins."
    last = rows[-1]
    if episode_ended(last):
        return "A new episode begins."
    return (
        f"Your last move: {moves[last[ACTION]]} from {cell_name(last[STATE], columns)}; "
        f"you came to {cell_name(last[NEXT_STATE], columns)}, reward {last[REWARD]:g}."
    )


def _entered_cells(entered: Rows, columns: int) -> list[str]:
    """Return one line for each reward with the cells that were last entered with it."""
    last_reward = {int(row[NEXT_STATE]): row[REWARD] for row in entered}
    lines = []
    for reward in sorted(set(last_reward.values())):
        cells = [cell for cell in last_reward if last_reward[cell] == reward]
        lines.append(
            f"Cells entered so far with reward {reward:g}: {_cells_by_row(cells, columns)}."
        )
    return lines


def _cells_by_row(cells: Iterable[int], columns: int) -> str:
    """Return the names of cells, shortened by naming each row once.

    >>> _cells_by_row([0, 5, 1], columns=4)
    'row 1, columns 1, 2; row 2, column 2'
    """
    columns_of: dict[int, list[str]] = {}
    for cell in sorted(cells):
        row, column = divmod(cell, columns)
        columns_of.setdefault(row + 1, []).append(str(column + 1))
    parts = []
    for row, listed in columns_of.items():
        word = "column" if len(listed) == 1 else "columns"
        parts.append(f"row {row}, {word} {', '.join(listed)}")
    return "; ".join(parts)
