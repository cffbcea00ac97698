"""A few cases worked by hand. `python -m pytest` in this folder runs them."""

from types import SimpleNamespace

import numpy as np
import pytest
from linear import LinearQ, double_q_target
from tabular import TabularQ

from minloro import Transitions


def table_agent(**settings):
    """Return an agent with 3 states, 2 actions and a table that is easy to read."""
    chosen = {"step_size": 0.5, "discount": 0.9, "epsilon": 0.2, "batch_size": 2} | settings
    agent = TabularQ(3, 2, initial_value=0.0, **chosen)
    agent.table[:] = [[1.0, 2.0], [4.0, 3.0], [0.0, 0.0]]
    return agent


def rows(observations, actions, rewards, next_observations, terminated=False, truncated=False):
    n = len(actions)
    return Transitions(
        observations=np.array(observations),
        actions=np.array(actions),
        rewards=np.array(rewards),
        next_observations=np.array(next_observations),
        terminated=np.full(n, terminated),
        truncated=np.full(n, truncated),
        episode=np.zeros(n, int),
    )


def test_the_greedy_action():
    agent = table_agent()
    assert [agent.act(state) for state in range(3)] == [1, 0, 0]


def test_exploring():
    agent = table_agent(epsilon=1.0)
    rng = np.random.default_rng(0)
    assert {agent.act(0, rng) for _ in range(100)} == {0, 1}


def test_one_row():
    agent = table_agent()
    # The best value in state 1 is 4. So target = 1 + 0.9 * 4 = 4.6 and td_error = 4.6 - 2 = 2.6.
    # Half of td_error is added to 2.
    assert agent.update(rows([0], [1], [1.0], [1])) == pytest.approx([2.6])
    assert agent.table[0, 1] == pytest.approx(3.3)


def test_learning_from_one_transition_is_the_same():
    agent = table_agent()
    assert agent.learn(0, 1, 1.0, 1, False) == pytest.approx(2.6)
    assert agent.table[0, 1] == pytest.approx(3.3)


def test_the_double_q_target():
    q = np.array([[1.0, 2.0]])
    q_target = np.array([[5.0, 3.0]])
    # The online values choose action 1, the target values say 3 of it: 1 + 0.5 * 3.
    target = double_q_target(np.array([1.0]), np.array([False]), q, q_target, 0.5)
    assert target == pytest.approx([2.5])


def test_the_gradient_has_the_shape_of_the_weights():
    features = SimpleNamespace(size=2)
    agent = LinearQ(features, 3, step_size=0.1, discount=0.5, dtype=np.float64)
    # All weights are zero. So the target is the reward, 2, and td_error is 2, too.
    # Only w_1 has a gradient: -2 phi.
    gradient, td_error = agent._gradient(rows([[1.0, 3.0]], [1], [2.0], [[0.0, 1.0]]))
    assert td_error == pytest.approx([2.0])
    assert gradient == pytest.approx(np.array([[0.0, -2.0, 0.0], [0.0, -6.0, 0.0]]))


def test_the_target_weights_follow():
    features = SimpleNamespace(size=1)
    agent = LinearQ(features, 1, step_size=0.1, target_step_size=0.25, dtype=np.float64)
    # With this gradient, Adam's first step is +0.1.
    agent._gradient = lambda batch: (np.array([[-1.0]]), np.zeros(1))
    agent.update(None)
    assert agent.weights == pytest.approx(np.array([[0.1]]))
    assert agent.target_weights == pytest.approx(np.array([[0.025]]))
