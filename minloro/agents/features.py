"""Features: a fixed map from observations to vectors in which action values are nearly linear.

Source: Konidaris, Osentoski and Thomas, "Value Function Approximation in Reinforcement Learning using the Fourier
Basis" (AAAI 2011); Sutton and Barto (2018), section 9.5.2.
"""

import itertools

import numpy as np


class FourierBasis:
    """phi_i(s) = cos(pi c_i · x), x = s rescaled from [low, high] to [0, 1], c_i every vector in {0, …, order}^d.

    Observations outside [low, high] count as lying on the edge: beyond it the cosines would mirror the state space.

    >>> basis = FourierBasis(low=[0.0], high=[2.0], order=2)
    >>> basis(np.array([1.0])).round(3) + 0
    array([ 1.,  0., -1.], dtype=float32)
    """

    def __init__(self, low, high, order: int):
        self.low = np.asarray(low, np.float32)
        self.high = np.asarray(high, np.float32)
        self.coefficients = np.array(list(itertools.product(range(order + 1), repeat=len(self.low))))  # [D, d]
        # Rescaling to [0, 1] and the factor pi are folded into the matrix: one product a call.
        self._matrix = (np.pi * self.coefficients / (self.high - self.low)).T.astype(np.float32)  # [d, D]

    @property
    def size(self) -> int:
        """D = (order + 1)^d, the number of features."""
        return len(self.coefficients)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Map observations (…, d) to features (…, D), float32."""
        inside = np.minimum(np.maximum(np.asarray(observations, np.float32), self.low), self.high)
        return np.cos((inside - self.low) @ self._matrix)  # [..., D]
