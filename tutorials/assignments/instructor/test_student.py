"""A solution of assignment 4: tests that catch all defects, those for variants too."""

import numpy as np
import pytest
import warmstart


class Game:
    """A game whose every step is known.

    After n steps the observation is (n, n, n, n) / 10. Action 1 ends the game; step 5 cuts it off.
    """

    def __init__(self):
        self.seeds = []

    def reset(self, seed=None):
        self.seeds.append(seed)
        self.n = 0
        return np.full(4, 0.0), {}

    def step(self, action):
        self.n += 1
        terminated = action == 1
        truncated = self.n == 5 and not terminated
        return np.full(4, self.n / 10), float(self.n), terminated, truncated, {}


class Agent:
    """An agent that counts its updates and keeps what it is taught."""

    batch_size = 2

    def __init__(self):
        self.batches = []

    def encode(self, observations):
        return np.asarray(observations)

    def act(self, encoded, rng=None):
        return 0

    def update(self, batch, rng=None):
        self.batches.append(batch)


def play(replies):
    """Play one episode with these replies."""
    replies = iter(replies)
    return warmstart.collect(Game(), lambda text: next(replies), episodes=1)


def test_rows_belong_to_one_step():
    data = play(["Action: 0", "Action: 0", "Action: 1"])
    assert data.observations[:, 0].tolist() == [0.0, 0.1, 0.2]
    assert data.next_observations[:, 0].tolist() == [0.1, 0.2, 0.3]
    assert data.actions.tolist() == [0, 0, 1]
    assert data.rewards.tolist() == [1, 2, 3]


def test_an_end_is_an_end():
    data = play(["Action: 0", "Action: 1"])
    assert data.terminated.tolist() == [False, True]
    assert not data.truncated.any()


def test_a_time_limit_is_a_time_limit():
    data = play(["Action: 0"] * 5)
    assert data.truncated.tolist() == [False] * 4 + [True]
    assert not data.terminated.any()


@pytest.mark.parametrize("k", range(4))
def test_the_text_tells_signs_apart(k):
    observation = np.array([0.1, 0.2, 0.05, 0.3])
    other = observation.copy()
    other[k] *= -1
    assert warmstart.describe(observation) != warmstart.describe(other)


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Action: 1", 1),
        ("The pole leans.\nAction: 0\n\n", 0),
        ("It leans by 0.21 rad.\nAction: 0", 0),
        ("Action: 0, because 0.21 rad is too much", None),
        ("I push to the left, 1 N", None),
        ("", None),
    ],
)
def test_replies(reply, action):
    assert warmstart.parse(reply) == action


def test_repeats_share_no_agent():
    agents = []

    def make_agent():
        agents.append(Agent())
        return agents[-1]

    data = play(["Action: 0"] * 5)
    warmstart.repeats(make_agent, Game(), data, n=3, updates=4, steps=6)
    assert [len(agent.batches) for agent in agents] == [10, 10, 10]


def test_learning_online():
    agent = Agent()
    data = play(["Action: 0"] * 5)
    returns = warmstart.learn(agent, Game(), data, updates=3, steps=10, seed=0)
    assert len(agent.batches) == 13
    assert returns.tolist() == [15, 15]


def test_episodes_start_differently():
    game = Game()
    warmstart.collect(game, lambda text: "Action: 1", episodes=3, seed=7)
    assert game.seeds == [7, 8, 9]


def test_silence_is_answered_at_random():
    data = warmstart.collect(Game(), lambda text: "", episodes=40)
    assert 0.2 < data.actions.mean() < 0.8
