"""Save and load what an agent has learned, in one .npz without pickled objects.

An agent's state is its arrays and its counters: `STATE` names them. Settings are not saved, because
they belong to the task. A state is loaded into an agent that the task has made.
"""

from pathlib import Path
from typing import Any

import numpy as np

from minloro.errors import UserError
from minloro.files import replace_file


class Checkpoint:
    """Give an agent `save` and `load`. A loaded agent continues bit for bit."""

    # The names of the attributes that hold what was learned.
    STATE: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Write the state to `path`, which is never half a file."""
        state: dict[str, Any] = self._state()
        replace_file(path, lambda file: np.savez(file, **state))

    def load(self, path: str | Path) -> None:
        """Take over the state in `path`.

        Raises UserError if the file does not hold the state of such an agent. Then nothing changes.
        """
        own = self._state()
        found = _read_state(path)
        if found.keys() != own.keys():
            raise UserError(f"{path} is not a saved {type(self).__name__}")
        for name, value in own.items():
            _check_kind(path, name, found[name], value)
        for name, value in own.items():
            if value.ndim:
                getattr(self, name)[...] = found[name]
            else:
                setattr(self, name, found[name].item())

    def _state(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(getattr(self, name)) for name in self.STATE}


def _read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays in a file; raise UserError if it holds anything else, NaN or infinity."""
    try:
        with np.load(path, allow_pickle=False) as file:
            state = {name: np.asarray(file[name]) for name in file.files}
        finite = all(np.isfinite(value).all() for value in state.values())
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except Exception:  # whatever a damaged or foreign file makes zipfile, zlib and NumPy raise
        finite = False
    if not finite:
        raise UserError(f"{path} is not a saved agent")
    return state


def _check_kind(path: str | Path, name: str, found: np.ndarray, own: np.ndarray) -> None:
    """Raise UserError if an array has another shape or type than the agent's own."""
    if found.shape != own.shape or found.dtype != own.dtype:
        raise UserError(
            f"{path} holds {name} of shape {found.shape} and type {found.dtype}, "
            f"this agent has shape {own.shape} and type {own.dtype}"
        )
