"""A task is one file and one line: a new one is added to a copy of the package and played."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from test_structure import PACKAGE

CORRIDOR = '''\
"""A corridor of six cells. An observation is the number of the cell; the last cell is the goal."""

import gymnasium as gym
import numpy as np

from minloro.agents.tabular import TabularQ
from minloro.llm.prompt import Prompt
from minloro.tasks.task import Rows, Task

STEP_LIMIT = 20
N_CELLS = 6
GOAL = N_CELLS - 1
RULES = (
    "You walk through a corridor of 6 cells and want to reach cell 6. Every step costs 1.\\n"
    f"The episode ends in cell 6, or after {STEP_LIMIT} steps."
)
MOVES = ("go left", "go right")


class Corridor(gym.Env):
    """Action 0 goes left, action 1 goes right; the walk starts in one of the first three cells."""

    observation_space = gym.spaces.Discrete(N_CELLS)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(3))
        return self.cell, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        """Take one step."""
        self.cell = max(self.cell + (1 if action == 1 else -1), 0)
        return self.cell, -1.0, self.cell == GOAL, False, {}


def describe(observation: int, rows: Rows) -> str:
    """Say what the model sees of a state."""
    return f"You are in cell {observation + 1}.\\nWhere do you go?"


def stand_in_rule(text: str) -> int:
    """Go right: the number of the action."""
    return 2


def set_state(env: Corridor, observation: int) -> None:
    """Put the bare environment into the state of an observation."""
    env.cell = int(observation)


def make_agent(rng: np.random.Generator) -> TabularQ:
    """Return an untrained agent."""
    return TabularQ(
        N_CELLS, len(MOVES), step_size=0.1, discount=0.9, epsilon=0.1, initial_value=0.0
    )


TASK = Task(
    name="corridor",
    environment="Corridor",
    step_limit=STEP_LIMIT,
    agent=make_agent,
    steps=1_000,
    threshold=-5,
    return_range=(-STEP_LIMIT, -3),
    prompt=Prompt(RULES, MOVES, describe),
    stand_in_rule=stand_in_rule,
    set_state=set_state,
    env_factory=Corridor,
)
'''
LAST_NAME = '    "pong",\n'


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with a copy of the package in which there is a further task."""
    folder = tmp_path_factory.mktemp("copy")
    no_caches = shutil.ignore_patterns("__pycache__")
    copy = shutil.copytree(PACKAGE, folder / "minloro", ignore=no_caches)
    (copy / "tasks" / "corridor.py").write_text(CORRIDOR, encoding="utf-8")
    registry = copy / "tasks" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    assert text.count(LAST_NAME) == 1
    registry.write_text(text.replace(LAST_NAME, LAST_NAME + '    "corridor",\n'), encoding="utf-8")
    return folder


def run(package, *argv):
    """Run the copy's command line in its folder."""
    command = [sys.executable, "-m", "minloro", *argv]
    environment = os.environ | {"PYTHONPATH": str(package)}
    return subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True)


def test_one_file_and_one_line_are_a_task(package, tmp_path):
    out = tmp_path / "run"
    argv = "corridor --seeds 1 --steps 400 --episodes 2 --jobs 1 --quiet --out".split()
    done = run(package, *argv, str(out))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "corridor (Corridor): 400 environment steps" in done.stdout
    with open(out / "returns.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["arm"] for row in rows} == {"rl", "loro", "guided", "random-data", "llm"}
    returns = [float(row["episode_return"]) for row in rows]
    assert -20 <= min(returns) and max(returns) <= -3
    assert json.loads((out / "config.json").read_text())["task"] == "corridor"
    assert (out / "learning_curves.png").exists()


def test_the_rows_of_a_new_task_are_checked_against_its_simulator(package, tmp_path):
    """With --data a run plays rows of D again, by means of the task's `set_state`."""
    first = tmp_path / "first"
    argv = "corridor --seeds 1 --steps 400 --episodes 2 --jobs 1 --arms loro --quiet".split()
    assert run(package, *argv, "--out", str(first)).returncode == 0
    data = first / "rollouts.npz"
    done = run(package, *argv, "--data", str(data), "--out", str(tmp_path / "second"))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    with np.load(data) as file:
        columns = dict(file)
    columns["rewards"][3] = -2.0
    np.savez(tmp_path / "wrong.npz", **columns)
    wrong = str(tmp_path / "wrong.npz")
    done = run(package, *argv, "--data", wrong, "--out", str(tmp_path / "third"))
    assert done.returncode == 0 and "minloro: warning: 1 of " in done.stderr


def test_the_help_lists_a_new_task(package):
    done = run(package, "--help")
    assert done.returncode == 0 and "corridor" in done.stdout
    wrong = run(package, "corridr")
    assert wrong.returncode == 2 and "corridor" in wrong.stderr


def test_the_package_itself_is_unchanged():
    assert not (PACKAGE / "tasks" / "corridor.py").exists()
