"""Clones of D's policy: fits by hand, against slow loops, and gradients; odd data sets."""

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
from conftest import make_batch

import minloro
from minloro.agents import clone as clone_module
from minloro.agents.agent import LateEncoding
from minloro.agents.clone import (
    PENALTIES,
    RARE,
    RegressionClone,
    SoftmaxClone,
    TableClone,
    best_penalty,
    common,
    draw,
    fit_clone,
    fit_robust,
    fit_softmax,
    hold_out,
    log_loss,
    softmax,
    softmax_gradient,
)
from minloro.loro import ClonePlayer
from minloro.transitions import Transitions, load_transitions

ONE_ACTION = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)


@pytest.fixture
def no_warnings():
    """Turn every warning into an error. Numbers may underflow to 0: a softmax is made that way."""
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        yield


def data_of(observations, actions, episode=None):
    """D with these columns; nothing else of it matters to a clone."""
    n = len(actions)
    return Transitions(
        observations=np.array(observations),
        actions=np.array(actions),
        rewards=np.zeros(n),
        next_observations=np.array(observations),
        terminated=np.zeros(n, bool),
        truncated=np.zeros(n, bool),
        episode=np.zeros(n, int) if episode is None else np.array(episode),
    )


def labelled(n, size, n_actions, seed=0):
    """Random features, (n, size), and actions that depend on them, (n,)."""
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n, size))
    scores = phi @ rng.normal(size=(size, n_actions)) + rng.gumbel(size=(n, n_actions))
    return phi, scores.argmax(axis=1)


def shares(choose, n_actions, n=20_000):
    """The share of each action among n draws of `choose(rng)`."""
    rng = np.random.default_rng(0)
    return np.bincount([choose(rng) for _ in range(n)], minlength=n_actions) / n


# Drawing


def draw_common(probabilities, rng):
    return draw(common(np.array(probabilities)).cumsum(), rng)


def test_rare_actions_are_left_out_and_the_others_keep_their_shares():
    probabilities = np.array([0.06, 0.6, 0.059, 0.281])  # a tenth of the favourite's is 0.06
    drawn = shares(lambda rng: draw_common(probabilities, rng), 4)
    assert RARE == 0.1 and drawn[2] == 0
    np.testing.assert_allclose(drawn, np.array([0.06, 0.6, 0, 0.281]) / 0.941, atol=0.012)


def test_a_draw_needs_no_normalised_probabilities():
    for scale in (1e-300, 1.0, 1e300):
        drawn = shares(lambda rng, scale=scale: draw_common(np.array([1.0, 3.0]) * scale, rng), 2)
        np.testing.assert_allclose(drawn, [0.25, 0.75], atol=0.012)


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1.0, 0.0)])
def test_the_edges_of_the_uniform_number_draw_no_action_that_is_left_out(uniform):
    class Fixed:
        random = staticmethod(lambda: uniform)

    for probabilities in ([0.0, 0.3, 0.7, 0.0], [0.01, 0.1, 0.2, 0.01], [0.0, 0.1, 0.3, 0.0]):
        assert draw_common(probabilities, Fixed()) == (1 if uniform == 0 else 2)


# Tables


def test_a_table_worked_by_hand():
    states = [3, 3, 3, 3, 0, 0, 3]
    actions = [1, 1, 0, 1, 2, 2, 2]
    clone = TableClone(data_of(states, actions, episode=[5, 5, 5, 8, 8, 8, 8]), 4, 3)
    assert clone.counts.tolist() == [[0, 0, 2], [0, 0, 0], [0, 0, 0], [1, 3, 1]]
    rng = np.random.default_rng(0)
    assert clone.sample(1, rng) is clone.best(2, rng) is None
    assert {clone.sample(0, rng) for _ in range(100)} == {2}
    for choose in (clone.sample, clone.best):
        drawn = shares(lambda rng, choose=choose: choose(3, rng), 3)
        np.testing.assert_allclose(drawn, [0.2, 0.6, 0.2], atol=0.012)
    # Five of seven rows show state 3, which both episodes do; state 0 is in one of them only.
    assert clone.familiarity == pytest.approx(5 / 7)


def test_a_table_leaves_out_what_the_player_did_rarely():
    clone = TableClone(data_of([0] * 100, [0] * 92 + [1] * 8), 1, 2)
    assert shares(lambda rng: clone.sample(0, rng), 2, n=2000).tolist() == [1, 0]


def test_a_table_against_a_slow_loop():
    rng = np.random.default_rng(1)
    states, actions = rng.integers(20, size=300), rng.integers(4, size=300)
    episode = np.repeat(np.arange(30), 10)
    counts = np.zeros((20, 4))
    n_shared = 0
    for i in range(300):
        counts[states[i], actions[i]] += 1
        others = [states[j] for j in range(300) if episode[j] != episode[i]]
        n_shared += states[i] in others
    clone = TableClone(data_of(states, actions, episode), 20, 4)
    np.testing.assert_array_equal(clone.counts, counts)
    assert clone.familiarity == pytest.approx(n_shared / 300)


@pytest.mark.parametrize(("episode", "expected"), [([0, 0, 0], 0.0), ([0, 0, 1], 2 / 3)])
def test_one_episode_shows_nothing_that_another_one_shows(episode, expected):
    clone = TableClone(data_of([4, 2, 4], [0, 0, 0], episode), 5, 2)
    assert clone.familiarity == pytest.approx(expected)
    assert not clone.usable


def test_a_table_is_usable_where_episodes_meet():
    """All rows, nine of ten and eight of ten are in a state that both episodes show."""
    for own, usable in ((0, True), (1, True), (2, False)):
        met = data_of([0] * (10 - own) + [5] * own, [0] * 10, [0, 1] * 4 + [0, 0])
        assert TableClone(met, 8, 2).usable == usable


# The softmax


def test_on_a_constant_feature_the_softmax_gives_the_frequencies():
    actions = np.array([0] * 5 + [1] * 3 + [2] * 2)
    weights = fit_softmax(np.ones((10, 1)), actions, 3, penalty=1e-9)
    np.testing.assert_allclose(softmax(weights), [[0.5, 0.3, 0.2]], atol=1e-5)
    # The weights of all actions add up to 0: that is where the penalty is smallest.
    centred = np.log([0.5, 0.3, 0.2]) - np.log([0.5, 0.3, 0.2]).mean()
    np.testing.assert_allclose(weights, [centred], atol=1e-4)


def test_a_penalised_softmax_worked_by_hand():
    """One row, one feature, two actions: the weights are w and -w, and penalty * w = p(other).

    p(other) is 1 / (1 + exp(2 w)). With that penalty for w = 1, w is 1.
    """
    penalty = 1 / (1 + math.exp(2))
    weights = fit_softmax(np.ones((1, 1)), np.array([1]), 2, penalty)
    np.testing.assert_allclose(weights, [[-1, 1]], atol=1e-4)


def slow_log_loss(phi, actions, weights):
    total = 0.0
    for i in range(len(phi)):
        odds = [math.exp(sum(phi[i] * weights[:, a])) for a in range(weights.shape[1])]
        total -= math.log(odds[actions[i]] / sum(odds))
    return total / len(phi)


def test_log_loss_and_gradient_against_a_slow_loop():
    phi, actions = labelled(20, 4, 3)
    weights = np.random.default_rng(5).normal(size=(4, 3))
    gradient = 0.3 * weights
    for i in range(20):
        odds = [math.exp(sum(phi[i] * weights[:, a])) for a in range(3)]
        for a in range(3):
            error = odds[a] / sum(odds) - (actions[i] == a)
            gradient[:, a] += error * phi[i] / 20
    assert log_loss(phi, actions, weights) == pytest.approx(slow_log_loss(phi, actions, weights))
    found = softmax_gradient(phi, np.eye(3)[actions], weights, penalty=0.3)
    np.testing.assert_allclose(found, gradient, rtol=1e-12, atol=1e-15)


def test_the_gradient_by_central_differences():
    phi, actions = labelled(16, 5, 4)
    weights = np.random.default_rng(7).normal(size=(5, 4))
    gradient = softmax_gradient(phi, np.eye(4)[actions], weights, penalty=0.05)

    def objective(weights):
        return log_loss(phi, actions, weights) + 0.05 * np.sum(weights**2) / 2

    h = 1e-5
    for index in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[index] = h
        numeric = (objective(weights + step) - objective(weights - step)) / (2 * h)
        assert abs(numeric - gradient[index]) < 1e-6 * max(abs(numeric), 1e-2)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("scales", [(1, 1, 1, 1), (1, 1e3, 1e-3, 1), (1e-2, 1, 30, 1e6)])
def test_the_fit_is_the_optimum_for_features_of_any_scale(scales, penalty, no_warnings):
    phi, actions = labelled(400, 4, 3)
    phi = phi * scales
    phi[:, 0] = scales[0]
    phi = np.column_stack([phi, phi[:, 1] + 0.01 * phi[:, 2]])  # nearly the same feature twice
    weights = fit_softmax(phi, actions, 3, penalty)
    gradient = softmax_gradient(phi, np.eye(3)[actions], weights, penalty)
    # A feature of size s has a gradient of that size.
    assert np.abs(gradient / np.abs(phi).max(axis=0)[:, None]).max() < 1e-5

    def objective(weights):
        return log_loss(phi, actions, weights) + penalty * np.sum(weights**2) / 2

    least = objective(weights)
    rng = np.random.default_rng(3)
    for _ in range(20):
        step = rng.normal(size=weights.shape) / np.abs(phi).max(axis=0)[:, None]
        assert objective(weights + 0.01 * step) > least


def test_a_perfect_teacher_seen_a_thousand_times(no_warnings):
    """Its actions can be told apart without error; only the penalty keeps the weights finite."""
    phi = np.tile(np.eye(4, dtype=np.float32), (1000, 1))
    actions = np.tile([0, 1, 2, 0], 1000)
    for penalty in PENALTIES:
        weights = fit_softmax(phi, actions, 3, penalty)
        # Where the optimum lies, penalty * |weights|² / 2 is no more than the loss at 0, log(3).
        assert np.abs(weights).max() <= math.sqrt(2 * math.log(3) / penalty)
    data = data_of(phi, actions, np.repeat(np.arange(1000), 4))
    clone = SoftmaxClone(phi, data, 3)
    assert np.abs(clone.weights).max() < 20
    for state in range(4):
        drawn = shares(lambda rng, phi=phi[state]: clone.sample(phi, rng), 3, n=200)
        assert drawn[actions[state]] == 1


def test_logits_that_run_away_overflow_nothing(no_warnings):
    clone = SoftmaxClone(np.ones((2, 1)), data_of([[1.0], [1.0]], [0, 1]), 2)
    clone.weights = np.array([[1e300, -1e300]])
    assert clone.sample(np.ones(1), np.random.default_rng(0)) == 0
    assert softmax(np.array([[1e300, -1e300], [7.0, 7.0]])).tolist() == [[1, 0], [0.5, 0.5]]
    assert log_loss(np.ones((1, 1)), np.array([0]), clone.weights) == 0
    assert log_loss(np.ones((1, 1)), np.array([1]), clone.weights / 2) == 1e300


def test_a_sampled_action_has_the_probability_of_the_softmax():
    phi, actions = labelled(60, 2, 3)
    clone = SoftmaxClone(phi, data_of(phi, actions), 3)
    clone.weights = np.log([[0.5, 0.46, 0.04], [1.0, 1.0, 1.0]])
    for choose in (clone.sample, clone.best):
        drawn = shares(lambda rng, choose=choose: choose(np.array([1.0, 5.0]), rng), 3)
        np.testing.assert_allclose(drawn, [0.5 / 0.96, 0.46 / 0.96, 0], atol=0.012)


# The penalty


def test_which_rows_are_held_out():
    for n in range(5):
        assert hold_out(np.arange(n)).tolist() == [False] * n
    # Every fifth episode: the first, the sixth, …, whatever their numbers are.
    ids = np.array([3, 4, 7, 9, 12, 40, 41])
    held_out = hold_out(np.repeat(ids, 2))
    assert held_out.tolist() == np.repeat([True] + [False] * 4 + [True, False], 2).tolist()
    # One episode: the last fifth of its rows.
    assert hold_out(np.full(14, 6)).tolist() == [False] * 12 + [True] * 2
    # Something is left to learn from.
    for n_episodes in range(1, 8):
        assert not hold_out(np.arange(5 * n_episodes) % n_episodes).all()


def test_the_penalty_is_the_one_that_predicts_the_held_out_episodes_best():
    phi, actions = labelled(100, 8, 3, seed=3)
    episode = np.repeat(np.arange(10), 10)
    train = [i for i in range(100) if episode[i] not in (0, 5)]
    test = [i for i in range(100) if episode[i] in (0, 5)]
    losses = {}
    for penalty in PENALTIES:
        weights = fit_softmax(phi[train], actions[train], 3, penalty)
        losses[penalty] = slow_log_loss(phi[test], actions[test], weights)
    best = min(losses, key=losses.get)
    assert PENALTIES[0] < best < PENALTIES[-1]
    data = data_of(phi, actions, episode)
    assert best_penalty(phi, data, 3) == best
    # The clone itself learns from all rows.
    expected = fit_softmax(phi, actions, 3, best)
    np.testing.assert_array_equal(SoftmaxClone(phi, data, 3).weights, expected.astype(np.float32))


def test_noise_gets_the_strongest_penalty_and_a_clear_rule_the_weakest():
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(100, 20))
    episode = np.repeat(np.arange(10), 10)
    noise = data_of(phi, rng.integers(2, size=100), episode)
    assert best_penalty(phi, noise, 2) == PENALTIES[-1]
    signs = np.sign(rng.normal(size=(100, 1)))
    rule = data_of(signs, (signs[:, 0] > 0).astype(int), episode)
    assert best_penalty(signs, rule, 2) == PENALTIES[0]


def test_a_data_set_too_short_to_hold_out_gets_the_strongest_penalty():
    phi, actions = labelled(4, 2, 2)
    assert best_penalty(phi, data_of(phi, actions), 2) == PENALTIES[-1]


# Regression


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_robust_regression_against_a_slow_loop(penalty):
    """At the weights, the derivative of mean(h(phi w - a)) + penalty * |w|² / 2 is 0."""
    rng = np.random.default_rng(0)
    phi, actions = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    weights = fit_robust(phi, actions, penalty)
    for f, a in np.ndindex(weights.shape):
        small = clone_module.SMALL_ERROR * actions[:, a].std()
        slope = penalty * weights[f, a]
        for i in range(30):
            error = sum(phi[i, j] * weights[j, a] for j in range(4)) - actions[i, a]
            slope += max(-1.0, min(1.0, error / small)) * phi[i, f] / 30
        assert abs(slope) < 0.02  # the slope of a single row is up to 0.1
    assert np.abs(weights).min() > 1e-3


def test_robust_regression_follows_the_nine_of_ten():
    """By hand: nine rows say 1 and one says 11. The mean is 2, the regression stays at 1."""
    weights = fit_robust(np.ones((10, 1)), np.array([[1.0]] * 9 + [[11.0]]), penalty=0.0)
    # h'(small error) balances the one far row: 9 * e / d = 1, with d = 0.05 * 3.
    np.testing.assert_allclose(weights, 1 + 0.15 / 9, atol=1e-6)


def regression(observations, actions, low=-1.0, high=1.0, seed=0, action_space=ONE_ACTION):
    observations = np.array(observations, np.float32)
    space = gym.spaces.Box(low, high, observations.shape[1:], np.float32)
    data = data_of(observations, np.array(actions, np.float32))
    return RegressionClone(data, space, action_space, np.random.default_rng(seed))


def test_the_regression_clone_by_hand():
    """Two rows of one observation: the mean is its action, their distance to it the spread."""
    clone = regression([[0.5, 0.1]] * 2, [[0.25], [1.25]])
    rng = np.random.default_rng(0)
    action = clone.best(np.array([0.5, 0.1], np.float32), rng)
    assert action.shape == (1,) and action.dtype == np.float32
    np.testing.assert_allclose(action, 0.75, atol=1e-5)
    np.testing.assert_allclose(clone.spread, [0.5], atol=1e-5)
    drawn = np.array([clone.sample(np.array([0.5, 0.1]), rng)[0] for _ in range(20_000)])
    inside = drawn[(drawn > -2) & (drawn < 2)]
    assert drawn.min() >= -2 and drawn.max() == 2.0  # cut off at the bound, 2.5 spreads away
    assert abs(np.median(drawn) - 0.75) < 0.02 and abs(inside.std() - 0.5) < 0.02


def test_the_regression_clone_against_a_slow_loop():
    rng = np.random.default_rng(2)
    observations = rng.uniform(-1, 1, size=(40, 2)).astype(np.float32)
    actions = rng.uniform(-1, 1, size=(40, 1))
    clone = regression(observations, actions)
    residuals = []
    for observation, action in zip(observations, actions, strict=True):
        mean = clone.weights[0, 0]
        for k in range(clone_module.N_COSINES):
            angle = sum(observation * clone._frequencies[:, k]) + clone._phases[k]
            mean += math.cos(angle) * clone.weights[k + 1, 0]
        # Weights of up to a hundred multiply cosines of 32 bits.
        np.testing.assert_allclose(clone.best(observation, rng), mean, atol=2e-3)
        residuals.append(mean - action[0])
    expected = math.sqrt(sum(r**2 for r in residuals) / 40)
    np.testing.assert_allclose(clone.spread, [expected], rtol=1e-2)


def test_the_regression_clone_follows_a_smooth_player():
    angles = np.random.default_rng(0).uniform(-1, 1, size=(400, 2))
    actions = np.sin(2 * angles[:, :1]) * np.cos(angles[:, 1:])
    clone = regression(angles, actions)
    for x, y in np.random.default_rng(1).uniform(-0.9, 0.9, size=(50, 2)):
        action = clone.best(np.array([x, y]), np.random.default_rng(0))
        np.testing.assert_allclose(action, math.sin(2 * x) * math.cos(y), atol=0.02)


def test_a_regression_of_scattered_actions_is_not_usable():
    """The actions are at a distance of about 1 from their median, plus noise."""
    rng = np.random.default_rng(0)
    observations = rng.uniform(-1, 1, size=(2000, 2))
    signal = np.sign(observations[:, :1])  # of variance 1, and hard to follow at 0
    for noise, usable in ((0.0, True), (0.1, True), (1.0, False), (10.0, False)):
        actions = signal + noise * rng.normal(size=signal.shape)
        assert regression(observations, actions).usable == usable


@pytest.mark.parametrize("n_rows", [1, 3, 500])
def test_a_player_of_one_action_has_a_usable_clone(n_rows):
    observations = np.random.default_rng(0).uniform(-1, 1, size=(n_rows, 3))
    clone = regression(observations, np.full((n_rows, 1), 0.7))
    assert clone.usable and clone.spread < 1e-3


def test_observations_are_scaled_to_their_space_or_to_the_data():
    space = gym.spaces.Box(
        np.array([-2.0, -np.inf, 0.0], np.float32),
        np.array([4.0, np.inf, np.finfo(np.float32).max], np.float32),
    )
    seen = np.array([[0.0, 10.0, 5.0], [1.0, 30.0, 5.0]], np.float32)
    centre, half = clone_module._scaling(seen, space)
    assert centre.tolist() == [1.0, 20.0, 5.0]
    np.testing.assert_allclose(half, [3.0, 10.0, 1e-6])


def test_every_action_of_the_regression_lies_within_the_bounds():
    low, high = np.array([[-1, 0], [1, 3]], np.float32)
    space = gym.spaces.Box(low, high)
    rng = np.random.default_rng(0)
    actions = rng.uniform([-1, 0], [1, 3], size=(5, 2))
    clone = regression(rng.normal(size=(5, 3)), actions, action_space=space)
    clone.spread = np.array([5.0, 5.0])
    for _ in range(200):
        observation = rng.normal(size=3) * 3
        assert space.contains(clone.best(observation, rng))
        assert space.contains(clone.sample(observation, rng))


# Every kind of agent


KINDS = {"cliffwalking": TableClone, "mountaincar": SoftmaxClone, "pendulum": RegressionClone}


def clone_of(task, data, seed=0):
    return fit_clone(task.make_agent(), data, *task.spaces, seed)


def bits(clone):
    return (clone.counts if isinstance(clone, TableClone) else clone.weights).tobytes()


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_gives_the_same_bits(name):
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 300)
    clone = clone_of(task, data, seed=3)
    assert type(clone) is KINDS[name]
    again = clone_of(task, data, seed=3)
    assert bits(clone) == bits(again)
    is_random = name == "pendulum"  # only the cosines are
    assert (bits(clone) != bits(clone_of(task, data, seed=4))) == is_random
    encoded = task.make_agent().encode(data.observations[0])
    for choose in ("sample", "best"):
        rng, other_rng = np.random.default_rng(8), np.random.default_rng(8)
        for _ in range(20):
            action = getattr(clone, choose)(encoded, rng)
            assert np.array_equal(action, getattr(again, choose)(encoded, other_rng))


@pytest.mark.parametrize("name", KINDS)
def test_a_fit_changes_nothing_but_the_clone(name):
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 60)
    before = {key: column.tobytes() for key, column in data.columns.items()}
    agent = task.make_agent()
    encoded = agent.encode(data.observations[0])
    action = agent.act(encoded)
    fit_clone(agent, data, *task.spaces)
    assert {key: column.tobytes() for key, column in data.columns.items()} == before
    assert np.array_equal(agent.act(encoded), action) and agent.n_updates == 0


@pytest.mark.parametrize("name", ["mountaincar", "pendulum"])
def test_of_many_rows_a_fit_sees_some_evenly_spaced_ones(name, monkeypatch):
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 103)
    every_third = clone_of(task, data.rows(slice(None, None, 3)))
    monkeypatch.setattr(clone_module, "MOST_ROWS", 50)
    assert bits(clone_of(task, data)) == bits(every_third)
    monkeypatch.setattr(clone_module, "MOST_ROWS", 103)
    assert bits(clone_of(task, data)) != bits(every_third)


@pytest.mark.parametrize("name", ["mountaincar", "pendulum", "cliffwalking"])
def test_with_late_encoding_a_clone_plays_the_same(name):
    task = minloro.make_task(name)
    agent = task.make_agent()
    data = minloro.collect_random(task, 200)
    clone = fit_clone(agent, data, *task.spaces)
    plain = ClonePlayer(agent, clone, seed=2)
    late = ClonePlayer(LateEncoding(agent), clone, seed=2)
    rng, late_rng = np.random.default_rng(1), np.random.default_rng(1)
    for observation in data.observations:
        for one, other in ((None, None), (rng, late_rng)):
            action = plain.act(plain.encode(observation), one)
            assert np.array_equal(action, late.act(late.encode(observation), other))
            assert task.spaces[1].contains(action)


# Odd data sets


def only_action(task, data, action):
    """D with the same action on every row."""
    actions = np.broadcast_to(np.asarray(action, data.actions.dtype), data.actions.shape)
    return data_of(data.observations, actions, data.episode)


def played(task, data):
    """The actions of a clone at the observations of D, one evaluated and one of training each."""
    agent = task.make_agent()
    player = ClonePlayer(agent, fit_clone(agent, data, *task.spaces))
    rng = np.random.default_rng(0)
    actions = []
    for observation in data.observations:
        encoded = agent.encode(observation)
        actions += [player.act(encoded), player.clone.sample(encoded, rng)]
    assert all(task.spaces[1].contains(action) for action in actions)
    return np.array(actions)


@pytest.mark.parametrize("name", KINDS)
def test_data_of_one_row(name, no_warnings):
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 1)
    actions = played(task, data)
    if name == "cliffwalking":
        assert set(actions.tolist()) == set(data.actions.tolist())
    if name == "pendulum":
        np.testing.assert_allclose(actions, [data.actions[0]] * 2, atol=1e-4)
    # Elsewhere, too, it plays an action or leaves it to the agent.
    agent = task.make_agent()
    player = ClonePlayer(agent, fit_clone(agent, data, *task.spaces))
    for observation in minloro.collect_random(task, 50, seed=5).observations:
        assert task.spaces[1].contains(player.act(agent.encode(observation)))


@pytest.mark.parametrize(
    ("name", "action"), [("cliffwalking", 3), ("mountaincar", 1), ("pendulum", [1.5])]
)
def test_data_of_one_action(name, action, no_warnings):
    task = minloro.make_task(name)
    data = only_action(task, minloro.collect_random(task, 400), action)
    actions = played(task, data)
    np.testing.assert_allclose(actions, np.broadcast_to(action, actions.shape), atol=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_data_of_one_unfinished_episode(name, no_warnings):
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 37)
    assert data.metadata["last_episode_unfinished"] and len(data.episode_ids) == 1
    played(task, data)


def test_data_of_episodes_that_another_limit_cut_off(published, no_warnings):
    """The published episodes of pendulum have 50 steps; those of the task have 200."""
    task = minloro.make_task("pendulum")
    data = load_transitions(published("pendulum"), task)
    assert data.episode_lengths.max() <= 50 < task.step_limit
    played(task, data.first_episodes(3))


@pytest.mark.parametrize("name", KINDS)
def test_a_clone_does_not_look_at_rewards(name, no_warnings):
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 120)
    enormous = data_of(data.observations, data.actions, data.episode)
    enormous.rewards[:] = 3e38
    assert bits(clone_of(task, enormous)) == bits(clone_of(task, data))


def test_enormous_features_overflow_nothing(no_warnings):
    batch = make_batch(200, 3, 2)
    weights = fit_softmax(batch.observations * 1e18, batch.actions, 2, penalty=1e-5)
    assert np.isfinite(weights).all()
    assert log_loss(batch.observations * 1e18, batch.actions, weights) <= math.log(2)


@pytest.mark.parametrize("name", ["mountaincar", "cartpole"])
def test_a_clone_of_published_rollouts_predicts_better_than_frequencies(name, published):
    task = minloro.make_task(name)
    data = load_transitions(published(name), task)
    clone = clone_of(task, data)
    phi = task.make_agent().encode(data.observations)
    frequencies = np.bincount(data.actions) / len(data)
    entropy = -sum(p * math.log(p) for p in frequencies if p > 0)
    assert log_loss(phi, data.actions, clone.weights) < entropy
