"""CliffWalking-v1: walk along a cliff without falling, over a grid of 4 × 12 cells.

An observation is the number of a cell, row * 12 + column, both counted from 0. The actions are the
moves 0 up, 1 right, 2 down, 3 left.
"""

import numpy as np

from minloro.agents.tabular import TabularQ
from minloro.llm.prompt import Prompt
from minloro.tasks.gridtext import (
    ACTION,
    DOWN,
    LEFT,
    REWARD,
    RIGHT,
    STATE,
    UP,
    named_places,
    position_and_memory,
)
from minloro.tasks.task import GridMap, PublishedSums, Rows, Task

STEP_LIMIT = 200
N_ROWS = 4
N_COLUMNS = 12
START = 36
CLIFF = range(37, 47)
GOAL = 47
FALL = -100  # the reward for a step onto the cliff

RULES = (
    "You walk over a grid of 4 rows and 12 columns. Row 1 is at the top and column 1 at the left. "
    "You start at row 4, column 1, and want to reach the goal at row 4, column 12, in as few steps "
    "as possible.\n"
    "Some cells are a cliff; where they are, you have to find out. A step onto the cliff puts you "
    "back to the start, and the episode goes on. A move against the edge of the grid leaves you "
    "where you are. You always move as you want.\n"
    "Reward: -100 for a step onto the cliff, -1 for every other step, the one onto the goal "
    "included.\n"
    f"The episode ends at the goal or after {STEP_LIMIT} steps."
)
MOVES = ("move up", "move right", "move down", "move left")
CELL_CHANGE = (-N_COLUMNS, 1, N_COLUMNS, -1)  # what each action adds to the number of the cell


def describe(observation: int, rows: Rows) -> str:
    """Say what the model sees of a state: the position and the memory of what happened so far."""
    falls = [row for row in rows if row[REWARD] == FALL]
    # The next state of a fall is the start. The cell of the cliff follows from the move.
    cliff = {row[STATE] + CELL_CHANGE[row[ACTION]] for row in falls}
    return position_and_memory(
        observation,
        rows,
        columns=N_COLUMNS,
        moves=MOVES,
        dangers=cliff,
        dangers_title="Cliff found so far",
        entered=[row for row in rows if row[REWARD] > FALL],
    )


def stand_in_rule(text: str) -> int:
    """Leave the bottom row, go right to the goal's column, then down: the number of the action.

    >>> stand_in_rule("You are at row 4, column 1.")
    1
    """
    row, column = named_places(text)[0]
    if column == N_COLUMNS:
        return 3
    if row == N_ROWS:
        return 1
    return 2


def make_agent(rng: np.random.Generator) -> TabularQ:
    """Return an untrained agent. All its values start equal: `rng` is not used."""
    return TabularQ(
        n_states=N_ROWS * N_COLUMNS,
        n_actions=len(MOVES),
        # D repeats a few states, and the errors of equal rows in one minibatch add up. So step_size
        # * batch_size has to stay below 2, and a large step size goes with a small minibatch.
        step_size=0.45,
        batch_size=4,
        discount=0.99,
        epsilon=0.02,
        # Near the start, untried actions look better than tried ones, so the agent explores. Close
        # to the goal values are better than -5, so it follows the first way that it has found.
        initial_value=-5.0,
    )


TASK = Task(
    name="cliffwalking",
    environment="CliffWalking-v1",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=40_000,
    threshold=-14,
    # A table does not forget what D has taught it, and in the buffer the 2000 rows of D would crowd
    # out the few new ones. But within the paper's 200 rounds the difference is not clear.
    data_retention="drop",
    return_range=(FALL * STEP_LIMIT, 0),
    prompt=Prompt(RULES, MOVES, describe, remembers=True),
    stand_in_rule=stand_in_rule,
    grid=GridMap(
        rows=N_ROWS,
        columns=N_COLUMNS,
        moves=(UP, RIGHT, DOWN, LEFT),
        marks={START: "S", **dict.fromkeys(CLIFF, "C"), GOAL: "G"},
        never_left=(*CLIFF, GOAL),
    ),
    paper=PublishedSums(rounds=200, rl=-41858, loro=-10436, llm=-147639),
)
