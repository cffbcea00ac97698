import numpy as np
import pytest

from minloro.replay import ReplayBuffer


def row(i):
    return (np.full(2, i, np.float32), i % 3, float(i), np.full(2, i + 1, np.float32), i % 5 == 0, i % 7 == 0, i)


def fill(capacity, n):
    buffer = ReplayBuffer(capacity, np.zeros(2, np.float32), 0)
    for i in range(n):
        buffer.add(*row(i))
    return buffer


def stored(buffer):
    return {int(e) for e in buffer.sample(4000, np.random.default_rng(0)).episode}


def test_rows_stay_together():
    batch = fill(50, 50).sample(1000, np.random.default_rng(1))
    for i in range(1000):
        n = int(batch.episode[i])
        s, a, r, next_s, terminated, truncated, _ = row(n)
        assert (batch.observations[i] == s).all() and (batch.next_observations[i] == next_s).all()
        assert (batch.actions[i], batch.rewards[i]) == (a, r)
        assert (batch.terminated[i], batch.truncated[i]) == (terminated, truncated)


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
        buffer.add(data.observations[0], 1, float(i), data.observations[1], False, False, i)
    assert len(buffer) == 7
    batch = buffer.sample(2000, np.random.default_rng(0))
    assert set(batch.episode) == {0, 107, 108, 109}
    kept = batch.rewards[batch.episode == 0]
    assert set(kept) == set(data.rewards.astype(np.float32))


def test_data_are_encoded_a_part_at_a_time(small_data, monkeypatch):
    sizes = []
    monkeypatch.setattr("minloro.replay.PART", 7)
    buffer = ReplayBuffer(len(small_data), np.zeros(4), 0)
    buffer.hold(small_data, lambda part: sizes.append(len(part)) or 2 * part)
    assert max(sizes) == 7 and sum(sizes) == 2 * len(small_data)
    np.testing.assert_array_equal(buffer._columns["observations"], 2 * small_data.observations)
    np.testing.assert_array_equal(buffer._columns["next_observations"], 2 * small_data.next_observations)
    np.testing.assert_array_equal(buffer._columns["actions"], small_data.actions)


def test_data_that_does_not_fit_is_refused(small_data):
    buffer = ReplayBuffer(3, small_data.observations[0], 0)
    with pytest.raises(ValueError, match="do not fit"):
        buffer.hold(small_data, np.asarray)


def test_a_fixed_share_of_every_minibatch(small_data):
    n = len(small_data)
    buffer = ReplayBuffer(n + 5, small_data.observations[0], 0)
    buffer.hold(small_data, np.asarray)
    rng = np.random.default_rng(0)
    assert (buffer.sample(64, rng, 0.25).episode < 100).all()  # nothing but D is there yet
    for i in range(5):
        buffer.add(small_data.observations[0], 1, 0.0, small_data.observations[1], False, False, 100 + i)
    for share, expected in ((0.25, 16), (0.5, 32), (0.9, 58)):
        assert sum(buffer.sample(64, rng, share).episode < 100) == expected
    assert set(buffer.sample(4000, rng, 0.5).episode) == {0, 1, 2, *range(100, 105)}


def test_sampling_is_uniform_and_reproducible():
    buffer = fill(10, 10)
    counts = np.bincount(buffer.sample(100_000, np.random.default_rng(3)).episode)
    assert counts.min() > 9_600 and counts.max() < 10_400  # 4 standard deviations
    again = [buffer.sample(64, np.random.default_rng(3)).episode.tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_a_minibatch_is_a_copy():
    buffer = fill(4, 4)
    buffer.sample(64, np.random.default_rng(0)).observations[:] = -1
    assert (buffer.sample(64, np.random.default_rng(0)).observations >= 0).all()
