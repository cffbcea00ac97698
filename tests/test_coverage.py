"""Coverage of a good policy by a data set, and the two studies of it in tutorials/studies/."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import CORE_TASKS

import minloro
from minloro.coverage import coverage, occupancy, optimal_policy, visits
from minloro.dynamics import optimal_return, transition_arrays
from minloro.errors import UserError
from minloro.randomness import stream_seed
from minloro.tasks.task import Cells
from minloro.transitions import load_transitions

STUDIES = Path(__file__).resolve().parents[1] / "tutorials" / "studies"
sys.path.append(str(STUDIES))  # the scripts import each other
import best_agents  # noqa: E402

TABULAR = ("frozenlake", "cliffwalking", "taxi")
WITH_CELLS = ("cartpole", "mountaincar", "acrobot", "pendulum")
# Three states in a line; state 2 ends the episode. Action 0 stays; action 1 goes on, but slips and
# stays with probability 1/4.
CHAIN = {
    0: {0: [(1.0, 0, 0.0, False)], 1: [(0.75, 1, 0.0, False), (0.25, 0, 0.0, False)]},
    1: {0: [(1.0, 1, 0.0, False)], 1: [(0.75, 2, 1.0, True), (0.25, 1, 0.0, False)]},
    2: {0: [(1.0, 2, 0.0, True)], 1: [(1.0, 2, 0.0, True)]},
}
ONWARDS = np.array([[0.0, 1.0], [0.0, 1.0], [0.5, 0.5]])


def start_of(task):
    return task.make_env().unwrapped.initial_state_distrib


def transitions(states, actions, environment="FrozenLake-v1"):
    """Rows with these states and actions; everything else is zero."""
    n = len(states)
    return minloro.Transitions(
        observations=np.asarray(states),
        actions=np.asarray(actions),
        rewards=np.zeros(n),
        next_observations=np.asarray(states),
        terminated=np.zeros(n, bool),
        truncated=np.zeros(n, bool),
        episode=np.zeros(n, int),
        metadata={"environment": environment},
    )


def test_occupancy_of_a_chain_by_hand():
    # Probabilities of (state 0, state 1): before step 1 (1, 0), before step 2 (1/4, 3/4), before
    # step 3 (1/16, 3/16 + 3/16). Their sums: (21/16, 18/16).
    shares = occupancy(CHAIN, np.array([1.0, 0.0, 0.0]), ONWARDS, steps=3)
    assert shares[:, 1] == pytest.approx([21 / 39, 18 / 39, 0], abs=1e-15)
    assert (shares[:, 0] == 0).all()


def test_the_step_limit_cuts_and_termination_ends():
    start = np.array([1.0, 0.0, 0.0])
    # Nothing after the limit is counted.
    assert occupancy(CHAIN, start, ONWARDS, steps=1)[0, 1] == 1
    # 4/3 visits in each state. No step starts from the end.
    forever = occupancy(CHAIN, start, ONWARDS, steps=1000)
    assert forever[:, 1] == pytest.approx([0.5, 0.5, 0], abs=1e-12)
    staying = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert occupancy(CHAIN, start, staying, steps=7)[0, 0] == 1
    # If the end does not terminate the episode, it is visited again and again.
    going_on = {state: {} for state in CHAIN}
    for state, outcomes_of in CHAIN.items():
        for action, outcomes in outcomes_of.items():
            going_on[state][action] = [(p, after, r, False) for p, after, r, _ in outcomes]
    assert occupancy(going_on, start, ONWARDS, steps=1000)[2].sum() > 0.99


def simulated(task, policy, episodes, rng):
    """Play the environment itself and count: an estimate that does not use the table."""
    env = task.make_env()
    counts = np.zeros(policy.shape)
    for _ in range(episodes):
        state = env.reset(seed=int(rng.integers(2**31)))[0]
        ended = False
        while not ended:
            action = int(rng.choice(policy.shape[1], p=policy[state]))
            counts[state, action] += 1
            state, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
    return counts / counts.sum()


@pytest.mark.parametrize("name", TABULAR)
def test_occupancy_is_what_the_environment_does(name):
    task = minloro.make_task(name)
    rng = np.random.default_rng(1)
    shape = (len(task.transition_table), task.spaces[1].n)
    # Half optimal, half random: this falls from the cliff and goes on from the start.
    policy = 0.5 * optimal_policy(task.transition_table) + 0.5 / shape[1]
    exact = occupancy(task.transition_table, start_of(task), policy, task.step_limit)
    estimate = simulated(task, policy, 1500, rng)
    assert exact.sum() == pytest.approx(1) and estimate[exact == 0].sum() == 0
    assert np.abs(exact - estimate).max() < 0.012
    most = 0.25 if name == "taxi" else 0.06  # taxi has 3000 pairs
    assert np.abs(exact - estimate).sum() < most


@pytest.mark.parametrize("name", TABULAR)
def test_the_policy_without_a_clock_has_the_optimal_return(name):
    task = minloro.make_task(name)
    table = task.transition_table
    start = start_of(task)
    policy = optimal_policy(table)
    going_on, rewards = transition_arrays(table)
    state = start
    value = 0.0
    for _ in range(task.step_limit):
        pairs = state[:, None] * policy
        value = value + (pairs * rewards).sum()
        state = np.einsum("sa,sat->t", pairs, going_on)
    best = optimal_return(table, start, task.step_limit)
    if best > 0:
        assert best * 0.99 <= value <= best + 1e-9
    else:
        assert value == pytest.approx(best)
    assert np.array_equal(policy, optimal_policy(table, discount=0.999))


def test_the_optimum_does_not_depend_on_the_numbers_of_the_actions():
    table = minloro.make_task("taxi").transition_table
    order = [3, 0, 5, 1, 4, 2]
    renamed = {}
    for state, actions in table.items():
        renamed[state] = {new: actions[old] for new, old in enumerate(order)}
    assert np.allclose(optimal_policy(renamed), optimal_policy(table)[:, order])
    ties = (optimal_policy(table) > 0).sum(axis=1)
    assert ties.max() > 1  # there are equally good ways, and all are kept
    # Action 0 earns 0.3, action 1 earns 0.30000000000000004: equally good.
    outcomes = {0: [(1.0, 0, 0.3, True)], 1: [(0.5, 0, 0.2, True), (0.5, 0, 0.4, True)]}
    assert optimal_policy({0: outcomes}).tolist() == [[0.5, 0.5]]


def test_coverage_by_hand():
    wanted = np.array([[0.5, 0.0], [0.3, 0.2]])
    found = coverage(wanted, np.array([[1, 7], [2, 0]]))  # mu: 0.1, 0.7, 0.2, 0
    assert found == (pytest.approx(0.8), np.inf, 1, 3)
    found = coverage(wanted, np.array([[1, 6], [2, 1]]))
    assert found == (1.0, pytest.approx(5.0), 0, 3)
    found = coverage(wanted, np.array([[0, 9], [0, 0]]))
    assert found == (0.0, np.inf, 3, 3)


@pytest.mark.parametrize("name", ["frozenlake", "cliffwalking"])
def test_the_optimal_policys_own_data_cover_it(name):
    task = minloro.make_task(name)
    policy = optimal_policy(task.transition_table)
    rng = np.random.default_rng(0)
    rows = []
    env = task.make_env()
    for episode in range(400):
        state = env.reset(seed=episode)[0]
        ended = False
        while not ended:
            action = int(rng.choice(policy.shape[1], p=policy[state]))
            rows.append((state, action))
            state, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
    states, actions = zip(*rows, strict=True)
    found = coverage(best_agents.target(task)[0], visits(task, transitions(states, actions)))
    assert found.seen == 1 and found.lacking == 0
    assert 1 <= found.concentrability < 1.35


def test_the_published_data_never_reach_the_goal(published):
    task = minloro.make_task("cliffwalking")
    data = load_transitions(published("cliffwalking"), task).first_episodes(10)
    found = coverage(best_agents.target(task)[0], visits(task, data))
    # d* has 13 steps of 1/13 each. The data never reach the goal: at least the last step is
    # missing.
    assert found.pairs == 13 and found.lacking >= 1
    assert found.seen == pytest.approx(1 - found.lacking / 13)
    assert found.concentrability == np.inf
    assert visits(task, data)[35, 2] == 0  # above the goal, down


def test_visits_of_a_grid_world():
    task = minloro.make_task("frozenlake")
    counts = visits(task, transitions([0, 0, 15, 4], [3, 3, 0, 1]))
    assert counts.shape == (16, 4) and counts.sum() == 4
    assert counts[0, 3] == 2 and counts[15, 0] == 1 and counts[4, 1] == 1


def seen_cells(task, observations, cells=None):
    """The cell of every observation, one at a time."""
    actions = np.zeros((1, *task.spaces[1].shape), task.spaces[1].dtype)
    found = [visits(task, transitions(np.array([one]), actions), cells) for one in observations]
    return [int(np.flatnonzero(counts.sum(axis=1))[0]) for counts in found]


def test_cells_have_edges_and_hold_everything():
    cells = Cells(np.asarray, low=(-1.0, 0.0), high=(1.0, 4.0), bins=(2, 4))
    task = minloro.make_task("mountaincar")
    points = [[-1, 0], [-1e-9, 0.999], [0, 1], [1, 4], [np.inf, -np.inf], [-np.inf, np.inf], [5, 2]]
    assert seen_cells(task, points, cells) == [0, 0, 5, 7, 4, 3, 6]  # x cell * 4 + y cell
    own = replace(task, cells=cells)
    assert seen_cells(own, points) == [0, 0, 5, 7, 4, 3, 6]
    with pytest.raises(UserError, match="there are no cells for mountaincar: give some"):
        seen_cells(replace(task, cells=None), points)


def test_tasks_with_cells_are_those_with_continuous_observations():
    found = [name for name in CORE_TASKS if minloro.make_task(name).cells is not None]
    assert found == list(WITH_CELLS)


@pytest.mark.parametrize("name", WITH_CELLS)
def test_cells_of_every_continuous_task(name):
    task = minloro.make_task(name)
    cells = task.cells
    data = minloro.collect_random(task, 600)
    counts = visits(task, data)
    assert counts.shape[0] == np.prod(cells.bins) and counts.sum() == 600
    assert (counts > 0).sum() > 10
    values = cells.coordinates(np.asarray(data.observations, float))
    assert values.shape == (600, len(cells.low))
    assert ((values >= cells.low) & (values <= cells.high)).mean() > 0.99
    twice_as_many = replace(cells, bins=tuple(2 * n for n in cells.bins))
    finer = visits(task, data, twice_as_many)
    assert (finer > 0).sum() > (counts > 0).sum()


def test_angles_are_told_apart_from_their_cosines():
    task = minloro.make_task("pendulum")
    points = np.array([[np.cos(a), np.sin(a), 0.5] for a in (0.05, 1.6, -1.6, np.pi)])
    assert len(set(seen_cells(task, points))) == 4
    assert task.cells.coordinates(points)[:, 0] == pytest.approx([0.05, 1.6, -1.6, np.pi])
    acrobot = minloro.make_task("acrobot")
    observation = np.array([[np.cos(1), np.sin(1), np.cos(-2), np.sin(-2), 3.0, -4.0]])
    assert acrobot.cells.coordinates(observation)[0] == pytest.approx([1, -2, 3, -4])


def test_torques_fall_into_three_bins():
    task = minloro.make_task("pendulum")
    torque = np.array([[-2.0], [-0.7], [-0.6], [0.6], [0.7], [2.0]])
    data = transitions(np.tile([1.0, 0.0, 0.0], (6, 1)), torque, "Pendulum-v1")
    counts = visits(task, data)
    assert counts.shape[1] == 3 and counts.sum(axis=0).tolist() == [2, 2, 2]


def test_the_best_agents_steps_take_the_place_of_the_optimum(cartpole, monkeypatch, tmp_path):
    agent = best_agents.best_agent(cartpole, 4, steps=150)
    seeds = [stream_seed(0, "best-agent", episode) for episode in range(20)]
    alone = []
    for seed in range(4):
        alone.append(cartpole.make_agent(seed))
        minloro.finetune(alone[-1], cartpole, steps=150, seed=seed)
    returns = [minloro.evaluate(one, cartpole.make_env(), seeds)[0] for one in alone]
    found = minloro.evaluate(agent, cartpole.make_env(), seeds)[0]
    assert found == max(returns) > max(returns[0], returns[-1])
    data = best_agents.greedy_rollouts(cartpole, agent, 5)
    again = best_agents.greedy_rollouts(cartpole, agent, 5)
    assert np.array_equal(data.observations, again.observations)
    starts = data.observations[np.append(0, np.cumsum(data.episode_lengths)[:-1])]
    assert len(np.unique(starts, axis=0)) == 5
    assert not data.terminated[data.truncated].any()
    assert data.episode_lengths.max() <= cartpole.step_limit
    monkeypatch.setattr(best_agents, "best_agent", lambda task: agent)
    wanted, label = best_agents.target(cartpole)
    counts = visits(cartpole, best_agents.greedy_rollouts(cartpole, agent))
    assert wanted.sum() == pytest.approx(1) and "best agent" in label
    assert coverage(wanted, counts) == (1.0, pytest.approx(1.0), 0, (wanted > 0).sum())
    agent.save(tmp_path / "rl-0.npz")
    monkeypatch.undo()
    saved = best_agents.best_agent(cartpole, 0, saved=[tmp_path / "rl-0.npz"])
    again = best_agents.greedy_rollouts(cartpole, saved, 5)
    assert np.array_equal(again.observations, data.observations)


def test_grid_worlds_have_an_exact_target():
    wanted, label = best_agents.target(minloro.make_task("cliffwalking"))
    assert "exact" in label and np.flatnonzero(wanted.sum(axis=1)).tolist() == [*range(24, 37)]


def script_module(name):
    """Import a script under another name: there is a well-known package called coverage."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", STUDIES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return script_module("coverage")


@pytest.fixture(scope="module")
def study():
    return script_module("skill_study")


@pytest.mark.parametrize("name", CORE_TASKS)
def test_heat_maps_hold_all_steps(script, name, tmp_path):
    task = minloro.make_task(name)
    data = [visits(task, minloro.collect_random(task, 300, seed)) for seed in range(3)]
    wanted = data[2] / data[2].sum()
    figure, ax = plt.subplots()
    assert script.heat_map(ax, task, wanted, plt.Normalize(0, 1), "d*") is ax
    assert ax.images[0].get_array().sum() == pytest.approx(1)
    plt.close(figure)
    counts = {"D": data[0], "random": data[1]}
    script.save_coverage(tmp_path / "map.png", task, counts, wanted, "something")
    assert (tmp_path / "map.png").stat().st_size > 5000


def drawn_cells(image):
    """Row and column of every cell of an image that holds more than 0."""
    return np.argwhere(image.get_array().filled(0)).tolist()


def test_heat_maps_put_states_and_crosses_in_their_places(script):
    figure, (left, right) = plt.subplots(1, 2)
    car = minloro.make_task("mountaincar")
    lake = minloro.make_task("frozenlake")
    data = transitions(np.array([[0.55, -0.069]]), [0], "MountainCar-v0")
    shares = visits(car, data)
    script.heat_map(left, car, shares, plt.Normalize(0, 1), "", shares)
    assert drawn_cells(left.images[0]) == [[0, 17]]  # slowest, rightmost
    assert left.images[0].origin == "lower"
    assert left.lines[0].get_xydata().tolist() == [[pytest.approx(0.55), pytest.approx(-0.065)]]
    shares = visits(lake, transitions([7], [0]))
    script.heat_map(right, lake, shares, plt.Normalize(0, 1), "", shares)
    assert drawn_cells(right.images[0]) == [[1, 3]]
    assert right.images[0].origin == "upper" and right.lines[0].get_xydata().tolist() == [[3, 1]]
    shares = visits(minloro.make_task("taxi"), transitions([19, 499, 499], [0, 0, 1], "Taxi-v4"))
    script.heat_map(right, minloro.make_task("taxi"), shares, plt.Normalize(0, 2), "")
    assert drawn_cells(right.images[-1]) == [[0, 0], [4, 4]]
    plt.close(figure)


def test_the_script_prints_and_draws(script, tmp_path, capsys, monkeypatch):
    argv = ["coverage.py", "--data", str(tmp_path), str(tmp_path / "figures")]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(script, "TASKS", ("cliffwalking",))
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "cliffwalking. d*: the optimal policy, exact"
    assert " ".join(lines[3].split()[:8]) == "scripted stand-in, skill 0.7 10 260 100.0% [100.0%,"
    assert lines[4].split()[-4:] == ["inf", "7.7", "of", "13"]
    assert (tmp_path / "figures" / "coverage-cliffwalking.png").exists()


def test_the_study_resumes_and_its_gains_are_differences_of_arms(
    study, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "study.csv"

    def run(seeds):
        argv = "skill_study.py --tasks cliffwalking --skills 0,1 --steps 3000 --jobs 1".split()
        monkeypatch.setattr(sys, "argv", [*argv, "--seeds", str(seeds), "--out", str(out)])
        study.main()
        return capsys.readouterr().out

    assert "1 of 1 seeds" in run(1)
    first = study.read(out)
    assert "1 of 1 seeds, seed 1" in run(2) and "seeds, seed" not in run(2)
    rows = study.read(out)
    assert [(r["seed"], r["skill"]) for r in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert rows[:2] == first
    assert rows[0]["rl_final_return"] == rows[1]["rl_final_return"]  # it needs no teacher
    for row in rows:
        online = row["loro_online_mean_return"]
        assert row["gain_online"] == pytest.approx(online - row["rl_online_mean_return"])
        assert row["gain_steps"] == pytest.approx(row["loro_mean_return"] - row["rl_mean_return"])
        over_control = online - row["random_data_online_mean_return"]
        assert row["gain_over_control"] == pytest.approx(over_control)
    assert [r["seen"] for r in rows if r["skill"] == 1] == [1, 1]
    assert rows[1]["concentrability"] == pytest.approx(1)
    assert rows[1]["transitions"] == 130 and rows[1]["mean_return_of_data"] == -13
    assert out.with_suffix(".png").stat().st_size > 5000


def test_correlations(study):
    assert study.ranks([3, 1, 3, 9]).tolist() == [1.5, 0, 1.5, 3]
    assert study.correlation([1.0, 2, 3], [2.0, 4, 6]) == pytest.approx(1)
    assert np.isnan(study.correlation([1.0, 1, 1], [1.0, 2, 3]))
    rng = np.random.default_rng(0)
    shift = rng.normal(size=(12, 3))
    # Within one skill y falls with x. Over the skills it rises.
    rows = []
    for n in range(12):
        for k in range(3):
            x = 10 * k + shift[n, k]
            y = 100 * k - shift[n, k]
            rows.append({"seed": n, "skill": k, "x": x, "y": y})
    assert study.over_skills(rows, "x", "y")["mean"] == pytest.approx(1)
    assert study.within_skills(rows, "x", "y")["mean"] == pytest.approx(-1)
    assert study.within_skills([r | {"x": r["skill"]} for r in rows], "x", "y")["mean"] is None
