"""The study of the guide: its conservative term, its measures, and the tables of the findings."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minloro.agents.tabular import TabularQ
from minloro.loro import CLONE
from minloro.rollout import EpisodeReturn
from minloro.transitions import Minibatch

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "tutorials" / "studies"
PAGE = (STUDIES / "findings.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(STUDIES))
    try:
        import guided
    finally:
        sys.path.remove(str(STUDIES))
    return guided


def conservative_loss(q, actions):
    """The mean of log sum exp q(s, a) - q(s, a_D), one row after the other."""
    losses = []
    for row, action in zip(q, actions, strict=True):
        losses.append(np.log(sum(np.exp(value) for value in row)) - row[action])
    return sum(losses)


def test_the_slope_of_the_conservative_term_against_finite_differences(study):
    rng = np.random.default_rng(0)
    q, actions = rng.normal(size=(5, 3)), rng.integers(3, size=5)
    slope = study.conservative_slope(q, actions)
    for place in np.ndindex(q.shape):
        up, down = q.copy(), q.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        expected = (conservative_loss(up, actions) - conservative_loss(down, actions)) / 2e-6
        assert slope[place] == pytest.approx(expected, abs=1e-8)


def test_the_conservative_term_by_hand_and_its_end(study):
    """Two equal values: each slope is 1/2, less 1 at the action of D. Online it fades away."""
    plain = TabularQ(1, 2, step_size=0.1, discount=1.0, epsilon=0.0, initial_value=0.0)
    agent = study.Conservative(plain, scale=10.0)
    row = Minibatch(*(np.array([value]) for value in (0, 1, 0.0, 0, True)))
    rng = np.random.default_rng(0)
    agent.update(row, rng)  # q is 0, so is the target: only the term moves it
    assert plain.table.tolist() == [[-0.5, 0.5]]  # 0.1 * 0.5 * 10
    agent.is_pretrained = True
    agent.online_updates = study.FADE
    before = plain.table.copy()
    agent.update(row, rng)
    assert plain.table[0, 0] == before[0, 0]
    assert plain.table[0, 1] == 0.45  # Q-learning alone: a tenth of the way to 0


def test_the_measures_by_hand(study):
    names = {"l": "greedy policy", "c": CLONE}
    rows = [EpisodeReturn("llm", "x", 10, 99.0, 10)]
    for step, (player, value) in enumerate(zip("ccl", (5.0, 7.0, 9.0), strict=True)):
        rows.append(EpisodeReturn("eval", names[player], 200 * step, value, 1))
    rows.append(EpisodeReturn("train", "learning agent", 300, 4.0, 100))
    found = study.measures(rows)
    expected = {"first": 5, "first_ten": 8, "online": 8, "last_ten": 8, "training": 4}
    assert found == expected | {"takeover": 200}


def test_the_findings_show_the_tables_of_the_published_file(study):
    shown = PAGE.partition("## A guide")[2].partition("\n## ")[0]
    shown = shown.replace("−", "-").replace(": none", ": no clear difference")
    rows = study.read(study.OUT)
    assert len(rows) == 1510
    lines = study.tables(rows).splitlines()
    bodies = [line for line in lines if re.match(r"\| [a-z]+ \| \S", line) and "| D |" not in line]
    assert len(bodies) == 2 * len(study.SETS)
    for line in bodies:
        assert line in shown, line


def test_no_data_set_makes_the_guide_clearly_worse(study):
    rows = study.read(study.OUT)
    for name, data in study.SETS:
        own = [row for row in rows if (row["task"], row["data"]) == (name, data)]
        found = {method: [r for r in own if r["method"] == method] for method in study.METHODS}
        assert {r["seed"] for r in found["guided"]} == set(range(300, 310))
        assert not study.verdict(found, "guided", "loro").endswith(": worse"), (name, data)


def test_a_complete_file_is_shown_and_a_cut_one_goes_on(study, tmp_path):
    """One seed of one task, stopped by a file that holds all but its last run."""
    rows = [r for r in study.read(study.OUT) if r["task"] == "frozenlake" and r["seed"] == 300]
    rows = [r for r in rows if r["data"] == "stand-in 1"]
    known = [r for r in rows if r["method"] != "guided"]
    out = tmp_path / "part.csv"
    study.write(out, known)
    command = [sys.executable, str(STUDIES / "guided.py"), "--data", str(tmp_path), "--out"]
    options = [str(out), "--only", "frozenlake", "--seeds", "1", "--jobs", "1"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "frozenlake stand-in 1 guided 300" in done.stdout
    again = {row["method"]: row for row in study.read(out)}
    assert len(again) == len(rows)
    assert again["guided"] == next(r for r in rows if r["method"] == "guided")
