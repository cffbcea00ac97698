"""A clone of D's policy: what the player of D would do, learned from its actions alone.

Behavioural cloning (Pomerleau 1989) by maximum likelihood, one kind per kind of agent:

TableClone       counts, for a table
SoftmaxClone     multinomial logistic regression on the agent's features
RegressionClone  robust regression on random cosines, for continuous actions

Q-learning looks at the rewards of D and trusts actions that D never shows. A clone looks at the
actions only. It knows nothing about what is good, and it never falls far below its teacher where D
has been. `minloro.loro.Guide` uses both.

A clone of actions that are drawn is sampled, too: a greedy clone of a middling teacher always turns
the same way in the same state, and runs in circles. Actions below a tenth of the favourite's
probability are left out, because they are mostly the noise of the fit.

Left out on purpose: networks, and learning on from better episodes.

Shapes: N rows of D, B batch, S states, A actions or numbers of an action, F features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gymnasium.spaces import Box, Discrete

from minloro.randomness import stream

if TYPE_CHECKING:
    import gymnasium as gym

    from minloro.agents.agent import Agent
    from minloro.transitions import Transitions

FAMILIAR = 0.9  # a table needs this share of D's rows in states that another episode shows, too
# A regression must lower the distance to D's actions by this share, against their median alone.
EXPLAINED = 0.75
SAME_ACTION = 1e-3  # numbers of actions that are closer than this are one action
RARE = 0.1  # an action is left out below this share of the favourite's probability
MOST_ROWS = 10_000  # a fit sees at most about this many rows of D, evenly spaced
EVERY_FIFTH = 5  # of the episodes: one of so many is held out to choose the penalty
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of the softmax; the last one if D is too short
MOST_ITERATIONS = 300  # of the softmax fit; it needs some 50 where the penalty is not tiny
SMALL_GRADIENT = 1e-6  # the softmax fit has converged
N_COSINES = 100
COSINE_WIDTH = 1.0  # distance, in observations scaled to [-1, 1], over which a cosine changes
# Cosines this wide cannot follow the noise of D, and a stronger penalty blurs the places where a
# good player turns. Pendulum, a program as teacher, mean of 30 episodes: -155 with 1e-6, -785 with
# 1e-3.
RIDGE = 1e-6
SMALL_ERROR = 0.05  # in standard deviations of D's actions: smaller errors count by their square
REWEIGHTINGS = 30  # of the robust regression; more change nothing that can be seen


class Clone(Protocol):
    """The policy of D's player, as far as D shows it."""

    # Whether D says enough for the clone to stand for its player: see FAMILIAR and EXPLAINED.
    usable: bool

    def sample(self, encoded: Any, rng: np.random.Generator, /) -> Any:
        """Return an action as the player would draw it, or None in a state it cannot know."""

    def best(self, encoded: Any, rng: np.random.Generator, /) -> Any:
        """Return the action of the clone when it is evaluated, or None."""


def fit_clone(
    agent: Agent,
    data: Transitions,
    observation_space: gym.Space,
    action_space: gym.Space,
    seed: int = 0,
) -> Clone:
    """Return a clone of D's player that sees what `agent` sees.

    agent: its `encode` gives the clone's features. seed: decides the random cosines of a
    continuous task; nothing else is random.
    """
    stride = -(-len(data) // MOST_ROWS)
    part = data.rows(slice(None, None, stride))
    if isinstance(action_space, Box):
        return RegressionClone(part, observation_space, action_space, stream(seed, "clone"))
    assert isinstance(action_space, Discrete)
    n_actions = int(action_space.n)
    if isinstance(observation_space, Discrete):
        return TableClone(data, int(observation_space.n), n_actions)
    return SoftmaxClone(np.asarray(agent.encode(part.observations)), part, n_actions)


def common(probabilities: np.ndarray) -> np.ndarray:
    """Return the probabilities, (…, A), with 0 for those that are RARE. They need no sum of 1.

    >>> common(np.array([0.9, 0.07, 0.03]))
    array([0.9, 0. , 0. ])
    """
    highest = probabilities.max(axis=-1, keepdims=True)
    return np.where(probabilities < RARE * highest, 0.0, probabilities)


def draw(cumulated: np.ndarray, rng: np.random.Generator) -> int:
    """Draw an action. cumulated: (A,), the sums of the probabilities up to each action.

    >>> rng = np.random.default_rng(0)
    >>> {draw(np.array([0.0, 0.6, 0.6]), rng) for _ in range(1000)}
    {1}
    """
    return int(cumulated.searchsorted(rng.random() * cumulated[-1], side="right"))


class TableClone:
    """Counts: the share of each action among the rows of a state. It knows no other state."""

    def __init__(self, data: Transitions, n_states: int, n_actions: int):
        self.counts = np.zeros((n_states, n_actions))  # [S, A]
        np.add.at(self.counts, (data.observations, data.actions), 1)
        self._cumulated = common(self.counts).cumsum(axis=1)  # [S, A]
        self.familiarity = _familiarity(data)
        self.usable = self.familiarity >= FAMILIAR

    def sample(self, state: int, rng: np.random.Generator) -> int | None:
        """Return an action as often as D does, or None in a state that D never shows."""
        cumulated = self._cumulated[state]
        return draw(cumulated, rng) if cumulated[-1] else None

    best = sample


def _familiarity(data: Transitions) -> float:
    """Return the share of rows whose state another episode of D shows, too."""
    pairs = np.unique(np.column_stack([data.observations, data.episode]), axis=0)
    states, n_episodes = np.unique(pairs[:, 0], return_counts=True)
    shared = states[n_episodes > 1]
    return float(np.isin(data.observations, shared).mean())


class SoftmaxClone:
    """Multinomial logistic regression: p(a | s) is proportional to exp(phi(s) · w_a)."""

    usable = True

    def __init__(self, phi: np.ndarray, data: Transitions, n_actions: int):
        penalty = best_penalty(phi, data, n_actions)
        weights = fit_softmax(phi, data.actions, n_actions, penalty)
        self.weights = weights.astype(np.float32)  # [F, A], of the features' type

    def sample(self, phi: np.ndarray, rng: np.random.Generator) -> int:
        """Return an action drawn from the softmax at features `phi`, (F,)."""
        logits = phi.dot(self.weights)  # [A]
        odds = np.exp(logits - logits.max())  # [A], the favourite's are 1
        odds[odds < RARE] = 0
        return draw(odds.cumsum(), rng)

    best = sample


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return exp(logits) / sum over actions, (B, A), without overflow.

    >>> softmax(np.array([[0.0, 0.0], [1e9, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))  # [B, A]
    return odds / odds.sum(axis=1, keepdims=True)


def log_loss(phi: np.ndarray, actions: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean of -log p(a | s) over the rows. phi: (B, F), weights: (F, A)."""
    logits = phi.astype(np.float64).dot(weights)  # [B, A]
    highest = logits.max(axis=1)  # [B]
    log_sum = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))  # [B]
    return float(np.mean(log_sum - logits[np.arange(len(actions)), actions]))


def softmax_gradient(
    phi: np.ndarray, taken: np.ndarray, weights: np.ndarray, penalty: float
) -> np.ndarray:
    """Return the gradient, (F, A), of log_loss + penalty * |weights|² / 2.

    taken: (B, A), 1 at the action of each row. d(-log p(a | s)) / d logits = p - taken.
    """
    errors = softmax(phi.dot(weights)) - taken  # [B, A]
    return phi.T.dot(errors) / len(phi) + penalty * weights


def fit_softmax(phi: np.ndarray, actions: np.ndarray, n_actions: int, penalty: float) -> np.ndarray:
    """Return the weights, (F, A), that minimise log_loss + penalty * |weights|² / 2.

    The second derivative is nowhere above phi.T phi / (2 B) + penalty, whatever the weights are
    (Böhning 1992). One inverse of that matrix therefore gives safe steps for every iteration and
    for features of any scale; Nesterov's momentum, dropped where it leads uphill (O'Donoghue and
    Candès 2015), makes them fast.
    """
    phi = phi.astype(np.float64)  # [B, F]
    taken = np.eye(n_actions)[actions]  # [B, A]
    bound = phi.T.dot(phi) / (2 * len(phi)) + penalty * np.eye(phi.shape[1])  # [F, F]
    inverse = np.linalg.inv(bound)
    weights = np.zeros((phi.shape[1], n_actions))
    ahead = weights
    age = 1
    for _ in range(MOST_ITERATIONS):
        gradient = softmax_gradient(phi, taken, ahead, penalty)
        if np.abs(gradient).max() < SMALL_GRADIENT:
            break
        moved = ahead - inverse.dot(gradient)
        step = moved - weights
        uphill = np.vdot(gradient, step) > 0
        age = 1 if uphill else age + 1
        ahead = moved + (age - 1) / (age + 2) * step
        weights = moved
    return weights


def best_penalty(phi: np.ndarray, data: Transitions, n_actions: int) -> float:
    """Return the penalty whose fit predicts the actions of the rows held out best.

    If D is too short to hold anything out, the strongest.
    """
    held_out = hold_out(data.episode)
    if not held_out.any():
        return PENALTIES[-1]
    kept = ~held_out
    losses = []
    for penalty in PENALTIES:
        weights = fit_softmax(phi[kept], data.actions[kept], n_actions, penalty)
        losses.append(log_loss(phi[held_out], data.actions[held_out], weights))
    return PENALTIES[int(np.argmin(losses))]


def hold_out(episode: np.ndarray) -> np.ndarray:
    """Return (N,) bool: the rows on which a penalty is judged, every fifth episode of D.

    If D has one episode only, the last fifth of its rows. A D of fewer than five rows holds nothing
    out.

    >>> hold_out(np.array([4, 4, 7, 7, 7]))
    array([ True,  True, False, False, False])
    """
    n = len(episode)
    if n < EVERY_FIFTH:
        return np.zeros(n, bool)
    ids, position = np.unique(episode, return_inverse=True)
    if len(ids) == 1:
        return np.arange(n) >= n - n // EVERY_FIFTH
    return position % EVERY_FIFTH == 0


class RegressionClone:
    """Robust regression of the actions on random cosines of the observation.

    Source of the features: Rahimi and Recht (2007), "Random Features for Large-Scale Kernel
    Machines". The regression counts errors by their size, not by their square: a player that does
    something else in one step of ten is followed in the other nine. The spread of D's actions
    around the regression is a Gaussian from which `sample` draws. If the actions scatter too much,
    no regression is the policy of their player: such a clone is not `usable`.
    """

    def __init__(
        self,
        data: Transitions,
        observation_space: gym.Space,
        action_space: Box,
        rng: np.random.Generator,
    ):
        observations = data.observations.reshape(len(data), -1)
        self._centre, self._scale = _scaling(observations, observation_space)
        frequencies = rng.normal(size=(observations.shape[1], N_COSINES)) / COSINE_WIDTH
        self._frequencies = frequencies.astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, N_COSINES).astype(np.float32)
        self._space = action_space
        phi = self._cosines(observations)  # [N, F]
        actions = data.actions.reshape(len(data), -1).astype(np.float64)  # [N, A]
        self.weights = fit_robust(phi, actions)  # [F, A]
        residuals = actions - phi.dot(self.weights)  # [N, A]
        self.spread = np.sqrt(np.mean(residuals**2, axis=0))  # [A]
        distance = np.abs(residuals).sum()
        most = (1 - EXPLAINED) * np.abs(actions - np.median(actions, axis=0)).sum()
        self.usable = bool(distance <= most + SAME_ACTION * residuals.size)

    def _cosines(self, observations: np.ndarray) -> np.ndarray:
        """Map observations, (…, d), to a constant and N_COSINES cosines, (…, F)."""
        scaled = (np.asarray(observations, np.float32) - self._centre) / self._scale
        cosines = np.cos(scaled.dot(self._frequencies) + self._phases)
        return np.concatenate([np.ones_like(cosines[..., :1]), cosines], axis=-1)

    def best(self, observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the regression's action at an observation. `rng` is not used."""
        return self._action(self._cosines(np.ravel(observation)).dot(self.weights))

    def sample(self, observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the same with the spread of D's actions around it."""
        mean = self._cosines(np.ravel(observation)).dot(self.weights)  # [A]
        return self._action(mean + self.spread * rng.standard_normal(mean.shape))

    def _action(self, values: np.ndarray) -> np.ndarray:
        """Return values, (A,), as an action of the space, within its bounds."""
        shaped = values.reshape(self._space.shape)
        return np.clip(shaped, self._space.low, self._space.high).astype(self._space.dtype)


def fit_robust(phi: np.ndarray, actions: np.ndarray, penalty: float = RIDGE) -> np.ndarray:
    """Return weights, (F, A), that minimise mean(h(phi w - a)) + penalty * |w|² / 2.

    h is the loss of Huber (1964): |e| - d / 2 for errors beyond d, e² / (2 d) for smaller ones.
    It is found by least squares, in which an error e beyond d counts 1 / |e| times, again and
    again. d is SMALL_ERROR standard deviations of an action.
    """
    phi = phi.astype(np.float64)
    ridge = penalty * np.eye(phi.shape[1])
    columns = []
    for action in actions.T:
        small = max(SMALL_ERROR * action.std(), SAME_ACTION)
        weights = np.zeros(phi.shape[1])
        counts = np.full(len(action), 1 / small)
        for _ in range(REWEIGHTINGS):
            weighted = phi.T * (counts / len(action))  # [F, N]
            weights = np.linalg.solve(weighted.dot(phi) + ridge, weighted.dot(action))
            counts = 1 / np.maximum(np.abs(action - phi.dot(weights)), small)
        columns.append(weights)
    return np.stack(columns, axis=1)


def _scaling(observations: np.ndarray, space: gym.Space) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and half the width of the space, (d,); without bounds, those of D."""
    assert isinstance(space, Box)
    low: np.ndarray = np.ravel(space.low).astype(np.float64)
    high: np.ndarray = np.ravel(space.high).astype(np.float64)
    bounded = (np.abs(low) < 1e6) & (np.abs(high) < 1e6)
    low = np.where(bounded, low, observations.min(axis=0))
    high = np.where(bounded, high, observations.max(axis=0))
    half = np.maximum((high - low) / 2, 1e-6)
    return ((low + high) / 2).astype(np.float32), half.astype(np.float32)
