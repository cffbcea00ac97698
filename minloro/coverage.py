"""Coverage: how much of what a good policy visits is in D. The paper explains its gain with this.

The paper's argument (abstract): a model that plays poorly still yields data that "sufficiently
cover state-actions visited by optimal policies", and this is what learning from D needs. In theory
the need is a bounded ratio of visiting frequencies:

- Munos (2003; 2007) bounds the loss of approximate value iteration by a concentrability coefficient
  over all policies.
- Chen and Jiang (2019) show that without such a bound no algorithm can be sure to learn from a
  batch.
- Rashidinejad et al. (2021) need the ratio for one good policy only, max d*(s, a) / mu(s, a), if
  the learner is pessimistic. This ratio is computed here. minloro's learners are not pessimistic
  and go on online, so the ratio promises nothing for them; it only measures.

d* is exact if the environment publishes its transition table. Otherwise it has to be counted: it is
the share of a good agent's steps in each cell of a grid, the task's `cells`. Such cells are fine
enough that neighbours ask for different actions, and few enough that some hundred transitions can
fill those of a good policy. Their edges are those of the environment, or of the learner's features.
All cells were fixed before any gain was compared with coverage. Numbers of different grids are not
comparable: smaller cells show less coverage.

A D that lacks parts of d* can still be useful: it may cover another policy that is as good. Left
out: the discounting of d* in the theory. What minloro reports are undiscounted returns within a
step limit, and every step up to the limit counts the same.

Shapes: S states or cells, A actions or bins of an action, N rows, C coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete

from minloro.dynamics import optimal_values, transition_arrays
from minloro.errors import UserError

if TYPE_CHECKING:
    import gymnasium as gym

    from minloro.tasks.task import Cells, Task
    from minloro.transitions import Transitions

TIE = 1e-6  # actions whose values differ by less are equally good; value iteration errs by 1e-8


class Coverage(NamedTuple):
    """What D covers of d*."""

    # The share of d* on pairs (s, a) that occur in D, 0 to 1.
    seen: float
    # max d*(s, a) / mu(s, a), at least 1; infinite if D lacks a pair.
    concentrability: float
    # The number of pairs of d* that D lacks, and the number of all pairs of d*.
    lacking: int
    pairs: int


def coverage(wanted: np.ndarray, counts: np.ndarray) -> Coverage:
    """Return what a data set covers of d*.

    wanted: d*, (S, A). counts: the visits of D, (S, A).

    >>> coverage(np.array([[0.5, 0.5]]), np.array([[1, 3]]))
    Coverage(seen=1.0, concentrability=2.0, lacking=0, pairs=2)
    """
    needed = wanted > 0
    d_star = wanted[needed]
    mu = counts[needed] / counts.sum()
    occurs = counts[needed] > 0
    infinite = np.full(d_star.shape, np.inf)
    ratio = np.divide(d_star, mu, out=infinite, where=occurs)
    seen = float(d_star[occurs].sum()) / float(d_star.sum())
    return Coverage(
        seen=min(seen, 1.0),  # rounding may step over 1
        concentrability=float(ratio.max()),
        lacking=int((~occurs).sum()),
        pairs=len(d_star),
    )


def optimal_policy(transition_table: dict, discount: float = 0.99) -> np.ndarray:
    """Return pi(a | s), (S, A): uniform over the optimal actions of every state.

    This is the best policy without a clock, for the discount that agents learn with. The policy
    that is best for the undiscounted return within the step limit knows how many steps are left. An
    agent does not know it; and when no time is left, every action would be "optimal". Within the
    step limit, the undiscounted return of this policy is the exact optimum in cliffwalking (-13)
    and taxi (7.93), and 0.740 of 0.744 in frozenlake. Discounts from 0.99 to 0.999999 give the same
    policy.
    """
    values = optimal_values(transition_table, discount)
    best_values = values.max(axis=1, keepdims=True)
    is_best = values >= best_values - TIE
    return is_best / is_best.sum(axis=1, keepdims=True)


def occupancy(
    transition_table: dict, start: np.ndarray, policy: np.ndarray, steps: int
) -> np.ndarray:
    """Return d(s, a), (S, A): the expected visits of an episode, as shares that sum to 1.

    start: (S,) probabilities of the first state. policy: (S, A). steps: the step limit. A
    termination ends the episode. If an environment sends one back to the start instead, as the
    cliff in cliffwalking does, its transition table says so.
    """
    going_on, _ = transition_arrays(transition_table)
    state = np.asarray(start, np.float64)
    visited = np.zeros(policy.shape)
    for _ in range(steps):
        pairs = state[:, None] * policy  # [S, A]
        visited += pairs
        state = np.tensordot(pairs, going_on)  # [S]
    return visited / visited.sum()


def visits(
    task: Task, data: Transitions, cells: Cells | None = None, action_bins: int = 3
) -> np.ndarray:
    """Return how often each pair of state and action occurs in D, (S, A).

    cells: the cells of continuous observations, if not those of the task. action_bins: the number
    of equal bins of a continuous action. (Three bins of pendulum's torque go from -2 to -2/3, from
    there to 2/3, and to 2.) What lies beyond an edge belongs to the outermost cell, infinities too.
    Raises UserError if there are no cells.
    """
    observation_space, action_space = task.spaces
    if isinstance(observation_space, Discrete):
        n_states = int(observation_space.n)
        states = data.observations
    else:
        states, n_states = _cell_numbers(data.observations, cells or task.cells, task.name)
    actions, n_actions = _action_numbers(data.actions, action_space, action_bins)
    pairs = np.ravel_multi_index((states, actions), (n_states, n_actions))
    counts = np.bincount(pairs, minlength=n_states * n_actions)
    return counts.reshape(n_states, n_actions)


def _cell_numbers(
    observations: np.ndarray, cells: Cells | None, task_name: str
) -> tuple[np.ndarray, int]:
    """Return the number of the cell of every observation, (N,), and how many cells there are."""
    if cells is None:
        raise UserError(
            f"there are no cells for {task_name}: give some, in the form of "
            "minloro.tasks.task.Cells"
        )
    coordinates = cells.coordinates(np.asarray(observations, np.float64))  # [N, C]
    places = _bin(coordinates, cells.low, cells.high, cells.bins)  # [N, C]
    numbers = np.ravel_multi_index(tuple(places.T), cells.bins)
    return numbers, int(np.prod(cells.bins))


def _action_numbers(
    actions: np.ndarray, space: gym.Space, action_bins: int
) -> tuple[np.ndarray, int]:
    """Return every action as a number, (N,), and how many actions, or bins of them, there are."""
    if isinstance(space, Discrete):
        return actions, int(space.n)
    box: Any = space  # a task admits no other
    return _bin(np.ravel(actions), box.low, box.high, action_bins), action_bins


def _bin(values: np.ndarray, low: Any, high: Any, bins: Any) -> np.ndarray:
    """Return in which of the equal bins between `low` and `high` each value lies."""
    shares = (values - np.array(low)) / np.subtract(high, low)
    places = np.floor(shares * bins)
    return np.clip(places, 0, np.subtract(bins, 1)).astype(int)
