"""Replay buffer: a ring of transitions; minibatches are drawn uniformly, with replacement.

Sources: Lin (1992); Mnih et al. (2015). The buffer may hold features in the place of observations:
the learning loop computes them once, when it stores a transition, and not again for every minibatch
in which the transition appears.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minloro.transitions import Minibatch, Transitions

ROWS_AT_ONCE = 10_000  # of D, that are encoded together


class ReplayBuffer:
    """Hold at most `capacity` transitions. When it is full, the oldest one outside D makes room.

    `observation` and `action` are examples, arrays or scalars: they fix the shapes and types of the
    rows. Numbers with a fraction are held as float32, which is what learning computes with.
    """

    def __init__(self, capacity: int, observation: Any, action: Any):
        self.capacity = capacity
        self.size = 0
        self.n_data = 0  # rows of D, which come first and stay
        self._next = 0  # the row that is written next
        self._newest = 0  # the row that was written last
        examples = (observation, action, 0.0, observation, False)
        columns = zip(Minibatch.__slots__, examples, strict=True)
        self._columns = {name: _empty_column(capacity, example) for name, example in columns}

    def __len__(self) -> int:
        return self.size

    def add(self, *transition: Any) -> None:
        """Store one transition: observation, action, reward, next observation, terminated."""
        for column, value in zip(self._columns.values(), transition, strict=True):
            column[self._next] = value
        self._newest = self._next
        self.size = max(self.size, self._next + 1)
        self._next += 1
        if self._next == self.capacity:
            self._next = self.n_data

    def hold(self, data: Transitions, encode: Callable[[np.ndarray], np.ndarray]) -> None:
        """Put D into the empty buffer, to stay: later transitions only replace each other.

        encode: turns observations into what an agent learns from. It is called for a part of D at
        a time, so that there is never a second copy of all features.
        """
        n = len(data)
        if self.size or n > self.capacity:
            raise ValueError(
                f"{n} rows of D do not fit into a buffer of {self.capacity} that holds {self.size}"
            )
        for start in range(0, n, ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, n))
            for name, column in self._columns.items():
                values = getattr(data, name)[part]
                column[part] = encode(values) if name.endswith("observations") else values
        self.size = n
        self.n_data = n
        self._next = n

    def sample(
        self, batch_size: int, rng: np.random.Generator, data_share: float | None = None
    ) -> Minibatch:
        """Draw a minibatch; with `data_share`, that share of its rows comes from D.

        While the buffer holds rows of D only, or none of D, all rows are drawn from what there is.
        The last row is always the newest transition that was added, if there is one: what has just
        happened is learned from at once, however large the buffer is ("combined experience replay",
        Zhang and Sutton 2017, arXiv 1712.01275).
        """
        # A uniform number times n, rounded down, takes half the time of rng.integers(n).
        uniform = rng.random(batch_size)
        if data_share is None or self.n_data in (0, self.size):
            rows = (uniform * self.size).astype(np.intp)
        else:
            n_from_data = round(data_share * batch_size)
            n_from_each = (n_from_data, batch_size - n_from_data)
            low = np.repeat((0, self.n_data), n_from_each)
            high = np.repeat((self.n_data, self.size), n_from_each)
            rows = low + (uniform * (high - low)).astype(np.intp)
        if self.size > self.n_data:
            rows[-1] = self._newest
        return Minibatch(*[column.take(rows, axis=0) for column in self._columns.values()])


def _empty_column(capacity: int, example: Any) -> np.ndarray:
    """Return room for `capacity` values like the example."""
    value = np.asarray(example)
    dtype = np.float32 if value.dtype.kind == "f" else value.dtype
    return np.zeros((capacity, *value.shape), dtype)
