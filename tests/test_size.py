"""A million rows: the memory that is held is stated as a multiple of D and never grows faster.

`python -m pytest -m slow -s tests/test_size.py` prints the numbers of
tutorials/reference/benchmarks.md.
"""

import re
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import remember
from test_own_environments import HIGH, LOW, homing

import minloro
from minloro import loro
from minloro.agents import agent as agent_module
from minloro.agents.agent import within_memory
from minloro.arms import data_returns
from minloro.bench import run as run_module
from minloro.bench.progress import Progress
from minloro.bench.run import read_data
from minloro.bench.settings import Settings
from minloro.replay import ReplayBuffer
from minloro.transitions import COLUMNS, Transitions, load_transitions, save_transitions

MILLION = 1_000_000


@contextmanager
def peak(of: int):
    """Yield a list. After the block it holds the peak memory, as a multiple of `of` bytes."""
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
    numbers = 2 * 100 + 4 + 1  # s and s', a, r
    with peak(of=MILLION * (4 * numbers + 1)) as held:  # and a flag
        buffer = ReplayBuffer(MILLION, np.zeros(100, np.float64), np.zeros(4, np.float64))
        buffer.add(np.ones(100), np.ones(4), 1.0, np.ones(100), False)
        batch = buffer.sample(128, np.random.default_rng(0))
    assert held[0] <= 1.1
    for array in (batch.observations, batch.next_observations, batch.actions, batch.rewards):
        assert array.dtype == np.float32
    # Numbers of states stay whole.
    assert ReplayBuffer(5, 3, 1)._columns["observations"].dtype.kind == "i"


@pytest.mark.parametrize("retention", ["keep", 0.5])
def test_encoding_what_is_drawn_is_encoding_everything(
    cartpole, small_data, monkeypatch, retention
):
    """If the features are too large, the buffer holds observations. The agent learns the same."""
    learned = []
    buffers = remember(monkeypatch, loro, "ReplayBuffer")
    for most in (agent_module.MOST_FEATURES, 0):
        monkeypatch.setattr(agent_module, "MOST_FEATURES", most)
        agent = cartpole.make_agent()
        minloro.pretrain(agent, small_data, updates=200)
        returns = minloro.finetune(
            agent, cartpole, steps=600, data=small_data, data_retention=retention
        )
        learned.append((agent.weights, agent.n_updates, len(returns)))
    assert [buffer._columns["observations"].shape[1] for buffer in buffers] == [81, 81, 4, 4]
    np.testing.assert_allclose(learned[0][0], learned[1][0], rtol=1e-3, atol=1e-3)
    assert learned[0][1:] == learned[1][1:]


def test_the_pace_of_pretraining_is_kept_when_what_is_drawn_is_encoded(monkeypatch):
    task = minloro.make_task("pendulum")
    data = minloro.collect_random(task, 200)
    paces = []
    agent = task.make_agent()
    assert within_memory(agent, data) is agent and within_memory(agent, None) is agent
    monkeypatch.setattr(agent_module, "MOST_FEATURES", -1)
    assert within_memory(agent, data) is not agent and within_memory(agent, None) is agent
    update = agent.update

    def watched_update(batch, rng):
        paces.append(agent.target_step_size)
        return update(batch, rng)

    agent.update = watched_update
    minloro.pretrain(agent, data, updates=2)
    assert paces == [agent.pretraining_target_step_size] * 2
    assert agent.target_step_size != paces[0]


def test_of_a_large_data_set_some_rows_are_played(
    tmp_path, cartpole, small_data, monkeypatch, capsys
):
    n = len(small_data)
    # The second half is wrong. Rows are drawn from all of D, not from its beginning.
    second_half = np.arange(n) >= n // 2
    changes = {
        "terminated": small_data.terminated ^ second_half,
        "truncated": np.zeros(n, bool),
        "episode": np.arange(n),
    }
    wrong = Transitions(**vars(small_data) | changes)
    save_transitions(tmp_path / "d.npz", wrong)
    settings = Settings(
        task="cartpole",
        arms=("rl",),
        seeds=1,
        seed=0,
        steps=1000,
        episodes=200,
        data=None,
        llm_model=None,
        fresh_data=False,
        stand_in_skill=0.7,
        data_retention="keep",
        updates=1,
    )
    for most, checked in ((20, 20), (10_000, n)):
        monkeypatch.setattr(run_module, "MOST_CHECKED", most)
        read_data(tmp_path / "d.npz", cartpole, settings, Progress(quiet=False))
        found = re.search(r"(\d+) of (\d+) rows of .*; it has (\d+)\)", capsys.readouterr().err)
        n_wrong, n_checked, n_rows = (int(number) for number in found.groups())
        assert (n_checked, n_rows) == (checked, n)
        assert 0 < n_wrong < checked


def random_rows(task, size: int, actions, kind=np.float32) -> Transitions:
    """D of a million random rows in episodes of 200."""
    rng = np.random.default_rng(0)
    ends = np.arange(1, MILLION + 1) % 200 == 0
    states, after = (np.empty((MILLION, size), kind) for _ in range(2))
    for start in range(0, MILLION, 10_000):
        states[start : start + 10_000] = rng.standard_normal((10_000, size))
        after[start : start + 10_000] = rng.standard_normal((10_000, size))
    return Transitions(
        observations=states,
        actions=actions,
        rewards=rng.standard_normal(MILLION),
        next_observations=after,
        terminated=np.zeros(MILLION, bool),
        truncated=ends,
        episode=np.arange(MILLION) // 200,
        source=np.full(MILLION, "reply", "U8"),
        metadata={"environment": task.environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cartpole", "acrobot", "100 observations, 4 actions"])
def test_a_million_rows(tmp_path, name):
    rng = np.random.default_rng(1)
    path = tmp_path / "d.npz"
    if name in minloro.TASK_NAMES:
        task = minloro.make_task(name)
        states, actions = task.spaces
        data = random_rows(task, states.shape[0], rng.integers(actions.n, size=MILLION))
    else:
        task = homing()
        data = random_rows(task, 100, rng.uniform(LOW, HIGH, (MILLION, 4)), np.float64)
    save_transitions(path, data)
    size = nbytes(data)
    peaks = []
    lines = []
    del data
    for step in ("loaded and checked", "and pretrained", "and fine-tuned for 500 steps"):
        start = time.perf_counter()
        with peak(of=size) as held:
            data = load_transitions(path, task)
            if step == "loaded and checked":
                assert len(data_returns(data)) == len(data.returns_at(200)) == 5000
            elif step == "and pretrained":
                minloro.pretrain(task.make_agent(), data)
            else:
                minloro.finetune(task.make_agent(), task, MILLION + 500, data)
        peaks.append(held[0])
        lines.append(f"{step}: {held[0]:.2f} times D, {time.perf_counter() - start:.1f} s")
    print(f"\n{name}, D of {size / 1e6:.0f} MB in memory: {'; '.join(lines)}")
    assert peaks[0] < 1.4 and max(peaks) < 1.8


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
