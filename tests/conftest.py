"""Shared fixtures. Published rollouts are looked for in ../shared/data beside the project."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A shell starts background programs with interrupts ignored, and child processes inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest

import minloro
from minloro.llm import client

ATARI = find_spec("ale_py") is not None
# The tasks that need no extra package.
CORE_TASKS = tuple(name for name in minloro.TASK_NAMES if name != "pong")
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
            pytest.skip(
                f"the published rollouts are not here ({file}); "
                "see tutorials/reference/published_rollouts.md"
            )
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
    """n rows with random features.

    They are Transitions, which hold more than a minibatch. An update must not look at the rest.
    """
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


def remember(monkeypatch, target, name):
    """Return a list of everything that a function returns after this call."""
    original = getattr(target, name)
    found = []

    def wrapper(*args, **kwargs):
        made = original(*args, **kwargs)
        found.append(made)
        return made

    monkeypatch.setattr(target, name, wrapper)
    return found


def remember_batches(agent):
    """Return a list of every minibatch that an agent learns from after this call."""
    batches = []
    update = agent.update

    def wrapper(batch, rng):
        batches.append(batch)
        return update(batch, rng)

    agent.update = wrapper
    return batches
