import csv
import json

import numpy as np
import pytest

import minloro
from minloro import report
from minloro.loro import EpisodeReturn
from minloro.report import arm_summary, difference, interval, seed_figures, t_quantile


def test_t_quantiles_of_the_tables():
    table = {1: 12.7062, 2: 4.3027, 4: 2.7764, 9: 2.2622, 19: 2.0930, 29: 2.0452, 120: 1.9799, 1000: 1.9623}
    for df, value in table.items():
        assert abs(t_quantile(df) - value) < 1e-4 * value
    assert abs(t_quantile(7, 0.95) - 1.8946) < 1e-4


def test_an_interval_by_hand():
    result = interval([1.0, 2.0, 3.0, 4.0])  # s = 1.29099, t(3) = 3.18245
    assert result["mean"] == 2.5
    assert abs(result["high"] - (2.5 + 3.18245 * 1.290994 / 2)) < 1e-4
    assert abs(result["low"] - (2.5 - 3.18245 * 1.290994 / 2)) < 1e-4


def test_the_wider_of_two_intervals_decides():
    for values in (np.r_[np.zeros(39), 1.0], np.arange(5.0)):
        n = len(values)
        half = t_quantile(n - 1) * values.std(ddof=1) / np.sqrt(n)
        resampled = [values[np.random.default_rng(k).integers(n, size=n)].mean() for k in range(4000)]
        bootstrap = np.ptp(np.quantile(resampled, (0.025, 0.975)))
        result = interval(values)
        assert result["high"] - result["low"] == pytest.approx(max(2 * half, bootstrap), rel=0.05)
    assert interval([5.0]) == {"mean": 5.0, "low": None, "high": None}
    assert interval([]) == {"mean": None, "low": None, "high": None}
    assert interval([3.0, 3.0]) == {"mean": 3.0, "low": 3.0, "high": 3.0}


def test_verdicts():
    noise = np.random.default_rng(0).normal(size=10)
    assert difference(noise + 5, noise)["verdict"] == "better"
    assert difference(noise - 5, noise)["verdict"] == "worse"
    assert difference(noise, noise)["verdict"] == "no clear difference"
    assert difference(noise, noise[::-1])["verdict"] == "no clear difference"
    assert difference(noise[:9] + 5, noise[:9])["verdict"] == "indicative: better"
    assert difference([1.0], [0.0])["verdict"] == "indicative: no clear difference"  # one seed shows nothing


def test_differences_are_paired():
    seeds = np.random.default_rng(0).normal(scale=100, size=10)  # the seeds differ far more than the arms
    assert difference(seeds + 1 + np.linspace(-0.1, 0.1, 10), seeds)["verdict"] == "better"


def evaluations(start, *returns, steps=None):
    """The evaluation before the first online step at `start`, then those on the grid behind it."""
    grid = [g for g in range(200, 10_000, 200) if g > start]
    rows = [EpisodeReturn("eval", "greedy policy", start, returns[0], 1)]
    return rows + [EpisodeReturn("eval", "greedy policy", g, r, 1) for g, r in zip(grid, returns[1:], strict=False)]


def test_the_figures_of_an_arm_without_data():
    rows = evaluations(0, 7.0, *range(10, 30))  # grid points 200 … 4000
    figures = seed_figures(rows, 4000, 0.0, 0, 20, threshold=20)
    assert figures == {
        "first_return": 7.0,  # before the first step, and left out of the means
        "mean_return": np.mean(range(10, 30)),
        "online_mean_return": np.mean(range(10, 30)),
        "final_return": np.mean(range(20, 30)),
        "paper_cumulative_reward": sum(range(10, 30)),
        "steps_to_threshold": 1400,  # the mean of 16 … 25 is 20.5; of 15 … 24 it is 19.5
    }
    assert seed_figures(rows, 4000, 0.0, 0, 5, 100)["online_mean_return"] == 12
    assert seed_figures(rows, 4000, 0.0, 0, 5, 100)["steps_to_threshold"] is None


def test_the_figures_of_an_arm_with_data():
    # D has 450 steps in 10 episodes: the grid points 200 and 400 count its mean return, 600 … 4000 are evaluations.
    rows = [EpisodeReturn("llm", "x", 450, 45.0, 45)] + evaluations(450, 99.0, *range(18))
    figures = seed_figures(rows, 4000, 45.0, 10, online_points=(4000 - 450) // 200, threshold=1000)
    assert figures["first_return"] == 99.0
    assert figures["mean_return"] == (2 * 45 + sum(range(18))) / 20
    assert figures["online_mean_return"] == np.mean(range(17))
    assert figures["final_return"] == np.mean(range(8, 18))
    assert figures["paper_cumulative_reward"] == 10 * 45 + sum(range(10))  # 20 rounds: 10 of D, then 10 online


def test_a_grid_point_at_the_end_of_the_data_belongs_to_the_data():
    figures = seed_figures(evaluations(400, 99.0, 1.0, 2.0), 800, 10.0, 2, online_points=2, threshold=5)
    assert figures["mean_return"] == (10 + 10 + 1 + 2) / 4 and figures["online_mean_return"] == 1.5


def test_what_the_budget_does_not_hold_is_null():
    figures = seed_figures(evaluations(450, 1.0, 2.0), 600, 45.0, 10, online_points=0, threshold=0)
    assert figures["online_mean_return"] is None and figures["paper_cumulative_reward"] is None
    assert figures["steps_to_threshold"] is None  # it takes ten evaluations
    many = seed_figures(evaluations(4400, 1.0, *[2.0] * 3), 5000, 9.0, 10, online_points=3, threshold=0)
    assert many["paper_cumulative_reward"] is None  # 25 rounds: 15 online ones would be needed, D leaves 3


def test_ten_evaluations_after_d_are_enough_to_say_never():
    task, rng = minloro.make_task("cartpole"), np.random.default_rng(0)
    for rows, possible in ((4001, True), (4200, False)):  # of 6,000 steps: 10 or 9 points of the grid come after D
        data = minloro.collect_random(task, rows)
        returns = {("rl", 0): evaluations(0, *rng.normal(size=31)), ("loro", 0): evaluations(rows, *rng.normal(size=31))}
        returns = {key: [row for row in kept if row.env_steps <= 6000] for key, kept in returns.items()}
        arms = report.summarize(task, 6000, returns, {0: data})["arms"]
        assert arms["rl"]["steps_to_threshold"]["possible"] and arms["loro"]["steps_to_threshold"]["possible"] == possible


def test_a_limit_that_is_not_known_is_the_tasks():
    task = minloro.make_task("cartpole")
    data = minloro.collect_random(task, 300)
    data.metadata["collection_step_limit"] = None
    rows = [EpisodeReturn("llm", "random", 30, 30.0, 30), *evaluations(300, *[50.0] * 10)]
    assert report.figures_by_arm(task, 2000, {("random-data", 0): rows}, {0: data})["random-data"][0]["first_return"] == 50


def test_seeds_that_reached_the_threshold_are_counted():
    base = seed_figures(evaluations(0, 1.0, *range(20)), 4000, 0.0, 0, 20, 5)
    summary = arm_summary([base, base | {"steps_to_threshold": None}])
    assert summary["n_seeds"] == 2 and summary["steps_to_threshold"]["n_reached"] == 1
    assert arm_summary([base | {"steps_to_threshold": None}])["steps_to_threshold"]["mean"] is None


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    from minloro.cli import main

    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["cartpole", "--seeds", "2", "--steps", "2400", "--out", str(folder), "--jobs", "1"]) == 0
    return folder


def test_the_summary_recomputed_from_the_csv(finished_run, cartpole):
    """A second implementation of the protocol, from returns.csv alone."""
    summary = json.loads((finished_run / "summary.json").read_text())
    rows = list(csv.DictReader(open(finished_run / "returns.csv")))
    assert list(rows[0]) == ["arm", "seed", "phase", "env_steps", "episode_return", "episode_length", "behaviour"]
    assert {r["phase"] for r in rows} == {"llm", "train", "eval"}
    assert list(summary) == ["task", "steps", "data", "arms", "difference", "llm"]
    assert list(summary["arms"]) == ["rl", "loro", "random-data", "mix", "llm"]

    def values(arm, seed, phase):
        found = [r for r in rows if (r["arm"], r["seed"], r["phase"]) == (arm, str(seed), phase)]
        return {int(r["env_steps"]): float(r["episode_return"]) for r in found}

    n_data, d_mean = summary["data"]["transitions"], summary["data"]["mean_return"]
    assert max(values("loro", 0, "llm")) == n_data
    assert d_mean == pytest.approx(np.mean(list(values("loro", 0, "llm").values())))
    per_seed = {}
    for arm in ("rl", "loro", "random-data", "mix"):
        means, online_means = [], []
        for seed in (0, 1):
            points = values(arm, seed, "eval")
            start = min(points)
            assert start == (0 if arm == "rl" else n_data)
            data_mean = 0 if arm == "rl" else np.mean(list(values(arm, seed, "llm").values()))
            means.append(np.mean([points[g] if g > start else data_mean for g in range(200, 2401, 200)]))
            online = [r for g, r in sorted(points.items()) if g > start]
            if arm != "rl" and n_data % 200 > 100:  # fewer than 100 online steps before the first grid point
                online = online[1:]
            online_means.append(np.mean(online[: round((2400 - n_data) / 200)]))
        assert summary["arms"][arm]["mean_return"]["mean"] == pytest.approx(np.mean(means))
        assert summary["arms"][arm]["online_mean_return"]["mean"] == pytest.approx(np.mean(online_means))
        per_seed[arm] = np.array(means)
    rounds = [r for g, r in values("rl", 0, "eval").items() if g] + [r for g, r in values("rl", 1, "eval").items() if g]
    assert summary["arms"]["rl"]["paper_cumulative_reward"]["mean"] == pytest.approx(sum(rounds) / 2)  # nothing of D in it
    assert summary["difference"]["loro-rl"]["mean_return"]["mean"] == pytest.approx(np.mean(per_seed["loro"] - per_seed["rl"]))
    assert summary["difference"]["loro-random-data"]["online_mean_return"]["verdict"].startswith("indicative: ")
    assert set(summary["llm"]) >= {"model", "calls", "parse_failures", "tokens"}
    assert summary["data"]["cost"] == sum(values("loro", 0, "llm").values())


def test_every_output_says_that_the_stand_in_played(finished_run, capsys, monkeypatch):
    from matplotlib.figure import Figure

    from minloro.cli import main

    titles = []
    original = Figure.suptitle
    monkeypatch.setattr(Figure, "suptitle", lambda self, text, **k: titles.append(text) or original(self, text, **k))
    capsys.readouterr()
    assert main(["--resume", str(finished_run)]) == 0
    notice = "no language model was asked"
    assert notice in capsys.readouterr().out and notice in titles[0]
    for name in ("summary.json", "returns.csv", "llm.jsonl"):
        assert notice in (finished_run / name).read_text()
    with np.load(finished_run / "rollouts.npz") as file:
        assert notice in str(file["metadata"])
    assert notice in json.loads((finished_run / "config.json").read_text())["behaviour"]


def test_the_table_fits_into_a_hundred_columns(finished_run, cartpole):
    text = report.table(cartpole, json.loads((finished_run / "summary.json").read_text()))
    assert max(map(len, text.splitlines())) <= 100
    for arm in ("rl", "loro", "random-data", "mix", "llm"):
        assert sum(line.startswith(f"{arm} ") for line in text.splitlines()) >= 2
    assert "loro - random-data" in text and "indicative: " in text


def test_the_controls_return_is_scaled_like_the_datas():
    class Data:
        metadata = {"collection_step_limit": 50}

    rows = [
        EpisodeReturn("llm", "x", 50, -100.0, 50),
        EpisodeReturn("llm", "x", 70, -10.0, 20),
        EpisodeReturn("eval", "x", 70, 5, 1),
    ]
    assert report.control_mean(rows, Data, 200) == (-400 - 10) / 2
    Data.metadata = {}
    assert report.control_mean(rows, Data, 200) == (-100 - 10) / 2
