"""Linear Q-learning: q(s, a) = phi(s) · w_a, learned from minibatches with the double-Q target.

Sources: Sutton and Barto (2018), sections 9.4 (linear values) and 11.1 (semi-gradients off-policy); van Hasselt, Guez and
Silver (2016), "Deep Reinforcement Learning with Double Q-learning": the online weights choose the next action, slowly following
target weights value it; Kingma and Ba (2015), Adam. Paper: the same update on a neural network. Here: on fixed features,
because the whole learner then fits on a screen and a step takes microseconds.

Left out on purpose: eligibility traces, prioritised replay, a schedule for epsilon.

Products are written phi.dot(w), which on arrays as small as these takes half a microsecond less than phi @ w.

Shapes: B batch, D features, A actions.
"""

from functools import lru_cache

import numpy as np

from minloro.agents.checkpoint import Checkpoint
from minloro.agents.features import FourierBasis, RadialBasis
from minloro.transitions import Minibatch

BETA1, BETA2 = 0.9, 0.999  # of Adam


def double_q_target(rewards, terminated, next_q, next_q_target, discount: float) -> np.ndarray:
    """Return r + discount * q_target(s', argmax_a q(s', a)), and r alone where the episode terminated.

    rewards, terminated: (B,). next_q, next_q_target: (B, A), of the online and of the target weights at s'.
    A truncated episode was cut off, not over: its last state keeps its value. Source: van Hasselt et al. (2016), eq. 4.

    >>> q, q_target = np.array([[1.0, 2.0]]), np.array([[5.0, 3.0]])
    >>> double_q_target(np.array([1.0]), np.array([False]), q, q_target, discount=0.5)
    array([2.5])
    """
    greedy = next_q.argmax(axis=1)  # [B]
    bootstrap = next_q_target.take(_places(greedy, next_q.shape[1]))  # [B]
    return rewards + discount * bootstrap * np.logical_not(terminated)


class LinearQ(Checkpoint):
    """An agent with one weight vector an action, epsilon-greedy exploration and Adam.

    features: observations to phi. n_actions: A. step_size: Adam's. target_step_size: how far the target weights move
    towards the weights at each update. epsilon: share of random actions while exploring. All weights start at zero, so
    that two agents with the same settings are the same bits.
    """

    STATE = ("weights", "target_weights", "mean_gradient", "mean_square", "n_updates")

    def __init__(
        self, features: FourierBasis | RadialBasis, n_actions: int, *, step_size: float, discount: float = 0.99,
        epsilon: float = 0.1, target_step_size: float = 0.01, batch_size: int = 64, dtype=np.float32,
    ):  # fmt: skip
        self.features, self.n_actions, self.batch_size = features, n_actions, batch_size
        self.step_size, self.discount, self.epsilon = step_size, discount, epsilon
        self.target_step_size = target_step_size
        self.weights = np.zeros((features.size, n_actions), dtype)  # [D, A]
        self.target_weights = self.weights.copy()
        self.mean_gradient = np.zeros_like(self.weights)  # Adam's m
        self.mean_square = np.zeros_like(self.weights)  # Adam's v
        self.n_updates = 0

    def encode(self, observations) -> np.ndarray:
        """Return phi of one observation, (D,), or of many, (B, D)."""
        return self.features(observations)

    def act(self, phi: np.ndarray, rng: np.random.Generator | None = None) -> int:
        """Return the greedy action at `phi`, (D,); with a generator, a uniform one with probability epsilon."""
        if rng is not None and rng.random() < self.epsilon:
            return int(rng.integers(self.n_actions))
        return int(phi.dot(self.weights).argmax())

    def update(self, batch: Minibatch, rng: np.random.Generator | None = None) -> np.ndarray:
        """Take one Adam step on the mean of td_error² / 2 over a minibatch of features; return td_error, (B,).

        `rng` is part of the agents' protocol; this update draws nothing.
        """
        gradient, td_error = self._gradient(batch)
        self.n_updates += 1
        self.mean_gradient += (1 - BETA1) * (gradient - self.mean_gradient)
        self.mean_square += (1 - BETA2) * (gradient * gradient - self.mean_square)
        # Kingma and Ba, section 2: the bias corrections of v and of m, folded into the step.
        correction = (1 - BETA2**self.n_updates) ** 0.5
        step = self.step_size * correction / (1 - BETA1**self.n_updates)
        self.weights -= step * self.mean_gradient / (np.sqrt(self.mean_square) + 1e-8 * correction)
        self.target_weights += self.target_step_size * (self.weights - self.target_weights)
        return td_error

    def _gradient(self, batch: Minibatch) -> tuple[np.ndarray, np.ndarray]:
        """Return dL/dw, (D, A), of L = mean(td_error²) / 2 and td_error, (B,).

        dL/dw_a = -mean over the batch of td_error * phi(s) where a was taken: the target is held constant, so this is a
        semi-gradient (Sutton and Barto, section 9.3).
        """
        phi, next_phi = batch.observations, batch.next_observations  # [B, D]
        n = len(phi)
        next_q, next_q_target = next_phi.dot(self.weights), next_phi.dot(self.target_weights)
        target = double_q_target(batch.rewards, batch.terminated, next_q, next_q_target, self.discount)
        taken = _places(batch.actions, self.n_actions)
        td_error = target - phi.dot(self.weights).take(taken)  # [B]
        slope = np.zeros((n, self.n_actions), self.weights.dtype)  # dL/dq, [B, A]
        slope.put(taken, td_error / -n)
        return phi.T.dot(slope), td_error


def _places(actions, n_actions: int) -> np.ndarray:
    """Return where each row's action lies in a flattened (B, A): one index is found in half the time of two."""
    return _row_starts(len(actions), n_actions) + actions


@lru_cache
def _row_starts(n_rows: int, n_actions: int) -> np.ndarray:
    return np.arange(0, n_rows * n_actions, n_actions)
