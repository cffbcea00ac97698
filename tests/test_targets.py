"""What the documents claim about learning, checked on independent seeds. Slow."""

import csv
import json
from collections import defaultdict

import numpy as np
import pytest

from minloro.cli import main
from minloro.transitions import load_transitions, save_transitions

pytestmark = pytest.mark.slow


def run(tmp_path, *argv, task="cartpole"):
    """Run ten seeds; return the arms of summary.json and {(arm, seed): returns of evaluations}."""
    out = tmp_path / "run"
    assert main([task, "--quiet", "--seeds", "10", *map(str, argv), "--out", str(out)]) == 0
    evaluations = defaultdict(list)
    with open(out / "returns.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["phase"] == "eval":
                evaluations[row["arm"], row["seed"]].append(float(row["episode_return"]))
    return json.loads((out / "summary.json").read_text())["arms"], evaluations


def test_loro_on_the_published_rollouts(tmp_path, published):
    arms, _ = run(tmp_path, "--arms", "rl,loro", "--data", published("cartpole"), "--episodes", 10)
    assert arms["loro"]["first_return"]["mean"] >= 195
    assert arms["loro"]["online_mean_return"]["mean"] >= 195


def test_loro_on_other_parts_of_the_published_rollouts(tmp_path, published, cartpole):
    data = load_transitions(published("cartpole"), cartpole)
    for first in (10, 20):
        part = data.rows((data.episode >= first) & (data.episode < first + 10))
        save_transitions(tmp_path / f"{first}.npz", part)
        (tmp_path / f"{first}").mkdir()
        arms, _ = run(tmp_path / f"{first}", "--arms", "loro", "--data", tmp_path / f"{first}.npz")
        assert arms["loro"]["first_return"]["mean"] >= 195
        assert arms["loro"]["online_mean_return"]["mean"] >= 195


def test_loro_on_the_stand_in(tmp_path):
    arms, _ = run(tmp_path, "--arms", "loro", "--fresh-data")
    assert arms["loro"]["first_return"]["mean"] >= 190


def test_rl_alone_is_strong_and_stays_so(tmp_path):
    _, evaluations = run(tmp_path, "--arms", "rl", "--steps", 30_000)
    curves = np.array(list(evaluations.values()))[:, 1:]
    assert curves.shape == (10, 150)
    assert curves[:, :30].mean() >= 180
    assert curves[:, :60].mean() >= 190
    assert curves[:, -50:].mean() >= 195


@pytest.mark.parametrize(
    ("task", "rounds", "least"),
    [("cliffwalking", 200, -3500), ("frozenlake", 150, 98), ("mountaincar", 300, -39_000)],
)
def test_rl_alone_over_the_papers_rounds(tmp_path, task, rounds, least):
    arms, _ = run(tmp_path, "--arms", "rl", "--steps", 200 * rounds, task=task)
    assert arms["rl"]["paper_cumulative_reward"]["mean"] >= least


@pytest.mark.parametrize(
    ("task", "steps", "least"), [("taxi", 100_000, 7), ("acrobot", 30_000, -125)]
)
def test_where_rl_alone_ends(tmp_path, task, steps, least):
    arms, _ = run(tmp_path, "--arms", "rl", "--steps", steps, task=task)
    assert arms["rl"]["final_return"]["mean"] >= least


@pytest.mark.parametrize("source", ["published", "stand-in"])
@pytest.mark.parametrize("task", ["cliffwalking", "frozenlake", "mountaincar"])
def test_pretraining_does_not_spoil_learning_online(tmp_path, published, task, source):
    data = ["--data", published(task)] if source == "published" else ["--fresh-data"]
    run(tmp_path, "--arms", "rl,loro", "--steps", 20_000, *data, task=task)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["difference"]["loro-rl"]["online_mean_return"]["verdict"] != "worse"


def test_pendulum(tmp_path, published):
    argv = ["--data", published("pendulum"), "--arms", "rl,loro", "--steps", 10_000]
    arms, evaluations = run(tmp_path, *argv, task="pendulum")
    curves = [points[1:] for (arm, _), points in evaluations.items() if arm == "rl"]
    up_to_6000_steps = [points[20:30] for points in curves]
    assert np.mean(up_to_6000_steps) >= -200
    assert arms["rl"]["final_return"]["mean"] >= -170
    assert arms["loro"]["first_return"]["mean"] >= -850
    assert arms["loro"]["final_return"]["mean"] >= -170
