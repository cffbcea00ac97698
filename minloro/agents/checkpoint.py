"""Save and load what an agent has learned, in one .npz without pickled objects.

An agent's state is its arrays and its counters: `STATE` names them. Settings are not saved; they belong to the task, and a
state is loaded into an agent that the task has made.
"""

from pathlib import Path

import numpy as np

from minloro.errors import UserError
from minloro.files import replace_file


class Checkpoint:
    """Gives an agent `save(path)` and `load(path)`; a loaded agent continues bit for bit."""

    STATE: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Write the state to `path`, whole or not at all."""
        state = {name: np.asarray(getattr(self, name)) for name in self.STATE}
        replace_file(path, lambda file: np.savez(file, **state))

    def load(self, path: str | Path) -> None:
        """Take over the state in `path`; raise UserError, and change nothing, where it is not one of such an agent."""
        try:
            with np.load(path, allow_pickle=False) as file:
                state = {name: np.asarray(file[name]) for name in file.files}
            if not all(np.isfinite(value).all() for value in state.values()):
                raise ValueError
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such file") from None
        except Exception:  # whatever a damaged or foreign file makes zipfile, zlib and NumPy raise
            raise UserError(f"{path} is not a saved agent") from None
        own = {name: np.asarray(getattr(self, name)) for name in self.STATE}
        if state.keys() != own.keys():
            raise UserError(f"{path} is not a saved {type(self).__name__}")
        for name, value in own.items():
            if state[name].shape != value.shape or state[name].dtype != value.dtype:
                found, own_kind = (f"shape {array.shape} and type {array.dtype}" for array in (state[name], value))
                raise UserError(f"{path} holds {name} of {found}, this agent has {own_kind}")
        for name, value in own.items():
            if value.ndim:
                getattr(self, name)[...] = state[name]
            else:
                setattr(self, name, state[name].item())
