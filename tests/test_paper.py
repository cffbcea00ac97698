"""The paper's comparison, with budgets cut short."""

import csv
import json

import numpy as np
import pytest

import minloro
from minloro import paper, sweep
from minloro.cli import main
from minloro.loro import EpisodeReturn
from minloro.report import figures_by_arm, interval
from minloro.runfolder import RunFolder
from minloro.transitions import save_transitions


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
    with open(path / "paper.csv", newline="") as file:
        return {(row["task"], row["column"], row["arm"], row["measure"]): row for row in csv.DictReader(file)}


def online_mean(path, arm, seed):
    returns = RunFolder.open(path).finished()[arm, seed]
    return [row.episode_return for row in returns if row.phase == "eval"][1:]


def test_the_stand_ins_column(short, tmp_path, capsys, monkeypatch):
    out = tmp_path / "paper"
    assert main([*short, "--out", str(out)]) == 0
    text, err = capsys.readouterr()
    assert "no language model was asked" in text and "runs, at most about" in err
    assert text.startswith((out / "paper.md").read_text())
    assert {path.name for path in out.iterdir()} == {
        "cartpole", "frozenlake", "config.json", "paper.csv", "paper.md", "sums.png", "curves-stand-in.png"
    }  # fmt: skip
    rows = table(out)
    rl = [np.sum(online_mean(out / "cartpole" / "rl", "rl", seed)) for seed in (0, 1)]
    row = rows["cartpole", "stand-in", "rl", "paper_cumulative_reward"]
    assert float(row["mean"]) == pytest.approx(interval(rl)["mean"]) and row["published"] == "24411" and row["rounds"] == "16"
    assert "24,411 (150 rounds)" in text
    pairs = rows["cartpole", "stand-in", "loro − rl", "mean_return"]
    assert pairs["verdict"].startswith("indicative: ") and pairs["n_seeds"] == "2"
    assert len(rows) == 2 * 3 * 7  # tasks, measures, five arms and two comparisons
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    asked = []
    monkeypatch.setattr(sweep, "run", lambda jobs, executor: asked.extend(jobs) or [])
    assert main(["--resume", str(out), "--jobs", "1"]) == 0
    assert not asked and {path: path.read_bytes() for path in before} == before


def test_columns_and_ablations(short, folder, tmp_path, capsys):
    out = tmp_path / "paper"
    assert main([*short, "--data", f"one={folder}", "--data", f"two={folder}", "--ablations", "--out", str(out)]) == 0
    text, err = capsys.readouterr()
    assert "one: left out, as there is no file: frozenlake" in err and "| task | arm | one | two |" in text
    rows = table(out)
    for arm in ("loro", "random-data", "own-data", "1000 updates", "D dropped", "D half of each batch", "own-data − loro"):
        one, two = (rows["cartpole", label, arm, "online_mean_return"] for label in ("one", "two"))
        assert one["mean"] == two["mean"] != ""  # the same D
    assert not any(arm == "20 episodes" or task == "frozenlake" for task, _, arm, _ in rows)  # D has three
    assert (out / "cartpole" / "one,D-half-of-each-batch" / "config.json").exists()
    assert (
        main(["cartpole", "--data", str(folder / "cartpole.npz"), "--steps", "3200", "--seeds", "2", "--out", f"{out}-1"]) == 0
    )
    summary = json.loads((tmp_path / "paper-1" / "summary.json").read_text())
    for other in ("rl", "random-data"):  # the same as in a run of its own
        for measure in ("mean_return", "online_mean_return"):
            row, alone = rows["cartpole", "one", f"loro − {other}", measure], summary["difference"][f"loro-{other}"][measure]
            assert float(row["mean"]) == pytest.approx(alone["mean"]) and row["verdict"] == alone["verdict"]


def test_arms_with_different_data_are_compared_over_equally_many_online_steps(cartpole, small_data):
    """A longer D leaves fewer online evaluations; the other side then counts as many."""
    evaluations = [EpisodeReturn("eval", "greedy policy", step, float(step), 1) for step in range(len(small_data), 3201, 200)]
    short, long = {0: small_data}, {0: minloro.collect_random(cartpole, 1000)}
    rows = {("loro", 0): evaluations}
    alone, matched = (figures_by_arm(cartpole, 3200, rows, short, other)["loro"][0] for other in (None, long))
    counted = [row.episode_return for row in evaluations[1:]]
    assert alone["online_mean_return"] == np.mean(counted) and matched["online_mean_return"] == np.mean(counted[:11])
    assert matched["mean_return"] == alone["mean_return"]


def test_every_ablation_differs_in_one_point(folder):
    plan = paper.Plan({}, ablations=True)
    base = plan.settings("pendulum", paper.STAND_IN)
    variants = paper.ablations(base)
    assert list(variants) == ["own-data", "20 episodes", "30 episodes", "1000 updates", "D dropped", "D half of each batch"]
    for settings in variants.values():
        changed = {name for name in vars(base) if vars(base)[name] != vars(settings)[name]} - {"arms"}
        assert len(changed) == (settings.arms != ("own-data",))
    assert "D kept" in paper.ablations(plan.settings("cliffwalking", paper.STAND_IN))
    assert base.steps == 10_000 and paper.Plan({}, full=True).settings("pendulum", paper.STAND_IN).steps == 40_000
    assert base.fresh_data and not paper.Plan({"a": str(folder)}).settings("cartpole", "a").fresh_data
    assert {task: plan.settings(task, "stand-in").steps // 200 for task in paper.TASKS} == {
        task: minloro.make_task(task).paper["rounds"] if task != "pendulum" else 50 for task in paper.TASKS
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "x"], "must be LABEL=DIR"), (["--data", "../x=FOLDER"], "must be LABEL=DIR"),
        (["--data", "rl=FOLDER"], "LABEL"), (["--data", "a=EMPTY"], "holds none of cartpole.npz"),
        (["--data", "a=FOLDER", "--data", "a=FOLDER"], "label 'a' twice"),
        (["--steps", "500"], "--steps is not for paper"), (["--llm-url", "http://x/v1"], "--llm-url is not for paper"),
        (["--arms", "rl"], "--arms is not for paper"), (["--jobs", "2", "--scheduler", "tcp://x:1"], "exclude each other"),
    ],
)  # fmt: skip
def test_wrong_usage(folder, tmp_path, capsys, argv, message):
    (tmp_path / "empty").mkdir()
    places = {"FOLDER": str(folder), "EMPTY": str(tmp_path / "empty")}
    for name, path in places.items():
        argv = [text.replace(name, path) for text in argv]
    assert main(["paper", "--out", str(tmp_path / "out"), *argv]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("minloro: error: ") and message in err


def test_flags_of_paper_are_for_paper(capsys):
    assert main(["cartpole", "--full"]) == 2 and main(["cartpole", "--data", "a.npz", "--data", "b.npz"]) == 2
    err = capsys.readouterr().err
    assert "--full and --ablations are for paper" in err and "--data is one file" in err


def test_a_resumed_comparison_keeps_its_settings(short, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(paper, "run", lambda *_: [])
    out = tmp_path / "paper"
    monkeypatch.setattr(paper, "about", lambda *_: "")
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
    """Qwen's pendulum episodes have 50 steps: scaled to 200 they enter the mean return, as they were played the paper's sum."""
    from minloro.transitions import load_transitions

    task = minloro.make_task("pendulum")
    data = load_transitions(published("pendulum"), task).first_episodes(10)
    evaluations = [EpisodeReturn("eval", "greedy policy", step, -100.0, 200) for step in range(len(data) - 90, 10_001, 200)]
    figures = figures_by_arm(task, 10_000, {("loro", 0): evaluations, ("llm", 0): []}, {0: data})
    played = data.episode_returns.sum()
    assert played == pytest.approx(-2860, abs=1) and data.returns_at(200).mean() < 4 * played / 10
    assert figures["loro"][0]["paper_cumulative_reward"] == pytest.approx(played - 100.0 * 40)
    assert figures["llm"][0]["paper_cumulative_reward"] == pytest.approx(played / 10 * 50)
    assert figures["loro"][0]["mean_return"] == pytest.approx((2 * data.returns_at(200).mean() - 100.0 * 48) / 50)


def test_a_damaged_part_is_reported(short, folder, tmp_path, capsys):
    out = tmp_path / "paper"
    assert main([*short, "--data", f"one={folder}", "--out", str(out)]) == 0
    (out / "cartpole" / "one" / "config.json").write_text("{}")
    assert main(["--resume", str(out), "--jobs", "1"]) == 2
    assert "is damaged, or another run's" in capsys.readouterr().err
    (out / "config.json").write_text('{"task": "paper"}')
    assert main(["--resume", str(out), "--jobs", "1"]) == 2
