"""Features: a fixed map from observations to vectors in which action values are nearly linear.

Sources: Konidaris, Osentoski and Thomas, "Value Function Approximation in Reinforcement Learning
using the Fourier Basis" (AAAI 2011); Sutton and Barto (2018), sections 9.5.2 and 9.5.5.

For a warm start it matters how far a feature reaches. A Fourier feature is global: what is learned
in one place changes the values everywhere. This generalises fast. But if no episode of D reaches a
distant goal, D then teaches that all states are hopeless, also states that are not in D. A radial
feature is local: states that are not in D keep their initial value. If that value is optimistic,
the agent goes there first when it learns online.

Observations outside [low, high] count as lying on the edge. Beyond the edge the cosines would
mirror the state space, and all bumps would be 0.

Shapes: d quantities in an observation, F features.
"""

from itertools import combinations, product
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from minloro.errors import UserError


class Features(Protocol):
    """Any map from observations to features."""

    size: int  # F

    def __call__(self, observations: np.ndarray, /) -> np.ndarray:
        """Map observations (…, d) to features (…, F)."""


class FourierBasis:
    """phi_i(s) = cos(pi c_i · x): x is s, rescaled from [low, high] to [0, 1].

    The c_i are the vectors in {0, …, order}^d. interactions: how many coefficients of a vector may
    differ from 0; by default all d of them. With 2, a feature depends on two quantities at most,
    and the number of features grows with d² instead of exponentially.

    >>> basis = FourierBasis(low=[0.0], high=[2.0], order=2)
    >>> basis(np.array([1.0])).round(3) + 0
    array([ 1.,  0., -1.], dtype=float32)
    >>> FourierBasis([0] * 6, [1] * 6, order=4, interactions=2).size
    265
    """

    def __init__(
        self, low: ArrayLike, high: ArrayLike, order: int, interactions: int | None = None
    ):
        self.low, self.high = _bounds(low, high)
        d = len(self.low)
        most = d if interactions is None else min(interactions, d)
        self.coefficients = _coefficients(d, order, most)  # [F, d]
        self.size = len(self.coefficients)
        # The matrix also rescales to [0, 1] and multiplies by pi: one product per call.
        frequencies = np.pi * self.coefficients / (self.high - self.low)  # [F, d]
        self._matrix = frequencies.T.astype(np.float32)  # [d, F]

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Map observations (…, d) to features (…, F), float32."""
        from_low = _inside(observations, self.low, self.high) - self.low  # [..., d]
        return np.cos(from_low.dot(self._matrix))  # [..., F]


class RadialBasis:
    """Normalised Gaussian bumps on a grid: their centres go from low to high in every dimension.

    per_dimension: how many centres there are in a dimension. width: standard deviation of a bump,
    in distances between centres. The features of a state add up to 1.

    >>> RadialBasis(low=[0.0], high=[2.0], per_dimension=3, width=0.5)(np.array([1.0])).round(3)
    array([0.107, 0.787, 0.107], dtype=float32)
    """

    def __init__(self, low: ArrayLike, high: ArrayLike, per_dimension: int, width: float):
        self.low, self.high = _bounds(low, high)
        self._scale = (per_dimension - 1) / (self.high - self.low)  # to distances between centres
        self._centres = np.arange(per_dimension, dtype=np.float32)
        self._sharpness = np.float32(0.5 / width**2)
        self.size = per_dimension ** len(self.low)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Map observations (…, d) to features (…, F), float32."""
        x = (_inside(observations, self.low, self.high) - self.low) * self._scale  # [..., d]
        distances = x[..., None] - self._centres  # [..., d, per_dimension]
        bumps = np.exp(-self._sharpness * distances**2)  # [..., d, per_dimension]
        bumps /= bumps.sum(axis=-1, keepdims=True)
        phi = bumps[..., 0, :]
        # A bump on the grid is a product of bumps, one from each dimension.
        for i in range(1, x.shape[-1]):
            products = phi[..., :, None] * bumps[..., i, None, :]
            phi = products.reshape(*x.shape[:-1], -1)
        return phi  # [..., F]


def _bounds(low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays, (d,); raise UserError if they are no bounds."""
    lows = np.asarray(low, np.float32)
    highs = np.asarray(high, np.float32)
    are_lists = lows.ndim == 1 and lows.shape == highs.shape
    if not are_lists or not (np.isfinite(highs - lows) & (lows < highs)).all():
        raise UserError(
            "low and high must be two lists of equal length, with finite numbers, "
            "each low below its high"
        )
    return lows, highs


def _inside(observations: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return observations, (…, d), moved within the bounds.

    Raises UserError if they do not have as many numbers as there are bounds.
    """
    states = np.asarray(observations, np.float32)
    if states.shape[-1:] != low.shape:
        raise UserError(
            f"observations have the shape {states.shape[-1:]}: "
            f"low and high need as many entries, not {len(low)}"
        )
    return np.minimum(np.maximum(states, low), high)


def _coefficients(d: int, order: int, interactions: int) -> np.ndarray:
    """Return the vectors c_i in lexicographic order, (F, d)."""
    vectors = []
    for n_nonzero in range(interactions + 1):
        for places in combinations(range(d), n_nonzero):
            for values in product(range(1, order + 1), repeat=n_nonzero):
                chosen = dict(zip(places, values, strict=True))
                vectors.append([chosen.get(i, 0) for i in range(d)])
    return np.array(sorted(vectors))
