"""The official LLM rollouts as data sets of minloro.

`python tutorials/recipes/published_rollouts.py SOURCE DIR [--model NAME]`

SOURCE is a pickle TASK_MODEL_Neps_N_DATE.pkl of github.com/duongnhatthang/LlamaGym, or the folder
of all of them. The script writes DIR/TASK.npz. If there are several dates, the latest counts.

A pickle is a program. Here nothing of it runs. The names in ADMITTED, NumPy's too, stand for
objects that only keep what they are given. Any other name ends the reading. The arrays are built
from plain bytes.

Two things that the official collection does to a row are corrected:

- s_t is overwritten by s_{t+1}, which then stands beside a_t. Each action goes back to the
  observation before it. If the start of an episode was drawn at random, its first transition is
  lost.
- The step limit is stored as a termination. `terminated` is what the simulator says; the other last
  rows are `truncated`.

Every row is stepped through the simulator. If it does not reproduce one, nothing is written.
"""

import argparse
import hashlib
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

import minloro
from minloro.errors import UserError
from minloro.rollout import unreproduced
from minloro.transitions import Transitions, save_transitions

NAME = re.compile(r"([a-z]+)_([\w.-]+)_Neps_(\d+)_?(\d*)_?([a-z]*)\.pkl", re.ASCII | re.IGNORECASE)
# Without pong: there the official environment applies every action twice, so it is another game.
TASKS = {
    task.environment.split("-")[0]: task
    for task in map(minloro.make_task, minloro.TASK_NAMES)
    if task.name != "pong"
}
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
NOT_ROLLOUTS = "no LLM rollouts that can be converted"
OTHER_MODEL = "by another model"
EARLIER = "of an earlier date"
COLUMNS = "{:<13} {:<28} {:>8} {:>6} {:>20} {:>20} {:>12}"  # of the report
HEADER = (
    "task",
    "model",
    "episodes",
    "rows",
    "right as stored",
    "right realigned",
    "mean return",
)


class Inert:
    """Stand in for an admitted class or function: keep the arguments and the state, do nothing."""

    def __new__(cls, *args: Any) -> "Inert":
        self = super().__new__(cls)
        self.args = args
        self.state = None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class InertUnpickler(pickle.Unpickler):
    """Read a pickle without importing or calling anything that it names."""

    def find_class(self, module: str, name: str) -> type:
        """Return an inert class for an admitted name; raise UserError on any other."""
        if name not in ADMITTED.get(module, ()):
            raise UserError(
                f"it asks for {module}.{name}, which no LLM rollouts need: "
                "do not load this file elsewhere either"
            )
        return type(name, (Inert,), {})

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse references to objects outside the file."""
        raise UserError("it refers to objects outside of itself, which no LLM rollouts do")


def plain_array(pickled: Inert) -> np.ndarray:
    """Build the array that NumPy's pickle format describes, from its bytes.

    Raises UserError if it holds anything but plain numbers.
    """
    _, shape, dtype, column_major, content = pickled.state
    kind = dtype.args[0]
    byte_order = dtype.state[1]
    if not re.fullmatch("[biuf][1248]", kind):
        raise UserError(f"it holds an array of the type {kind}, not of numbers")
    numbers = np.frombuffer(content, np.dtype(byte_order + kind))
    return numbers.reshape(shape, order="F" if column_major else "C")


def in_space(values: np.ndarray, space: Any) -> np.ndarray:
    """Return values in the shape and type of a space.

    d3rlpy stores a single number as a row of one. Raises UserError if a value is not in the space.
    """
    typed = values.reshape(len(values), *space.shape).astype(space.dtype)
    same = np.allclose(typed.ravel(), values.ravel())
    if not (same and all(space.contains(value) for value in typed)):
        raise UserError(f"it holds values outside of {space}")
    return typed


def read(path: Path, task: minloro.Task) -> list[tuple]:
    """Return the episodes of a pickle, each (s_1 … s_T, a_0 … a_{T-1}, r_1 … r_T) as stored."""
    try:
        episodes = _read_episodes(path, task)
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
        raise UserError(
            f"{path} is not a readable pickle of LLM rollouts "
            "(damaged, cut short, or something else)"
        ) from None


def _read_episodes(path: Path, task: minloro.Task) -> list[tuple]:
    with open(path, "rb") as file, np.errstate(all="ignore"):
        root = InertUnpickler(file).load()
        if type(root).__name__ != "MDPDataset":
            raise UserError(
                f"it holds an object of the type {type(root).__name__}, not d3rlpy's MDPDataset"
            )
        episodes = []
        for episode in root.state["_buffer"].state["_episodes"]:
            after = plain_array(episode.state["observations"])
            actions = plain_array(episode.state["actions"])
            rewards = plain_array(episode.state["rewards"])
            rewards = rewards.astype(np.float64).reshape(len(actions))
            observation_space, action_space = task.spaces
            episodes.append(
                (in_space(after, observation_space), in_space(actions, action_space), rewards)
            )
    return episodes


def joined(task: minloro.Task, episodes: list[tuple]) -> Transitions:
    """Join episodes of (observations, actions, rewards, next_observations).

    The simulator says how each episode ends.
    """
    lengths = [len(actions) for _, actions, _, _ in episodes]
    episode = np.repeat(np.arange(len(episodes)), lengths)
    last = np.append(episode[1:] != episode[:-1], True)
    columns = [np.concatenate(column) for column in zip(*episodes, strict=True)]
    all_terminated = Transitions(
        *columns, terminated=last, truncated=np.zeros_like(last), episode=episode
    )
    terminated = last & ~unreproduced(task, all_terminated)
    return replace(all_terminated, terminated=terminated, truncated=last & ~terminated)


def as_stored(task: minloro.Task, episodes: list[tuple]) -> Transitions:
    """Take each action together with the observation beside it.

    The last one of an episode has no next observation and is left out.
    """
    return joined(
        task,
        [
            (after[:-1], actions[:-1], rewards[:-1], after[1:])
            for after, actions, rewards in episodes
        ],
    )


def realigned(task: minloro.Task, episodes: list[tuple]) -> Transitions:
    """Give each action back the observation that it was chosen from."""
    start_probabilities = getattr(task.make_env().unwrapped, "initial_state_distrib", ())
    starts = np.flatnonzero(start_probabilities)
    rows = []
    for after, actions, rewards in episodes:
        if len(starts) == 1:  # every episode begins there
            rows.append((np.append(starts, after[:-1]), actions, rewards, after))
        else:
            rows.append((after[:-1], actions[1:], rewards[1:], after[1:]))
    return joined(task, rows)


class Source(NamedTuple):
    """A file of rollouts and what its name says."""

    task: minloro.Task
    age: tuple[str, int]  # date and number of episodes: the larger, the later
    model: str
    path: Path


def parse_name(path: Path) -> Source | None:
    """Return what the name of a file says, or None if it is not one of rollouts."""
    match = NAME.fullmatch(path.name)
    if match is None or match[1] not in TASKS:
        return None
    # A word after the date is a variant of the model, such as SFT: fine-tuned.
    model = "-".join(word for word in match.group(2, 5) if word)
    return Source(TASKS[match[1]], (match[4], int(match[3])), model, path)


def find(source: Path, model: str | None) -> tuple[list[Source], dict[str, list[str]]]:
    """Return the latest file of each task by one model, and {reason: names} of the other files."""
    if not source.exists():
        raise UserError(
            f"{source}: there is no such file or folder; give an official pickle or the folder "
            "of all"
        )
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    parsed = {path: parse_name(path) for path in paths}
    skipped = {NOT_ROLLOUTS: [path.name for path in paths if parsed[path] is None]}
    files = [file for file in parsed.values() if file is not None]
    check_model(source, model, files)
    skipped[OTHER_MODEL] = []
    skipped[EARLIER] = []
    latest: dict[str, Source] = {}
    for file in sorted(files, key=lambda file: file.age):
        if model not in (None, file.model):
            skipped[OTHER_MODEL].append(file.path.name)
            continue
        earlier = latest.get(file.task.name)
        if earlier is not None:
            skipped[EARLIER].append(earlier.path.name)
        latest[file.task.name] = file
    return sorted(latest.values(), key=lambda file: file.task.name), skipped


def check_model(source: Path, model: str | None, files: list[Source]) -> None:
    """Raise UserError if there are no files, or if it is not clear whose are wanted."""
    if not files:
        raise UserError(
            f"{source}: no file is named TASK_MODEL_Neps_N_DATE.pkl, with TASK one of "
            f"{', '.join(TASKS)}"
        )
    models = sorted({file.model for file in files})
    unclear = len(models) > 1 if model is None else model not in models
    if unclear:
        raise UserError(
            f"say with --model whose rollouts of {source} are wanted, one of: {', '.join(models)}"
        )


def convert(file: Source) -> tuple[Transitions, tuple]:
    """Return the data set of a file and its line of the report."""
    episodes = read(file.path, file.task)
    stored = as_stored(file.task, episodes)
    data = realigned(file.task, episodes)
    stored_wrong = int(unreproduced(file.task, stored).sum())
    wrong = int(unreproduced(file.task, data).sum())
    if wrong:
        raise UserError(
            f"{file.path}: {wrong} of {len(data)} realigned rows are not what "
            f"{file.task.environment} does; nothing was written, convert the other files without "
            "this one"
        )
    lengths = np.array([len(actions) for _, actions, _ in episodes])
    returns = [rewards.sum() for _, _, rewards in episodes]
    line = (
        file.task.name,
        file.model,
        len(episodes),
        len(data),
        share_text(len(stored) - stored_wrong, len(stored)),
        share_text(len(data) - wrong, len(data)),
        f"{np.mean(returns):.2f}",
    )
    return replace(data, metadata=metadata_of(file, data, lengths)), line


def metadata_of(file: Source, data: Transitions, lengths: np.ndarray) -> dict:
    """Return the metadata of a data set. lengths: of the episodes as they are stored."""
    cut_off = lengths[data.episode[data.truncated]]
    return {
        "environment": file.task.environment,
        "model": file.model,
        "source_repository": "duongnhatthang/LlamaGym",
        "source_file": f"data/{file.path.name}",
        "source_sha256": hashlib.sha256(file.path.read_bytes()).hexdigest(),
        "collection_step_limit": int(max(cut_off, default=file.task.step_limit)),
        "first_transition_dropped": len(data) < int(lengths.sum()),
    }


def share_text(part: int, whole: int) -> str:
    """Return how many of how many, and the percentage."""
    return f"{part} of {whole} ({part / whole:.0%})"


def run(argv: list[str] | None) -> None:
    """Convert everything, then write it and print the report."""
    args = parse_arguments(argv)
    files, skipped = find(args.source, args.model)
    targets = [args.folder / f"{file.task.name}.npz" for file in files]
    for target in targets:
        if target.exists():
            refuse(f"{target} is there already: move it away or give another DIR")
    converted = [convert(file) for file in files]
    args.folder.mkdir(parents=True, exist_ok=True)
    for target, (data, _) in zip(targets, converted, strict=True):
        save_transitions(target, data)
    print(COLUMNS.format(*HEADER))
    for _, line in converted:
        print(COLUMNS.format(*line))
    for reason, names in skipped.items():
        if names:
            print(f"skipped {len(names)} {reason}: {printable(', '.join(names))}")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return what was typed; raise UserError if it is wrong."""
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(description=summary, allow_abbrev=False)
    parser.error = refuse
    parser.add_argument(
        "source", metavar="SOURCE", type=Path, help="an official pickle, or the folder of them"
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="where TASK.npz is written")
    parser.add_argument(
        "--model", metavar="NAME", help="whose rollouts, if SOURCE holds those of several models"
    )
    return parser.parse_args(argv)


def refuse(message: str) -> NoReturn:
    """Raise UserError."""
    raise UserError(message)


def printable(text: str) -> str:
    """Return one line in plain letters, whatever a file has put into a name."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def main(argv: list[str] | None = None) -> int:
    """Return the exit status: 0, or 2 after one line that says what is wrong."""
    try:
        run(argv)
        return 0
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = (
            f"{error.filename}: {error.strerror}; "
            "give a SOURCE that can be read and a DIR that can be written"
        )
    print("error:", printable(message), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
