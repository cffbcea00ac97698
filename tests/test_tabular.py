"""Tabular Q-learning, exact values from transition tables, and saved agents."""

import zipfile

import numpy as np
import pytest

import minloro
from minloro.agents.linear import LinearQ
from minloro.agents.tabular import TabularQ
from minloro.dynamics import optimal_return, optimal_values, transition_arrays
from minloro.errors import UserError
from minloro.transitions import Transitions

DEFAULTS = {"step_size": 0.1, "discount": 0.9, "epsilon": 0.1, "initial_value": 0.0}


def agent(**settings):
    return TabularQ(3, 2, **DEFAULTS | {"batch_size": 4} | settings)


def cliff_agent(**settings):
    return TabularQ(48, 4, **DEFAULTS | settings)


def batch(states, actions, rewards, next_states, terminated, truncated=None):
    """Rows of tabular transitions; none is truncated by default."""
    n = len(states)
    if truncated is None:
        truncated = np.zeros(n, bool)
    return Transitions(
        observations=np.array(states),
        actions=np.array(actions),
        rewards=np.array(rewards),
        next_observations=np.array(next_states),
        terminated=np.array(terminated),
        truncated=np.array(truncated),
        episode=np.zeros(n, int),
    )


def random_batch(rng, terminated=None):
    """Four random rows for an agent with three states and two actions."""
    states = rng.integers(3, size=4)
    actions = rng.integers(2, size=4)
    rewards = rng.normal(size=4)
    next_states = rng.integers(3, size=4)
    if terminated is None:
        terminated = rng.random(4) < 0.3
    return batch(states, actions, rewards, next_states, terminated)


def test_an_update_worked_by_hand():
    learner = agent()
    learner.table[:] = [[1.0, 2.0], [3.0, 5.0], [0.0, 0.0]]
    td_error = learner.update(batch([0, 1], [1, 0], [1.0, -1.0], [1, 2], [False, False]))
    np.testing.assert_allclose(td_error, [1 + 0.9 * 5 - 2, -1 + 0.9 * 0 - 3])
    np.testing.assert_allclose(learner.table, [[1.0, 2.35], [2.6, 5.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("terminated", "truncated", "target"),
    [(False, False, 5.5), (False, True, 5.5), (True, False, 1.0)],
)
def test_only_termination_ends_bootstrapping(terminated, truncated, target):
    for learn in ("batch", "one"):
        learner = agent()
        learner.table[1] = [3.0, 5.0]
        if learn == "batch":
            learner.update(batch([0], [0], [1.0], [1], [terminated], [truncated]))
        else:
            learner.learn(0, 0, 1.0, 1, terminated)
        assert learner.table[0, 0] == pytest.approx(0.1 * target)


def test_repeated_rows_add_up():
    """Three copies of a row move its value three times as far.

    All targets are computed before the update.
    """
    learner = agent()
    learner.table[:] = [[1.0, 2.0], [3.0, 5.0], [0.0, 0.0]]
    learner.update(batch([0, 0, 1, 0], [1, 1, 1, 1], [1.0] * 4, [1, 1, 1, 1], [False] * 4))
    once = 0.1 * (1 + 0.9 * 5 - 2)
    np.testing.assert_allclose(learner.table[0], [1.0, 2.0 + 3 * once])
    np.testing.assert_allclose(learner.table[1, 1], 5 + 0.1 * (1 + 0.9 * 5 - 5))


def test_updates_against_a_slow_loop():
    rng = np.random.default_rng(0)
    learner = agent()
    table = np.zeros((3, 2))
    for _ in range(50):
        rows = random_batch(rng)
        change = np.zeros_like(table)
        for i in range(4):
            s = rows.observations[i]
            a = rows.actions[i]
            s_next = rows.next_observations[i]
            target = rows.rewards[i]
            if not rows.terminated[i]:
                target += 0.9 * max(table[s_next])
            change[s, a] += 0.1 * (target - table[s, a])
        table += change
        learner.update(rows)
        np.testing.assert_allclose(learner.table, table, rtol=1e-12)


def test_one_transition_is_a_minibatch_of_one():
    rng = np.random.default_rng(1)
    one = agent()
    many = agent(batch_size=1)
    for _ in range(200):
        s = rng.integers(3)
        a = rng.integers(2)
        s_next = rng.integers(3)
        r = rng.normal()
        end = rng.random() < 0.3
        td_error = many.update(batch([s], [a], [r], [s_next], [end]))
        assert one.learn(s, a, r, s_next, end) == td_error[0]
    np.testing.assert_array_equal(one.table, many.table)


def test_steps_that_could_diverge_are_refused():
    with pytest.raises(ValueError, match="step_size"):
        agent(step_size=0.5, batch_size=4)
    learner = agent(step_size=0.45, batch_size=4)
    zeros = [0, 0, 0, 0]
    four_copies = batch(zeros, zeros, [1.0] * 4, zeros, [True] * 4)  # the worst case
    for _ in range(500):
        learner.update(four_copies)
    assert learner.table[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["frozenlake", "cliffwalking", "taxi"])
def test_value_iteration_is_a_fixed_point_of_bellmans_equation(name):
    table = minloro.make_task(name).transition_table
    q = optimal_values(table, 0.95)
    for s in range(0, len(table), 7):
        for a in table[s]:
            expected = 0.0
            for p, s_next, r, end in table[s][a]:
                expected += p * (r if end else r + 0.95 * q[s_next].max())
            assert q[s, a] == pytest.approx(expected, abs=1e-8)
    going_on, _ = transition_arrays(table)
    assert going_on.sum(axis=2).max() <= 1 + 1e-12


def test_optimal_returns_that_are_known():
    def best(name):
        task = minloro.make_task(name)
        start = task.make_env().unwrapped.initial_state_distrib
        return optimal_return(task.transition_table, start, task.step_limit)

    assert best("cliffwalking") == -13
    assert best("frozenlake") == pytest.approx(0.744, abs=5e-4)
    assert best("taxi") == pytest.approx(7.93, abs=0.01)


@pytest.mark.parametrize("how", ["replay", "one step"])
def test_it_learns_the_optimal_values_of_the_cliff(how):
    """Every state and action, often enough and in any order, gives q* of value iteration."""
    task = minloro.make_task("cliffwalking")
    exact = optimal_values(task.transition_table, 0.9)
    pairs = [(s, a, *task.transition_table[s][a][0][1:]) for s in range(37) for a in range(4)]
    columns = [list(column) for column in zip(*pairs, strict=True)]
    states, actions, next_states, rewards, terminated = columns
    learner = cliff_agent(step_size=0.4, batch_size=4)
    if how == "replay":
        data = batch(states, actions, rewards, next_states, terminated)
        minloro.pretrain(learner, data, updates=8000)
    else:
        for i in np.random.default_rng(0).integers(len(pairs), size=32_000):
            learner.learn(states[i], actions[i], rewards[i], next_states[i], terminated[i])
    np.testing.assert_allclose(learner.table[:37], exact[:37], atol=1e-3)


def test_learning_online_from_each_transition_once():
    task = minloro.make_task("cliffwalking")
    learner = cliff_agent(step_size=0.5, discount=0.99, batch_size=0)
    returns = minloro.finetune(learner, task, 10_000, seed=0)
    assert learner.n_updates == 10_000 and returns[-1].episode_return == -13


def test_pretraining_alone_finds_the_optimum_where_the_data_cover_it():
    task = minloro.make_task("cliffwalking")
    data = minloro.collect(task, minloro.StandInLLM(task, skill=0.5), episodes=60)
    pessimistic = -200.0
    learner = cliff_agent(discount=0.99, epsilon=0.0, initial_value=pessimistic)
    minloro.pretrain(learner, data, updates=20_000)
    assert minloro.evaluate(learner, task.make_env(), [0]) == (-13, 13)


def test_exploration_and_ties():
    learner = agent(epsilon=0.5)
    learner.table[0] = [1.0, 1.0]
    assert learner.act(0) == 0
    rng = np.random.default_rng(0)
    assert abs(np.mean([learner.act(0, rng) for _ in range(10_000)]) - 0.25) < 0.02


def linear():
    return LinearQ(minloro.FourierBasis([0, 0], [1, 1], order=2), 2, step_size=0.01)


@pytest.mark.parametrize("make", [agent, linear])
def test_a_saved_agent_goes_on_bit_for_bit(tmp_path, make):
    def train(learner, seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            if make is agent:
                rows = random_batch(rng, terminated=np.zeros(4, bool))
            else:
                features, next_features = learner.encode(rng.random((2, 5, 2)))
                actions = rng.integers(2, size=5)
                rewards = rng.normal(size=5).astype(np.float32)
                rows = batch(features, actions, rewards, next_features, np.zeros(5, bool))
            learner.update(rows, rng)

    first = make()
    second = make()
    train(first, 0)
    first.save(tmp_path / "agent.npz")
    second.load(tmp_path / "agent.npz")
    for learner in (first, second):
        train(learner, 1)
    for name in first.STATE:
        one, other = (np.asarray(getattr(learner, name)) for learner in (first, second))
        assert one.tobytes() == other.tobytes(), name
    assert first.n_updates == 40


def test_foreign_files_are_not_loaded(tmp_path):
    learner = agent()
    linear().save(tmp_path / "linear.npz")
    TabularQ(4, 2, **DEFAULTS).save(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "pickled.npz", table=np.array([{}], dtype=object), n_updates=3)
    before = learner.table.tobytes()
    np.savez(tmp_path / "nan.npz", table=np.full((3, 2), np.nan), n_updates=3)
    np.savez(tmp_path / "single.npz", table=np.zeros((3, 2), np.float32), n_updates=3)
    with open(tmp_path / "array.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("table", "hello")
    for name in ("linear", "other", "text", "pickled", "missing", "nan", "single", "array", "zip"):
        with pytest.raises(UserError, match=name):
            learner.load(tmp_path / f"{name}.npz")
    assert learner.table.tobytes() == before and learner.n_updates == 0


def test_an_agent_without_replay_cannot_be_pretrained():
    with pytest.raises(UserError, match="batch_size 0"):
        minloro.pretrain(agent(batch_size=0), batch([0], [0], [1.0], [1], [False]), updates=1)
