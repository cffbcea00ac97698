"""Metrics: what one arm and seed has reached, computed from its episode returns.

Everything here can be computed again from returns.csv and D. The definitions are those of the
protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minloro.arms import OWN_DATA
from minloro.bench.statistics import Bounds, Interval, interval
from minloro.loro import CLONE, EVALUATE_EVERY

if TYPE_CHECKING:
    from minloro.rollout import EpisodeReturn
    from minloro.tasks.task import Task
    from minloro.transitions import Transitions

    # The returns of every run: {(arm, seed): episodes, in the order in which they happened}.
    Returns = Mapping[tuple[str, int], Sequence[EpisodeReturn]]

Metrics = dict[str, Any]  # {name of the metric: its value}
Curve = tuple[list[float], list[float]]  # environment steps, and the return at each

METRICS = (
    "first_return",
    "mean_return",
    "online_mean_return",
    "final_return",
    "training_return",
    "paper_cumulative_reward",
)
WINDOW = 10  # evaluations that the final return and the threshold are means of
MOST_POINTS = 40  # of a curve whose points are means of several evaluations


def seed_metrics(
    rows: Sequence[EpisodeReturn],
    steps: int,
    data_mean: float,
    data_rounds: int,
    online_points: int,
    threshold: float,
    data_sum: float | None = None,
) -> Metrics:
    """Return the metrics of one arm and seed; None for a metric that the budget does not hold.

    data_mean: D's mean return. data_rounds: rounds that D takes by the paper's accounting, one per
    episode of the model. Both are 0 for an arm without D. data_sum: D's summed returns as they were
    played, which the paper counts; by default data_mean in every round. online_points: evaluations
    that enter online_mean_return, the same number for every arm.
    """
    if data_sum is None:
        data_sum = data_mean * data_rounds
    first, *online = [row for row in rows if row.phase == "eval"]
    returns = np.array([row.episode_return for row in online])
    rounds = steps // EVALUATE_EVERY
    every_point = [data_mean] * (rounds - len(returns)) + returns.tolist()
    matched = _first_online_returns(first, online, online_points)
    online_rounds = rounds - data_rounds
    paper_sum = None
    if 0 <= online_rounds <= len(returns):
        paper_sum = float(data_sum + returns[:online_rounds].sum())
    return {
        "first_return": first.episode_return,
        "mean_return": float(np.mean(every_point)),
        "online_mean_return": float(np.mean(matched)) if matched else None,
        "final_return": float(np.mean(returns[-WINDOW:])) if len(returns) else None,
        "training_return": _training_return(rows, first.env_steps, online_points),
        "paper_cumulative_reward": paper_sum,
        "steps_to_threshold": _steps_to_threshold(online, returns, threshold),
    }


def _first_online_returns(
    first: EpisodeReturn, online: Sequence[EpisodeReturn], online_points: int
) -> list[float]:
    """Return the evaluations of the first `online_points` online rounds.

    The number of the round is the number of online steps divided by EVALUATE_EVERY, rounded.
    """
    found = []
    for row in online:
        online_round = int((row.env_steps - first.env_steps) / EVALUATE_EVERY + 0.5)
        if 1 <= online_round <= online_points:
            found.append(row.episode_return)
    return found


def _training_return(
    rows: Sequence[EpisodeReturn], start: float, online_points: int
) -> float | None:
    """Return the mean return of the training episodes that ended in those online rounds."""
    end = start + online_points * EVALUATE_EVERY
    found = [row.episode_return for row in rows if row.phase == "train" and row.env_steps <= end]
    return float(np.mean(found)) if found else None


def _steps_to_threshold(
    online: Sequence[EpisodeReturn], returns: np.ndarray, threshold: float
) -> int | None:
    """Return the first grid point from which the mean of WINDOW evaluations holds the threshold."""
    if len(returns) < WINDOW:
        return None
    means = np.convolve(returns, np.ones(WINDOW) / WINDOW, mode="valid")
    holds = np.flatnonzero(means >= threshold - 1e-9)
    return online[holds[0]].env_steps if len(holds) else None


def llm_metrics(data_mean: float, paper_sum: float) -> Metrics:
    """Return the metrics of the arm `llm`: D's mean return, after any number of steps.

    paper_sum: its sum over all rounds.
    """
    metrics: Metrics = dict.fromkeys(METRICS, data_mean)
    metrics |= {"training_return": None, "steps_to_threshold": None}
    return metrics | {"paper_cumulative_reward": float(paper_sum)}


def takeover_step(rows: Sequence[EpisodeReturn]) -> int | None:
    """Return from which evaluation on the learner, no longer D's clone, is the one evaluated.

    None if the clone was never evaluated, or if it still was at the end.
    """
    evaluations = [row for row in rows if row.phase == "eval"]
    by_clone = [place for place, row in enumerate(evaluations) if row.behaviour == CLONE]
    if not by_clone or by_clone[-1] + 1 == len(evaluations):
        return None
    return evaluations[by_clone[-1] + 1].env_steps


def metrics_by_arm(
    task: Task,
    steps: int,
    returns: Returns,
    data_by_seed: Mapping[int, Transitions],
    other_data: Mapping[int, Transitions] | None = None,
) -> dict[str, list[Metrics]]:
    """Return {arm: metrics of each seed}. data_by_seed: {seed: D}.

    other_data: the D of runs that these are compared with, if it is another. The longer D of a seed
    then says how many online evaluations count on both sides.
    """
    metrics: dict[str, list[Metrics]] = {arm: [] for arm, _ in returns}
    rounds = steps // EVALUATE_EVERY
    for (arm, seed), rows in returns.items():
        if arm == "llm":
            data = data_by_seed[seed]
            paper_sum = np.mean(_returns_as_played(data)) * rounds
            metrics[arm].append(llm_metrics(_mean_return(data, task), paper_sum))
            continue
        own = data_by_seed.get(seed)
        other = (other_data or {}).get(seed)
        online_points = _online_points(rounds, own, other)
        data_mean, data_rounds, data_sum = _contribution(arm, rows, own, task)
        metrics[arm].append(
            seed_metrics(
                rows, steps, data_mean, data_rounds, online_points, task.threshold, data_sum
            )
        )
    return metrics


def _online_points(rounds: int, own: Transitions | None, other: Transitions | None) -> int:
    """Return how many online evaluations there are beside the longer data set."""
    if own is None:
        return rounds
    longest = len(own) if other is None else max(len(own), len(other))
    return int(rounds - longest / EVALUATE_EVERY + 0.5)


def _contribution(
    arm: str, rows: Sequence[EpisodeReturn], data: Transitions | None, task: Task
) -> tuple[float, int, float]:
    """Return what the data of an arm count: mean return, rounds, and summed return as played."""
    if arm == "rl" or data is None:
        return 0.0, 0, 0.0
    played = _returns_as_played(data)
    if arm not in ("random-data", OWN_DATA):
        return _mean_return(data, task), len(played), float(sum(played))
    control_round = np.mean([row.episode_return for row in rows if row.phase == "llm"])
    control_sum = sum([control_round] * len(played))
    return control_mean(rows, data, task.step_limit), len(played), float(control_sum)


def _returns_as_played(data: Transitions) -> np.ndarray:
    return data.episode_returns[: data.n_finished]


def _mean_return(data: Transitions, task: Task) -> float:
    return float(data.returns_at(task.step_limit).mean())


def control_mean(rows: Sequence[EpisodeReturn], data: Transitions, step_limit: int) -> float:
    """Return the control's mean return while its data were collected, on the scale of D's returns.

    The control was collected under the same step limit as D.
    """
    own_limit = min(data.metadata.get("collection_step_limit") or step_limit, step_limit)
    returns = []
    for row in rows:
        if row.phase == "llm":
            cut_off = row.episode_length == own_limit
            scale = step_limit / own_limit if cut_off else 1
            returns.append(row.episode_return * scale)
    return float(np.mean(returns))


def metric_bounds(
    task: Task, steps: int, data_by_seed: Mapping[int, Transitions]
) -> dict[str, Bounds | None]:
    """Return the smallest and largest possible value of each metric; None if they are not known.

    D may have been collected under other rules than the task's: the first transition of every
    episode may be missing, or the step limit may be another. The bounds of returns are therefore
    widened to D's mean return. If the step limit was another, the paper's sum, which counts D's
    returns as they were played, has no bounds.
    """
    bounds: dict[str, Bounds | None] = dict.fromkeys(METRICS)
    bounds["steps_to_threshold"] = (0, steps)
    if task.return_range is None:
        return bounds
    means = [_mean_return(data, task) for data in data_by_seed.values()]
    low = min([task.return_range[0], *means])
    high = max([task.return_range[1], *means])
    bounds |= dict.fromkeys(METRICS, (low, high))
    rounds = steps // EVALUATE_EVERY
    bounds["paper_cumulative_reward"] = (rounds * low, rounds * high)
    if any(data.rescaled(task.step_limit) for data in data_by_seed.values()):
        bounds["paper_cumulative_reward"] = None
    return bounds


def arm_metrics(
    per_seed: Sequence[Metrics],
    possible: bool = True,
    bounds: Mapping[str, Bounds | None] | None = None,
) -> Metrics:
    """Return n_seeds and, for every metric, its interval over the seeds.

    steps_to_threshold is about the seeds that reached it, n_reached. possible: whether there were
    enough evaluations to tell. bounds: of each metric, as `metric_bounds` returns them.
    """
    known_bounds = bounds or {}
    summary: Metrics = {"n_seeds": len(per_seed)}
    for name in METRICS:
        values = [metrics[name] for metrics in per_seed if metrics[name] is not None]
        complete = len(values) == len(per_seed)
        summary[name] = interval(values if complete else [], known_bounds.get(name))
    name = "steps_to_threshold"
    reached = [metrics[name] for metrics in per_seed if metrics[name] is not None]
    summary[name] = interval(reached, known_bounds.get(name))
    summary[name]["n_reached"] = len(reached)
    summary[name]["possible"] = possible
    return summary


def evaluation_curve(rows: Sequence[EpisodeReturn], window: int = 1) -> Curve:
    """Return the evaluations of a run; each but the first is the mean of the last `window`."""
    first, *online = [row for row in rows if row.phase == "eval"]
    steps = [row.env_steps for row in online]
    values = [row.episode_return for row in online]
    width = min(window, len(values))
    means = np.convolve(values, np.ones(width) / width, mode="valid")
    all_steps: list[float] = [first.env_steps, *steps[width - 1 :]]
    return all_steps, [first.episode_return, *means.tolist()]


def mean_curve(
    curves: Sequence[Curve], window: int = 1, bounds: Bounds | None = None
) -> tuple[list[float], list[Interval]]:
    """Return steps at which all curves have a value, the last one included, and intervals there.

    The first evaluations stand where each seed's D ends. Their mean stands at the mean of these
    places. If the values are means over a window and there are many, some are left out; every
    evaluation is still part of some point.
    """
    start = float(np.mean([steps[0] for steps, _ in curves]))
    intervals = [interval([values[0] for _, values in curves], bounds)]
    by_step = []
    for steps, values in curves:
        online = zip(steps[1:], values[1:], strict=True)
        by_step.append(dict(online))
    shared = sorted(set.intersection(*[set(found) for found in by_step]))
    stride = min(window, math.ceil(len(shared) / MOST_POINTS))
    drawn = shared[::-stride][::-1] if shared else []
    for step in drawn:
        intervals.append(interval([found[step] for found in by_step], bounds))
    return [start, *drawn], intervals
