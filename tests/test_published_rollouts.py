"""The reader of the official pickles: what comes out equals what was played.

Nothing in a file is executed.
"""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import CORE_TASKS

import minloro
from minloro.rollout import unreproduced
from minloro.transitions import COLUMNS, load_transitions

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tutorials" / "recipes" / "published_rollouts.py"
ORIGINALS = ROOT.parent / "shared" / "data" / "original"
CARTPOLE = "CartPole_Some-7B_Neps_2_20250101000000.pkl"

spec = importlib.util.spec_from_file_location("published_rollouts", SCRIPT)
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)


class Stored:
    """Has the attributes that it is given, as d3rlpy's classes have them in a pickle."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def fake_d3rlpy():
    """Return modules with d3rlpy's classes as a pickle names them, and the classes: two dicts."""
    modules = {name: ModuleType(name) for name in ("d3rlpy", "d3rlpy.dataset")}
    classes = {}
    places = {"MDPDataset": "compat", "InfiniteBuffer": "buffers", "Episode": "components"}
    for name, place in places.items():
        module = ModuleType(f"d3rlpy.dataset.{place}")
        classes[name] = type(name, (Stored,), {"__module__": module.__name__})
        setattr(module, name, classes[name])
        modules[module.__name__] = module
    return modules, classes


def official_columns(rows):
    """Return the columns of an episode as the official code stores it: s_{t+1} beside a_t."""
    return {
        "observations": rows.next_observations,
        "actions": rows.actions.reshape(len(rows), -1),
        "rewards": rows.rewards[:, None],
    }


@pytest.fixture
def write(monkeypatch, tmp_path):
    """A function that stores data as the official code does: pickled, in d3rlpy's classes."""
    modules, classes = fake_d3rlpy()

    def store(data, name=CARTPOLE, folder=tmp_path / "official", **changes) -> Path:
        episodes = []
        for number in data.episode_ids:
            columns = official_columns(data.rows(data.episode == number))
            columns |= {column: change(columns[column]) for column, change in changes.items()}
            episodes.append(classes["Episode"](**columns, terminated=True))
        root = classes["MDPDataset"](_buffer=classes["InfiniteBuffer"](_episodes=episodes))
        folder.mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            for module, fake in modules.items():
                patch.setitem(sys.modules, module, fake)
            (folder / name).write_bytes(pickle.dumps(root, protocol=4))
        return folder / name

    return store


def played(name, episodes=3):
    task = minloro.make_task(name)
    return task, minloro.collect(task, minloro.StandInLLM(task, seed=1), episodes=episodes, seed=1)


@pytest.fixture
def refused(tmp_path, capsys):
    """A function that runs the reader and returns its error: one line, with exit status 2."""

    def line(source, folder=tmp_path / "out", *options) -> str:
        existed = folder.exists()
        before = sorted(folder.glob("*"))
        assert reader.main([str(source), str(folder), *options]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ")
        assert err.count("\n") == 1 and err.isascii()
        assert folder.exists() == existed and sorted(folder.glob("*")) == before
        return err

    return line


@pytest.mark.parametrize("name", ["cartpole", "cliffwalking"])
def test_the_originals_give_the_realigned_data(published, tmp_path, capsys, name):
    expected = published(name)
    if not ORIGINALS.exists():
        pytest.skip(f"the original pickles are not here ({ORIGINALS})")
    assert reader.main([str(ORIGINALS), str(tmp_path)]) == 0
    with np.load(tmp_path / f"{name}.npz") as ours, np.load(expected) as theirs:
        for column in COLUMNS:
            assert ours[column].dtype == theirs[column].dtype
            np.testing.assert_array_equal(ours[column], theirs[column])
        metadata, expected = (json.loads(str(file["metadata"])) for file in (ours, theirs))
    assert expected.pop("source_commit")  # which a file does not tell
    assert metadata.items() >= expected.items() and len(metadata["source_sha256"]) == 64
    right = {
        "cartpole": "361 of 998 (36%)    998 of 998 (100%)",
        "cliffwalking": "3077 of 5484 (56%)  5514 of 5514 (100%)",
    }
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(name))
    assert right[name] in line and "Qwen2.5-7B-Instruct" in line


@pytest.mark.parametrize("name", CORE_TASKS)
def test_what_was_played_comes_back(write, tmp_path, capsys, name):
    task, data = played(name)
    write(data, f"{task.environment.split('-')[0]}_Some-7B_Neps_3_20250101000000.pkl")
    assert reader.main([str(tmp_path / "official"), str(tmp_path / "out")]) == 0
    read = load_transitions(tmp_path / "out" / f"{name}.npz", task)
    assert not unreproduced(task, read).any()
    start_known = name in ("frozenlake", "cliffwalking")
    first = np.append(True, data.episode[1:] != data.episode[:-1])
    kept = data if start_known else data.rows(~first)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(read, column), getattr(kept, column), column)
    assert read.metadata["first_transition_dropped"] is not start_known
    assert read.metadata["collection_step_limit"] == task.step_limit
    assert f"{data.episode_returns.mean():.2f}" in capsys.readouterr().out


def test_the_step_limit_is_that_of_the_episodes_that_were_cut_off(write, tmp_path):
    task, data = played("pendulum", 2)
    step = np.concatenate([np.arange(length) for length in data.episode_lengths])
    path = write(data.rows(step < 50), "Pendulum_Some-7B_Neps_2_20250101000000.pkl")
    assert reader.main([str(path), str(tmp_path)]) == 0
    read = load_transitions(tmp_path / "pendulum.npz", task)
    assert read.metadata["collection_step_limit"] == 50
    assert read.episode_lengths.tolist() == [49, 49]
    assert read.truncated.sum() == 2 and not read.terminated.any()


def opcodes(module: str, name: str) -> bytes:
    """A pickle that asks for module.name and calls it with one argument."""
    strings = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + strings + b"\x93\x8c\x05touch\x85R."


HARMFUL = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("subprocess", "Popen"),
    ("numpy", "load"),
    ("numpy", "testing.runstring"),
    ("numpy.testing", "runstring"),
    ("numpy.f2py", "compile"),
    ("numpy", "core.foo.os.system"),
    ("numpy.core.multiarray", "_reconstruct.__globals__"),
    ("numpy", "ndarray.tofile"),
    ("d3rlpy.dataset.compat", "MDPDataset.load"),
    ("d3rlpy.dataset.compat", "os"),
    ("d3rlpy.algos", "DoubleDQN"),
    ("copyreg", "_reconstructor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("NumPy", "dtype"),
    ("", "eval"),
]


@pytest.mark.parametrize(("module", "name"), HARMFUL)
def test_any_other_name_is_refused(tmp_path, refused, module, name):
    (tmp_path / CARTPOLE).write_bytes(opcodes(module, name))
    assert f"asks for {module}.{name}," in refused(tmp_path / CARTPOLE)


def test_nothing_is_executed(tmp_path, write, refused, small_data):
    class Harmful:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    pickle.loads(pickle.dumps(Harmful()))
    assert (tmp_path / "executed").exists()  # what pickle itself would do
    (tmp_path / "executed").unlink()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps([small_data.observations, Harmful()], protocol)
        (tmp_path / CARTPOLE).write_bytes(content)
        assert "it asks for " in refused(tmp_path / CARTPOLE)
    path = write(small_data, rewards=lambda rewards: Harmful())  # in the place of an array
    assert ".system," in refused(path)
    assert not (tmp_path / "executed").exists()


def test_admitted_names_are_not_imported_either(write, small_data, tmp_path):
    path = write(small_data)
    before = set(sys.modules)
    assert reader.main([str(path), str(tmp_path)]) == 0
    assert not any(name.startswith("d3rlpy") for name in set(sys.modules) - before)


def test_names_cannot_write_to_the_terminal(tmp_path, refused):
    (tmp_path / CARTPOLE).write_bytes(b"cos\x1b[2J\x07\nsystem\r\n.")
    assert "os?[2J?.system" in refused(tmp_path / CARTPOLE)


UNREADABLE = "is not a readable pickle"
STRANGE = {
    "empty": (b"", UNREADABLE),
    "text": (b"this is no pickle", UNREADABLE),
    "zip": (b"PK\x03\x04" + bytes(100), UNREADABLE),
    "dict": (pickle.dumps({"a": 1}), "an object of the type dict"),
    "a class alone": (b"cd3rlpy.dataset.compat\nMDPDataset\n.", "an object of the type type"),
    "an empty data set": (b"cd3rlpy.dataset.compat\nMDPDataset\n)\x81.", UNREADABLE),
    "a reference": (b"\x80\x04\x8c\x01xQ.", "outside of itself"),
    "an old reference": (b"Pname\n.", "outside of itself"),
    "an extension code": (b"\x80\x04\x82\x01.", UNREADABLE),
    "a huge string": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f", UNREADABLE),
}


@pytest.mark.parametrize(("content", "problem"), STRANGE.values(), ids=STRANGE)
def test_other_contents_end_in_one_line(tmp_path, refused, content, problem):
    (tmp_path / CARTPOLE).write_bytes(content)
    line = refused(tmp_path / CARTPOLE)
    assert CARTPOLE in line and problem in line


def test_files_cut_short_end_in_one_line(write, small_data, refused):
    path = write(small_data)
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:length])
        assert "not a readable pickle" in refused(path)


def object_array(values):
    return values.astype(object)


def first_row(column):
    return column[:1]


BAD_EPISODES = {
    "array of the type O8": {"actions": object_array},
    "array of the type V": {"rewards": lambda rewards: rewards.view([("reward", "f8")])},
    "outside of Discrete(2)": {"actions": lambda actions: actions + 1},
    "outside of Box": {"observations": lambda observations: observations * 100},
    "realigned rows are not what": {
        "observations": lambda observations: observations * np.float32(1.001)
    },
    "of less than two steps": dict.fromkeys(("observations", "actions", "rewards"), first_row),
    "differ in number": {"observations": lambda observations: observations[1:]},
    "not a readable pickle": {"rewards": lambda rewards: rewards[1:]},
    "values outside of Discrete(2)": {"actions": lambda actions: actions / 2},
    "outside of Discrete": {"actions": lambda actions: np.full(actions.shape, np.nan)},
}


@pytest.mark.parametrize("problem", BAD_EPISODES)
def test_bad_episodes_are_refused(write, small_data, refused, problem):
    assert problem in refused(write(small_data, **BAD_EPISODES[problem]))


def test_other_layouts_of_the_same_numbers(write, small_data, tmp_path):
    write(
        small_data,
        observations=lambda o: np.asfortranarray(o.astype(">f8")),
        rewards=lambda r: r.astype("i2"),
    )
    assert reader.main([str(tmp_path / "official"), str(tmp_path / "out")]) == 0
    with np.load(tmp_path / "out" / "cartpole.npz") as file:
        assert file["observations"].dtype == np.float32 and file["rewards"].dtype == np.float64
        first = np.append(True, small_data.episode[1:] != small_data.episode[:-1])
        np.testing.assert_array_equal(file["observations"], small_data.observations[~first])


def test_a_folder_gives_the_latest_file_of_one_model(write, small_data, tmp_path, refused, capsys):
    first = small_data.first_episodes(1)
    second = small_data.first_episodes(2)
    write(first, "CartPole_Some-7B_Neps_10_20250101000000.pkl")
    write(second, "CartPole_Some-7B_Neps_30_20250102000000.pkl")
    write(first, "CartPole_Some-7B_Neps_30_20250103000000SFT.pkl")
    write(first, "CartPole_Some-32B_Neps_30_20250104000000_withEps.pkl")
    official = tmp_path / "official"
    represented = "RepresentedPong_Some-7B_Neps_30_20250101000000.pkl"
    for other in ("cache_CartPole_Neps_10.pkl", represented, "a\x1b.csv"):
        (official / other).write_bytes(b"never read")
    choice = "one of: Some-32B-withEps, Some-7B, Some-7B-SFT\n"
    assert refused(official).endswith(choice)
    assert refused(official, tmp_path / "out", "--model", "None-7B").endswith(choice)
    assert reader.main([str(official), str(tmp_path / "out"), "--model", "Some-7B"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[2:] == [
        f"skipped 3 no LLM rollouts that can be converted: {represented}, a?.csv, "
        "cache_CartPole_Neps_10.pkl",
        "skipped 2 by another model: CartPole_Some-7B_Neps_30_20250103000000SFT.pkl, "
        "CartPole_Some-32B_Neps_30_20250104000000_withEps.pkl",
        "skipped 1 of an earlier date: CartPole_Some-7B_Neps_10_20250101000000.pkl",
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cartpole.npz"]
    with np.load(tmp_path / "out" / "cartpole.npz") as file:
        assert len(set(file["episode"])) == 2
        assert json.loads(str(file["metadata"]))["model"] == "Some-7B"


def test_nothing_is_written_if_one_file_is_bad(write, small_data, tmp_path, refused):
    path = write(small_data)
    path.with_name("FrozenLake_Some-7B_Neps_2_20250101000000.pkl").write_bytes(b"")
    assert "FrozenLake" in refused(path.parent)


def test_wrong_paths_end_in_one_line(write, small_data, tmp_path, refused):
    path = write(small_data)
    assert "no such file" in refused(tmp_path / "nothing.pkl")
    assert "no file is named TASK_MODEL" in refused(path.rename(path.with_name("data.pkl")))
    (tmp_path / "empty").mkdir()
    assert "no file is named TASK_MODEL" in refused(tmp_path / "empty")
    path = write(small_data)
    (tmp_path / "folder").write_text("a file")
    assert "a DIR that can be written" in refused(path, tmp_path / "folder")
    assert "a DIR that can be written" in refused(path, tmp_path / "folder" / "below")


def test_an_existing_file_is_kept(write, small_data, tmp_path, refused):
    path = write(small_data)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cartpole.npz").write_text("mine")
    assert "is there already: move it away" in refused(path)
    assert (tmp_path / "out" / "cartpole.npz").read_text() == "mine"


def test_on_the_command_line(write, small_data, tmp_path):
    path = write(small_data)
    command = [sys.executable, SCRIPT, path, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and "cartpole" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and again.stdout == "" and again.stderr.startswith("error: ")
    wrong = subprocess.run(command[:2], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1
