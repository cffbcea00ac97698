"""Linear Q-learning and its features: updates by hand, against slow loops, and gradients."""

import numpy as np
import pytest
from conftest import make_batch

from minloro.agents.features import FourierBasis, RadialBasis
from minloro.agents.linear import LinearQ, double_q_target
from minloro.transitions import Transitions


class Identity:
    """Features for tests: the observation itself."""

    def __init__(self, size):
        self.size = size

    def __call__(self, observations):
        return np.asarray(observations)


def agent_with_weights(size=3, n_actions=2, seed=0, **settings):
    settings = {"step_size": 0.1, "discount": 0.9} | settings
    agent = LinearQ(Identity(size), n_actions, dtype=np.float64, **settings)
    rng = np.random.default_rng(seed)
    agent.weights[:] = rng.normal(size=agent.weights.shape)
    agent.target_weights[:] = rng.normal(size=agent.weights.shape)
    return agent


def one_row(**changes):
    columns = {
        "observations": [[1.0, 0.0]],
        "actions": [1],
        "rewards": [2.0],
        "next_observations": [[0.0, 1.0]],
        "terminated": [False],
        "truncated": [False],
        "episode": [0],
    }
    return Transitions(**{name: np.array(value) for name, value in (columns | changes).items()})


def test_an_update_worked_by_hand():
    settings = {"step_size": 0.1, "discount": 0.5, "target_step_size": 0.25}
    agent = LinearQ(Identity(2), 2, **settings, dtype=np.float64)
    agent.weights[:] = [[0.0, 1.0], [3.0, 2.0]]  # rows: features; columns: actions
    agent.target_weights[:] = [[0.0, 0.0], [5.0, 9.0]]
    # q(s, 1) = 1; q(s') = (3, 2), so that action 0 is greedy; the target weights value it 5.
    # target = 2 + 0.5 * 5 = 4.5; td_error = 3.5. Adam's first step is step_size * sign(gradient).
    td_error = agent.update(one_row())
    assert td_error.tolist() == [3.5]
    np.testing.assert_allclose(agent.weights, [[0.0, 1.1], [3.0, 2.0]], atol=1e-8)
    np.testing.assert_allclose(agent.target_weights, [[0.0, 0.275], [4.5, 7.25]], atol=1e-8)


@pytest.mark.parametrize(
    ("terminated", "truncated", "td_error"),
    [(False, False, 3.5), (False, True, 3.5), (True, False, 1.0)],
)
def test_only_termination_ends_bootstrapping(terminated, truncated, td_error):
    agent = LinearQ(Identity(2), 2, step_size=0.1, discount=0.5, dtype=np.float64)
    agent.weights[:] = [[0.0, 1.0], [3.0, 2.0]]
    agent.target_weights[:] = [[0.0, 0.0], [5.0, 9.0]]
    batch = one_row(terminated=[terminated], truncated=[truncated])
    assert agent.update(batch).tolist() == [td_error]


def test_target_against_a_loop():
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=50)
    terminated = rng.random(50) < 0.5
    q = rng.normal(size=(50, 3))
    q_target = rng.normal(size=(50, 3))
    expected = []
    for i in range(50):
        best = max(range(3), key=lambda a: q[i, a])
        expected.append(rewards[i] if terminated[i] else rewards[i] + 0.9 * q_target[i, best])
    target = double_q_target(rewards, terminated, q, q_target, 0.9)
    np.testing.assert_allclose(target, expected, rtol=1e-14)


def test_updates_against_a_slow_loop():
    agent = agent_with_weights(target_step_size=0.05)
    weights = agent.weights.copy()
    target_weights = agent.target_weights.copy()
    m = np.zeros_like(weights)
    v = np.zeros_like(weights)
    for t in range(1, 6):
        batch = make_batch(8, 3, 2, seed=t)
        gradient = np.zeros_like(weights)
        for i in range(8):
            phi = batch.observations[i]
            next_phi = batch.next_observations[i]
            a = batch.actions[i]
            target = batch.rewards[i]
            if not batch.terminated[i]:
                target += 0.9 * (next_phi @ target_weights)[np.argmax(next_phi @ weights)]
            gradient[:, a] += -(target - phi @ weights[:, a]) * phi / 8
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        weights = weights - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        target_weights = 0.95 * target_weights + 0.05 * weights
        agent.update(batch)
        np.testing.assert_allclose(agent.weights, weights, rtol=1e-12)
        np.testing.assert_allclose(agent.target_weights, target_weights, rtol=1e-12)


def test_gradient_by_central_differences():
    agent = agent_with_weights(size=4, n_actions=3)
    batch = make_batch(16, 4, 3)
    gradient, _ = agent._gradient(batch)
    fixed = double_q_target(
        batch.rewards,
        batch.terminated,
        batch.next_observations @ agent.weights,
        batch.next_observations @ agent.target_weights,
        agent.discount,
    )

    def loss(weights):
        q = (batch.observations @ weights)[np.arange(16), batch.actions]
        return np.mean((fixed - q) ** 2) / 2

    h = 1e-6
    for index in np.ndindex(agent.weights.shape):
        step = np.zeros_like(agent.weights)
        step[index] = h
        numeric = (loss(agent.weights + step) - loss(agent.weights - step)) / (2 * h)
        assert abs(numeric - gradient[index]) < 1e-6 * max(abs(numeric), 1e-2)


def test_exploration_has_the_given_share():
    agent = agent_with_weights(epsilon=0.3)
    phi = np.ones(3)
    rng = np.random.default_rng(0)
    greedy = agent.act(phi)
    other = np.mean([agent.act(phi, rng) != greedy for _ in range(20_000)])
    assert abs(other - 0.15) < 0.01  # half of the random actions are the other one
    assert all(agent.act(phi) == greedy for _ in range(100))


def test_it_finds_the_values_of_a_small_chain():
    """States 0, 1, 2 in a row; action 1 moves to the right, action 0 stays.

    A move to the right in state 2 earns 1 and ends the episode.
    """
    rng = np.random.default_rng(0)
    states = rng.integers(3, size=3000)
    actions = rng.integers(2, size=3000)
    ends = (states == 2) & (actions == 1)
    one_hot = np.eye(3, dtype=np.float32)
    data = Transitions(
        observations=one_hot[states],
        actions=actions,
        rewards=ends.astype(np.float32),
        next_observations=one_hot[np.minimum(states + actions, 2)],
        terminated=ends,
        truncated=np.zeros(3000, bool),
        episode=np.zeros(3000, int),
    )
    agent = LinearQ(Identity(3), 2, step_size=0.01, discount=0.9)
    for _ in range(5000):
        agent.update(data.rows(rng.integers(3000, size=64)))
    exact = [[0.9**3, 0.9**2], [0.9**2, 0.9], [0.9, 1.0]]
    np.testing.assert_allclose(agent.weights, exact, atol=0.02)


def test_radial_features_outside_their_bounds_are_those_of_the_edge():
    basis = RadialBasis(low=[0.0, -1.0], high=[2.0, 1.0], per_dimension=3, width=0.5)
    far = basis(np.array([[1e6, 0.0], [-50.0, 7.0]]))
    edge = basis(np.array([[2.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(far, edge)
    np.testing.assert_allclose(far.sum(axis=1), 1, rtol=1e-6)


def test_fourier_features_by_hand():
    basis = FourierBasis(low=[0.0, -1.0], high=[1.0, 1.0], order=1)
    phi = basis(np.array([0.25, 0.0]))
    # The coefficients c are (0, 0), (0, 1), (1, 0), (1, 1).
    expected = [1.0, np.cos(np.pi / 2), np.cos(np.pi / 4), np.cos(np.pi * 0.75)]
    np.testing.assert_allclose(phi, expected, atol=1e-6)
    many = basis(np.array([[0.25, 0.0], [9.0, -9.0], [1.0, -1.0]]))
    assert many.shape == (3, basis.size) and many.dtype == np.float32
    np.testing.assert_array_equal(many[1], many[2])  # outside counts as on the edge
    assert FourierBasis([0] * 4, [1] * 4, order=2).size == 81
