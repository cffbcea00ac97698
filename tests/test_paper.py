"""The paper's comparison, with budgets cut short."""

import csv
import json

import numpy as np
import pytest

import minloro
from minloro.bench import paper, sweep
from minloro.bench.folder import RunFolder
from minloro.bench.metrics import metrics_by_arm
from minloro.bench.statistics import interval
from minloro.cli import main
from minloro.rollout import EpisodeReturn
from minloro.transitions import load_transitions, save_transitions


@pytest.fixture
def short(monkeypatch):
    """Two tasks, 3,200 steps, two seeds."""
    monkeypatch.setattr(paper, "TASKS", ("cartpole", "frozenlake"))
    monkeypatch.setattr(paper, "SHORT", {"cartpole": 3200, "frozenlake": 3200})
    return ["paper", "--seeds", "2", "--jobs", "1"]


@pytest.fixture
def folder(tmp_path, small_data):
    """A folder with D for one of the two tasks."""
    (tmp_path / "d").mkdir()
    save_transitions(tmp_path / "d" / "cartpole.npz", small_data)
    return tmp_path / "d"


def table(path):
    """The rows of paper.csv by (task, column, arm, measure)."""
    with open(path / "paper.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["task"], row["column"], row["arm"], row["measure"]): row for row in rows}


def online_returns(path, arm, seed):
    """The returns of the evaluations after the first online step."""
    returns = RunFolder.open(path).finished()[arm, seed]
    return [row.episode_return for row in returns if row.phase == "eval"][1:]


def test_the_stand_ins_column(short, tmp_path, capsys, monkeypatch):
    out = tmp_path / "paper"
    assert main([*short, "--out", str(out)]) == 0
    text, err = capsys.readouterr()
    assert "no language model was asked" in text and "runs, at most about" in err
    assert text.startswith((out / "paper.md").read_text())
    names = "cartpole frozenlake config.json paper.csv paper.md sums.png curves-stand-in.png"
    assert {path.name for path in out.iterdir()} == set(names.split())
    rows = table(out)
    rl = [np.sum(online_returns(out / "cartpole" / "rl", "rl", seed)) for seed in (0, 1)]
    row = rows["cartpole", "stand-in", "rl", "paper_cumulative_reward"]
    assert float(row["mean"]) == pytest.approx(interval(rl)["mean"])
    assert row["published"] == "24411" and row["rounds"] == "16"
    assert "24,411 (150 rounds)" in text
    pairs = rows["cartpole", "stand-in", "loro − rl", "mean_return"]
    assert pairs["verdict"].startswith("indicative: ") and pairs["n_seeds"] == "2"
    assert len(rows) == 2 * 3 * 7  # tasks, measures, five arms and two comparisons
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    asked = []

    def run(jobs, executor):
        asked.extend(jobs)
        return []

    monkeypatch.setattr(sweep, "run", run)
    assert main(["--resume", str(out), "--jobs", "1"]) == 0
    assert not asked and {path: path.read_bytes() for path in before} == before


def test_columns_and_ablations(short, folder, tmp_path, capsys):
    out = tmp_path / "paper"
    columns = ["--data", f"one={folder}", "--data", f"two={folder}"]
    assert main([*short, *columns, "--ablations", "--out", str(out)]) == 0
    text, err = capsys.readouterr()
    assert "one: left out, as there is no file: frozenlake" in err
    assert "| task | arm | one | two |" in text
    rows = table(out)
    arms = ("loro", "random-data", "own-data", "own-data − loro")
    for arm in (*arms, "1000 updates", "D dropped", "D half of each batch"):
        one, two = (rows["cartpole", label, arm, "online_mean_return"] for label in ("one", "two"))
        assert one["mean"] == two["mean"] != ""  # the same D
    assert not [row for row in rows if row[0] == "frozenlake"]
    assert not [row for row in rows if row[2] == "20 episodes"]  # D has three
    assert (out / "cartpole" / "one,D-half-of-each-batch" / "config.json").exists()


def test_a_column_is_the_same_as_a_run_of_its_own(short, folder, tmp_path):
    out = tmp_path / "paper"
    assert main([*short, "--data", f"one={folder}", "--out", str(out)]) == 0
    rows = table(out)
    argv = "cartpole --steps 3200 --seeds 2".split()
    alone = tmp_path / "alone"
    assert main([*argv, "--data", str(folder / "cartpole.npz"), "--out", str(alone)]) == 0
    differences = json.loads((alone / "summary.json").read_text())["difference"]
    for other in ("rl", "random-data"):
        for measure in ("mean_return", "online_mean_return"):
            row = rows["cartpole", "one", f"loro − {other}", measure]
            found = differences[f"loro-{other}"][measure]
            assert float(row["mean"]) == pytest.approx(found["mean"])
            assert row["verdict"] == found["verdict"]


def evaluations_from(start, end, episode_return=None):
    """Evaluations every 200 steps; by default the return of each is its number of steps."""
    found = []
    for step in range(start, end + 1, 200):
        value = float(step) if episode_return is None else episode_return
        found.append(EpisodeReturn("eval", "greedy policy", step, value, 1))
    return found


def test_arms_with_different_data_are_compared_over_equally_many_online_steps(cartpole, small_data):
    """A longer D leaves fewer online evaluations. The other side then counts as many."""
    evaluations = evaluations_from(len(small_data), 3200)
    short = {0: small_data}
    long = {0: minloro.collect_random(cartpole, 1000)}
    rows = {("loro", 0): evaluations}
    (alone,) = metrics_by_arm(cartpole, 3200, rows, short)["loro"]
    (matched,) = metrics_by_arm(cartpole, 3200, rows, short, long)["loro"]
    counted = [row.episode_return for row in evaluations[1:]]
    assert alone["online_mean_return"] == np.mean(counted)
    assert matched["online_mean_return"] == np.mean(counted[:11])
    assert matched["mean_return"] == alone["mean_return"]


def test_every_ablation_differs_in_one_point(folder):
    plan = paper.Plan({}, ablations=True)
    base = plan.settings("pendulum", paper.STAND_IN)
    variants = paper.ablations(base)
    names = ["own-data", "20 episodes", "30 episodes", "1000 updates", "D dropped"]
    assert list(variants) == [*names, "D half of each batch"]
    for name, settings in variants.items():
        fields = set(vars(base)) - {"arms"}
        changed = [field for field in fields if getattr(base, field) != getattr(settings, field)]
        if name == "own-data":
            assert settings.arms == ("own-data",) and not changed
        else:
            assert settings.arms == ("loro",) and len(changed) == 1
    assert "D kept" in paper.ablations(plan.settings("cliffwalking", paper.STAND_IN))
    assert base.steps == 10_000
    assert paper.Plan({}, full=True).settings("pendulum", paper.STAND_IN).steps == 40_000
    assert base.fresh_data
    assert not paper.Plan({"a": str(folder)}).settings("cartpole", "a").fresh_data
    for name in paper.TASKS:
        rounds = 50 if name == "pendulum" else minloro.make_task(name).paper.rounds
        assert plan.settings(name, paper.STAND_IN).steps == 200 * rounds


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "x"], "must be LABEL=DIR"),
        (["--data", "../x=FOLDER"], "must be LABEL=DIR"),
        (["--data", "rl=FOLDER"], "LABEL"),
        (["--data", "a=EMPTY"], "holds none of cartpole.npz"),
        (["--data", "a=FOLDER", "--data", "a=FOLDER"], "label 'a' twice"),
        (["--steps", "500"], "--steps is not for paper"),
        (["--llm-url", "http://x/v1"], "--llm-url is not for paper"),
        (["--arms", "rl"], "--arms is not for paper"),
        (["--jobs", "2", "--scheduler", "tcp://x:1"], "exclude each other"),
    ],
)
def test_wrong_usage(folder, tmp_path, capsys, argv, message):
    (tmp_path / "empty").mkdir()
    places = {"FOLDER": str(folder), "EMPTY": str(tmp_path / "empty")}
    for name, path in places.items():
        argv = [text.replace(name, path) for text in argv]
    assert main(["paper", "--out", str(tmp_path / "out"), *argv]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("minloro: error: ") and message in err


def test_flags_of_paper_are_for_paper(capsys):
    assert main(["cartpole", "--full"]) == 2
    assert main(["cartpole", "--data", "a.npz", "--data", "b.npz"]) == 2
    err = capsys.readouterr().err
    assert "--full and --ablations are for paper" in err and "--data is one file" in err


def test_a_resumed_comparison_keeps_its_settings(short, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(paper, "run", lambda *_: [])
    out = tmp_path / "paper"
    monkeypatch.setattr(paper, "describe_plan", lambda *_: "")
    assert main([*short, "--out", str(out)]) == 0
    assert main(["paper", "--resume", str(out), "--seeds", "2"]) == 0
    assert main(["paper", "--resume", str(out), "--seeds", "3"]) == 2
    assert main(["cartpole", "--resume", str(out)]) == 2


def test_a_resumed_comparison_whose_data_are_gone(short, folder, tmp_path, capsys):
    out = tmp_path / "paper"
    assert main([*short, "--data", f"one={folder}", "--out", str(out)]) == 0
    folder.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert main(["--resume", str(out), "--jobs", "1"]) == 2
    assert "holds none of cartpole.npz" in capsys.readouterr().err


def test_the_papers_accounting_counts_what_an_episode_earned(published):
    """Qwen's pendulum episodes have 50 steps.

    Scaled to 200 steps they enter the mean return. As they were played they enter the paper's sum.
    """
    task = minloro.make_task("pendulum")
    data = load_transitions(published("pendulum"), task).first_episodes(10)
    evaluations = evaluations_from(len(data) - 90, 10_000, episode_return=-100.0)
    rows = {("loro", 0): evaluations, ("llm", 0): []}
    metrics = metrics_by_arm(task, 10_000, rows, {0: data})
    (loro,) = metrics["loro"]
    (llm,) = metrics["llm"]
    played = data.episode_returns.sum()
    scaled = data.returns_at(200).mean()
    assert played == pytest.approx(-2860, abs=1) and scaled < 4 * played / 10
    assert loro["paper_cumulative_reward"] == pytest.approx(played - 100.0 * 40)
    assert llm["paper_cumulative_reward"] == pytest.approx(played / 10 * 50)
    assert loro["mean_return"] == pytest.approx((2 * scaled - 100.0 * 48) / 50)


def test_a_damaged_part_is_reported(short, folder, tmp_path, capsys):
    out = tmp_path / "paper"
    assert main([*short, "--data", f"one={folder}", "--out", str(out)]) == 0
    (out / "cartpole" / "one" / "config.json").write_text("{}")
    assert main(["--resume", str(out), "--jobs", "1"]) == 2
    assert "is damaged, or another run's" in capsys.readouterr().err
    (out / "config.json").write_text('{"task": "paper"}')
    assert main(["--resume", str(out), "--jobs", "1"]) == 2
