"""The data set D: transitions (s, a, r, s') as a struct of arrays, its file, and the minibatches that are drawn of it.

s, a, r, s' stand on one row and come from the same step. (Paper: the official code overwrites s with s' before it
stores the row, so that every action stands beside the state that it led to.) `terminated` and `truncated` are two
columns: the environment ended the episode, or a limit cut it off.

The file is one .npz under the field names plus `metadata`, a JSON string whose one required key is `environment`.
It is read with allow_pickle=False and checked before anything is learned from it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from minloro.errors import UserError
from minloro.files import replace_file

SCHEMA_VERSION = 1
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated", "episode")


@dataclass(frozen=True)
class Transitions:
    """N transitions: row i is one step.

    observations, next_observations: (N, …). actions: (N,) ids or (N, action dimensions). rewards: (N,).
    terminated, truncated: (N,) bool. episode: (N,) int, rows of one episode together and in order.
    source: (N,) str or None, how each action came about: reply, retry, fallback, random or agent.
    metadata: what is known about the origin.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode: np.ndarray
    source: np.ndarray | None = None
    metadata: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Every array by its name; `source` only where it is known."""
        return {name: getattr(self, name) for name in (*COLUMNS, "source") if getattr(self, name) is not None}

    def rows(self, index) -> "Transitions":
        """Return the rows that `index` selects: a slice, a mask or an array of positions."""
        return replace(self, **{name: column[index] for name, column in self.columns.items()})

    def first_episodes(self, n: int) -> "Transitions":
        """Return the first n episodes; what the metadata say of the whole is left out of a part."""
        if n >= len(self.episode_ids):
            return self
        metadata = {name: value for name, value in self.metadata.items() if name not in ("llm", "last_episode_unfinished")}
        part = self.rows(slice(self.episode_lengths[:n].sum()))  # a view: nothing is copied
        return replace(part, metadata=metadata | {"first_episodes_only": n}).read_only()

    @property
    def episode_ids(self) -> np.ndarray:
        """The episodes' numbers in the order in which they were played."""
        return self.episode[self._starts]

    @property
    def episode_returns(self) -> np.ndarray:
        """(E,) the sum of rewards of each episode, undiscounted."""
        return np.add.reduceat(self.rewards.astype(np.float64), self._starts)

    @property
    def episode_lengths(self) -> np.ndarray:
        """(E,) the number of rows of each episode."""
        return np.diff(np.append(self._starts, len(self)))

    @property
    def cost(self) -> float:
        """The summed reward of all rows: what it cost (or earned) to collect them."""
        return float(self.rewards.sum(dtype=np.float64))

    def rescaled(self, step_limit: int) -> bool:
        """Say whether these episodes were cut at another limit than `step_limit`.

        Where the metadata do not tell the limit, the lengths of the episodes that were cut off do.
        """
        if (limit := self.metadata.get("collection_step_limit")) is not None:
            return limit != step_limit
        lengths = self.episode_lengths[: self.n_finished]
        cut_off = ~self.terminated[np.cumsum(lengths) - 1]
        return bool((cut_off & (lengths != step_limit)).any() or (lengths > step_limit).any())

    def returns_at(self, step_limit: int) -> np.ndarray:
        """(E,) the finished episodes' returns as if cut at `step_limit` steps.

        An episode that was cut off at another limit counts its mean reward per step, times `step_limit`; one that
        ended by itself counts as it is.
        """
        returns, lengths = self.episode_returns[: self.n_finished], self.episode_lengths[: self.n_finished]
        if not self.rescaled(step_limit):
            return returns
        ends = np.cumsum(lengths) - 1
        other_length = ~self.terminated[ends] | (lengths > step_limit)
        return np.where(other_length, returns / lengths * step_limit, returns)

    @property
    def n_finished(self) -> int:
        """The number of episodes, without a last one that was left unfinished because D was full (unless alone)."""
        episodes = len(self._starts)
        return max(episodes - bool(self.metadata.get("last_episode_unfinished")), 1)

    @property
    def behaviour(self) -> str:
        """Who chose the actions: the model's name, or what else the metadata say."""
        source = self.metadata.get("source", "LLM")
        return str(self.metadata.get("model") or "an unnamed policy") if source == "LLM" else str(source)

    @property
    def _starts(self) -> np.ndarray:
        return np.flatnonzero(np.append(True, self.episode[1:] != self.episode[:-1]))

    def read_only(self) -> "Transitions":
        """Return self with every array locked: one D serves many learners, and none of them may change it."""
        for name in COLUMNS:
            getattr(self, name).flags.writeable = False
        return self


@dataclass(slots=True)
class Minibatch:
    """B transitions as an update sees them; their observations may be features. `len` is B.

    `truncated` is not among the columns: an episode that was cut off is not over, and its last state keeps its value.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminated: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)


def from_rows(rows: Sequence[tuple], sources: Sequence[str] | None, metadata: dict) -> Transitions:
    """Build Transitions from tuples in the order of COLUMNS; observations keep their dtype."""
    arrays = [np.array(column) for column in zip(*rows, strict=True)]
    source = None if sources is None else np.array(sources, dtype="U8")
    return Transitions(*arrays, source=source, metadata=metadata).read_only()


def save_transitions(path: str | Path, data: Transitions) -> None:
    """Write `data` as one .npz; `path` is never half a file."""
    metadata = json.dumps({"schema_version": SCHEMA_VERSION, **data.metadata})
    replace_file(path, lambda file: np.savez(file, **data.columns, metadata=np.array(metadata)))


def load_transitions(path: str | Path, task) -> Transitions:
    """Read and check D for `task`; raise UserError with one line on the first thing that is wrong."""
    arrays = _read_arrays(Path(path))
    try:
        metadata = json.loads(str(arrays.pop("metadata")))
        environment = metadata["environment"]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: its metadata is not a JSON text with the key 'environment'") from None
    if environment != task.environment:
        raise UserError(f"{path} holds transitions of {environment}, the task {task.name} plays {task.environment}")
    data = Transitions(**arrays, metadata=metadata)
    for problem in _problems(data, *task.spaces):
        raise UserError(f"{path}: {problem}")
    kinds = {"rewards": np.float64, "terminated": bool, "truncated": bool, "episode": np.int64}
    kinds |= {name: np.int64 for name, column in data.columns.items() if column.dtype.kind == "u" and column.ndim == 1}
    return replace(data, **{name: getattr(data, name).astype(kind, copy=False) for name, kind in kinds.items()}).read_only()


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*COLUMNS, "metadata", "source") if name in file.files}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): give the .npz file of a data set") from None
    except Exception as error:  # whatever a damaged archive makes zipfile, zlib and NumPy raise
        if "allow_pickle" in str(error):
            raise UserError(f"{path} holds pickled Python objects, which are never loaded; save plain arrays") from None
        raise UserError(f"{path} is not a readable .npz file (damaged, cut short, or something else)") from None
    missing = [name for name in (*COLUMNS, "metadata") if name not in arrays]
    if missing:
        raise UserError(f"{path} is not a data set of minloro: it has no {', '.join(missing)}")
    return arrays


def _problems(data: Transitions, observation_space, action_space):
    """Yield what makes `data` unusable in these spaces, most basic first."""
    n = data.actions.shape[0] if data.actions.ndim else 0
    if n == 0:
        yield "it holds no transitions"
    state_shape = (n, *observation_space.shape)
    shapes = {"observations": state_shape, "next_observations": state_shape, "actions": (n, *action_space.shape)}
    for name, array in data.columns.items():
        if array.shape != (shape := shapes.get(name, (n,))):
            yield f"{name} has the shape {array.shape}, expected {shape}"
        if name == "source":
            continue
        if array.dtype.kind not in "biuf":
            yield f"{name} has the type {array.dtype}, expected numbers"
        with np.errstate(over="ignore"):
            if not np.isfinite(array.astype(np.float32)).all():  # what learning computes with
                yield f"{name} holds NaN, infinite values or values beyond 32-bit numbers"
    for name in ("terminated", "truncated"):
        if not np.isin(getattr(data, name), (0, 1)).all():
            yield f"{name} must be true or false on every row"
    if data.episode.dtype.kind not in "iu":
        yield f"episode has the type {data.episode.dtype}, expected whole numbers"
    for name in ("actions", "observations", "next_observations"):
        yield from _out_of_range(name, getattr(data, name), action_space if name == "actions" else observation_space)
    if len(np.unique(data.episode)) != len(data.episode_ids):
        yield "the rows of an episode do not stand together"
    inside = data.episode[1:] == data.episode[:-1]
    if (inside & (data.terminated.astype(bool) | data.truncated.astype(bool))[:-1]).any():
        yield "an episode goes on after a row that is terminated or truncated"
    limit = data.metadata.get("collection_step_limit")
    if limit is not None and not (isinstance(limit, int) and limit > 0):
        yield f"collection_step_limit in its metadata is {limit!r}, expected a positive whole number"


def _out_of_range(name: str, array: np.ndarray, space):
    if hasattr(space, "n"):  # Discrete
        if array.dtype.kind not in "iu":
            yield f"{name} has the type {array.dtype}, expected whole numbers from 0 to {space.n - 1}"
        elif array.min() < 0 or array.max() >= space.n:
            yield f"{name} holds values from {array.min()} to {array.max()}, the task has 0 to {space.n - 1}"
    elif name == "actions" and ((array < space.low) | (array > space.high)).any():
        yield f"{name} holds values outside {space.low.min()} to {space.high.max()}"
