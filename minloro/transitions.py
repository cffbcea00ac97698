"""The data set D: transitions (s, a, r, s') as a struct of arrays, its file, and its minibatches.

s, a, r, s' stand on one row and come from the same step. `terminated` and `truncated` are two
columns: the environment ended the episode, or a limit cut it off.

Paper: the official code overwrites s with s' before it stores the row, so that every action stands
beside the state that it led to. Here: a row is written from one step.

The file is one .npz with the names of the columns and `metadata`, a JSON text whose one required
key is `environment`. It is read with allow_pickle=False and checked before anything learns from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minloro.errors import UserError
from minloro.files import replace_file

if TYPE_CHECKING:
    import gymnasium as gym

    from minloro.tasks.task import Task

SCHEMA_VERSION = 1
COLUMNS = (
    "observations",
    "actions",
    "rewards",
    "next_observations",
    "terminated",
    "truncated",
    "episode",
)


@dataclass(frozen=True)
class Transitions:
    """N transitions: row i is one step. The rows of an episode stand together and in order."""

    observations: np.ndarray  # [N, …]
    actions: np.ndarray  # [N] numbers of actions, or [N, A]
    rewards: np.ndarray  # [N]
    next_observations: np.ndarray  # [N, …]
    terminated: np.ndarray  # [N] bool: the environment ended the episode
    truncated: np.ndarray  # [N] bool: a limit cut it off
    episode: np.ndarray  # [N] int
    # [N] str, how each action came about: reply, retry, fallback, random or agent.
    source: np.ndarray | None = None
    # What is known about the origin.
    metadata: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Every array by its name; `source` only if it is known."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        if self.source is not None:
            columns["source"] = self.source
        return columns

    def rows(self, index: Any) -> Transitions:
        """Return the rows that `index` selects: a slice, a mask or an array of positions."""
        return replace(self, **{name: column[index] for name, column in self.columns.items()})

    def first_episodes(self, n: int) -> Transitions:
        """Return the first n episodes. What the metadata say of the whole only is left out."""
        if n >= len(self.episode_ids):
            return self
        of_the_whole = ("llm", "last_episode_unfinished")
        metadata = {name: self.metadata[name] for name in self.metadata if name not in of_the_whole}
        metadata["first_episodes_only"] = n
        part = self.rows(slice(self.episode_lengths[:n].sum()))  # a view: nothing is copied
        return replace(part, metadata=metadata).read_only()

    @property
    def episode_ids(self) -> np.ndarray:
        """The numbers of the episodes in the order in which they were played."""
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
    def _starts(self) -> np.ndarray:
        """(E,) the first row of each episode."""
        begins = np.append(True, self.episode[1:] != self.episode[:-1])
        return np.flatnonzero(begins)

    @property
    def cost(self) -> float:
        """The summed reward of all rows: what it cost, or earned, to collect them."""
        return float(self.rewards.sum(dtype=np.float64))

    @property
    def n_finished(self) -> int:
        """The number of episodes that were played to their end.

        Only the last one can be unfinished: when D was full. If it is the only one, it counts.
        """
        unfinished = 1 if self.metadata.get("last_episode_unfinished") else 0
        return max(len(self._starts) - unfinished, 1)

    def rescaled(self, step_limit: int) -> bool:
        """Say whether the episodes were cut at another limit than `step_limit`.

        If the metadata do not tell the limit, the lengths of the episodes that were cut off do.
        """
        limit = self.metadata.get("collection_step_limit")
        if limit is not None:
            return limit != step_limit
        lengths = self.episode_lengths[: self.n_finished]
        cut_off = ~self._ended_by_itself
        cut_elsewhere = cut_off & (lengths != step_limit)
        too_long = lengths > step_limit
        return bool(cut_elsewhere.any() or too_long.any())

    def returns_at(self, step_limit: int) -> np.ndarray:
        """(E,) the returns of the finished episodes as if they were cut at `step_limit` steps.

        An episode that was cut off at another limit counts its mean reward per step, times
        `step_limit`. An episode that ended by itself within the limit counts as it is.
        """
        returns = self.episode_returns[: self.n_finished]
        if not self.rescaled(step_limit):
            return returns
        lengths = self.episode_lengths[: self.n_finished]
        other_length = ~self._ended_by_itself | (lengths > step_limit)
        return np.where(other_length, returns / lengths * step_limit, returns)

    @property
    def _ended_by_itself(self) -> np.ndarray:
        """Bool per finished episode: its last row is terminated."""
        last_rows = np.cumsum(self.episode_lengths[: self.n_finished]) - 1
        return self.terminated[last_rows]

    @property
    def behaviour(self) -> str:
        """Who chose the actions: the model's name, or what else the metadata say."""
        source = self.metadata.get("source", "LLM")
        if source == "LLM":
            return str(self.metadata.get("model") or "an unnamed policy")
        return str(source)

    def read_only(self) -> Transitions:
        """Return self with every array locked: one D serves many learners."""
        for name in COLUMNS:
            getattr(self, name).flags.writeable = False
        return self


@dataclass(slots=True)
class Minibatch:
    """B transitions as an update sees them; the observations may be features. `len` is B.

    `truncated` is not among the columns: an episode that was cut off is not over, and its last
    state keeps its value.
    """

    observations: np.ndarray  # [B, …]
    actions: np.ndarray  # [B] or [B, A]
    rewards: np.ndarray  # [B]
    next_observations: np.ndarray  # [B, …]
    terminated: np.ndarray  # [B] bool

    def __len__(self) -> int:
        return len(self.actions)


def from_rows(rows: Sequence[tuple], sources: Sequence[str] | None, metadata: dict) -> Transitions:
    """Build Transitions from tuples in the order of COLUMNS; observations keep their dtype."""
    columns = zip(COLUMNS, zip(*rows, strict=True), strict=True)
    arrays: dict[str, Any] = {name: np.array(column) for name, column in columns}
    if sources is not None:
        arrays["source"] = np.array(sources, dtype="U8")
    return Transitions(**arrays, metadata=metadata).read_only()


def provenance(task: Task, seed: int, source: str) -> dict:
    """Return the metadata that every collected data set has: what was played, by whom, with what.

    The libraries are imported here: reading a data set does not need them.
    """
    import gymnasium

    from minloro import __version__

    return {
        "environment": task.environment,
        "collection_step_limit": task.step_limit,
        "seed": seed,
        "source": source,
        "versions": {
            "minloro": __version__,
            "numpy": np.__version__,
            "gymnasium": gymnasium.__version__,
        },
    }


def save_transitions(path: str | Path, data: Transitions) -> None:
    """Write D as one .npz; `path` is never half a file."""
    metadata = json.dumps({"schema_version": SCHEMA_VERSION, **data.metadata})
    arrays: dict[str, Any] = {**data.columns, "metadata": np.array(metadata)}
    replace_file(path, lambda file: np.savez(file, **arrays))


def load_transitions(path: str | Path, task: Task) -> Transitions:
    """Read and check D for `task`; raise UserError on the first thing that is wrong."""
    arrays = _read_arrays(Path(path))
    try:
        metadata = json.loads(str(arrays.pop("metadata")))
        environment = metadata["environment"]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path}: its metadata is not a JSON text with the key 'environment'"
        ) from None
    if environment != task.environment:
        raise UserError(
            f"{path} holds transitions of {environment}, the task {task.name} plays "
            f"{task.environment}"
        )
    data = Transitions(**arrays, metadata=metadata)
    try:
        _check(data, *task.spaces)
    except _Invalid as problem:
        raise UserError(f"{path}: {problem}") from None
    return _with_standard_types(data).read_only()


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            wanted = (*COLUMNS, "metadata", "source")
            arrays = {name: file[name] for name in wanted if name in file.files}
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): give the .npz file of a data set"
        ) from None
    except Exception as error:  # whatever a damaged archive makes zipfile, zlib and NumPy raise
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path} holds pickled Python objects, which are never loaded; save plain arrays"
            ) from None
        raise UserError(
            f"{path} is not a readable .npz file (damaged, cut short, or something else)"
        ) from None
    missing = [name for name in (*COLUMNS, "metadata") if name not in arrays]
    if missing:
        raise UserError(f"{path} is not a data set of minloro: it has no {', '.join(missing)}")
    return arrays


def _with_standard_types(data: Transitions) -> Transitions:
    """Return D with the types that learning expects, whatever kind of numbers the file holds."""
    types: dict[str, type] = {
        "rewards": np.float64,
        "terminated": bool,
        "truncated": bool,
        "episode": np.int64,
    }
    for name, column in data.columns.items():
        unsigned = column.dtype.kind == "u"
        if unsigned and column.ndim == 1 and name not in types:
            types[name] = np.int64
    columns = {name: getattr(data, name).astype(types[name], copy=False) for name in types}
    return replace(data, **columns)


class _Invalid(Exception):
    """Says what makes a data set unusable."""


def _check(data: Transitions, observation_space: gym.Space, action_space: gym.Space) -> None:
    """Raise _Invalid if D cannot be used in these spaces; the most basic faults come first."""
    n = data.actions.shape[0] if data.actions.ndim else 0
    if n == 0:
        raise _Invalid("it holds no transitions")
    shapes = {
        "observations": (n, *(observation_space.shape or ())),
        "next_observations": (n, *(observation_space.shape or ())),
        "actions": (n, *(action_space.shape or ())),
    }
    for name, column in data.columns.items():
        _check_column(name, column, shapes.get(name, (n,)))
    for name in ("terminated", "truncated"):
        if not np.isin(getattr(data, name), (0, 1)).all():
            raise _Invalid(f"{name} must be true or false on every row")
    if data.episode.dtype.kind not in "iu":
        raise _Invalid(f"episode has the type {data.episode.dtype}, expected whole numbers")
    _check_range("actions", data.actions, action_space)
    _check_range("observations", data.observations, observation_space)
    _check_range("next_observations", data.next_observations, observation_space)
    _check_episodes(data)
    limit = data.metadata.get("collection_step_limit")
    if limit is not None and not (isinstance(limit, int) and limit > 0):
        raise _Invalid(
            f"collection_step_limit in its metadata is {limit!r}, expected a positive whole number"
        )


def _check_column(name: str, column: np.ndarray, shape: tuple[int, ...]) -> None:
    if column.shape != shape:
        raise _Invalid(f"{name} has the shape {column.shape}, expected {shape}")
    if name == "source":
        return
    if column.dtype.kind not in "biuf":
        raise _Invalid(f"{name} has the type {column.dtype}, expected numbers")
    with np.errstate(over="ignore"):
        learned_from = column.astype(np.float32)  # what learning computes with
    if not np.isfinite(learned_from).all():
        raise _Invalid(f"{name} holds NaN, infinite values or values beyond 32-bit numbers")


def _check_range(name: str, column: np.ndarray, space: Any) -> None:
    """Check numbers of states or actions, and the bounds of continuous actions."""
    if hasattr(space, "n"):  # Discrete
        if column.dtype.kind not in "iu":
            raise _Invalid(
                f"{name} has the type {column.dtype}, expected whole numbers from 0 to "
                f"{space.n - 1}"
            )
        if column.min() < 0 or column.max() >= space.n:
            raise _Invalid(
                f"{name} holds values from {column.min()} to {column.max()}, the task has 0 to "
                f"{space.n - 1}"
            )
    elif name == "actions":
        outside = (column < space.low) | (column > space.high)
        if outside.any():
            raise _Invalid(f"{name} holds values outside {space.low.min()} to {space.high.max()}")


def _check_episodes(data: Transitions) -> None:
    if len(np.unique(data.episode)) != len(data.episode_ids):
        raise _Invalid("the rows of an episode do not stand together")
    ended = data.terminated.astype(bool) | data.truncated.astype(bool)
    goes_on = data.episode[1:] == data.episode[:-1]  # the next row is of the same episode
    if (goes_on & ended[:-1]).any():
        raise _Invalid("an episode goes on after a row that is terminated or truncated")
