"""The protocol of an agent: what the learning loop asks of it. Agents share no parent class.

An agent may also have `pretraining()`, a context in which it is pretrained, `save(path)` and
`load(path)`. An agent with discrete actions says how many there are in `n_actions`.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from minloro.errors import UserError
from minloro.transitions import Minibatch, Transitions

# D's features may take this many numbers more than its observations: 128 MB of float32. In cartpole
# they are the features of 217,885 rows.
MOST_FEATURES = 2**25


class Player(Protocol):
    """Anything that plays: an agent, or a clone of another player."""

    def encode(self, observations: Any, /) -> Any:
        """Return what `act` and `update` take and the replay buffer stores, for one or many."""

    def act(self, encoded: Any, rng: np.random.Generator | None = None, /) -> Any:
        """Return the greedy action, or with a generator an action that explores."""


class Agent(Player, Protocol):
    """A learner with a policy."""

    # Rows of a minibatch. 0: the agent is a OneStepAgent and is never given a minibatch.
    batch_size: int

    def update(self, batch: Minibatch, rng: np.random.Generator, /) -> np.ndarray:
        """Take one learning step on a minibatch of encoded observations; return its td_error."""


class OneStepAgent(Agent, Protocol):
    """A learner that sees every transition once, when it happens; its batch_size is 0."""

    def learn(
        self, encoded: Any, action: Any, reward: float, next_encoded: Any, terminated: bool, /
    ) -> Any:
        """Take one learning step on one transition."""


def check_actions(agent: Agent, data: Transitions) -> None:
    """Raise UserError if D holds an action that the agent does not have."""
    n_actions = getattr(agent, "n_actions", None)
    if n_actions is None:
        return
    highest = data.actions.max()
    if highest >= n_actions:
        raise UserError(
            f"D holds the action {highest}, {type(agent).__name__} was made for {n_actions}"
        )


def pretraining(agent: Agent) -> AbstractContextManager:
    """Return the context in which an agent is pretrained; it does nothing if the agent has none."""
    return getattr(agent, "pretraining", nullcontext)()


def within_memory(agent: Agent, data: Transitions | None) -> Agent:
    """Return the agent. If the features of D would not fit in memory, return it in a wrapper.

    The wrapper computes features for each minibatch, which takes longer. Only the rows of D count:
    without a large D, the features of online steps are kept, however many there are.
    """
    if data is None or not agent.batch_size:
        return agent
    first = data.observations[0]
    added_per_observation = np.size(agent.encode(first)) - np.size(first)
    added = 2 * len(data) * added_per_observation  # s and s'
    return agent if added <= MOST_FEATURES else LateEncoding(agent)


class LateEncoding:
    """An agent whose replay buffer holds observations: they are encoded when they are drawn."""

    def __init__(self, agent: Agent):
        self.agent = agent
        self.batch_size = agent.batch_size

    def encode(self, observations: Any) -> np.ndarray:
        """Return a copy of the observations."""
        return np.array(observations)

    def act(self, observation: np.ndarray, rng: np.random.Generator | None = None) -> Any:
        """Let the agent act at the features of the observation."""
        return self.agent.act(self.agent.encode(observation), rng)

    def update(self, batch: Minibatch, rng: np.random.Generator) -> np.ndarray:
        """Let the agent learn from the features of a minibatch of observations."""
        encoded = replace(
            batch,
            observations=self.agent.encode(batch.observations),
            next_observations=self.agent.encode(batch.next_observations),
        )
        return self.agent.update(encoded, rng)

    def pretraining(self) -> AbstractContextManager:
        """Return the context in which the agent is pretrained."""
        return pretraining(self.agent)
