"""The recipes for other libraries, against the real packages: no episode and no row is lost.

`pip install d3rlpy`, then `pip install -e '.[test]' 'minari[hdf5]'`, then
`python -m pytest -m recipes`. d3rlpy 2.8 asks for gymnasium 1.0.0, but works with the later version
that minloro needs: pip says so and goes on.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import CORE_TASKS

import minloro
from minloro.transitions import COLUMNS, Transitions, from_rows, load_transitions, save_transitions

pytestmark = pytest.mark.recipes
RECIPES = Path(__file__).resolve().parents[1] / "tutorials" / "recipes"
PUBLISHED_TASKS = ("cartpole", "mountaincar", "pendulum", "cliffwalking", "frozenlake")
PUBLISHED = [f"published {name}" for name in PUBLISHED_TASKS]


def recipe(name):
    """Import a recipe by its name."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unfinished() -> Transitions:
    """Three CartPole episodes: terminated, not ended at all, truncated."""
    rows = []
    flags = {0: (True, False), 1: (False, False), 2: (False, True)}
    for episode, flag in flags.items():
        for step in range(3):
            number = 10 * episode + step
            before = np.full(4, 0.01 * number, np.float32)
            after = np.full(4, 0.01 * (number + 1), np.float32)
            end = flag if step == 2 else (False, False)
            rows.append((before, step % 2, 1.0, after, *end, 5 * episode))
    return from_rows(rows, None, {"environment": "CartPole-v1"})


@pytest.fixture(params=["unfinished", *CORE_TASKS, *PUBLISHED])
def data_and_file(request, tmp_path, published):
    """D and its file: published, played by the stand-in, or with an episode that does not end."""
    kind, _, name = request.param.rpartition(" ")
    if kind == "published":
        return load_transitions(published(name), minloro.make_task(name)), published(name)
    if name == "unfinished":
        data = unfinished()
    else:
        task = minloro.make_task(name)
        data = minloro.collect(task, minloro.StandInLLM(task, seed=1), episodes=4, seed=1)
    save_transitions(tmp_path / "d.npz", data)
    return data, tmp_path / "d.npz"


def parts(data):
    """Yield the rows of each episode."""
    for number in data.episode_ids:
        yield data.rows(data.episode == number)


def test_d3rlpy(data_and_file, tmp_path):
    d3rlpy = pytest.importorskip("d3rlpy")
    data, path = data_and_file
    assert recipe("to_d3rlpy").main([str(path), str(tmp_path / "d.h5")]) == 0
    with open(tmp_path / "d.h5", "rb") as file:
        loaded = d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())
    assert loaded.size() == len(data.episode_ids)
    assert loaded.transition_count == len(data)  # an episode that was cut off loses none
    for episode, rows in zip(loaded.episodes, parts(data), strict=True):
        extra = int(not rows.terminated[-1])
        assert episode.terminated == rows.terminated[-1] and episode.size() == len(rows) + extra
        assert episode.transition_count == len(rows)
        actions = rows.actions.reshape(len(rows), -1)
        np.testing.assert_array_equal(episode.actions[: len(rows)], actions)
        np.testing.assert_array_equal(episode.rewards[: len(rows), 0], rows.rewards)
        assert episode.observations.dtype == rows.observations.dtype
        assert episode.actions.dtype == rows.actions.dtype
        assert episode.compute_return() == pytest.approx(rows.rewards.sum())
        for i in range(len(rows)):
            step = loaded.transition_picker(episode, i)
            terminated = rows.terminated[i]
            np.testing.assert_array_equal(step.observation, np.atleast_1d(rows.observations[i]))
            np.testing.assert_array_equal(step.action, np.atleast_1d(rows.actions[i]))
            assert step.reward == rows.rewards[i] and step.terminal == terminated
            following = rows.next_observations[i]
            if terminated:
                following = np.zeros_like(following)
            np.testing.assert_array_equal(step.next_observation, np.atleast_1d(following))


def test_what_d3rlpy_does_without_the_recipe():
    """The claims of the recipe about d3rlpy's own conventions."""
    dataset = pytest.importorskip("d3rlpy").dataset
    data = unfinished()
    ends = (data.terminated.astype(float), data.truncated.astype(float))
    columns = (data.observations, data.actions, data.rewards, *ends)
    plain = dataset.MDPDataset(*columns)
    # The unfinished episode is joined to the next one, and the truncated row is left out.
    assert [episode.size() for episode in plain.episodes] == [3, 6]
    assert [episode.transition_count for episode in plain.episodes] == [3, 5]
    dropped = dataset.MDPDataset(*(column[:6] for column in columns))
    assert [episode.size() for episode in dropped.episodes] == [3]  # the unfinished one is gone


def test_d3rlpy_learns_from_it(small_data):
    d3rlpy = pytest.importorskip("d3rlpy")
    to_d3rlpy = recipe("to_d3rlpy").to_d3rlpy
    learner = d3rlpy.algos.DoubleDQNConfig(batch_size=16).create(device="cpu:0")
    dataset = to_d3rlpy({name: getattr(small_data, name) for name in COLUMNS}, action_size=2)
    quiet = d3rlpy.logging.NoopAdapterFactory()
    learner.fit(dataset, n_steps=5, n_steps_per_epoch=5, show_progress=False, logger_adapter=quiet)
    assert learner.predict(small_data.observations).shape == (len(small_data),)


def test_minari(data_and_file, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    data, path = data_and_file
    assert recipe("to_minari").main([str(path), "test/d-v0"]) == 0
    loaded = minari.load_dataset("test/d-v0")
    assert loaded.total_episodes == len(data.episode_ids) and loaded.total_steps == len(data)
    for episode, rows in zip(loaded.iterate_episodes(), parts(data), strict=True):
        assert len(episode.observations) == len(rows) + 1
        ends = np.arange(len(rows)) == len(rows) - 1
        columns = {
            "observations": (episode.observations[:-1], rows.observations),
            "next_observations": (episode.observations[1:], rows.next_observations),
            "actions": (episode.actions, rows.actions),
            "rewards": (episode.rewards, rows.rewards),
            "terminated": (episode.terminations, rows.terminated),
            "truncated": (episode.truncations, ends & ~rows.terminated),
        }
        for name, (theirs, ours) in columns.items():
            assert np.asarray(theirs).dtype == ours.dtype, name
            np.testing.assert_array_equal(theirs, ours, name)
    assert json.loads(loaded.storage.metadata["description"]).items() >= data.metadata.items()
    env = loaded.recover_environment()
    assert env.spec.id == data.metadata["environment"]
    assert env.spec.max_episode_steps == data.metadata.get("collection_step_limit", 500)
    env.close()


@pytest.mark.parametrize(("package", "target"), [("d3rlpy", "d.h5"), ("minari", "test/d-v0")])
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, small_data, package, target):
    pytest.importorskip(package)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)
    module = recipe(f"to_{package}")
    save_transitions("d.npz", small_data)
    save_transitions("gap.npz", small_data.rows(np.arange(len(small_data)) != 2))
    Path("empty.npz").write_bytes(b"")
    Path("text.npz").write_text("no archive")
    Path("zip.npz").write_bytes(Path("d.npz").read_bytes()[:1000])
    np.savez("other.npz", a=np.zeros(3))
    bad_files = ("no.npz", "empty.npz", "text.npz", "zip.npz", "other.npz", "gap.npz")
    for argv in ([], ["d.npz"], *([name, target] for name in bad_files)):
        assert module.main(argv) == 2, argv
        assert capsys.readouterr().err.count("error: ") == 1
    assert module.main(["d.npz", target]) == 0
    capsys.readouterr()
    assert module.main(["d.npz", target]) == 2  # what is there stays there
    assert "exist" in capsys.readouterr().err
