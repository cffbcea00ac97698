"""A few cases worked by hand. `python -m pytest` in this folder runs them."""

from types import SimpleNamespace

import loro
import numpy as np
from replay import ReplayBuffer

import minloro


def row(i):
    """Return transition i: from state i to state i + 1, reward i.

    A buffer stores the first five of the seven values.
    """
    return i, 0, float(i), i + 1, False, False, 0


def filled(capacity, n):
    """Return a buffer to which n transitions were added."""
    buffer = ReplayBuffer(capacity, 0, 0)
    for i in range(n):
        buffer.add(*row(i)[:5])
    return buffer


def test_a_buffer_with_room():
    buffer = filled(capacity=5, n=3)
    assert len(buffer) == 3
    assert buffer._columns["rewards"][:3].tolist() == [0, 1, 2]


def test_the_oldest_makes_room():
    buffer = filled(capacity=3, n=4)
    assert len(buffer) == 3
    assert sorted(buffer._columns["rewards"].tolist()) == [1, 2, 3]


def test_a_minibatch():
    batch = filled(capacity=5, n=3).sample(8, np.random.default_rng(0))
    assert len(batch) == 8
    assert set(batch.rewards.tolist()) <= {0, 1, 2}
    assert (batch.next_observations == batch.observations + 1).all()
    assert batch.rewards[-1] == 2


def test_pretraining_counts_its_updates():
    updates = []
    agent = SimpleNamespace(
        batch_size=4,
        encode=lambda observations: observations,
        update=lambda batch, rng: updates.append(len(batch)),
    )
    columns = zip(*[row(i) for i in range(6)], strict=True)
    data = minloro.Transitions(*(np.array(column) for column in columns))
    loro.pretrain(agent, data, updates=7)
    assert updates == [4] * 7


def test_a_short_run():
    task = minloro.make_task("cartpole")
    agent = task.make_agent()
    returns = loro.finetune(agent, task, steps=450)
    assert [r.env_steps for r in returns if r.phase == "eval"] == [0, 200, 400]
    assert sum(r.episode_length for r in returns if r.phase == "train") <= 450
    assert agent.n_updates == 450 - agent.batch_size + 1
