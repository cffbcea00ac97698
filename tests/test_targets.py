"""What the README claims about learning, checked on independent seeds. Slow."""

import csv
import json
from collections import defaultdict

import numpy as np
import pytest

from minloro.cli import main

pytestmark = pytest.mark.slow


def run(tmp_path, *argv):
    assert main(["cartpole", "--quiet", "--seeds", "10", *map(str, argv), "--out", str(tmp_path / "run")]) == 0
    evaluations = defaultdict(list)
    for row in csv.DictReader(open(tmp_path / "run" / "returns.csv")):
        if row["phase"] == "eval":
            evaluations[row["arm"], row["seed"]].append(float(row["episode_return"]))
    return json.loads((tmp_path / "run" / "summary.json").read_text())["arms"], evaluations


def test_loro_on_the_published_rollouts(tmp_path, published):
    arms, _ = run(tmp_path, "--arms", "rl,loro", "--data", published("cartpole"), "--episodes", 10)
    assert arms["loro"]["first_return"]["mean"] >= 195
    assert arms["loro"]["online_mean_return"]["mean"] >= 195


def test_loro_on_other_parts_of_the_published_rollouts(tmp_path, published, cartpole):
    from minloro.transitions import load_transitions, save_transitions

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
