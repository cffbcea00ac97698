"""What the loop asks of an agent: its actions fit D, and a large D is encoded when it is drawn."""

import numpy as np
import pytest
from conftest import CORE_TASKS

import minloro
from minloro.agents import agent as agent_module
from minloro.agents.agent import LateEncoding, check_actions, pretraining, within_memory
from minloro.errors import UserError
from minloro.transitions import Minibatch


class Squares:
    """An agent whose features are an observation and its squares; it keeps what it is given."""

    batch_size = 4
    n_actions = 2

    def __init__(self):
        self.batches = []
        self.acted_on = []
        self.pace = "normal"

    def encode(self, observations):
        return np.concatenate([observations, np.square(observations)], axis=-1)

    def act(self, encoded, rng=None):
        self.acted_on.append((encoded, rng))
        return 1

    def update(self, batch, rng):
        self.batches.append(batch)
        return np.zeros(len(batch.rewards))


@pytest.mark.parametrize("name", CORE_TASKS)
def test_every_agent_keeps_to_the_protocol(name):
    """It has the members of `Agent`, and they take and return what is written there."""
    task = minloro.make_task(name)
    agent = task.make_agent()
    assert isinstance(agent.batch_size, int) and agent.batch_size > 0
    data = minloro.collect_random(task, agent.batch_size)
    encoded = agent.encode(data.observations)
    assert len(encoded) == len(data)
    one = agent.encode(data.observations[0])
    assert np.shape(one) == np.shape(encoded)[1:]
    for rng in (None, np.random.default_rng(0)):
        assert task.spaces[1].contains(agent.act(one, rng))
    next_encoded = agent.encode(data.next_observations)
    batch = Minibatch(encoded, data.actions, data.rewards, next_encoded, data.terminated)
    td_error = agent.update(batch, np.random.default_rng(0))
    assert np.shape(td_error)[-1] == agent.batch_size


def test_actions_that_an_agent_does_not_have():
    task = minloro.make_task("mountaincar")
    data = minloro.collect_random(task, 50)
    assert set(data.actions) == {0, 1, 2}
    agent = Squares()
    with pytest.raises(UserError, match="^D holds the action 2, Squares was made for 2$"):
        check_actions(agent, data)
    check_actions(agent, data.rows(data.actions < 2))
    agent.n_actions = 3
    check_actions(agent, data)
    agent.n_actions = None  # an agent for continuous actions does not say how many there are
    check_actions(agent, data)


def test_which_data_are_encoded_late(monkeypatch, small_data):
    """The features of s and s' may take MOST_FEATURES numbers more than the observations."""
    agent = Squares()
    added = 2 * len(small_data) * 4  # four squares for each observation
    monkeypatch.setattr(agent_module, "MOST_FEATURES", added)
    assert within_memory(agent, small_data) is agent
    monkeypatch.setattr(agent_module, "MOST_FEATURES", added - 1)
    wrapper = within_memory(agent, small_data)
    assert isinstance(wrapper, LateEncoding) and wrapper.agent is agent
    assert within_memory(agent, None) is agent
    agent.batch_size = 0  # it learns from each transition once: there is no buffer
    assert within_memory(agent, small_data) is agent


def test_late_encoding_shows_the_agent_features(small_data):
    agent = Squares()
    late = LateEncoding(agent)
    assert late.batch_size == 4
    observation = np.array([1.0, 2.0, 3.0, 4.0])
    rng = np.random.default_rng(0)
    assert late.act(late.encode(observation), rng) == 1
    features, seen_rng = agent.acted_on[0]
    assert features.tolist() == [1, 2, 3, 4, 1, 4, 9, 16] and seen_rng is rng
    late.act(observation)
    assert agent.acted_on[1][1] is None
    batch = small_data.rows(slice(4))
    late.update(batch, rng)
    (seen,) = agent.batches
    np.testing.assert_array_equal(seen.observations, agent.encode(batch.observations))
    np.testing.assert_array_equal(seen.next_observations, agent.encode(batch.next_observations))
    for name in ("actions", "rewards", "terminated"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(batch, name))


def test_late_encoding_keeps_a_copy_of_an_observation():
    """An environment may write over the array that it has handed out."""
    observation = np.zeros(4)
    kept = LateEncoding(Squares()).encode(observation)
    observation[:] = 1.0
    assert kept.tolist() == [0, 0, 0, 0]


def test_the_context_of_pretraining():
    task = minloro.make_task("pendulum")
    agent = task.make_agent()
    pace = agent.target_step_size
    for learner in (agent, LateEncoding(agent)):
        with pretraining(learner):
            assert agent.target_step_size == agent.pretraining_target_step_size != pace
        assert agent.target_step_size == pace
    with pretraining(Squares()):  # an agent that has no such context
        pass
