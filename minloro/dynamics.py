"""Exact dynamic programming on the transition table of a small environment: what the learners are measured against.

Gymnasium's grid worlds publish their dynamics as `env.P[state][action]`, a list of (probability, next state, reward,
terminated). Source: Sutton and Barto (2018), chapter 4.

Shapes: S states, A actions.
"""

import numpy as np


def transition_arrays(table: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return p(s' | s, a) without the terminating transitions, (S, A, S), and the expected rewards, (S, A)."""
    n_states, n_actions = len(table), len(table[0])
    going_on = np.zeros((n_states, n_actions, n_states))
    rewards = np.zeros((n_states, n_actions))
    for state, action in np.ndindex(n_states, n_actions):
        for probability, next_state, reward, terminated in table[state][action]:
            rewards[state, action] += probability * reward
            going_on[state, action, next_state] += probability * (not terminated)
    return going_on, rewards


def optimal_values(table: dict, discount: float) -> np.ndarray:
    """Return q*, (S, A), by value iteration: q(s, a) = r + discount * sum p(s') max_a' q(s', a'), eq. 4.10."""
    going_on, rewards = transition_arrays(table)
    q = np.zeros_like(rewards)
    while True:
        improved = rewards + discount * going_on @ q.max(axis=1)
        if np.abs(improved - q).max() < 1e-10:
            return improved
        q = improved


def optimal_return(table: dict, start: np.ndarray, steps: int) -> float:
    """Return the largest expected undiscounted return within `steps` steps; start: (S,) probabilities of the first state.

    Backward induction: the best action may depend on the steps that are left.
    """
    going_on, rewards = transition_arrays(table)
    values = np.zeros(len(table))
    for _ in range(steps):
        values = (rewards + going_on @ values).max(axis=1)
    return float(start @ values)
