"""Tabular Q-learning: one value a state and action, learned from replayed transitions or from the newest one alone.

Sources: Watkins (1989); Sutton and Barto (2018), section 6.5; experience replay: Lin (1992).

Initial values are a choice. Where an untried action looks better than those that were tried, even a greedy agent explores
(Sutton and Barto, section 2.6). Pretraining on a fixed data set wants the opposite: nothing in D corrects a good opinion of an
action that D does not hold. One table has to serve both, and it is made for the online steps. In taxi and cliffwalking every
step but taxi's last costs at least 1, so that trying an action makes it look worse than its untried neighbours, from 0 for all
of them in taxi; in cliffwalking, from -5, this stops a few cells before the goal, where the values are better than that, and
the first way that was found is followed. In frozenlake, where only the goal is worth anything, 0.5 is above most values of
actions (30 of 44 of the optimal ones), and it sinks where the ice breaks. The price is that the greedy policy right after
pretraining often tries what D has not tried; that is the first evaluation of `loro`, and it is over within a few hundred online
steps.

Shapes: B batch, S states, A actions.
"""

import numpy as np

from minloro.agents.checkpoint import Checkpoint
from minloro.transitions import Minibatch


class TabularQ(Checkpoint):
    """An agent with a table of action values and epsilon-greedy exploration.

    step_size: alpha, the share of td_error that is added to a value. batch_size: rows of a minibatch; 0 learns from each
    transition once, when it happens, as in the textbook. A minibatch may hold one row several times and its errors add up:
    step_size * batch_size must stay below 2, or values that are drawn often enough diverge.
    """

    STATE = ("table", "n_updates")

    def __init__(
        self, n_states: int, n_actions: int, *, step_size: float, discount: float, epsilon: float, initial_value: float,
        batch_size: int = 16,
    ):  # fmt: skip
        if not 0 < step_size * max(batch_size, 1) < 2:
            raise ValueError(f"step_size {step_size} * batch_size {batch_size} must lie between 0 and 2")
        self.step_size, self.discount, self.epsilon = step_size, discount, epsilon
        self.n_actions, self.batch_size = n_actions, batch_size
        self.table = np.full((n_states, n_actions), initial_value, np.float64)  # [S, A]
        self.n_updates = 0

    def encode(self, observations):
        """Return the states' numbers unchanged."""
        return observations

    def act(self, state: int, rng: np.random.Generator | None = None) -> int:
        """Return the greedy action, the first of equals; with a generator, a uniform one with probability epsilon."""
        if rng is not None and rng.random() < self.epsilon:
            return int(rng.integers(self.n_actions))
        return int(self.table[state].argmax())

    def update(self, batch: Minibatch, rng: np.random.Generator | None = None) -> np.ndarray:
        """Move the values of a minibatch towards r + discount * max_a q(s', a); return td_error, (B,).

        All targets are computed before any value changes; where a row stands twice, its errors add up.
        Source: Sutton and Barto (2018), eq. 6.8.
        """
        bootstrap = self.table[batch.next_observations].max(axis=1)  # [B]
        target = batch.rewards + np.where(batch.terminated, 0, self.discount * bootstrap)
        taken = batch.observations, batch.actions
        td_error = target - self.table[taken]
        np.add.at(self.table, taken, self.step_size * td_error)
        self.n_updates += 1
        return td_error

    def learn(self, state: int, action: int, reward: float, next_state: int, terminated: bool) -> float:
        """Learn from one transition; the same as `update` on a minibatch of it, without the arrays."""
        target = reward if terminated else reward + self.discount * self.table[next_state].max()
        td_error = target - self.table[state, action]
        self.table[state, action] += self.step_size * td_error
        self.n_updates += 1
        return td_error
