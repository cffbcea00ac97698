"""Features: a fixed map from observations to vectors in which action values are nearly linear.

Sources: Konidaris, Osentoski and Thomas, "Value Function Approximation in Reinforcement Learning using the Fourier
Basis" (AAAI 2011); Sutton and Barto (2018), sections 9.5.2 and 9.5.5.

Which of the two matters for a warm start. A Fourier feature is global: what is learned in one place changes the values
everywhere. That generalises fast, but a data set in which a distant goal is never reached then teaches that all states are
hopeless, those too that it does not hold. A radial feature is local: states that D has not visited keep their initial value,
and where that is optimistic, learning online goes there first.

Observations outside [low, high] count as lying on the edge: beyond it the cosines would mirror the state space, and all bumps
would be 0.
"""

from itertools import combinations, product

import numpy as np

from minloro.errors import UserError


class FourierBasis:
    """phi_i(s) = cos(pi c_i · x), x = s rescaled from [low, high] to [0, 1], c_i vectors in {0, …, order}^d.

    interactions: how many coefficients of a vector may differ from 0; by default all d of them. With 2, a feature sees at
    most a pair of quantities, and their number grows with d² instead of exponentially.

    >>> basis = FourierBasis(low=[0.0], high=[2.0], order=2)
    >>> basis(np.array([1.0])).round(3) + 0
    array([ 1.,  0., -1.], dtype=float32)
    >>> FourierBasis([0] * 6, [1] * 6, order=4, interactions=2).size
    265
    """

    def __init__(self, low, high, order: int, interactions: int | None = None):
        self.low, self.high = _bounds(low, high)
        self.coefficients = _coefficients(len(self.low), order, interactions)  # [D, d]
        self.size = len(self.coefficients)  # D: (order + 1)^d with all interactions
        # Rescaling to [0, 1] and the factor pi are folded into the matrix: one product a call.
        self._matrix = (np.pi * self.coefficients / (self.high - self.low)).T.astype(np.float32)  # [d, D]

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Map observations (…, d) to features (…, D), float32."""
        return np.cos((_inside(observations, self.low, self.high) - self.low).dot(self._matrix))  # [..., D]


class RadialBasis:
    """Normalised Gaussian bumps on a grid: `per_dimension` centres in every dimension, from low to high.

    width: standard deviation of a bump, in distances between centres. The features of a state add up to 1.

    >>> RadialBasis(low=[0.0], high=[2.0], per_dimension=3, width=0.5)(np.array([1.0])).round(3)
    array([0.107, 0.787, 0.107], dtype=float32)
    """

    def __init__(self, low, high, per_dimension: int, width: float):
        self.low, self.high = _bounds(low, high)
        self._scale = (per_dimension - 1) / (self.high - self.low)  # to distances between centres
        self._centres = np.arange(per_dimension, dtype=np.float32)
        self._sharpness = np.float32(0.5 / width**2)
        self.size = per_dimension ** len(self.low)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Map observations (…, d) to features (…, D), float32."""
        x = (_inside(observations, self.low, self.high) - self.low) * self._scale  # [..., d]
        bumps = np.exp(-self._sharpness * (x[..., None] - self._centres) ** 2)  # [..., d, per_dimension]
        bumps /= bumps.sum(axis=-1, keepdims=True)
        phi = bumps[..., 0, :]
        for i in range(1, x.shape[-1]):  # a product of bumps, one of each dimension, is a bump on the grid
            phi = (phi[..., :, None] * bumps[..., i, None, :]).reshape(*x.shape[:-1], -1)
        return phi  # [..., D]


def _bounds(low, high) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays, (d,); raise UserError where they are no bounds."""
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    if low.ndim != 1 or low.shape != high.shape or not (np.isfinite(high - low) & (low < high)).all():
        raise UserError("low and high must be two lists of equal length, with finite numbers, each low below its high")
    return low, high


def _inside(observations, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return observations as an array, (…, d), within the bounds; raise UserError where there are not as many numbers."""
    states = np.asarray(observations, np.float32)
    if states.shape[-1:] != low.shape:
        raise UserError(f"observations have the shape {states.shape[-1:]}: low and high need as many entries, not {len(low)}")
    return np.minimum(np.maximum(states, low), high)


def _coefficients(d: int, order: int, interactions: int | None) -> np.ndarray:
    """Return the vectors c_i in lexicographic order, (D, d)."""
    vectors = []
    for k in range(min(d, d if interactions is None else interactions) + 1):
        for places in combinations(range(d), k):
            for values in product(range(1, order + 1), repeat=k):
                chosen = dict(zip(places, values, strict=True))
                vectors.append([chosen.get(i, 0) for i in range(d)])
    return np.array(sorted(vectors))
