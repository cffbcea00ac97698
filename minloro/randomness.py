"""One run seed and named streams: the only place where random generators are made.

A stream belongs to a purpose ("exploration", "evaluation", …). Further integers make it belong to
one episode or one evaluation. Streams with different names or integers are statistically
independent, and no stream depends on what was drawn from another one. So the arms can share the
luck of their environments, a resumed run can go on where it stopped, and episodes can be played in
any order.
"""

import zlib

import numpy as np


def _sequence(seed: int, name: str, keys: tuple[int, ...]) -> np.random.SeedSequence:
    name_key = zlib.crc32(name.encode())
    return np.random.SeedSequence(seed, spawn_key=(name_key, *keys))


def stream(seed: int, name: str, *keys: int) -> np.random.Generator:
    """Return the generator of the stream `name` with these integer keys, in its initial state.

    >>> stream(0, "exploration").random() == stream(0, "exploration").random()
    True
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, name, keys)))


def stream_seed(seed: int, name: str, *keys: int) -> int:
    """Return a seed for `env.reset(seed=…)`, below 2**31."""
    word = _sequence(seed, name, keys).generate_state(1)[0]  # 32 bits
    return int(word >> 1)
