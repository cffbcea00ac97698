"""The report of a run: summary.json and the table that is printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minloro.bench.metrics import WINDOW, arm_metrics, metric_bounds, metrics_by_arm
from minloro.bench.statistics import Bounds, difference
from minloro.bench.text import format_count, format_interval, format_number
from minloro.dynamics import optimal_return
from minloro.loro import EVALUATE_EVERY

if TYPE_CHECKING:
    from minloro.bench.metrics import Metrics, Returns
    from minloro.tasks.task import Task
    from minloro.transitions import Transitions

COMPARED = (
    ("loro", "rl"),
    ("loro", "random-data"),
    ("guided", "rl"),
    ("guided", "random-data"),
    ("guided", "loro"),
)
COMPARED_METRICS = {"mean_return": "mean return", "online_mean_return": "online mean return"}
LLM_COUNTS = ("calls", "parse_failures", "fallbacks", "tokens")


def summarize(
    task: Task, steps: int, returns: Returns, data_by_seed: Mapping[int, Transitions]
) -> dict[str, Any]:
    """Return the contents of summary.json. returns: {(arm, seed): episode returns}."""
    metrics = metrics_by_arm(task, steps, returns, data_by_seed)
    bounds = metric_bounds(task, steps, data_by_seed)
    longest = max((len(data) for data in data_by_seed.values()), default=0)
    arms = {}
    for arm, per_seed in metrics.items():
        enough = _n_evaluations(arm, steps, longest) >= WINDOW
        arms[arm] = arm_metrics(per_seed, possible=enough, bounds=bounds)
    return {
        "task": task.name,
        "steps": steps,
        "data": data_summary(task, data_by_seed),
        "arms": arms,
        "difference": _differences(metrics, bounds),
        "llm": llm_summary(data_by_seed),
    }


def _n_evaluations(arm: str, steps: int, data_steps: int) -> int:
    """Return how many evaluations an arm has after its first online step."""
    if arm == "llm":
        return 0
    if arm == "rl":
        return steps // EVALUATE_EVERY
    return steps // EVALUATE_EVERY - data_steps // EVALUATE_EVERY


def _differences(
    metrics: Mapping[str, list[Metrics]], bounds: Mapping[str, Bounds | None]
) -> dict[str, Metrics]:
    """Return {"ours-theirs": {metric: its difference}} of the arms that were run."""
    differences: dict[str, Metrics] = {}
    for ours, theirs in COMPARED:
        if ours not in metrics or theirs not in metrics:
            continue
        pair: Metrics = {}
        for name in COMPARED_METRICS:
            our_values = [found[name] for found in metrics[ours]]
            their_values = [found[name] for found in metrics[theirs]]
            if None not in our_values + their_values:
                pair[name] = difference(our_values, their_values, bounds[name])
        differences[f"{ours}-{theirs}"] = pair
    return differences


def unique_data_sets(data_by_seed: Mapping[int, Transitions]) -> list[Transitions]:
    """Return every D once, if several seeds share it."""
    return list({id(data): data for data in data_by_seed.values()}.values())


def data_summary(task: Task, data_by_seed: Mapping[int, Transitions]) -> dict[str, Any] | None:
    """Return what D is: its origin, and its size, mean return and cost as means over all D."""
    data_sets = unique_data_sets(data_by_seed)
    if not data_sets:
        return None
    step_limit = task.step_limit
    notes = []
    if any(data.metadata.get("first_transition_dropped") for data in data_sets):
        notes.append("first_transition_dropped")
    return {
        "source": data_sets[0].behaviour,
        "episodes": _mean([data.n_finished for data in data_sets]),
        "transitions": _mean([len(data) for data in data_sets]),
        "mean_return": _mean([data.returns_at(step_limit).mean() for data in data_sets]),
        "cost": _mean([data.cost for data in data_sets]),
        "data_sets": len(data_sets),
        "return_rescaled_to_step_limit": any(data.rescaled(step_limit) for data in data_sets),
        "notes": notes,
    }


def _mean(values: list[float]) -> float:
    """Return the mean, as an int if it is a whole number."""
    mean = float(np.mean(values))
    return int(mean) if mean.is_integer() else mean


def llm_summary(data_by_seed: Mapping[int, Transitions]) -> dict[str, Any]:
    """Return who was asked and what it took, summed over all D; None if the files do not tell."""
    data_sets = unique_data_sets(data_by_seed)
    counts: list[Any] = [data.metadata.get("llm") for data in data_sets]
    summary: dict[str, Any] = dict.fromkeys(("model", *LLM_COUNTS))
    if data_sets:
        summary["model"] = data_sets[0].behaviour
        if all(_is_complete(of_one) for of_one in counts):
            for name in LLM_COUNTS:
                summary[name] = sum(of_one[name] for of_one in counts)
    return summary


def _is_complete(counts: Any) -> bool:
    """Say whether the metadata of D hold all counts."""
    return isinstance(counts, dict) and all(isinstance(counts.get(n), int) for n in LLM_COUNTS)


def summary_text(task: Task, summary: Mapping[str, Any]) -> str:
    """Return the summary as text of at most about 100 columns."""
    steps = summary["steps"]
    lines = [
        f"{task.name} ({task.environment}): {steps:,} environment steps for every learning arm, "
        "D's included"
    ]
    if summary["data"] is not None:
        lines += _data_lines(summary)
    means = {
        "first_return": "before online steps",
        "mean_return": "mean return",
        "online_mean_return": "online mean return",
    }
    learning = {
        "training_return": "while learning, exploring",
        "final_return": f"last {WINDOW} evaluations",
    }
    others = {
        "steps_to_threshold": f"steps to {task.threshold:g}",
        "paper_cumulative_reward": f"sum over {steps // EVALUATE_EVERY} rounds",
    }
    for headers in (means, learning, others):
        lines += ["", *_metric_lines(summary["arms"], headers)]
    if summary["difference"]:
        lines += ["", *_difference_lines(summary["difference"])]
    lines += ["", *_notes(task, summary)]
    return "\n".join(lines)


def _data_lines(summary: Mapping[str, Any]) -> list[str]:
    data = summary["data"]
    llm = summary["llm"]
    each = f" for each of {data['data_sets']} seeds" if data["data_sets"] > 1 else ""
    rescaled = data["return_rescaled_to_step_limit"]
    scale = " (per step, scaled to the step limit)" if rescaled else ""
    lines = [
        f"D: {data['source']}",
        f"   {format_count(data['episodes'])} episodes{each}, "
        f"{format_count(data['transitions'])} transitions, "
        f"mean return {format_number(data['mean_return'])}{scale}, "
        f"cost (summed reward) {format_number(data['cost'])}",
    ]
    if "first_transition_dropped" in data["notes"]:
        lines.append(
            "   The first transition of every episode is missing in this data set: its returns "
            "lack that reward."
        )
    if llm["calls"] is not None:
        lines.append(
            f"   {llm['calls']:,} calls, {llm['parse_failures']} replies without an action, "
            f"{llm['fallbacks']} random actions in their place"
        )
    return lines


def _metric_lines(arms: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
    """Return one line per arm, under a line of headers. headers: {metric: header}."""
    table = [["arm", "seeds", *headers.values()]]
    for arm, metrics in arms.items():
        n_seeds = metrics["n_seeds"]
        shown = [format_interval(metrics[name], n_seeds) for name in headers]
        table.append([arm, str(n_seeds), *shown])
    widths = [max(len(text) for text in column) for column in zip(*table, strict=True)]
    lines = []
    for arm, *texts in table:
        padded = [text.rjust(width) for text, width in zip(texts, widths[1:], strict=True)]
        lines.append("  ".join([arm.ljust(widths[0]), *padded]))
    return lines


def _difference_lines(differences: Mapping[str, Any]) -> list[str]:
    lines = []
    for pair, metrics in differences.items():
        ours_minus_theirs = pair.replace("-", " - ", 1)
        for name, result in metrics.items():
            found = format_interval(result, n_seeds=0)
            lines.append(
                f"{ours_minus_theirs:<22}{COMPARED_METRICS[name]:<19}{found:>24}"
                f"   {result['verdict']}"
            )
    return lines


def _notes(task: Task, summary: Mapping[str, Any]) -> list[str]:
    notes = [
        "[low, high]: 95% intervals over seeds, cut to possible values; "
        "differences are paired by seed."
    ]
    start = getattr(task.make_env().unwrapped, "initial_state_distrib", None)
    if task.transition_table is not None and start is not None:
        best = optimal_return(task.transition_table, start, task.step_limit)
        notes.append(
            "Optimal return of an episode, from the environment's transition table: "
            f"{format_number(best)}."
        )
    paper = task.paper
    if paper is not None:
        notes.append(
            f"Paper, sum over {paper.rounds} rounds: RL alone {paper.rl:,}, "
            f"LORO (Qwen2.5-7B) {paper.loro:,}, the LLM alone {paper.llm:,}{paper.remark}."
        )
    if summary["data"] is not None and summary["data"]["data_sets"] == 1:
        notes.append(
            "One D serves all seeds: intervals are about learning from it "
            "(--fresh-data: one D per seed)."
        )
    return notes
