"""Coverage: how much of what a good policy visits D has seen. The paper's explanation of its gain, made measurable.

The paper's argument (abstract): a model that plays poorly still yields data that "sufficiently cover state-actions visited by
optimal policies", and that is what learning from D needs. In theory the need is a bounded ratio of visiting frequencies:
Munos (2003; 2007) bounds the loss of approximate value iteration by a concentrability coefficient over all policies; Chen and
Jiang (2019) show that without such a bound no algorithm can be sure to learn from a batch; Rashidinejad et al. (2021) get by
with the ratio for one good policy alone, max d*(s, a) / mu(s, a), if the learner is pessimistic. That last one is computed
here. minloro's learners are not pessimistic and go on online, so that the ratio is no promise for them, only a measure.

d* is exact where the environment publishes its transition table. Elsewhere it has to be counted: the share of a good agent's
steps in the cells of a grid, CELLS. Numbers of different grids are not comparable: with smaller cells less is seen. Nor is D
useless where it lacks d*: another policy, which D does cover, may be as good. Left out: the discounting of d* in the theory.
What is reported here are undiscounted returns within a step limit, and every step up to it counts the same.

Shapes: S states or cells, A actions or bins of an action, N rows, C coordinates.
"""

from typing import NamedTuple

import numpy as np

from minloro.dynamics import optimal_values, transition_arrays
from minloro.errors import UserError
from minloro.transitions import Transitions

TIE = 1e-6  # actions whose values differ by less are equally good; value iteration is exact to 1e-8


class Coverage(NamedTuple):
    """What D covers of d*.

    seen: the share of d* on pairs (s, a) that occur in D, 0 to 1. concentrability: max d*(s, a) / mu(s, a), at least 1 and
    infinite where D lacks a pair. lacking: the number of pairs of d* that D lacks, of `pairs` altogether.
    """

    seen: float
    concentrability: float
    lacking: int
    pairs: int


def coverage(wanted: np.ndarray, counts: np.ndarray) -> Coverage:
    """Return what a D with the visits `counts`, (S, A), covers of d* = `wanted`, (S, A).

    >>> coverage(np.array([[0.5, 0.5]]), np.array([[1, 3]]))
    Coverage(seen=1.0, concentrability=2.0, lacking=0, pairs=2)
    """
    needed = wanted > 0
    there, d, mu = counts[needed] > 0, wanted[needed], counts[needed] / counts.sum()
    ratio = np.divide(d, mu, out=np.full(d.shape, np.inf), where=there)
    return Coverage(min(float(d[there].sum() / d.sum()), 1.0), float(ratio.max()), int((~there).sum()), len(d))


def optimal_policy(table: dict, discount: float = 0.99) -> np.ndarray:
    """Return pi(a | s), (S, A): uniform over the optimal actions of every state, whatever their numbers.

    What is reported is the undiscounted return within the step limit, and the policy that is best for it knows how many steps
    are left; an agent does not, and when no time is left every action is "optimal". So this is the best policy without a
    clock, for the discount that agents learn with. Within the step limit its undiscounted return is the exact optimum in
    cliffwalking (-13) and taxi (7.93), and 0.740 of 0.744 in frozenlake; discounts from 0.99 to 0.999999 give the same one.
    """
    values = optimal_values(table, discount)
    best = values >= values.max(axis=1, keepdims=True) - TIE
    return best / best.sum(axis=1, keepdims=True)


def occupancy(table: dict, start: np.ndarray, policy: np.ndarray, steps: int) -> np.ndarray:
    """Return d(s, a), (S, A): the expected visits of an episode of at most `steps` steps, as shares that sum to 1.

    start: (S,) probabilities of the first state. policy: (S, A). A termination ends the episode; where an environment sends
    one back to the start instead, as cliffwalking's cliff does, its table says so.
    """
    going_on, state, visited = transition_arrays(table)[0], np.asarray(start, np.float64), np.zeros(policy.shape)
    for _ in range(steps):
        pairs = state[:, None] * policy  # [S, A]
        visited += pairs
        state = np.tensordot(pairs, going_on)  # [S]
    return visited / visited.sum()


def _angles(pairs: np.ndarray, speeds: np.ndarray) -> np.ndarray:
    """Turn the columns (cos, sin, cos, …) into angles from -pi to pi, with the speeds beside them."""
    return np.column_stack([np.arctan2(pairs[:, 1::2], pairs[:, ::2]), speeds])


# Cells over continuous observations: the coordinates, (N, …) to (N, C), their lower and upper edges, and the number of equal
# cells along each. They are fine enough that neighbours ask for different actions, and few enough that some hundred transitions
# can fill those of a good policy. The edges are the environment's own, or where its learner's features end. All this was fixed
# before any gain was compared with it. Coordinates, in SI units: position, velocity, the pole's angle (0 is upright) and its
# angular velocity; position and velocity a step; both links' angles (0 hangs down, and straight on) and their speeds; the
# pendulum's angle (0 is upright) and its speed.
CELLS = {
    "cartpole": (np.asarray, (-2.4, -3.0, -0.21, -3.5), (2.4, 3.0, 0.21, 3.5), (4, 8, 12, 12)),
    "mountaincar": (np.asarray, (-1.2, -0.07), (0.6, 0.07), (18, 14)),
    "acrobot": (lambda o: _angles(o[:, :4], o[:, 4:]), (-np.pi, -np.pi, -9.0, -18.0), (np.pi, np.pi, 9.0, 18.0), (8, 8, 6, 6)),
    "pendulum": (lambda o: _angles(o[:, :2], o[:, 2:]), (-np.pi, -8.0), (np.pi, 8.0), (24, 16)),
}


def visits(task, data: Transitions, cells: tuple | None = None, action_bins: int = 3) -> np.ndarray:
    """Return how often each pair occurs in `data`, (S, A).

    cells: where states are not numbers, by default CELLS[task.name]. action_bins: of a continuous action; of pendulum's
    torque from -2 to -2/3, to 2/3, to 2. What lies beyond an edge, infinities too, belongs to the outermost cell.
    """
    (states, actions), state, action = task.spaces, data.observations, data.actions
    shape = getattr(states, "n", 0), getattr(actions, "n", action_bins)
    if not hasattr(states, "n"):
        if cells is None and task.name not in CELLS:
            raise UserError(f"there are no cells for {task.name}: give some, in the form of coverage.CELLS")
        coordinates, low, high, bins = cells or CELLS[task.name]
        state = np.ravel_multi_index(tuple(_bin(coordinates(np.asarray(state, np.float64)), low, high, bins).T), bins)
        shape = np.prod(bins), shape[1]
    if not hasattr(actions, "n"):
        action = _bin(np.ravel(action), actions.low, actions.high, action_bins)
    return np.bincount(np.ravel_multi_index((state, action), shape), minlength=np.prod(shape)).reshape(shape)


def _bin(values: np.ndarray, low, high, bins) -> np.ndarray:
    return np.clip(np.floor((values - np.array(low)) / np.subtract(high, low) * bins), 0, np.subtract(bins, 1)).astype(int)
