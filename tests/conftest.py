"""Shared fixtures. Tests that need the published rollouts look for ../shared/data beside the project."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# Where the tests run in the background of a shell, interrupts are ignored, and so they would be in every process started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest

import minloro
from minloro.llm import client

ATARI = find_spec("ale_py") is not None
CORE_TASKS = tuple(name for name in minloro.TASK_NAMES if name != "pong")  # those that need no extra
PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "qwen2.5-7b"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    """No test may see, or send, a real key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """The waits between the attempts of a client, a hundred times shorter."""
    for name in ("BACKOFF", "LONGEST_BACKOFF"):
        monkeypatch.setattr(client, name, getattr(client, name) / 100)


@pytest.fixture
def published():
    """A function from a task's name to the file of published rollouts."""

    def path(task: str) -> Path:
        file = PUBLISHED / f"{task}.npz"
        if not file.exists():
            pytest.skip(f"the published rollouts are not here ({file}); see 'Published rollouts' in the README")
        return file

    return path


@pytest.fixture(scope="session")
def cartpole():
    return minloro.make_task("cartpole")


@pytest.fixture(scope="session")
def small_data(cartpole):
    """D: three episodes of the stand-in on CartPole."""
    return minloro.collect(cartpole, minloro.StandInLLM(cartpole, seed=1), episodes=3, seed=1)


def make_batch(n: int, size: int, n_actions: int, seed: int = 0, dtype=np.float64):
    """n rows with random features: Transitions, that is a minibatch and more, at which an update must not look."""
    rng = np.random.default_rng(seed)
    return minloro.Transitions(
        observations=rng.normal(size=(n, size)).astype(dtype),
        actions=rng.integers(n_actions, size=n),
        rewards=rng.normal(size=n).astype(dtype),
        next_observations=rng.normal(size=(n, size)).astype(dtype),
        terminated=rng.random(n) < 0.3,
        truncated=rng.random(n) < 0.3,
        episode=np.zeros(n, int),
    )
