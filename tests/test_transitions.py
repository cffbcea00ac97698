"""The data set as a file: what is refused, and returns at another step limit."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

import minloro
from minloro.errors import UserError
from minloro.rollout import unreproduced
from minloro.transitions import COLUMNS, Transitions, load_transitions, save_transitions


def write(path, data, **changes):
    """Save `data` without minloro's own writer.

    changes: columns that are replaced, or left out if they are None.
    """
    arrays = {name: getattr(data, name) for name in COLUMNS}
    arrays["metadata"] = np.array(json.dumps(data.metadata))
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_a_file_gives_back_what_was_saved(tmp_path, cartpole, small_data):
    save_transitions(tmp_path / "d.npz", small_data)
    loaded = load_transitions(tmp_path / "d.npz", cartpole)
    for name in (*COLUMNS, "source"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(small_data, name))
    assert loaded.observations.dtype == np.float32
    assert loaded.metadata.items() >= small_data.metadata.items()
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]


def test_saving_over_a_file_that_cannot_be_written_keeps_the_old_one(
    tmp_path, small_data, monkeypatch
):
    save_transitions(tmp_path / "d.npz", small_data)
    before = (tmp_path / "d.npz").read_bytes()
    monkeypatch.setattr(np, "savez", lambda file, **_: (file.write(b"half a file"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        save_transitions(tmp_path / "d.npz", small_data)
    assert (tmp_path / "d.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def changed(array, row, value):
    array = np.array(array)
    array[row] = value
    return array


BAD_COLUMNS = {
    "actions holds values": lambda d: {"actions": changed(d.actions, 0, 2)},
    "actions has the type": lambda d: {"actions": d.actions.astype(float)},
    "observations holds NaN": lambda d: {"observations": changed(d.observations, (3, 1), np.nan)},
    "rewards holds NaN, infinite": lambda d: {"rewards": changed(d.rewards, 3, np.inf)},
    "observations has the shape": lambda d: {"observations": d.observations[:, :3]},
    "next_observations has the shape": lambda d: {"next_observations": d.next_observations[:-1]},
    "rewards has the shape": lambda d: {"rewards": d.rewards[:, None]},
    "rewards has the type": lambda d: {"rewards": d.rewards.astype(str)},
    "no transitions": lambda d: {name: getattr(d, name)[:0] for name in COLUMNS},
    "it has no truncated": lambda d: {"truncated": None},
    "it has no metadata": lambda d: {"metadata": None},
    "'environment'": lambda d: {"metadata": np.array('{"model": "x"}')},
    "not a JSON text": lambda d: {"metadata": np.array("{")},
    "metadata is not": lambda d: {"metadata": np.array("[1]")},
    "holds transitions of Pendulum-v1": lambda d: {
        "metadata": np.array('{"environment": "Pendulum-v1"}')
    },
    "goes on after a row": lambda d: {"terminated": np.ones(len(d), bool)},
    "terminated must be true or false": lambda d: {"terminated": np.full(len(d), 2)},
    "do not stand together": lambda d: {"episode": changed(d.episode, 0, 2)},
    "collection_step_limit": lambda d: {
        "metadata": np.array('{"environment": "CartPole-v1", "collection_step_limit": 0}')
    },
}


@pytest.mark.parametrize("message", BAD_COLUMNS)
def test_unusable_data_is_refused_in_one_line(tmp_path, cartpole, small_data, message):
    path = write(tmp_path / "d.npz", small_data, **BAD_COLUMNS[message](small_data))
    with pytest.raises(UserError, match=message) as caught:
        load_transitions(path, cartpole)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_files_that_are_no_data_set(tmp_path, cartpole, small_data):
    good = write(tmp_path / "good.npz", small_data).read_bytes()
    array = io.BytesIO()
    np.save(array, np.arange(3))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("observations.npy", b"not an array")
    garbled = bytearray(good)
    garbled[200:400] = bytes(200)
    foreign = {
        "empty": b"",
        "text": b"hello",
        "cut": good[: len(good) // 2],
        "garbled": bytes(garbled),
        "array": array.getvalue(),
        "zip": zipped.getvalue(),
        "pickle": pickle.dumps(Bomb()),
    }
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="not a readable .npz|not a data set|pickled"):
            load_transitions(tmp_path / name, cartpole)
    with pytest.raises(UserError, match="cannot be read"):
        load_transitions(tmp_path / "missing.npz", cartpole)
    with pytest.raises(UserError, match="cannot be read"):
        load_transitions(tmp_path, cartpole)


def test_pickled_columns_are_never_loaded(tmp_path, cartpole, small_data):
    bombs = np.array([Bomb()] * len(small_data), dtype=object)
    path = write(tmp_path / "d.npz", small_data, source=bombs)
    with pytest.raises(UserError, match="pickled"):
        load_transitions(path, cartpole)


def test_loaded_and_collected_data_cannot_be_changed(tmp_path, cartpole, small_data):
    save_transitions(tmp_path / "d.npz", small_data)
    for data in (small_data, load_transitions(tmp_path / "d.npz", cartpole)):
        with pytest.raises(ValueError, match="read-only"):
            data.rewards[0] = 5.0


def episodes(lengths, terminated, metadata):
    """D with rewards of 1; the last row of every episode is terminated or truncated."""
    n = sum(lengths)
    is_last = np.zeros(n, bool)
    is_last[np.cumsum(lengths) - 1] = True
    over = is_last & np.repeat(terminated, lengths)
    zeros = np.zeros((n, 4), np.float32)
    return Transitions(
        observations=zeros,
        actions=np.zeros(n, int),
        rewards=np.ones(n),
        next_observations=zeros,
        terminated=over,
        truncated=is_last & ~over,
        episode=np.repeat(np.arange(len(lengths)), lengths),
        metadata=metadata,
    )


def test_returns_at_another_step_limit():
    data = episodes([30, 50, 10], [True, False, False], {"collection_step_limit": 50})
    assert data.episode_returns.tolist() == [30, 50, 10]
    assert data.returns_at(50).tolist() == [30, 50, 10]
    # What was cut off goes on at its mean reward per step.
    assert data.returns_at(200).tolist() == [30, 200, 200]
    assert data.rescaled(200) and not data.rescaled(50)
    longer = episodes([30, 400], [True, True], {"collection_step_limit": 500})
    assert longer.returns_at(200).tolist() == [30, 200]


def test_an_unfinished_last_episode_has_no_return():
    data = episodes([30, 7], [True, False], {"last_episode_unfinished": True})
    assert data.returns_at(200).tolist() == [30] and data.n_finished == 1 and data.cost == 37
    alone = episodes([7], [False], {"last_episode_unfinished": True})
    assert alone.n_finished == 1 and alone.returns_at(200).tolist() == [200]


def test_first_episodes(small_data):
    first = small_data.first_episodes(2)
    assert set(first.episode) == {0, 1} and len(first) == small_data.episode_lengths[:2].sum()
    assert len(small_data.first_episodes(99)) == len(small_data)


def test_every_published_row_replays_and_misaligned_ones_do_not(published, cartpole):
    data = load_transitions(published("cartpole"), cartpole)
    assert len(data) == 998 and not unreproduced(cartpole, data).any()
    # As the official code stores them: s' stands beside the action that was taken before it.
    rest = vars(data.rows(slice(1, None)))
    shifted = {"observations": data.next_observations[:-1], "actions": data.actions[:-1]}
    misaligned = Transitions(**rest | shifted)
    assert unreproduced(cartpole, misaligned).mean() > 0.4
    # A time limit that is stored as a termination.
    cut = Transitions(*(getattr(data, name)[:5].copy() for name in COLUMNS))
    cut.terminated[-1] = True
    assert unreproduced(cartpole, cut).tolist() == [False] * 4 + [True]


def test_whole_numbers_without_a_sign_become_ordinary_ones(tmp_path, cartpole, small_data):
    unsigned = write(tmp_path / "d.npz", small_data, actions=small_data.actions.astype(np.uint64))
    data = load_transitions(unsigned, cartpole)
    assert data.actions.dtype == np.int64 and not unreproduced(cartpole, data).any()
    minloro.pretrain(cartpole.make_agent(), data, updates=2)
    # Observations of single bytes stay small: they would become eight times as large.
    bytes_seen = np.zeros((len(small_data), 4), np.uint8)
    path = write(tmp_path / "d.npz", small_data, observations=bytes_seen)
    assert load_transitions(path, cartpole).observations.dtype == np.uint8


def test_without_a_recorded_limit_the_lengths_tell():
    cut = episodes([49, 49], [False, False], {})
    assert cut.rescaled(200) and cut.returns_at(200).tolist() == [200, 200]
    whole = episodes([200, 30], [False, True], {})
    assert not whole.rescaled(200) and whole.returns_at(200).tolist() == [200, 30]
