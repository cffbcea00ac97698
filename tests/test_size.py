"""A million rows: what is held in memory is stated in rows of D, and nothing grows faster than D.

`python -m pytest -m slow -s tests/test_size.py` prints the figures of the README.
"""

import re
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from test_own_environments import HIGH, LOW, homing

import minloro
from minloro import experiment, loro
from minloro.experiment import Settings, read_data
from minloro.progress import Progress
from minloro.replay import ReplayBuffer
from minloro.transitions import COLUMNS, Transitions, load_transitions, save_transitions

MILLION = 1_000_000


@contextmanager
def peak(of: int):
    """Yield a list that is given the most memory that is held inside the block, as a multiple of `of` bytes."""
    found = []
    tracemalloc.start()
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1] / of)
    finally:
        tracemalloc.stop()


def nbytes(data) -> int:
    return sum(column.nbytes for column in data.columns.values())


def test_a_buffer_of_a_million_holds_float32_and_little_else():
    with peak(of=MILLION * ((2 * 100 + 4 + 1) * 4 + 1)) as held:  # s and s', a, r; a flag
        buffer = ReplayBuffer(MILLION, np.zeros(100, np.float64), np.zeros(4, np.float64))
        buffer.add(np.ones(100), np.ones(4), 1.0, np.ones(100), False)
        batch = buffer.sample(128, np.random.default_rng(0))
    assert held[0] <= 1.1
    assert {array.dtype for array in (batch.observations, batch.next_observations, batch.actions, batch.rewards)} == {
        np.dtype(np.float32)
    }
    assert ReplayBuffer(5, 3, 1)._columns["observations"].dtype.kind == "i"  # numbers of states stay whole


@pytest.mark.parametrize("offline", ["keep", 0.5])
def test_encoding_what_is_drawn_is_encoding_everything(cartpole, small_data, monkeypatch, offline):
    """Where D is too large for its features, the buffer holds observations, and the agent learns the same."""
    learned, buffers, real = [], [], loro.ReplayBuffer
    monkeypatch.setattr(loro, "ReplayBuffer", lambda *shape: buffers.append(real(*shape)) or buffers[-1])
    for most in (loro.MOST_FEATURES, 0):
        monkeypatch.setattr(loro, "MOST_FEATURES", most)
        agent = cartpole.make_agent()
        minloro.pretrain(agent, small_data, updates=200)
        returns = minloro.finetune(agent, cartpole, steps=600, data=small_data, offline=offline)
        learned.append((agent.weights, agent.n_updates, len(returns)))
    assert [buffer._columns["observations"].shape[1] for buffer in buffers] == [81, 81, 4, 4]
    np.testing.assert_allclose(learned[0][0], learned[1][0], rtol=1e-3, atol=1e-3)
    assert learned[0][1:] == learned[1][1:]


def test_the_pace_of_pretraining_is_kept_where_what_is_drawn_is_encoded(monkeypatch):
    task = minloro.make_task("pendulum")
    data, paces = minloro.collect_random(task, 200), []
    agent = task.make_agent()
    assert loro._learner(agent, data) is agent and loro._learner(agent, None) is agent
    monkeypatch.setattr(loro, "MOST_FEATURES", -1)
    update = agent.update
    agent.update = lambda batch, rng: paces.append(agent.target_step_size) or update(batch, rng)
    minloro.pretrain(agent, data, updates=2)
    assert paces == [agent.pretraining_target_step_size] * 2 and agent.target_step_size != paces[0]


def test_of_a_large_data_set_some_rows_are_played(tmp_path, cartpole, small_data, monkeypatch, capsys):
    n = len(small_data)
    second_half = np.arange(n) >= n // 2  # is wrong: rows are drawn from all of D, not from its beginning
    changes = {"terminated": small_data.terminated ^ second_half, "truncated": np.zeros(n, bool), "episode": np.arange(n)}
    wrong = Transitions(**vars(small_data) | changes)
    save_transitions(tmp_path / "d.npz", wrong)
    settings = Settings("cartpole", ("rl",), 1, 0, 1000, 200, None, None, False, 0.7, "keep", 1)
    for most, checked in ((20, 20), (10_000, n)):
        monkeypatch.setattr(experiment, "MOST_CHECKED", most)
        read_data(tmp_path / "d.npz", cartpole, settings, Progress(quiet=False))
        found = re.search(r"(\d+) of (\d+) rows of .*; it has (\d+)\)", capsys.readouterr().err)
        assert (int(found[2]), int(found[3])) == (checked, n) and 0 < int(found[1]) < checked


def random_rows(task, size: int, actions, kind=np.float32) -> Transitions:
    """D of a million random rows in episodes of 200."""
    rng, ends = np.random.default_rng(0), np.arange(1, MILLION + 1) % 200 == 0
    states, after = (np.empty((MILLION, size), kind) for _ in range(2))
    for start in range(0, MILLION, 10_000):
        states[start : start + 10_000] = rng.standard_normal((10_000, size))
        after[start : start + 10_000] = rng.standard_normal((10_000, size))
    episode, no = np.arange(MILLION) // 200, np.zeros(MILLION, bool)
    source, rewards = np.full(MILLION, "reply", "U8"), rng.standard_normal(MILLION)
    return Transitions(states, actions, rewards, after, no, ends, episode, source, {"environment": task.environment})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cartpole", "acrobot", "100 observations, 4 actions"])
def test_a_million_rows(tmp_path, name):
    rng, path = np.random.default_rng(1), tmp_path / "d.npz"
    if name in minloro.TASK_NAMES:
        task = minloro.make_task(name)
        states, actions = task.spaces
        data = random_rows(task, states.shape[0], rng.integers(actions.n, size=MILLION))
    else:
        task = homing()
        data = random_rows(task, 100, rng.uniform(LOW, HIGH, (MILLION, 4)), np.float64)
    save_transitions(path, data)
    size, figures, seconds = nbytes(data), [], []
    del data
    for step in ("loaded and checked", "and pretrained", "and fine-tuned for 500 steps"):
        start = time.perf_counter()
        with peak(of=size) as held:
            data = load_transitions(path, task)
            if step == "loaded and checked":
                assert len(loro.data_returns(data)) == len(data.returns_at(200)) == 5000
            elif step == "and pretrained":
                minloro.pretrain(task.make_agent(), data)
            else:
                minloro.finetune(task.make_agent(), task, MILLION + 500, data)
        figures.append(held[0])
        seconds.append(f"{step}: {held[0]:.2f} times D, {time.perf_counter() - start:.1f} s")
    print(f"\n{name}, D of {size / 1e6:.0f} MB in memory: {'; '.join(seconds)}")
    assert figures[0] < 1.4 and max(figures) < 1.8


@pytest.mark.slow
def test_a_million_random_rows(cartpole):
    with peak(of=MILLION * 90) as held:
        data = minloro.collect_random(cartpole, MILLION)
    assert nbytes(data) == MILLION * 90
    print(f"\na million random rows of cartpole: at most {held[0]:.2f} times D")
    assert held[0] < 3.2
    part = data.rows(slice(0, 3000))
    again = minloro.collect_random(cartpole, 3000)
    for column in COLUMNS[:4]:
        np.testing.assert_array_equal(getattr(part, column), getattr(again, column))
