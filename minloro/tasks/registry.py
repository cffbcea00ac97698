"""The names of the built-in tasks, and the way from a name to its task.

To add a task, write its file beside this one and add its name below. Nothing heavy is imported
here: the command line reads the names before NumPy is loaded.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

from minloro.errors import UserError

if TYPE_CHECKING:
    from minloro.tasks.task import Task

TASK_NAMES = (
    "cartpole",
    "mountaincar",
    "acrobot",
    "pendulum",
    "frozenlake",
    "cliffwalking",
    "taxi",
    "pong",
)


def make_task(name: str) -> Task:
    """Return a built-in task by its name. Only its own file is imported."""
    if name not in TASK_NAMES:
        raise UserError(
            f"there is no task {name!r}{_suggestion(name)}; choose one of {', '.join(TASK_NAMES)}"
        )
    task: Task = import_module(f"minloro.tasks.{name}").TASK
    return replace(task)  # a copy: nobody shares what it caches


def _suggestion(name: str) -> str:
    matches = get_close_matches(str(name).lower(), TASK_NAMES, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
