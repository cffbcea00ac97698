"""Save and load what an agent has learned, in one .npz without pickled objects.

An agent's state is its arrays and its counters: `STATE` names them. Settings are not saved; they belong to the task, and a
state is loaded into an agent that the task has made.
"""

import zipfile
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
                state = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such file") from None
        except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile):
            raise UserError(f"{path} is not a saved agent") from None
        own = {name: np.asarray(getattr(self, name)) for name in self.STATE}
        if state.keys() != own.keys():
            raise UserError(f"{path} is not a saved {type(self).__name__}")
        for name, value in own.items():
            if state[name].shape != value.shape or state[name].dtype != value.dtype:
                raise UserError(f"{path} holds {name} of shape {state[name].shape}, this agent has {value.shape}")
        for name, value in own.items():
            if value.ndim:
                getattr(self, name)[...] = state[name]
            else:
                setattr(self, name, state[name].item())
