"""Run folders of earlier versions: they can be resumed, with the same bits as a fresh run."""

import json

import pytest
from test_cli import refused

from minloro.bench import paper, sweep
from minloro.cli import main

# As 0.1.0 wrote it: what becomes of D was called `offline`.
OLD_CONFIG = {
    "minloro": "0.1.0",
    "behaviour": "scripted stand-in, skill 0.7 (no language model was asked)",
    "task": "cartpole",
    "arms": ["rl", "loro", "random-data", "llm"],
    "seeds": 1,
    "seed": 0,
    "steps": 1000,
    "episodes": 3,
    "data": None,
    "llm_model": None,
    "fresh_data": False,
    "stand_in_skill": 0.7,
    "offline": "keep",
    "updates": 3000,
    "reasoning": "direct",
    "max_tokens": None,
    "temperature": None,
    "top_p": None,
}
ARGV = "cartpole --arms rl,loro,random-data,llm --seeds 1 --steps 1000 --episodes 3".split()
ARGV += "--jobs 1 --quiet".split()


def write_old_folder(folder, returns, **changes):
    """Write a run of 0.1.0 of which only the arm `rl` is finished."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(OLD_CONFIG | changes, indent=2))
    header, *rows = returns.splitlines(keepends=True)
    finished = [row for row in rows if row.startswith("rl,0,")]
    assert len(finished) > 10
    (folder / "returns.csv").write_text("".join([header, *finished]), newline="")


@pytest.mark.parametrize("retention", ["keep", "drop", 0.5])
def test_an_old_folder_is_finished_as_a_fresh_run(tmp_path, monkeypatch, retention):
    fresh = tmp_path / "fresh"
    old = tmp_path / "old"
    assert main([*ARGV, "--data-retention", str(retention), "--out", str(fresh)]) == 0
    returns = (fresh / "returns.csv").read_bytes()
    write_old_folder(old, returns.decode(), offline=retention)
    asked = []
    run = sweep.run

    def watched_run(jobs, executor):
        asked.extend((job.arm, job.data_retention) for job in jobs)
        return run(jobs, executor)

    monkeypatch.setattr(sweep, "run", watched_run)
    assert main(["--resume", str(old), "--jobs", "1", "--quiet"]) == 0
    assert asked == [("loro", retention), ("random-data", retention)]
    assert (old / "returns.csv").read_bytes() == returns
    for name in ("summary.json", "rollouts.npz", "learning_curves.png"):
        assert (old / name).read_bytes() == (fresh / name).read_bytes(), name


def test_the_settings_of_an_old_folder_are_kept(tmp_path, capsys):
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text(json.dumps(OLD_CONFIG))
    for flag in ("--data-retention", "--offline"):
        line = refused(capsys, "--resume", old, flag, "drop")
        assert "data-retention keep, not drop" in line
    (old / "config.json").write_text(json.dumps(OLD_CONFIG | {"unknown": 1}))
    assert "not from this version" in refused(capsys, "--resume", old)
    (old / "config.json").write_text(json.dumps(OLD_CONFIG | {"data_retention": "drop"}))
    assert "not from this version" in refused(capsys, "--resume", old)


def test_both_spellings_of_the_flag_are_one_setting(tmp_path):
    for flag in ("--data-retention", "--offline"):
        out = tmp_path / flag.strip("-")
        argv = "cartpole --arms loro --seeds 1 --steps 600 --episodes 2 --quiet".split()
        assert main([*argv, flag, "drop", "--out", str(out)]) == 0
    one, other = ((tmp_path / name) for name in ("data-retention", "offline"))
    for name in ("config.json", "returns.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    config = json.loads((one / "config.json").read_text())
    assert config["data_retention"] == "drop" and "offline" not in config


def test_an_old_comparison_is_finished(tmp_path, monkeypatch):
    """The folders inside a folder of `paper` have the old name, too."""
    monkeypatch.setattr(paper, "TASKS", ("cartpole",))
    monkeypatch.setattr(paper, "SHORT", {"cartpole": 3200})
    out = tmp_path / "paper"
    assert main(["paper", "--seeds", "2", "--jobs", "1", "--quiet", "--out", str(out)]) == 0
    table = (out / "paper.csv").read_bytes()
    inner = list(out.glob("*/*/config.json"))
    assert len(inner) == 2
    for path in inner:
        config = json.loads(path.read_text())
        config["offline"] = config.pop("data_retention")
        path.write_text(json.dumps(config, indent=2))
    asked = []

    def run(jobs, executor):
        asked.extend(jobs)
        return []

    monkeypatch.setattr(sweep, "run", run)
    assert main(["--resume", str(out), "--jobs", "1", "--quiet"]) == 0
    assert not asked and (out / "paper.csv").read_bytes() == table
