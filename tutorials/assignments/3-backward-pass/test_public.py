"""A few cases worked by hand, and central differences. `python -m pytest` here runs them."""

import numpy as np
import pytest
from actor_critic import ActorCritic
from mlp import MLP, n_parameters


def central_differences(loss, parameters, h=1e-6):
    """Return dJ/d(parameters) of the function loss().

    It is called without arguments and sees `parameters`.
    """
    gradient = np.zeros_like(parameters)
    for i, kept in enumerate(parameters):
        parameters[i] = kept + h
        above = loss()
        parameters[i] = kept - h
        below = loss()
        parameters[i] = kept
        gradient[i] = (above - below) / (2 * h)
    return gradient


def network(sizes=(3, 4, 2), rows=5):
    """Return a network, its parameters, its gradients, and an input."""
    rng = np.random.default_rng(0)
    parameters = rng.normal(size=n_parameters(sizes, 1))
    gradients = np.zeros_like(parameters)
    net = MLP(sizes, 1, rows, parameters, gradients)
    return net, parameters, gradients, rng.normal(size=(rows, sizes[0]))


def test_one_weight():
    net, parameters, gradients, _ = network(sizes=(1, 1), rows=2)
    net.forward(np.array([[2.0], [3.0]]))
    # y = w x + b, so dL/dw = 2 * 1 + 3 * 10 and dL/db = 1 + 10.
    net.backward(np.array([[[1.0], [10.0]]]))
    assert gradients == pytest.approx([32.0, 11.0])


def test_a_network_by_central_differences():
    net, parameters, gradients, x = network()
    net.backward(net.forward(x).copy())  # of L = the sum of all outputs squared, halved
    numeric = central_differences(lambda: (net(x) ** 2).sum() / 2, parameters)
    assert gradients == pytest.approx(numeric, abs=1e-6)


def small_agent():
    rng = np.random.default_rng(0)
    return ActorCritic(2, [-1.0], [1.0], rng, hidden=4, batch_size=3, dtype=np.float64)


def test_critics_that_are_right_have_no_gradient():
    agent = small_agent()
    agent.critics.weights[-1][...] = 0  # with the last layer at zero both say 0
    agent.critics.biases[-1][...] = 0
    td_error = agent._critic_gradients(np.ones((3, 2)), np.zeros((3, 1)), np.zeros(3))
    assert td_error == pytest.approx(np.zeros((2, 3)))
    assert agent.gradients == pytest.approx(np.zeros_like(agent.gradients))


def test_a_sample_without_noise():
    agent = small_agent()
    agent.policy.weights[-1][...] = 0  # mean 0, log std 0
    agent.policy.biases[-1][...] = 0
    action, log_prob, std = agent._sample(np.ones((3, 2)), np.zeros((3, 1)))
    assert action == pytest.approx(np.zeros((3, 1)))
    assert std == pytest.approx(np.ones((3, 1)))
    assert log_prob == pytest.approx(np.full(3, -np.log(2 * np.pi) / 2))  # tanh has slope 1 at 0


def test_the_policy_by_central_differences():
    agent = small_agent()
    rng = np.random.default_rng(1)
    observations = rng.normal(size=(3, 2))
    noise = rng.normal(size=(3, 1))
    alpha = agent.temperature

    def loss():
        action, log_prob, _ = agent._sample(observations, noise)
        pairs = np.concatenate((observations, action), axis=1)
        q = agent.critics(pairs)[..., 0].min(axis=0)
        return (alpha * log_prob - q).mean()

    n_policy = n_parameters((2, 4, 4, 2), 1)
    agent._policy_gradients(observations, noise)
    found = agent.gradients[:n_policy].copy()
    assert found == pytest.approx(central_differences(loss, agent.parameters[:n_policy]), abs=1e-6)
