"""One run seed, fixed named streams: the only place where random generators are made.

A stream belongs to a purpose ("exploration", "evaluation", …) and, through further integers, to an episode or a grid
point. Streams of different names or keys are statistically independent, and a stream does not depend on what was drawn
from any other. That is what lets the arms share their environments' luck, a resumed run go on where it stopped, and
episodes be played in any order.
"""

import zlib

import numpy as np


def _sequence(seed: int, name: str, keys: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()), *keys))


def stream(seed: int, name: str, *keys: int) -> np.random.Generator:
    """Return the generator of the stream `name` with the given integer keys, always in its initial state.

    >>> int(stream(0, "exploration").integers(1000)) == int(stream(0, "exploration").integers(1000))
    True
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, name, keys)))


def stream_seed(seed: int, name: str, *keys: int) -> int:
    """Return a seed for `env.reset(seed=…)`, below 2**31."""
    return int(_sequence(seed, name, keys).generate_state(1)[0] >> 1)
