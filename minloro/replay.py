"""Replay buffer: a ring of transitions from which minibatches are drawn uniformly, with replacement.

Source: Lin (1992); Mnih et al. (2015). The buffer may keep features in the place of observations: the learning loop
encodes an observation once, when it is stored, and not again for every minibatch that it appears in.
"""

from collections.abc import Callable

import numpy as np

from minloro.transitions import Minibatch, Transitions

PART = 10_000  # rows of D that are encoded at once


class ReplayBuffer:
    """Hold at most `capacity` transitions; when full, the oldest one that is not part of D makes room.

    `observation` and `action` are examples (arrays or scalars) that fix the shapes and types of the rows. Numbers with a
    fraction are held as float32, which is what learning computes with, whatever the environment hands out.
    """

    def __init__(self, capacity: int, observation, action):
        self.capacity, self.size, self.n_data = capacity, 0, 0
        self._next = 0  # the row that is written next
        examples = map(np.asarray, (observation, action, 0.0, observation, False))
        self._columns = {
            name: np.zeros((capacity, *example.shape), np.float32 if example.dtype.kind == "f" else example.dtype)
            for name, example in zip(Minibatch.__slots__, examples, strict=True)
        }

    def __len__(self) -> int:
        return self.size

    def add(self, *transition) -> None:
        """Store one transition: observation, action, reward, next observation, terminated."""
        for array, value in zip(self._columns.values(), transition, strict=True):
            array[self._next] = value
        self._newest = self._next
        self.size = max(self.size, self._next + 1)
        self._next += 1
        if self._next == self.capacity:
            self._next = self.n_data

    def hold(self, data: Transitions, encode: Callable[[np.ndarray], np.ndarray]) -> None:
        """Put D into the empty buffer, to stay: the ring turns only over the rows behind it.

        encode: what an agent makes of observations; a part at a time, so that no second copy of all features is made.
        """
        n = len(data)
        if self.size or n > self.capacity:
            raise ValueError(f"{n} rows of D do not fit into a buffer of {self.capacity} that holds {self.size}")
        for start in range(0, n, PART):
            part = slice(start, min(start + PART, n))
            for name, array in self._columns.items():
                column = getattr(data, name)[part]
                array[part] = encode(column) if name.endswith("observations") else column
        self.size = self._next = self.n_data = n

    def sample(self, batch_size: int, rng: np.random.Generator, data_share: float | None = None) -> Minibatch:
        """Draw a minibatch; with `data_share`, that share of its rows from D and the others from what came after.

        Until both kinds are there, all rows come from the kind that is. The last row is always the newest transition
        that was added, if any was: what has just happened is learned from at once, however large the buffer
        ("combined experience replay", Zhang and Sutton 2017, arXiv 1712.01275).
        """
        uniform = rng.random(batch_size)  # times n and rounded down: a row below n, in half the time of rng.integers
        if data_share is None or self.n_data in (0, self.size):
            rows = (uniform * self.size).astype(np.intp)
        else:
            from_data = round(data_share * batch_size)
            low = np.repeat((0, self.n_data), (from_data, batch_size - from_data))
            high = np.repeat((self.n_data, self.size), (from_data, batch_size - from_data))
            rows = low + (uniform * (high - low)).astype(np.intp)
        if self.size > self.n_data:
            rows[-1] = self._newest
        return Minibatch(*[array.take(rows, axis=0) for array in self._columns.values()])
