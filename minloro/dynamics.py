"""Exact dynamic programming on a transition table: what the learners are measured against.

Gymnasium's grid worlds publish their dynamics as `env.P[state][action]`, a list of entries
(probability, next state, reward, terminated). Source: Sutton and Barto (2018), chapter 4.

Shapes: S states, A actions.
"""

import numpy as np


def transition_arrays(transition_table: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return p(s' | s, a) and the expected rewards r(s, a).

    The first, (S, A, S), leaves out terminating transitions: nothing is earned after them. The
    second is (S, A).
    """
    n_states = len(transition_table)
    n_actions = len(transition_table[0])
    going_on = np.zeros((n_states, n_actions, n_states))
    rewards = np.zeros((n_states, n_actions))
    for state, action in np.ndindex(n_states, n_actions):
        for probability, next_state, reward, terminated in transition_table[state][action]:
            rewards[state, action] += probability * reward
            going_on[state, action, next_state] += probability * (not terminated)
    return going_on, rewards


def optimal_values(transition_table: dict, discount: float) -> np.ndarray:
    """Return q*, (S, A), by value iteration, equation 4.10.

    q(s, a) = r(s, a) + discount * sum over s' of p(s' | s, a) max_a' q(s', a').
    """
    going_on, rewards = transition_arrays(transition_table)
    q = np.zeros_like(rewards)
    while True:
        improved = rewards + discount * going_on @ q.max(axis=1)
        if np.abs(improved - q).max() < 1e-10:
            return improved
        q = improved


def optimal_return(transition_table: dict, start: np.ndarray, steps: int) -> float:
    """Return the largest expected undiscounted return within `steps` steps.

    start: (S,) probabilities of the first state. Backward induction: the best action may depend on
    how many steps are left.
    """
    going_on, rewards = transition_arrays(transition_table)
    values = np.zeros(len(transition_table))
    for _ in range(steps):
        values = (rewards + going_on @ values).max(axis=1)
    return float(start @ values)
