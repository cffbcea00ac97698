"""Tabular Q-learning: one value per state and action.

It learns from minibatches of replayed transitions, or only from the newest transition.

Sources: Watkins (1989); Sutton and Barto (2018), section 6.5; experience replay: Lin (1992).

Initial values are a choice. If an untried action looks better than the tried ones, even a greedy
agent explores (Sutton and Barto, section 2.6). Pretraining on a fixed data set needs the opposite:
if D does not hold an action, nothing corrects a good opinion of it. One table has to serve both.
Each task makes it for the online steps, and says there why. The price: right after pretraining, the
greedy policy often tries what is not in D. The first evaluation of `loro` shows this; a few hundred
online steps later it is over.

Shapes: B batch, S states, A actions.
"""

from typing import Any

import numpy as np

from minloro.agents.checkpoint import Checkpoint
from minloro.transitions import Minibatch


class TabularQ(Checkpoint):
    """An agent with a table of action values and epsilon-greedy exploration.

    step_size: alpha, the share of td_error that is added to a value. batch_size: rows of a
    minibatch. With 0, the agent learns from each transition once, when it happens, as in the
    textbook.

    If a minibatch holds a row several times, its errors add up. Therefore step_size * batch_size
    must be below 2: otherwise values that are drawn often enough diverge.
    """

    STATE = ("table", "n_updates")

    def __init__(
        self,
        n_states: int,
        n_actions: int,
        *,
        step_size: float,
        discount: float,
        epsilon: float,
        initial_value: float,
        batch_size: int = 16,
    ):
        if not 0 < step_size * max(batch_size, 1) < 2:
            raise ValueError(
                f"step_size {step_size} * batch_size {batch_size} must lie between 0 and 2"
            )
        self.n_actions = n_actions
        self.step_size = step_size
        self.discount = discount
        self.epsilon = epsilon
        self.batch_size = batch_size
        self.table = np.full((n_states, n_actions), initial_value, np.float64)  # [S, A]
        self.n_updates = 0

    def encode(self, observations: Any) -> Any:
        """Return the numbers of the states unchanged."""
        return observations

    def act(self, state: int, rng: np.random.Generator | None = None) -> int:
        """Return the greedy action, the first of equals.

        With a generator, return a uniformly random action with probability epsilon.
        """
        if rng is not None and rng.random() < self.epsilon:
            return int(rng.integers(self.n_actions))
        return int(self.table[state].argmax())

    def update(self, batch: Minibatch, rng: np.random.Generator | None = None) -> np.ndarray:
        """Move the values of a minibatch towards r + discount * max_a q(s', a).

        Returns td_error, (B,). All targets are computed before any value changes. If a state and
        action stand in several rows, the errors of these rows add up. `rng` is part of the protocol
        and is not used. Source: Sutton and Barto (2018), eq. 6.8.
        """
        bootstrap = self.table[batch.next_observations].max(axis=1)  # [B]
        target = batch.rewards + np.where(batch.terminated, 0, self.discount * bootstrap)  # [B]
        taken = (batch.observations, batch.actions)
        td_error = target - self.table[taken]  # [B]
        np.add.at(self.table, taken, self.step_size * td_error)
        self.n_updates += 1
        return td_error

    def learn(
        self, state: int, action: int, reward: float, next_state: int, terminated: bool
    ) -> float:
        """Learn from one transition; return td_error. `update` on one row does the same, slower."""
        target = reward if terminated else reward + self.discount * self.table[next_state].max()
        td_error = target - self.table[state, action]
        self.table[state, action] += self.step_size * td_error
        self.n_updates += 1
        return td_error
