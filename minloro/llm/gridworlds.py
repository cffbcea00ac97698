"""Prompts of the grid worlds: FrozenLake, CliffWalking and Taxi.

Rows are counted from the top and columns from the left, from 1. What the environment has not shown yet, where the holes
and the cliff are, is not told: the text carries a memory of what happened so far, earlier episodes of the same collection
included, as the paper's prompts do. The memory names every cell at most once, so that its length is bounded.
"""

from minloro.llm.prompts import Prompt


def frozenlake_prompt(step_limit: int) -> Prompt:
    """FrozenLake-v1, slippery, 4 × 4."""
    rules = (
        "You walk over a frozen lake, a grid of 4 rows and 4 columns. Row 1 is at the top and column 1 at the left. You "
        "start at row 1, column 1, and want to reach the goal at row 4, column 4.\n"
        "Some cells are holes in the ice; where they are, you have to find out. The ice is slippery: with probability 1/3 "
        "you move as you want, and with probability 1/3 each in one of the two directions at right angles to it. A move "
        "against the edge of the grid leaves you where you are.\n"
        "Reward: 1 for reaching the goal, 0 for every other step.\n"
        f"The episode ends at the goal, in a hole, or after {step_limit} steps."
    )
    return Prompt(rules, _LAKE_MOVES, _describe_frozenlake, remembers=True)


def _describe_frozenlake(state: int, rows: list) -> str:
    holes = {row[3] for row in rows if row[4] and row[2] == 0}
    return _grid_text(state, rows, 4, _LAKE_MOVES, "Holes found so far", holes)


def cliffwalking_prompt(step_limit: int) -> Prompt:
    """CliffWalking-v1."""
    rules = (
        "You walk over a grid of 4 rows and 12 columns. Row 1 is at the top and column 1 at the left. You start at row 4, "
        "column 1, and want to reach the goal at row 4, column 12, in as few steps as possible.\n"
        "Some cells are a cliff; where they are, you have to find out. A step onto the cliff puts you back to the start, and "
        "the episode goes on. A move against the edge of the grid leaves you where you are. You always move as you want.\n"
        "Reward: -100 for a step onto the cliff, -1 for every other step, the one onto the goal included.\n"
        f"The episode ends at the goal or after {step_limit} steps."
    )
    return Prompt(rules, _CLIFF_MOVES, _describe_cliffwalking, remembers=True)


def _describe_cliffwalking(state: int, rows: list) -> str:
    steps = (-12, 1, 12, -1)  # of the state's number, by action
    cliff = {row[0] + steps[row[1]] for row in rows if row[2] == -100}
    return _grid_text(state, rows, 12, _CLIFF_MOVES, "Cliff found so far", cliff)


def taxi_prompt(step_limit: int) -> Prompt:
    """Taxi-v4."""
    rules = (
        "You drive a taxi over a grid of 5 rows and 5 columns. Row 1 is at the top and column 1 at the left. You pick up a "
        "passenger at one of four places and drop the passenger off at another.\n"
        f"The places: {', '.join(f'{name} at {_cell(place)}' for name, place in _PLACES.items())}.\n"
        "Walls stand between columns 2 and 3 in rows 1 and 2, between columns 1 and 2 in rows 4 and 5, and between columns "
        "3 and 4 in rows 4 and 5. A move against a wall or the edge of the grid leaves you where you are.\n"
        "Reward: 20 for dropping the passenger off at the destination, -10 for a pick-up or a drop-off that is not possible, "
        "-1 for every other step. A passenger may also be dropped off at a place that is not the destination, for -1.\n"
        f"The episode ends with the passenger at the destination, or after {step_limit} steps."
    )
    return Prompt(rules, _TAXI_MOVES, _describe_taxi)


def _describe_taxi(state: int, rows: list) -> str:
    cell, passenger, destination = state // 20, state // 4 % 5, state % 4  # as Taxi-v4 numbers its states
    places = [f"{name}, {_cell(place)}" for name, place in _PLACES.items()]
    waiting = "in the taxi" if passenger == 4 else f"at {places[passenger]}"
    return (
        f"The taxi is at {_cell(divmod(cell, 5))}.\nThe passenger is {waiting}.\n"
        f"The destination is {places[destination]}.\n{_recent_moves(rows)}What do you do?"
    )


_LAKE_MOVES = ("move left", "move down", "move right", "move up")
_CLIFF_MOVES = ("move up", "move right", "move down", "move left")
_TAXI_MOVES = ("move down", "move up", "move right", "move left", "pick up the passenger", "drop off the passenger")
_PLACES = {"Red": (0, 0), "Green": (0, 4), "Yellow": (4, 0), "Blue": (4, 3)}
_RECENT = 8  # moves that the taxi driver remembers


def _cell(place: tuple[int, int]) -> str:
    return f"row {place[0] + 1}, column {place[1] + 1}"


def _grid_text(state: int, rows: list, columns: int, actions: tuple[str, ...], found: str, cells: set[int]) -> str:
    """Describe a position and the memory: the last move, dangerous cells, visited cells with their rewards."""

    def name(cell: int) -> str:
        return _cell(divmod(int(cell), columns))

    lines = [f"You are at {name(state)}."]
    if rows and not (rows[-1][4] or rows[-1][5]):
        before, action, reward, after = rows[-1][:4]
        lines.append(f"Your last move: {actions[action]} from {name(before)}; you came to {name(after)}, reward {reward:g}.")
    else:
        lines.append("A new episode begins." if rows else "The first episode begins.")
    if cells:
        lines.append(f"{found}: {'; '.join(name(cell) for cell in sorted(cells))}.")
    visited = {int(row[3]): row[2] for row in rows if row[3] not in cells and row[2] > -100}
    for reward in sorted(set(visited.values())):
        by_row: dict[int, list[str]] = {}
        for cell in sorted(cell for cell in visited if visited[cell] == reward):
            by_row.setdefault(cell // columns + 1, []).append(str(cell % columns + 1))
        listed = (f"row {row}, column{'s' * (len(entered) > 1)} {', '.join(entered)}" for row, entered in by_row.items())
        lines.append(f"Cells entered so far with reward {reward:g}: {'; '.join(listed)}.")
    return "\n".join([*lines, "Where do you go?"])


def _recent_moves(rows: list) -> str:
    """Return a line with the last moves of this episode, oldest first, or nothing at its start."""
    moves = []
    for state, action, reward, _, terminated, truncated, _ in reversed(rows[-_RECENT:]):
        if terminated or truncated:
            break
        moves.append(f"{_TAXI_MOVES[action]} at {_cell(divmod(state // 20, 5))} ({reward:g})")
    return f"Your last moves, with the reward: {'; '.join(reversed(moves))}.\n" if moves else ""
