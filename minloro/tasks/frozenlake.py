"""FrozenLake-v1: cross a slippery frozen lake with holes, a grid of 4 × 4 cells.

An observation is the number of a cell, row * 4 + column, both counted from 0. The actions are the
moves 0 left, 1 down, 2 right, 3 up.
"""

import re

import numpy as np

from minloro.agents.tabular import TabularQ
from minloro.llm.prompt import Prompt
from minloro.tasks.gridtext import (
    DOWN,
    LEFT,
    NEXT_STATE,
    REWARD,
    RIGHT,
    TERMINATED,
    UP,
    named_places,
    position_and_memory,
)
from minloro.tasks.task import GridMap, PublishedSums, Rows, Task

STEP_LIMIT = 100
N_ROWS = 4
N_COLUMNS = 4
HOLES = (5, 7, 11, 12)
GOAL = 15

RULES = (
    "You walk over a frozen lake, a grid of 4 rows and 4 columns. Row 1 is at the top and column 1 "
    "at the left. You start at row 1, column 1, and want to reach the goal at row 4, column 4.\n"
    "Some cells are holes in the ice; where they are, you have to find out. The ice is slippery: "
    "with probability 1/3 you move as you want, and with probability 1/3 each in one of the two "
    "directions at right angles to it. A move against the edge of the grid leaves you where you "
    "are.\n"
    "Reward: 1 for reaching the goal, 0 for every other step.\n"
    f"The episode ends at the goal, in a hole, or after {STEP_LIMIT} steps."
)
MOVES = ("move left", "move down", "move right", "move up")


def describe(observation: int, rows: Rows) -> str:
    """Say what the model sees of a state: the position and the memory of what happened so far."""
    # An episode that ends without a reward ends in a hole.
    holes = {row[NEXT_STATE] for row in rows if row[TERMINATED] and row[REWARD] == 0}
    return position_and_memory(
        observation,
        rows,
        columns=N_COLUMNS,
        moves=MOVES,
        dangers=holes,
        dangers_title="Holes found so far",
        entered=[row for row in rows if row[NEXT_STATE] not in holes],
    )


def stand_in_rule(text: str) -> int:
    """Go down or right, whichever is farther from the goal: the number of the action.

    The memory names the holes that were found. The rule steps around them if it can.

    >>> stand_in_rule("You are at row 1, column 2.\\nHoles found so far: row 2, column 2.")
    3
    """
    row, column = named_places(text)[0]
    holes = _known_holes(text)
    rows_left = N_ROWS - row
    columns_left = N_COLUMNS - column
    can_go_down = rows_left > 0 and (row + 1, column) not in holes
    can_go_right = columns_left > 0 and (row, column + 1) not in holes
    if can_go_down == can_go_right:
        goes_down = rows_left >= columns_left
    else:
        goes_down = can_go_down
    return 2 if goes_down else 3


def _known_holes(text: str) -> list[tuple[int, int]]:
    line = re.search(r"^Holes found so far: (.*)$", text, re.MULTILINE)
    return named_places(line[1]) if line else []


def make_agent(rng: np.random.Generator) -> TabularQ:
    """Return an untrained agent. All its values start equal: `rng` is not used."""
    return TabularQ(
        n_states=N_ROWS * N_COLUMNS,
        n_actions=len(MOVES),
        step_size=0.02,
        discount=0.99,
        epsilon=0.1,
        # Above most of the optimal values (30 of 44), so that untried actions look good. It sinks
        # next to the holes.
        initial_value=0.5,
    )


TASK = Task(
    name="frozenlake",
    environment="FrozenLake-v1",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=30_000,
    threshold=0.7,
    return_range=(0, 1),
    prompt=Prompt(RULES, MOVES, describe, remembers=True),
    stand_in_rule=stand_in_rule,
    grid=GridMap(
        rows=N_ROWS,
        columns=N_COLUMNS,
        moves=(LEFT, DOWN, RIGHT, UP),
        marks={0: "S", **dict.fromkeys(HOLES, "H"), GOAL: "G"},
        never_left=(*HOLES, GOAL),
    ),
    paper=PublishedSums(rounds=150, rl=75, loro=94, llm=0),
)
