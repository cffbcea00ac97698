"""Taxi-v4: fetch a passenger at one of four places and drop the passenger off at another.

An observation is the number of a state, ((row * 5 + column) * 5 + passenger) * 4 + destination.
Rows and columns count from 0 on a grid of 5 × 5 cells. The passenger is at one of the PLACES, 0 to
3, or in the taxi, 4. The destination is one of the PLACES. The actions are 0 move down, 1 move up,
2 move right, 3 move left, 4 pick up, 5 drop off.
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
    cell_name,
    episode_ended,
    named_places,
    place_name,
)
from minloro.tasks.task import GridMap, Rows, Task

STEP_LIMIT = 200
N_ROWS = 5
N_COLUMNS = 5
PLACES = {"Red": (0, 0), "Green": (0, 4), "Yellow": (4, 0), "Blue": (4, 3)}  # (row, column)
IN_TAXI = 4  # the passenger's number while riding
DESTINATIONS = 4
PASSENGERS = 5
STATES_PER_CELL = PASSENGERS * DESTINATIONS

NAMED_PLACES = tuple(f"{name} at {place_name(*place)}" for name, place in PLACES.items())
RULES = (
    "You drive a taxi over a grid of 5 rows and 5 columns. Row 1 is at the top and column 1 at the "
    "left. You pick up a passenger at one of four places and drop the passenger off at another.\n"
    f"The places: {', '.join(NAMED_PLACES)}.\n"
    "Walls stand between columns 2 and 3 in rows 1 and 2, between columns 1 and 2 in rows 4 and 5, "
    "and between columns 3 and 4 in rows 4 and 5. A move against a wall or the edge of the grid "
    "leaves you where you are.\n"
    "Reward: 20 for dropping the passenger off at the destination, -10 for a pick-up or a drop-off "
    "that is not possible, -1 for every other step. A passenger may also be dropped off at a place "
    "that is not the destination, for -1.\n"
    f"The episode ends with the passenger at the destination, or after {STEP_LIMIT} steps."
)
MOVES = (
    "move down",
    "move up",
    "move right",
    "move left",
    "pick up the passenger",
    "drop off the passenger",
)
MOVES_REMEMBERED = 8


def describe(observation: int, rows: Rows) -> str:
    """Say what the model sees of a state: the task of the taxi and its last moves."""
    destination = observation % DESTINATIONS
    passenger = observation // DESTINATIONS % PASSENGERS
    places = [f"{name}, {place_name(*place)}" for name, place in PLACES.items()]
    waiting = "in the taxi" if passenger == IN_TAXI else f"at {places[passenger]}"
    return (
        f"The taxi is at {_taxi_place(observation)}.\n"
        f"The passenger is {waiting}.\n"
        f"The destination is {places[destination]}.\n"
        f"{_recent_moves(rows)}What do you do?"
    )


def _taxi_place(state: int) -> str:
    return cell_name(state // STATES_PER_CELL, N_COLUMNS)


def _recent_moves(rows: Rows) -> str:
    """Return a line with the last moves of this episode, oldest first, or nothing at its start."""
    recent: list[tuple] = []
    for row in reversed(rows[-MOVES_REMEMBERED:]):
        if episode_ended(row):
            break
        recent.insert(0, row)
    if not recent:
        return ""
    moves = [
        f"{MOVES[row[ACTION]]} at {_taxi_place(row[STATE])} ({row[REWARD]:g})" for row in recent
    ]
    return f"Your last moves, with the reward: {'; '.join(moves)}.\n"


def stand_in_rule(text: str) -> int:
    """Drive to the passenger, then to the destination: the number of the action.

    Change columns in row 3 only: it is the row without walls.

    >>> stand_in_rule(
    ...     "The taxi is at row 1, column 1.\\n"
    ...     "The passenger is at Red, row 1, column 1.\\n"
    ...     "The destination is Blue, row 5, column 4."
    ... )
    5
    """
    taxi_line, passenger_line, destination_line = text.splitlines()[:3]
    riding = "in the taxi" in passenger_line
    target_line = destination_line if riding else passenger_line
    row, column = named_places(taxi_line)[0]
    target_row, target_column = named_places(target_line)[0]
    if (row, column) == (target_row, target_column):
        return 6 if riding else 5
    in_target_column = column == target_column
    if row == 3 and not in_target_column:
        return 3 if column < target_column else 4
    wanted_row = target_row if in_target_column else 3
    return 1 if row < wanted_row else 2


def make_agent(rng: np.random.Generator) -> TabularQ:
    """Return an untrained agent. All its values start equal: `rng` is not used."""
    return TabularQ(
        n_states=N_ROWS * N_COLUMNS * STATES_PER_CELL,
        n_actions=len(MOVES),
        step_size=0.1,
        discount=0.99,
        epsilon=0.02,
        # Every step but the last costs at least 1. So an action looks worse once it was tried, and
        # the greedy policy explores by itself.
        initial_value=0.0,
    )


TASK = Task(
    name="taxi",
    environment="Taxi-v4",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=60_000,
    threshold=7,
    return_range=(-10 * STEP_LIMIT, 20),
    prompt=Prompt(RULES, MOVES, describe),
    stand_in_rule=stand_in_rule,
    grid=GridMap(
        rows=N_ROWS,
        columns=N_COLUMNS,
        moves=(DOWN, UP, RIGHT, LEFT, "pick", "drop"),
        marks={0: "R", 4: "G", 20: "Y", 23: "B"},
        states_per_cell=STATES_PER_CELL,
        offset=2 * DESTINATIONS + 1,
        state_note="passenger at Yellow, destination Green",
    ),
)
