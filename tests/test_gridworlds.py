"""What the prompts say is what the environments do."""

import re
from dataclasses import replace

import numpy as np
import pytest

import minloro
from minloro.bench import maps
from minloro.dynamics import optimal_values
from minloro.rollout import unreproduced
from minloro.tasks import taxi
from minloro.transitions import load_transitions


def texts(task, episodes=6, skill=0.3):
    """Every description of a few episodes: (state, the rows that were known, text)."""
    seen = []
    original = task.prompt.describe

    def describe(state, rows):
        seen.append((state, list(rows), original(state, rows)))
        return seen[-1][2]

    object.__setattr__(task, "prompt", replace(task.prompt, describe=describe))
    minloro.collect(task, minloro.StandInLLM(task, skill=skill), episodes=episodes)
    return seen


def cells(text):
    """The cells that a text names: (row, column), counted from 0."""
    found = re.findall(r"row (\d+), columns? (\d+(?:, \d+)*)", text)
    return {(int(r) - 1, int(c) - 1) for r, columns in found for c in columns.split(", ")}


def places(states, columns):
    """The cells of some states: (row, column)."""
    return {divmod(state, columns) for state in states}


@pytest.mark.parametrize("name", ["frozenlake", "cliffwalking", "taxi", "mountaincar", "acrobot"])
def test_every_prompt_is_clean_text(name):
    task = minloro.make_task(name)
    lengths = []
    for _, _, text in texts(task, episodes=3):
        assert not re.search(r"nan|None|\[|\]|  |np\.|True|False|-0\.0+\b", text), text
        assert text.endswith("?") and "\n\n" not in text
        lengths.append(len(text))
    assert max(lengths) < 2500  # the memory's length is bounded
    assert f"after {task.step_limit} steps" in task.prompt.rules
    assert task.step_limit == task.make_env().spec.max_episode_steps
    assert len(task.prompt.actions) == task.spaces[1].n


@pytest.mark.parametrize(("name", "columns"), [("frozenlake", 4), ("cliffwalking", 12)])
def test_positions_and_moves(name, columns):
    task = minloro.make_task(name)
    table = task.transition_table
    steps = {"move up": (-1, 0), "move down": (1, 0), "move left": (0, -1), "move right": (0, 1)}
    rows = len(table) // columns
    for state in range(len(table)):
        r, c = divmod(state, columns)
        assert cells(task.prompt.describe(state, []).splitlines()[0]) == {(r, c)}
        for action, words in enumerate(task.prompt.actions):
            dr, dc = steps[words]
            wanted = min(max(r + dr, 0), rows - 1) * columns + min(max(c + dc, 0), columns - 1)
            outcomes = table[state][action]
            if name == "frozenlake" and len(outcomes) == 3:
                # The middle one of three, each with probability 1/3.
                assert outcomes[1][1] == wanted
                assert all(p == pytest.approx(1 / 3) for p, *_ in outcomes)
            elif name == "cliffwalking" and state not in range(37, 48):
                reached = {s_next for _, s_next, *_ in outcomes}
                assert reached == {36 if wanted in range(37, 47) else wanted}
                assert sum(p for p, *_ in outcomes) == 1.0


def test_rewards_and_ends_of_frozenlake():
    task = minloro.make_task("frozenlake")
    rules = task.prompt.rules
    table = task.transition_table
    desc = task.make_env().unwrapped.desc
    assert desc[0, 0] == b"S" and "start at row 1, column 1" in rules
    assert desc[3, 3] == b"G" and "goal at row 4, column 4" in rules
    never_left = [state for state in range(16) if desc.flat[state] not in (b"S", b"F")]
    for state in set(range(16)) - set(never_left):
        for outcomes in table[state].values():
            for _, s_next, reward, terminated in outcomes:
                assert reward == float(s_next == 15)
                assert terminated == (desc.flat[s_next] in (b"H", b"G"))
    letters = {i: letter.decode() for i, letter in enumerate(desc.flat) if letter != b"F"}
    assert dict(task.grid.marks) == letters


def test_rewards_and_ends_of_cliffwalking():
    task = minloro.make_task("cliffwalking")
    bare = task.make_env().unwrapped
    cliff = {place for place in places(range(48), 12) if bare._cliff[place]}
    marked = [state for state, mark in task.grid.marks.items() if mark == "C"]
    assert cliff == {(3, c) for c in range(1, 11)} == places(marked, 12)
    for state in range(37):
        for outcomes in task.transition_table[state].values():
            ((_, s_next, reward, terminated),) = outcomes
            assert terminated == (s_next == 47)
    onto_the_cliff = [(36, 1), (25, 2), (34, 2)]
    elsewhere = [(36, 0), (36, 3), (35, 2), (24, 1)]
    for pairs, reward in ((onto_the_cliff, -100), (elsewhere, -1)):
        for state, action in pairs:
            assert task.transition_table[state][action][0][2] == reward
    assert "Reward: -100 for a step onto the cliff, -1 for every other step" in task.prompt.rules


@pytest.mark.parametrize(("name", "columns"), [("frozenlake", 4), ("cliffwalking", 12)])
def test_the_memory_holds_what_was_shown_and_nothing_else(name, columns):
    task = minloro.make_task(name)
    dangers = {"frozenlake": {5, 7, 11, 12}, "cliffwalking": set(range(37, 47))}[name]
    found_once = False
    for state, rows, text in texts(task):
        entered = {row[3] for row in rows}
        if name == "frozenlake":
            known = entered & dangers
        else:
            offset = {"move up": -12, "move right": 1, "move down": 12, "move left": -1}
            known = {row[0] + offset[task.prompt.actions[row[1]]] for row in rows if row[2] == -100}
            assert known <= dangers
        titles = ("Holes found so far: ", "Cliff found so far: ")
        told = " ".join(line for line in text.splitlines() if line.startswith(titles))
        assert cells(told) == places(known, columns)
        found_once |= bool(known)
        title = "Cells entered so far with reward "
        listed = " ".join(line for line in text.splitlines() if line.startswith(title))
        safe = {row[3] for row in rows if row[2] > -100} - known
        assert cells(listed) == places(safe, columns)
        if rows and rows[-1][6] == 0 and not (rows[-1][4] or rows[-1][5]):
            assert "Your last move: move " in text
        shown = entered | known | {state} | {row[0] for row in rows}
        assert cells(text) <= places(shown, columns)
    assert found_once
    for danger in dangers:
        r, c = divmod(danger, columns)
        assert f"row {r + 1}, column {c + 1}" not in task.prompt.rules


def test_taxi_describes_every_state():
    task = minloro.make_task("taxi")
    bare = task.make_env().unwrapped
    names = ["Red", "Green", "Yellow", "Blue"]
    assert [taxi.PLACES[name] for name in names] == [tuple(place) for place in bare.locs]
    for state in range(500):
        r, c, passenger, destination = bare.decode(state)
        text = task.prompt.describe(state, []).splitlines()
        assert cells(text[0]) == {(r, c)}
        assert names[destination] in text[2] and cells(text[2]) == {tuple(bare.locs[destination])}
        if passenger == 4:
            assert text[1].endswith("in the taxi.")
        else:
            assert names[passenger] in text[1]


def test_the_walls_and_rewards_of_the_taxi():
    task = minloro.make_task("taxi")
    bare = task.make_env().unwrapped
    rules = task.prompt.rules
    walls = set()
    for between, rows in re.findall(r"between columns (\d and \d) in rows (\d and \d)", rules):
        left = int(between[0]) - 1
        walls |= {(int(row) - 1, left) for row in rows.split(" and ")}
    steps = {"move down": (1, 0), "move up": (-1, 0), "move right": (0, 1), "move left": (0, -1)}
    for state in range(500):
        r, c, passenger, destination = bare.decode(state)
        for action, words in enumerate(task.prompt.actions):
            ((_, s_next, reward, terminated),) = task.transition_table[state][action]
            r_next, c_next, p_next, _ = bare.decode(s_next)
            if words in steps:
                dr, dc = steps[words]
                blocked = (dc == 1 and (r, c) in walls) or (dc == -1 and (r, c - 1) in walls)
                wanted = (r, c) if blocked else (min(max(r + dr, 0), 4), min(max(c + dc, 0), 4))
                assert (r_next, c_next) == wanted and reward == -1 and not terminated
                continue
            here = [i for i, place in enumerate(bare.locs) if tuple(place) == (r, c)]
            if words == "pick up the passenger":
                possible = passenger < 4 and passenger in here
                assert reward == (-1 if possible else -10) and not terminated
            elif passenger == 4 and destination in here:
                assert (reward, terminated, p_next) == (20, True, destination)
            else:
                assert reward == (-1 if passenger == 4 and here else -10) and not terminated


def test_the_taxi_remembers_its_last_moves():
    task = minloro.make_task("taxi")
    for _, rows, text in texts(task, episodes=3):
        own = []
        if rows and not (rows[-1][4] or rows[-1][5]):
            own = [row for row in rows if row[6] == rows[-1][6]]
        line = re.search(r"Your last moves, with the reward: (.*)\.", text)
        moves = line[1].split("; ") if line else []
        assert len(moves) == min(len(own), 8)


def test_the_facts_of_mountaincar():
    task = minloro.make_task("mountaincar")
    bare = task.make_env().unwrapped
    rules = task.prompt.rules
    assert f"position {bare.goal_position:g}" in rules
    assert f"{bare.min_position:g} is the left end" in rules
    assert f"{bare.max_speed:g} a step" in rules
    bare.reset(seed=0)
    for action, sign in ((0, -1), (1, 0), (2, 1)):
        bare.state = (-np.pi / 6, 0.0)  # the bottom: no slope
        observation, reward, terminated, _, _ = bare.step(action)
        assert np.sign(np.round(observation[1], 9)) == sign and reward == -1 and not terminated
    bare.state = (0.49, 0.07)
    assert bare.step(2)[1:3] == (-1, True)
    text = task.prompt.describe(np.array([-0.7, 0.0123], np.float32), [])
    assert "-0.700, on the left hill" in text and "+0.0123 a step, moving to the right" in text


def test_the_facts_of_acrobot():
    task = minloro.make_task("acrobot")
    env = task.make_env()
    bare = env.unwrapped
    env.reset(seed=0)
    assert bare.AVAIL_TORQUE == [-1.0, 0.0, 1] and bare.LINK_LENGTH_1 == bare.LINK_LENGTH_2 == 1.0
    rng = np.random.default_rng(0)
    for _ in range(50):
        bare.state = rng.uniform([-3, -3, -2, -2], [3, 3, 2, 2])
        a, b = bare.state[:2]
        text = task.prompt.describe(bare._get_ob(), [])
        height = -np.cos(a) - np.cos(a + b)
        values = [float(v) for v in re.findall(r": ([+-]?\d+\.\d+) ", text)]
        np.testing.assert_allclose(values, [a, bare.state[2], b, bare.state[3], height], atol=0.006)
        assert bare._terminal() == (height > 1.0)
        assert ("above" in text) == (round(height, 2) > 0)
    # A positive torque turns the lower link counter-clockwise. With x to the right and y up, the
    # tip of a link at a small positive angle is on the right.
    for action, sign in ((0, -1), (2, 1)):
        bare.state = np.zeros(4)
        assert np.sign(env.step(action)[0][5]) == sign
    bare.state = np.array([np.pi - 0.01, 0.0, 0.5, 0.0])
    assert env.step(1)[1:3] == (0.0, True)


@pytest.mark.parametrize("name", ["frozenlake", "cliffwalking", "taxi", "mountaincar", "acrobot"])
def test_collected_rows_replay(name):
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 600, seed=1)
    assert not unreproduced(task, data).any()
    wrong = minloro.Transitions(**vars(data) | {"actions": np.roll(data.actions, 1)})
    assert unreproduced(task, wrong).mean() > 0.15


@pytest.mark.parametrize("name", ["frozenlake", "cliffwalking", "mountaincar"])
def test_every_published_row_replays(published, name):
    task = minloro.make_task(name)
    data = load_transitions(published(name), task)
    assert len(data.episode_ids) == 30 and not unreproduced(task, data).any()


@pytest.mark.parametrize(
    ("name", "random", "rule"),
    [
        ("mountaincar", -199, -125),
        ("acrobot", -450, -100),
        ("frozenlake", 0.0, 0.0),
        ("cliffwalking", -1500, -13),
        ("taxi", -600, 7),
    ],
)
def test_the_stand_ins_skill_goes_from_random_to_its_rule(name, random, rule):
    task = minloro.make_task(name)
    means = []
    for skill in (0, 0.7, 1):
        data = minloro.collect(task, minloro.StandInLLM(task, skill=skill), episodes=12)
        means.append(data.episode_returns.mean())
    assert means[0] <= random + 0.1 and means[2] >= rule
    assert means[0] <= means[1] + 0.1


def test_memories_word_for_word():
    names = ("frozenlake", "cliffwalking", "taxi")
    lake, cliff, cab = (minloro.make_task(name).prompt.describe for name in names)
    fell = [(0, 1, 0.0, 4, False, False, 0), (4, 2, 0.0, 5, True, False, 0)]
    assert lake(0, []) == "You are at row 1, column 1.\nThe first episode begins.\nWhere do you go?"
    assert lake(0, fell) == (
        "You are at row 1, column 1.\nA new episode begins.\nHoles found so far: row 2, column 2.\n"
        "Cells entered so far with reward 0: row 2, column 1.\nWhere do you go?"
    )
    on = [
        *fell,
        (0, 2, 0.0, 1, False, False, 1),
        (14, 2, 1.0, 15, True, False, 1),
        (0, 2, 0.0, 1, False, False, 2),
    ]
    assert lake(1, on) == (
        "You are at row 1, column 2.\n"
        "Your last move: move right from row 1, column 1; you came to row 1, column 2, reward 0.\n"
        "Holes found so far: row 2, column 2.\n"
        "Cells entered so far with reward 0: row 1, column 2; row 2, column 1.\n"
        "Cells entered so far with reward 1: row 4, column 4.\nWhere do you go?"
    )
    fall = [
        (36, 0, -1.0, 24, False, False, 0),
        (24, 1, -1.0, 25, False, False, 0),
        (25, 2, -100.0, 36, False, False, 0),
    ]
    assert cliff(36, fall) == (
        "You are at row 4, column 1.\n"
        "Your last move: move down from row 3, column 2; "
        "you came to row 4, column 1, reward -100.\n"
        "Cliff found so far: row 4, column 2.\n"
        "Cells entered so far with reward -1: row 3, columns 1, 2.\n"
        "Where do you go?"
    )
    drive = [
        (0, 4, -1.0, 1, True, False, 0),
        (27, 2, -1.0, 47, False, False, 1),
        (47, 4, -10.0, 47, False, False, 1),
    ]
    assert cab(47, drive).splitlines()[3] == (
        "Your last moves, with the reward: move right at row 1, column 2 (-1); "
        "pick up the passenger at row 1, column 3 (-10)."
    )


def rewards_in_the_rules(task):
    """The numbers in the sentence about rewards."""
    (line,) = [line for line in task.prompt.rules.splitlines() if line.startswith("Reward:")]
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", line)]


def rewards_in_the_table(task):
    """Every reward that is possible."""
    found = set()
    for actions in task.transition_table.values():
        for outcomes in actions.values():
            found |= {reward for probability, _, reward, _ in outcomes if probability > 0}
    return found


def test_the_rewards_in_the_rules_are_those_of_the_tables():
    names = ("frozenlake", "cliffwalking", "taxi")
    lake, cliff, cab = (minloro.make_task(name) for name in names)
    for task, listed in ((lake, [1, 0]), (cliff, [-100, -1]), (cab, [20, -10, -1, -1])):
        assert rewards_in_the_rules(task) == listed
        assert rewards_in_the_table(task) == set(listed)
    assert re.findall(r"probability (\d/\d)", lake.prompt.rules) == ["1/3", "1/3"]
    acrobot = minloro.make_task("acrobot")
    mountaincar = minloro.make_task("mountaincar")
    assert rewards_in_the_rules(acrobot) == [-1, 0]
    assert "more than 1 m above the fixed point" in acrobot.prompt.rules
    assert rewards_in_the_rules(mountaincar) == [-1]
    bare = mountaincar.make_env().unwrapped
    bare.reset(seed=0)
    bare.state = (-1.19, -0.07)
    assert bare.step(0)[0].tolist() == [np.float32(-1.2), 0.0]  # the wall at the left end


@pytest.mark.parametrize("name", ["frozenlake", "cliffwalking", "taxi"])
def test_maps_show_the_visits_and_the_greedy_actions(name, tmp_path, monkeypatch):
    task = minloro.make_task(name)
    data = minloro.collect(task, minloro.StandInLLM(task), 3)
    panels = []
    original = maps.policy_map

    def policy_map(*arguments):
        ax = original(*arguments)
        panels.append((arguments, ax))
        return ax

    monkeypatch.setattr(maps, "policy_map", policy_map)
    learned = optimal_values(task.transition_table, 0.9)
    maps.save_map(tmp_path / "map.png", task, data, learned, "x")
    assert (tmp_path / "map.png").stat().st_size > 10_000 and len(panels) == 3
    (_, _, _, visits, _), _ = panels[0]
    grid = task.grid
    cells = np.arange(grid.rows * grid.columns)
    states = cells * grid.states_per_cell + grid.offset
    if grid.state_note:
        text = task.prompt.describe(int(states[0]), [])
        assert grid.state_note == "passenger at Yellow, destination Green"
        assert "passenger is at Yellow" in text and "destination is Green" in text
    visited_cells = data.observations // grid.states_per_cell
    counts = np.bincount(visited_cells, minlength=len(cells))
    np.testing.assert_array_equal(visits[states], counts)
    (_, _, values, _, _), ax = panels[1]
    assert values is learned
    arrows = [child for child in ax.get_children() if type(child).__name__ == "Annotation"]
    assert arrows
    # Every arrow points where its action leads, and no action is better.
    for arrow in arrows:
        x, y = arrow.xyann
        x2, y2 = arrow.xy
        state = (int(y) * grid.columns + int(x)) * grid.states_per_cell + grid.offset
        move = (int(np.sign(y2 - y)), int(np.sign(x2 - x)))
        action = grid.moves.index(move)
        q = learned[state]
        assert q[action] == pytest.approx(q.max())
        if name != "frozenlake":
            reached = task.transition_table[state][action][0][1]
            wanted = (int(y) + move[0]) * grid.columns + int(x) + move[1]
            assert reached // grid.states_per_cell == wanted
