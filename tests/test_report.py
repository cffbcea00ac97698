"""The report: intervals, verdicts, the metrics of an arm, summary.json and the printed table."""

import csv
import json

import numpy as np
import pytest
from matplotlib.figure import Figure

import minloro
from minloro.bench import report
from minloro.bench.metrics import (
    METRICS,
    arm_metrics,
    control_mean,
    mean_curve,
    metric_bounds,
    metrics_by_arm,
    seed_metrics,
    takeover_step,
)
from minloro.bench.plot import learning_curves
from minloro.bench.statistics import difference, interval, t_quantile
from minloro.cli import main
from minloro.loro import CLONE
from minloro.rollout import EpisodeReturn

QUANTILES = {1: 12.7062, 2: 4.3027, 4: 2.7764, 9: 2.2622, 19: 2.0930, 29: 2.0452, 120: 1.9799}


def test_t_quantiles_of_the_tables():
    for df, value in (QUANTILES | {1000: 1.9623}).items():
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
        generators = [np.random.default_rng(k) for k in range(4000)]
        resampled = [values[rng.integers(n, size=n)].mean() for rng in generators]
        bootstrap = np.ptp(np.quantile(resampled, (0.025, 0.975)))
        result = interval(values)
        assert result["high"] - result["low"] == pytest.approx(max(2 * half, bootstrap), rel=0.05)
    assert interval([5.0]) == {"mean": 5.0, "low": None, "high": None}
    assert interval([]) == {"mean": None, "low": None, "high": None}
    assert interval([3.0, 3.0]) == {"mean": 3.0, "low": 3.0, "high": 3.0}


@pytest.mark.parametrize(
    "values", [[150.0, 200.0], [200.0, 200.0, 199.0], [0.0, 3.0], [0.0] * 9 + [200.0], [0.0, 200.0]]
)
def test_an_interval_stays_within_its_bounds(values):
    """It is cut and never moved: an end within the bounds stays as it is."""
    free = interval(values)
    cut = interval(values, bounds=(0, 200))
    assert free["low"] < 0 or free["high"] > 200
    assert cut["mean"] == free["mean"]
    assert cut["low"] == max(free["low"], 0) and cut["high"] == min(free["high"], 200)
    assert 0 <= cut["low"] <= cut["mean"] <= cut["high"] <= 200
    assert interval(values, bounds=(-1e6, 1e6)) == free


def test_the_mean_stays_inside_its_interval():
    """Even if the values do not keep to the bounds, or if the mean is rounded beyond one."""
    beyond = interval([210.0, 230.0], bounds=(0, 200))
    assert beyond["low"] <= beyond["mean"] == 220.0 <= beyond["high"]
    below = interval([-30.0, -10.0], bounds=(0, 200))
    assert below["low"] <= below["mean"] == -20.0 <= below["high"]
    assert interval([5.0], bounds=(0, 1)) == {"mean": 5.0, "low": None, "high": None}
    assert interval([], bounds=(0, 1)) == {"mean": None, "low": None, "high": None}


def test_a_difference_stays_within_the_bounds_of_both_sides():
    found = difference([200.0, 150.0], [0.0, 150.0], bounds=(0, 200))
    assert found["mean"] == 100.0 and found["low"] == -200.0 and found["high"] == 200.0
    free = difference([200.0, 150.0], [0.0, 150.0])
    assert free["low"] < -200.0 and free["high"] > 200.0 and free["verdict"] == found["verdict"]


def test_cutting_changes_no_verdict():
    rng = np.random.default_rng(0)
    for _ in range(50):
        ours, theirs = rng.uniform(0, 1, (2, 10))
        cut = difference(ours, theirs, bounds=(0, 1))
        assert cut["verdict"] == difference(ours, theirs)["verdict"]


def test_verdicts():
    noise = np.random.default_rng(0).normal(size=10)
    assert difference(noise + 5, noise)["verdict"] == "better"
    assert difference(noise - 5, noise)["verdict"] == "worse"
    assert difference(noise, noise)["verdict"] == "no clear difference"
    assert difference(noise, noise[::-1])["verdict"] == "no clear difference"
    assert difference(noise[:9] + 5, noise[:9])["verdict"] == "indicative: better"
    # One seed shows nothing.
    assert difference([1.0], [0.0])["verdict"] == "indicative: no clear difference"


def test_differences_are_paired():
    # The seeds differ far more than the arms.
    seeds = np.random.default_rng(0).normal(scale=100, size=10)
    assert difference(seeds + 1 + np.linspace(-0.1, 0.1, 10), seeds)["verdict"] == "better"


def evaluations(start, *returns):
    """The evaluation before the first online step, at `start`, then those on the grid behind it."""
    grid = [step for step in range(200, 20_000, 200) if step > start]
    places = [start, *grid][: len(returns)]
    return [
        EpisodeReturn("eval", "greedy policy", step, episode_return, 1)
        for step, episode_return in zip(places, returns, strict=True)
    ]


def test_the_metrics_of_an_arm_without_data():
    rows = evaluations(0, 7.0, *range(10, 30))  # grid points 200 … 4000
    metrics = seed_metrics(rows, 4000, 0.0, 0, 20, threshold=20)
    assert metrics == {
        "first_return": 7.0,  # before the first step, and left out of the means
        "mean_return": np.mean(range(10, 30)),
        "online_mean_return": np.mean(range(10, 30)),
        "final_return": np.mean(range(20, 30)),
        "training_return": None,  # no episode of training is among the rows
        "paper_cumulative_reward": sum(range(10, 30)),
        "steps_to_threshold": 1400,  # the mean of 16 … 25 is 20.5; of 15 … 24 it is 19.5
    }
    fewer = seed_metrics(rows, 4000, 0.0, 0, 5, 100)
    assert fewer["online_mean_return"] == 12
    assert fewer["steps_to_threshold"] is None


def test_the_metrics_of_an_arm_with_data():
    # D has 450 steps in 10 episodes. So the grid points 200 and 400 count its mean return, and
    # 600 … 4000 are evaluations.
    rows = [EpisodeReturn("llm", "x", 450, 45.0, 45), *evaluations(450, 99.0, *range(18))]
    metrics = seed_metrics(rows, 4000, 45.0, 10, online_points=(4000 - 450) // 200, threshold=1000)
    assert metrics["first_return"] == 99.0
    assert metrics["mean_return"] == (2 * 45 + sum(range(18))) / 20
    assert metrics["online_mean_return"] == np.mean(range(17))
    assert metrics["final_return"] == np.mean(range(8, 18))
    # 20 rounds: 10 of D, then 10 online.
    assert metrics["paper_cumulative_reward"] == 10 * 45 + sum(range(10))


def test_a_grid_point_at_the_end_of_the_data_belongs_to_the_data():
    rows = evaluations(400, 99.0, 1.0, 2.0)
    metrics = seed_metrics(rows, 800, 10.0, 2, online_points=2, threshold=5)
    assert metrics["mean_return"] == (10 + 10 + 1 + 2) / 4
    assert metrics["online_mean_return"] == 1.5


def test_what_is_earned_while_learning_is_of_the_online_rounds_that_count():
    """D has 450 steps, three online rounds count: up to step 1,050, that one included."""

    def trained(step, episode_return):
        return EpisodeReturn("train", "learning agent", step, episode_return, 100)

    rows = [
        EpisodeReturn("llm", "x", 450, 1e6, 450),
        *evaluations(450, 1e6, 1e6, 1e6, 1e6),
        *[trained(500, 1.0), trained(1050, 5.0), trained(1051, 1e6)],
    ]
    metrics = seed_metrics(rows, 1200, 0.0, 1, online_points=3, threshold=0)
    assert metrics["training_return"] == 3.0
    assert seed_metrics(rows, 1200, 0.0, 1, 0, 0)["training_return"] is None


@pytest.mark.parametrize(
    ("players", "expected"),
    [
        ("llll", None),  # the learner from the beginning
        ("cccc", None),  # never
        ("clll", 200),
        ("cclcl", 800),  # for good
        ("lclc", None),
        ("lcll", 400),
    ],
)
def test_where_the_learner_takes_over_for_good(players, expected):
    names = {"l": "greedy policy", "c": CLONE}
    rows = [
        row._replace(behaviour=names[player])
        for player, row in zip(players, evaluations(0, *[1.0] * len(players)), strict=True)
    ]
    assert takeover_step(rows) == expected


@pytest.mark.parametrize(
    ("players", "place"),
    [
        (("clll", "ccll", "cccc"), 400),  # the median of 200, 400 and never
        (("clll", "cccc", "cccc"), None),
        (("clll", "cccc"), None),
        (("llll", "llll"), None),
        (("clll",), 200),
    ],
)
def test_a_star_marks_the_takeover_of_the_median_seed(players, place):
    names = {"l": "greedy policy", "c": CLONE}
    returns = {}
    for seed, of_seed in enumerate(players):
        rows = evaluations(0, 0.0, 10.0, 20.0, 30.0)
        rows = [r._replace(behaviour=names[p]) for p, r in zip(of_seed, rows, strict=True)]
        returns["guided", seed] = rows
    ax = learning_curves(Figure().subplots(), returns, 0, None)
    stars = [line for line in ax.lines if line.get_marker() == "*"]
    if place is None:
        assert not stars
        return
    (star,) = stars
    assert list(star.get_xdata()) == [place] and list(star.get_ydata()) == [place / 20]
    assert "guided: learner takes over" in ax.get_legend_handles_labels()[1]


def test_what_the_budget_does_not_hold_is_null():
    rows = evaluations(450, 1.0, 2.0)
    metrics = seed_metrics(rows, 600, 45.0, 10, online_points=0, threshold=0)
    assert metrics["online_mean_return"] is None and metrics["paper_cumulative_reward"] is None
    assert metrics["steps_to_threshold"] is None  # it takes ten evaluations
    # 25 rounds: 15 online ones would be needed, and D leaves 3.
    rows = evaluations(4400, 1.0, 2.0, 2.0, 2.0)
    metrics = seed_metrics(rows, 5000, 9.0, 10, online_points=3, threshold=0)
    assert metrics["paper_cumulative_reward"] is None


# Of 6,000 steps, 10 or 9 points of the grid come after D.
@pytest.mark.parametrize(("data_steps", "possible"), [(4001, True), (4200, False)])
def test_ten_evaluations_after_d_are_enough_to_say_never(cartpole, data_steps, possible):
    rng = np.random.default_rng(0)
    data = minloro.collect_random(cartpole, data_steps)
    returns = {}
    for arm, start in (("rl", 0), ("loro", data_steps)):
        rows = evaluations(start, *rng.normal(size=31))
        returns[arm, 0] = [row for row in rows if row.env_steps <= 6000]
    arms = report.summarize(cartpole, 6000, returns, {0: data})["arms"]
    assert arms["rl"]["steps_to_threshold"]["possible"]
    assert arms["loro"]["steps_to_threshold"]["possible"] == possible


def test_a_limit_that_is_not_known_is_the_tasks():
    task = minloro.make_task("cartpole")
    data = minloro.collect_random(task, 300)
    data.metadata["collection_step_limit"] = None
    rows = [EpisodeReturn("llm", "random", 30, 30.0, 30), *evaluations(300, *[50.0] * 9)]
    (metrics,) = metrics_by_arm(task, 2000, {("random-data", 0): rows}, {0: data})["random-data"]
    assert metrics["first_return"] == 50


def test_seeds_that_reached_the_threshold_are_counted():
    base = seed_metrics(evaluations(0, 1.0, *range(20)), 4000, 0.0, 0, 20, 5)
    never = base | {"steps_to_threshold": None}
    summary = arm_metrics([base, never])
    assert summary["n_seeds"] == 2 and summary["steps_to_threshold"]["n_reached"] == 1
    assert arm_metrics([never])["steps_to_threshold"]["mean"] is None


def test_the_bounds_of_the_metrics(cartpole, small_data):
    bounds = metric_bounds(cartpole, 4000, {0: small_data})
    assert bounds["steps_to_threshold"] == (0, 4000)
    assert bounds["paper_cumulative_reward"] == (0, 20 * 200)
    for name in ("first_return", "mean_return", "online_mean_return", "final_return"):
        assert bounds[name] == (0, 200)
    from_scratch = metric_bounds(cartpole, 4000, {})
    assert from_scratch == bounds


def test_intervals_of_returns_and_of_steps_stay_within_what_is_possible(cartpole):
    """Returns of cartpole lie between 0 and 200; the threshold is reached within the budget."""
    rows = {}
    for seed, returns in enumerate(([200.0] * 31, [0.0] * 10 + [200.0] * 21)):
        trained = [EpisodeReturn("train", "learning agent", 150, 200.0 * seed, 150)]
        rows["rl", seed] = trained + evaluations(0, *returns)
    summary = report.summarize(cartpole, 6000, rows, {})["arms"]["rl"]
    free = arm_metrics(metrics_by_arm(cartpole, 6000, rows, {})["rl"])
    for name in METRICS:
        most = 30 * 200 if name == "paper_cumulative_reward" else 200
        assert 0 <= summary[name]["low"] <= summary[name]["mean"] <= summary[name]["high"] <= most
        assert summary[name]["mean"] == free[name]["mean"]
    assert free["mean_return"]["high"] > 200  # without bounds it would leave them
    steps = summary["steps_to_threshold"]
    assert steps["n_reached"] == 2
    assert 0 <= steps["low"] <= steps["mean"] <= steps["high"] <= 6000
    assert free["steps_to_threshold"]["low"] < 0


def test_bands_of_a_figure_stay_within_what_is_possible():
    curves = [([0, 200, 400], [200.0, 200.0, 0.0]), ([0, 200, 400], [100.0, 150.0, 200.0])]
    steps, intervals = mean_curve(curves, bounds=(0, 200))
    assert steps == [0, 200, 400]
    for found in intervals:
        assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 200
    _, free = mean_curve(curves)
    assert all(found["high"] > 200 for found in free)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    argv = "cartpole --seeds 2 --steps 2400 --jobs 1 --out".split()
    assert main([*argv, str(folder)]) == 0
    return folder


CSV_COLUMNS = "arm seed phase env_steps episode_return episode_length behaviour".split()
STEPS = 2400  # the budget of `finished_run`


class ReturnsFile:
    """returns.csv, for a second implementation of the protocol."""

    def __init__(self, path):
        with open(path, newline="") as file:
            self.rows = list(csv.DictReader(file))

    def returns(self, arm, seed, phase):
        """The returns of a run in one phase: {environment steps: return}."""
        key = (arm, str(seed), phase)
        found = [row for row in self.rows if (row["arm"], row["seed"], row["phase"]) == key]
        return {int(row["env_steps"]): float(row["episode_return"]) for row in found}

    def mean_return(self, arm, seed):
        """The mean over the grid points; while D is collected, a point counts D's mean return."""
        points = self.returns(arm, seed, "eval")
        start = min(points)
        data_returns = self.returns(arm, seed, "llm")
        counted = []
        for step in range(200, STEPS + 1, 200):
            online = step > start
            counted.append(points[step] if online else np.mean(list(data_returns.values())))
        return np.mean(counted)

    def online_mean_return(self, arm, seed, n_data):
        """The mean over the online evaluations, as many for every arm."""
        points = self.returns(arm, seed, "eval")
        start = min(points)
        online = [points[step] for step in sorted(points) if step > start]
        # If there are fewer than 100 online steps before the first grid point, it is left out.
        if arm != "rl" and n_data % 200 > 100:
            online = online[1:]
        return np.mean(online[: round((STEPS - n_data) / 200)])


def test_the_files_have_their_columns_and_names(finished_run):
    summary = json.loads((finished_run / "summary.json").read_text())
    rows = ReturnsFile(finished_run / "returns.csv").rows
    assert list(rows[0]) == CSV_COLUMNS
    assert {row["phase"] for row in rows} == {"llm", "train", "eval"}
    assert list(summary) == ["task", "steps", "data", "arms", "difference", "llm"]
    assert list(summary["arms"]) == ["rl", "loro", "guided", "random-data", "llm"]
    assert set(summary["llm"]) >= {"model", "calls", "parse_failures", "tokens"}


def test_the_summary_recomputed_from_the_csv(finished_run):
    """A second implementation of the protocol, from returns.csv alone."""
    summary = json.loads((finished_run / "summary.json").read_text())
    file = ReturnsFile(finished_run / "returns.csv")
    n_data = summary["data"]["transitions"]
    data_returns = file.returns("loro", 0, "llm")
    assert max(data_returns) == n_data
    assert summary["data"]["mean_return"] == pytest.approx(np.mean(list(data_returns.values())))
    assert summary["data"]["cost"] == sum(data_returns.values())
    means = {}
    for arm in ("rl", "loro", "guided", "random-data"):
        for seed in (0, 1):
            start = min(file.returns(arm, seed, "eval"))
            assert start == (0 if arm == "rl" else n_data)
        means[arm] = np.array([file.mean_return(arm, seed) for seed in (0, 1)])
        online_means = [file.online_mean_return(arm, seed, n_data) for seed in (0, 1)]
        metrics = summary["arms"][arm]
        assert metrics["mean_return"]["mean"] == pytest.approx(means[arm].mean())
        assert metrics["online_mean_return"]["mean"] == pytest.approx(np.mean(online_means))
    found = summary["difference"]["loro-rl"]["mean_return"]["mean"]
    assert found == pytest.approx(np.mean(means["loro"] - means["rl"]))
    verdict = summary["difference"]["loro-random-data"]["online_mean_return"]["verdict"]
    assert verdict.startswith("indicative: ")


def test_nothing_of_d_is_in_the_sum_of_rl(finished_run):
    summary = json.loads((finished_run / "summary.json").read_text())
    file = ReturnsFile(finished_run / "returns.csv")
    rounds = []
    for seed in (0, 1):
        rounds += [value for step, value in file.returns("rl", seed, "eval").items() if step > 0]
    found = summary["arms"]["rl"]["paper_cumulative_reward"]["mean"]
    assert found == pytest.approx(sum(rounds) / 2)


def test_every_output_says_that_the_stand_in_played(finished_run, capsys, monkeypatch):
    titles = []
    original = Figure.suptitle

    def suptitle(self, text, **options):
        titles.append(text)
        return original(self, text, **options)

    monkeypatch.setattr(Figure, "suptitle", suptitle)
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
    summary = json.loads((finished_run / "summary.json").read_text())
    text = report.summary_text(cartpole, summary)
    assert max(map(len, text.splitlines())) <= 100
    for arm in ("rl", "loro", "guided", "random-data", "llm"):
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
    assert control_mean(rows, Data, 200) == (-400 - 10) / 2
    Data.metadata = {}
    assert control_mean(rows, Data, 200) == (-100 - 10) / 2
