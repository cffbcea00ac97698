"""The replay buffer: rows stay together, D stays, and every row has the same chance."""

import numpy as np
import pytest

from minloro.replay import ReplayBuffer


def row(i):
    """Transition number i. Its reward is its number."""
    return np.full(2, i, np.float32), i % 3, float(i), np.full(2, i + 1, np.float32), i % 5 == 0


def fill(capacity, n):
    buffer = ReplayBuffer(capacity, np.zeros(2, np.float32), 0)
    for i in range(n):
        buffer.add(*row(i))
    return buffer


def stored(buffer):
    return {int(r) for r in buffer.sample(4000, np.random.default_rng(0)).rewards}


def test_rows_stay_together():
    batch = fill(50, 50).sample(1000, np.random.default_rng(1))
    for i in range(1000):
        s, a, _, next_s, terminated = row(int(batch.rewards[i]))
        assert (batch.observations[i] == s).all() and (batch.next_observations[i] == next_s).all()
        assert (batch.actions[i], batch.terminated[i]) == (a, terminated)


def test_the_ring_forgets_the_oldest():
    buffer = fill(10, 10)
    assert len(buffer) == 10 and stored(buffer) == set(range(10))
    for i in range(10, 23):
        buffer.add(*row(i))
        assert len(buffer) == 10 and stored(buffer) == set(range(i - 9, i + 1))


def test_data_stays_and_the_ring_turns_behind_it(small_data):
    data = small_data.rows(slice(0, 4))
    buffer = ReplayBuffer(7, data.observations[0], 0)
    buffer.hold(data, np.asarray)
    assert len(buffer) == buffer.n_data == 4
    for i in range(100, 110):
        buffer.add(data.observations[0], 1, float(i), data.observations[1], False)
    assert len(buffer) == 7
    batch = buffer.sample(2000, np.random.default_rng(0))
    assert set(batch.rewards) == {*data.rewards.astype(np.float32), 107, 108, 109}
    assert as_set(batch.observations[batch.rewards < 100]) == as_set(data.observations)


def as_set(observations):
    return {tuple(observation) for observation in observations}


def test_data_are_encoded_a_part_at_a_time(small_data, monkeypatch):
    sizes = []

    def double(part):
        sizes.append(len(part))
        return 2 * part

    monkeypatch.setattr("minloro.replay.ROWS_AT_ONCE", 7)
    buffer = ReplayBuffer(len(small_data), np.zeros(4), 0)
    buffer.hold(small_data, double)
    assert max(sizes) == 7 and sum(sizes) == 2 * len(small_data)
    columns = buffer._columns
    np.testing.assert_array_equal(columns["observations"], 2 * small_data.observations)
    np.testing.assert_array_equal(columns["next_observations"], 2 * small_data.next_observations)
    np.testing.assert_array_equal(columns["actions"], small_data.actions)


def test_data_that_does_not_fit_is_refused(small_data):
    buffer = ReplayBuffer(3, small_data.observations[0], 0)
    with pytest.raises(ValueError, match="do not fit"):
        buffer.hold(small_data, np.asarray)


def test_a_fixed_share_of_every_minibatch(small_data):
    n = len(small_data)
    buffer = ReplayBuffer(n + 5, small_data.observations[0], 0)
    buffer.hold(small_data, np.asarray)
    rng = np.random.default_rng(0)
    assert (buffer.sample(64, rng, 0.25).rewards < 100).all()  # nothing but D is there yet
    for i in range(5):
        buffer.add(small_data.observations[0], 1, 100.0 + i, small_data.observations[1], False)
    for share, expected in ((0.25, 16), (0.5, 32), (0.9, 58)):
        assert sum(buffer.sample(64, rng, share).rewards < 100) == expected
    batch = buffer.sample(8000, rng, 0.5)
    assert set(batch.rewards) == {1, *range(100, 105)}
    of_data = batch.observations[batch.rewards < 100]
    assert as_set(of_data) == as_set(small_data.observations)


def test_sampling_is_uniform_and_reproducible():
    buffer = fill(10, 10)
    counts = np.bincount(buffer.sample(100_000, np.random.default_rng(3)).rewards.astype(int))
    assert counts.min() > 9_600 and counts.max() < 10_400  # 4 standard deviations
    again = [buffer.sample(64, np.random.default_rng(3)).rewards.tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_every_row_has_the_same_chance_in_both_parts_of_a_shared_minibatch(small_data):
    data = small_data.rows(slice(0, 4))
    buffer = ReplayBuffer(9, np.zeros(4, np.float32), 0)

    def row_numbers(part):
        return np.arange(len(part), dtype=np.float32)[:, None].repeat(4, axis=1)

    buffer.hold(data, row_numbers)
    for i in range(4, 9):
        buffer.add(np.full(4, i, np.float32), 1, 0.0, np.zeros(4, np.float32), False)
    batch = buffer.sample(90_001, np.random.default_rng(4), 4 / 9)
    counts = np.bincount(batch.observations[:-1, 0].astype(int), minlength=9)
    assert len(counts) == 9 and counts.min() > 9_600 and counts.max() < 10_400


def test_the_last_row_is_drawn_and_the_one_behind_it_never_is():
    class AlmostOne:
        """A generator at the upper end of what `random` can give."""

        def random(self, n):
            return np.full(n, np.nextafter(1.0, 0.0))

    for size in (1, 3, 10, 63, 1000):
        buffer = fill(size, size)
        assert set(buffer.sample(64, AlmostOne()).rewards) == {size - 1}
    # The formula itself, for sizes that are too large to build here.
    for size in (2**20 - 1, 2**20, 2**31 + 1, 2**40 + 3):
        assert int(np.nextafter(1.0, 0.0) * size) == size - 1


def test_a_minibatch_is_a_copy():
    buffer = fill(4, 4)
    buffer.sample(64, np.random.default_rng(0)).observations[:] = -1
    assert (buffer.sample(64, np.random.default_rng(0)).observations >= 0).all()
