"""A solution of assignment 4: tests that catch all defects, those for variants too."""

import numpy as np
import pytest
import warmstart


class Game:
    """A game whose every step is known: observation (n, n, n, n) / 10 after n steps; action 1 ends it, step 5 cuts it off."""

    def __init__(self):
        self.seeds = []

    def reset(self, seed=None):
        self.seeds.append(seed)
        self.n = 0
        return np.full(4, 0.0), {}

    def step(self, action):
        self.n += 1
        terminated = action == 1
        return np.full(4, self.n / 10), float(self.n), terminated, self.n == 5 and not terminated, {}


class Agent:
    """Counts its updates, and keeps what it is taught."""

    batch_size = 2

    def __init__(self):
        self.batches = []

    def encode(self, observations):
        return np.asarray(observations)

    def act(self, encoded, rng=None):
        return 0

    def update(self, batch, rng=None):
        self.batches.append(batch)


def play(replies, episodes=1):
    replies = iter(replies)
    return warmstart.collect(Game(), lambda text: next(replies), episodes)


def test_rows_belong_to_one_step():
    data = play(["Action: 0", "Action: 0", "Action: 1"])
    assert data.observations[:, 0].tolist() == [0.0, 0.1, 0.2]
    assert data.next_observations[:, 0].tolist() == [0.1, 0.2, 0.3]
    assert data.actions.tolist() == [0, 0, 1] and data.rewards.tolist() == [1, 2, 3]


def test_an_end_is_an_end():
    data = play(["Action: 0", "Action: 1"])
    assert data.terminated.tolist() == [False, True] and not data.truncated.any()


def test_a_time_limit_is_a_time_limit():
    data = play(["Action: 0"] * 5)
    assert data.truncated.tolist() == [False] * 4 + [True] and not data.terminated.any()


@pytest.mark.parametrize("k", range(4))
def test_the_text_tells_signs_apart(k):
    observation = np.array([0.1, 0.2, 0.05, 0.3])
    other = observation.copy()
    other[k] *= -1
    assert warmstart.describe(observation) != warmstart.describe(other)


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Action: 1", 1), ("The pole leans.\nAction: 0\n\n", 0), ("It leans by 0.21 rad.\nAction: 0", 0),
        ("Action: 0, because 0.21 rad is too much", None), ("I push to the left, 1 N", None), ("", None),
    ],
)  # fmt: skip
def test_replies(reply, action):
    assert warmstart.parse(reply) == action


def test_repeats_share_no_agent():
    agents, data = [], play(["Action: 0"] * 5)

    def make_agent():
        agents.append(Agent())
        return agents[-1]

    warmstart.repeats(make_agent, Game(), data, n=3, updates=4, steps=6)
    assert len(agents) == 3 and [len(agent.batches) for agent in agents] == [10] * 3


def test_learning_online():
    agent = Agent()
    returns = warmstart.learn(agent, Game(), play(["Action: 0"] * 5), updates=3, steps=10, seed=0)
    assert len(agent.batches) == 13 and returns.tolist() == [15, 15]


def test_episodes_start_differently():
    game = Game()
    warmstart.collect(game, lambda text: "Action: 1", episodes=3, seed=7)
    assert game.seeds == [7, 8, 9]


def test_silence_is_answered_at_random():
    data = warmstart.collect(Game(), lambda text: "", episodes=40)
    assert 0.2 < data.actions.mean() < 0.8
