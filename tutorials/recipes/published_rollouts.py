"""The official LLM rollouts as data sets of minloro: `python tutorials/published_rollouts.py SOURCE DIR [--model NAME]`.

SOURCE is a pickle TASK_MODEL_Neps_N_DATE.pkl of github.com/duongnhatthang/LlamaGym, or the folder of all; written is
DIR/TASK.npz, with several dates the latest. A pickle is a program. Here none of it runs: the names in ADMITTED, NumPy's
too, stand for objects that only keep what they are given, any other name ends the reading, and the arrays are built from
plain bytes. Two things that the official collection does to a row are mended:

- s_t is overwritten by s_{t+1}, which then stands beside a_t. Each action goes back to the observation before it; the
  first transition of an episode is lost where its start was drawn at random.
- The step limit is stored as a termination. `terminated` is what the simulator says; other last rows are `truncated`.

Every row is stepped through the simulator. If it does not reproduce one, nothing is written.
"""

import argparse
import hashlib
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minloro
from minloro.errors import UserError
from minloro.rollout import unreproduced
from minloro.transitions import Transitions, save_transitions

NAME = re.compile(r"([a-z]+)_([\w.-]+)_Neps_(\d+)_?(\d*)_?([a-z]*)\.pkl", re.ASCII | re.IGNORECASE)
# Without pong: there the official environment applies every action twice, which makes it another game.
TASKS = {task.environment.split("-")[0]: task for task in map(minloro.make_task, minloro.TASK_NAMES) if task.name != "pong"}
ADMITTED = {
    "numpy": {"ndarray", "dtype"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},  # NumPy 1
    "numpy._core.multiarray": {"_reconstruct", "scalar"},  # NumPy 2
    "d3rlpy.constants": {"ActionSpace"},
    "d3rlpy.dataset.buffers": {"InfiniteBuffer"},
    "d3rlpy.dataset.compat": {"MDPDataset"},
    "d3rlpy.dataset.components": {"DatasetInfo", "Episode", "Signature"},
    "d3rlpy.dataset.trajectory_slicers": {"BasicTrajectorySlicer"},
    "d3rlpy.dataset.transition_pickers": {"BasicTransitionPicker"},
    "d3rlpy.dataset.writers": {"BasicWriterPreprocess", "ExperienceWriter", "_ActiveEpisode"},
}


class Inert:
    """Stand in for an admitted class or function: keep the arguments and the state, do nothing."""

    def __new__(cls, *args):
        self = super().__new__(cls)
        self.args, self.state = args, None
        return self

    def __setstate__(self, state):
        self.state = state


class InertUnpickler(pickle.Unpickler):
    """Read a pickle without importing or calling anything that it names."""

    def find_class(self, module: str, name: str) -> type:
        """Return an inert class for an admitted name; raise UserError on any other."""
        if name not in ADMITTED.get(module, ()):
            raise UserError(f"it asks for {module}.{name}, which no LLM rollouts need: do not load this file elsewhere either")
        return type(name, (Inert,), {})

    def persistent_load(self, pid):
        """Refuse references to objects outside the file."""
        raise UserError("it refers to objects outside of itself, which no LLM rollouts do")


def plain_array(pickled: Inert) -> np.ndarray:
    """Build the array that NumPy's pickle format describes, from its bytes; anything but plain numbers is refused."""
    _, shape, dtype, column_major, content = pickled.state
    kind, byte_order = dtype.args[0], dtype.state[1]
    if not re.fullmatch("[biuf][1248]", kind):
        raise UserError(f"it holds an array of the type {kind}, not of numbers")
    return np.frombuffer(content, np.dtype(byte_order + kind)).reshape(shape, order="F" if column_major else "C")


def in_space(values: np.ndarray, space) -> np.ndarray:
    """Return values in the shape and type of a space; d3rlpy stores a single number as a row of one."""
    typed = values.reshape(len(values), *space.shape).astype(space.dtype)
    if not (np.allclose(typed.ravel(), values.ravel()) and all(map(space.contains, typed))):
        raise UserError(f"it holds values outside of {space}")
    return typed


def read(path: Path, task: minloro.Task) -> list[tuple]:
    """Return the episodes of a pickle, each (s_1 … s_T, a_0 … a_{T-1}, r_1 … r_T) as they are stored."""
    try:
        with open(path, "rb") as file, np.errstate(all="ignore"):
            root = InertUnpickler(file).load()
            if type(root).__name__ != "MDPDataset":
                raise UserError(f"it holds an object of the type {type(root).__name__}, not d3rlpy's MDPDataset")
            episodes = []
            for episode in root.state["_buffer"].state["_episodes"]:
                after, actions = (plain_array(episode.state[name]) for name in ("observations", "actions"))
                rewards = plain_array(episode.state["rewards"]).astype(np.float64).reshape(len(actions))
                episodes.append((in_space(after, task.spaces[0]), in_space(actions, task.spaces[1]), rewards))
        if not episodes or min(len(actions) for _, actions, _ in episodes) < 2:
            raise UserError("it holds no episodes, or one of less than two steps")
        if any(len(after) != len(actions) for after, actions, _ in episodes):
            raise UserError("its observations and actions differ in number")
        return episodes
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError:
        raise
    except Exception:  # whatever damaged bytes make the unpickler, or the lines after it, raise
        raise UserError(f"{path} is not a readable pickle of LLM rollouts (damaged, cut short, or something else)") from None


def joined(task: minloro.Task, pieces: list[tuple]) -> Transitions:
    """Join the (observations, actions, rewards, next_observations) of all episodes; the simulator says how each one ends."""
    episode = np.repeat(np.arange(len(pieces)), [len(actions) for _, actions, _, _ in pieces])
    last = np.append(episode[1:] != episode[:-1], True)
    columns = (np.concatenate(column) for column in zip(*pieces, strict=True))
    data = Transitions(*columns, terminated=last, truncated=np.zeros_like(last), episode=episode)
    terminated = last & ~unreproduced(task, data)
    return replace(data, terminated=terminated, truncated=last & ~terminated)


def as_stored(task: minloro.Task, episodes: list[tuple]) -> Transitions:
    """Take each action together with the observation beside it; the last one has no next observation."""
    return joined(task, [(after[:-1], actions[:-1], rewards[:-1], after[1:]) for after, actions, rewards in episodes])


def realigned(task: minloro.Task, episodes: list[tuple]) -> Transitions:
    """Give each action back the observation that it was chosen from."""
    start = np.flatnonzero(getattr(task.make_env().unwrapped, "initial_state_distrib", ()))
    if len(start) == 1:  # every episode begins there
        return joined(task, [(np.append(start, after[:-1]), actions, rewards, after) for after, actions, rewards in episodes])
    return joined(task, [(after[:-1], actions[1:], rewards[1:], after[1:]) for after, actions, rewards in episodes])


class Source(NamedTuple):
    """A file of rollouts and what its name says. age: date and number of episodes, the larger the later."""

    task: minloro.Task
    age: tuple[str, int]
    model: str
    path: Path


def find(source: Path, model: str | None) -> tuple[list[Source], dict[str, list[str]]]:
    """Return the latest file of each task by one model, and the names of all other files, by the reason."""
    if not source.exists():
        raise UserError(f"{source}: there is no such file or folder; give an official pickle or the folder of all")
    files, skipped = [], {"no LLM rollouts that can be converted": [], "by another model": [], "of an earlier date": []}
    for path in sorted(source.iterdir()) if source.is_dir() else [source]:
        match = NAME.fullmatch(path.name)
        if match is None or match[1] not in TASKS:
            skipped["no LLM rollouts that can be converted"].append(path.name)
        else:  # a letter or word after the date is a variant of the model, such as SFT: fine-tuned
            files.append(Source(TASKS[match[1]], (match[4], int(match[3])), "-".join(filter(None, match.group(2, 5))), path))
    models = sorted({file.model for file in files})
    if not files:
        raise UserError(f"{source}: no file is named TASK_MODEL_Neps_N_DATE.pkl, with TASK one of {', '.join(TASKS)}")
    if model not in models and (model is not None or len(models) > 1):
        raise UserError(f"say with --model whose rollouts of {source} are wanted, one of: {', '.join(models)}")
    latest = {}
    for file in sorted(files, key=lambda file: file.age):
        if model in (None, file.model):
            skipped["of an earlier date"] += [latest[file.task.name].path.name] if file.task.name in latest else []
            latest[file.task.name] = file
        else:
            skipped["by another model"].append(file.path.name)
    return sorted(latest.values(), key=lambda file: file.task.name), skipped


def convert(file: Source) -> tuple[Transitions, tuple]:
    """Return a file's data set and its line of the report."""
    episodes = read(file.path, file.task)
    stored, data = as_stored(file.task, episodes), realigned(file.task, episodes)
    stored_wrong, wrong = (int(unreproduced(file.task, rows).sum()) for rows in (stored, data))
    if wrong:
        raise UserError(f"{file.path}: {wrong} of {len(data)} realigned rows are not what {file.task.environment} does; "
                        "nothing was written, convert the other files without this one")  # fmt: skip
    lengths = np.array([len(actions) for _, actions, _ in episodes])
    metadata = {
        "environment": file.task.environment,
        "model": file.model,
        "source_repository": "duongnhatthang/LlamaGym",
        "source_file": f"data/{file.path.name}",
        "source_sha256": hashlib.sha256(file.path.read_bytes()).hexdigest(),
        "collection_step_limit": int(max(lengths[data.episode[data.truncated]], default=file.task.step_limit)),
        "first_transition_dropped": len(data) < int(lengths.sum()),
    }
    agree = [f"{n - bad} of {n} ({1 - bad / n:.0%})" for n, bad in ((len(stored), stored_wrong), (len(data), wrong))]
    mean_return = f"{np.mean([rewards.sum() for _, _, rewards in episodes]):.2f}"
    line = (file.task.name, file.model, len(episodes), len(data), *agree, mean_return)
    return replace(data, metadata=metadata), line


def run(argv: list[str] | None) -> None:
    """Convert everything, then write it and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.error = refuse
    parser.add_argument("source", metavar="SOURCE", type=Path, help="an official pickle, or the folder that holds them")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where TASK.npz is written")
    parser.add_argument("--model", metavar="NAME", help="whose rollouts, where SOURCE holds several models'")
    args = parser.parse_args(argv)
    files, skipped = find(args.source, args.model)
    targets = [args.folder / f"{file.task.name}.npz" for file in files]
    for target in targets:
        if target.exists():
            refuse(f"{target} is there already: move it away or give another DIR")
    converted = [convert(file) for file in files]
    args.folder.mkdir(parents=True, exist_ok=True)
    for target, (data, _) in zip(targets, converted, strict=True):
        save_transitions(target, data)
    columns = "{:<13} {:<28} {:>8} {:>6} {:>20} {:>20} {:>12}"
    print(columns.format("task", "model", "episodes", "rows", "right as stored", "right realigned", "mean return"))
    for _, line in converted:
        print(columns.format(*line))
    for reason, names in skipped.items():
        if names:
            print(f"skipped {len(names)} {reason}: {printable(', '.join(names))}")


def refuse(message: str):
    """Raise UserError."""
    raise UserError(message)


def printable(text: str) -> str:
    """Return one line in plain letters, whatever a file has put into a name."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def main(argv: list[str] | None = None) -> int:
    """Return the exit status: 0, or 2 after one line that says what is wrong."""
    try:
        run(argv)
        return 0
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}; give a SOURCE that can be read and a DIR that can be written"
    print("error:", printable(message), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
