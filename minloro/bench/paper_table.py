"""The table of the paper's comparison: every arm and every difference, by three measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minloro.bench.metrics import metric_bounds, metrics_by_arm
from minloro.bench.statistics import Bounds, difference, interval
from minloro.bench.text import format_interval, format_number
from minloro.loro import EVALUATE_EVERY

if TYPE_CHECKING:
    from minloro.bench.run import Results
    from minloro.tasks.task import Task

    # What was run: {(task name, name of the run): what it found}.
    ResultsByRun = Mapping[tuple[str, str], Results]

STAND_IN = "stand-in"  # the label of the column if no data are given
MEASURES = {
    "paper_cumulative_reward": "Sum over the rounds, by the paper's accounting: every LLM episode "
    "is one round",
    "mean_return": "Mean return over equal environment steps, D's included",
    "online_mean_return": "Mean return over equal online steps, whatever D cost",
}
COLUMNS = (
    "task",
    "rounds",
    "column",
    "arm",
    "measure",
    "n_seeds",
    "mean",
    "low",
    "high",
    "verdict",
    "published",
    "published_rounds",
)


@dataclass(frozen=True)
class _Line:
    """An arm, or the difference between two arms."""

    label: str
    # Metrics of every seed.
    ours: Sequence[Mapping[str, Any]]
    # What is subtracted, seed by seed. None for an arm alone.
    theirs: Sequence[Mapping[str, Any]] | None
    # The smallest and largest possible value of each metric, if they are known.
    bounds: Mapping[str, Bounds | None]


def compare(task: Task, label: str, results: ResultsByRun) -> list[dict[str, Any]]:
    """Return the rows of a task and a column: every arm and every difference, by every measure."""
    column = results[task.name, label]
    lines = _column_lines(task, column, results[task.name, "rl"])
    for name, ablation in _ablations_of(task, label, results).items():
        lines += _ablation_lines(task, name, ablation, column)
    lines.sort(key=lambda line: line.theirs is not None)  # arms first, each kind in its own order
    rounds = column.summary["steps"] // EVALUATE_EVERY
    rows = []
    for measure in MEASURES:
        for line in lines:
            found = _measured(line, measure)
            if found is None:
                continue
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            row |= {"task": task.name, "rounds": rounds, "column": label}
            row |= {"arm": line.label, "measure": measure}
            rows.append(row | _published(task, line.label, measure) | found)
    return rows


def _column_lines(task: Task, column: Results, alone: Results) -> list[_Line]:
    """Return the arms of a column with `rl`, which is run without D, and their differences."""
    steps = column.summary["steps"]
    returns = alone.returns | column.returns
    metrics = metrics_by_arm(task, steps, returns, column.data_by_seed)
    bounds = metric_bounds(task, steps, column.data_by_seed)
    arms = [_Line(arm, per_seed, None, bounds) for arm, per_seed in metrics.items()]
    differences = [
        _Line(f"loro − {other}", metrics["loro"], metrics[other], bounds)
        for other in ("rl", "random-data")
    ]
    return arms + differences


def _ablations_of(task: Task, label: str, results: ResultsByRun) -> dict[str, Results]:
    """Return {name: results} of the ablations of a column."""
    start = f"{label}, "
    return {
        name.removeprefix(start): found
        for (task_name, name), found in results.items()
        if task_name == task.name and name.startswith(start)
    }


def _ablation_lines(task: Task, name: str, ablation: Results, column: Results) -> list[_Line]:
    """Return an ablation alone, and its difference from the column's `loro`.

    Their data may differ in length. In the difference, the same number of online evaluations
    counts on both sides.
    """
    steps = column.summary["steps"]
    data = ablation.data_by_seed
    column_data = column.data_by_seed
    loro = {key: rows for key, rows in column.returns.items() if key[0] == "loro"}
    (alone,) = metrics_by_arm(task, steps, ablation.returns, data).values()
    (ours,) = metrics_by_arm(task, steps, ablation.returns, data, column_data).values()
    (theirs,) = metrics_by_arm(task, steps, loro, column_data, data).values()
    data_of_both = dict(enumerate([*data.values(), *column_data.values()]))
    return [
        _Line(name, alone, None, metric_bounds(task, steps, data)),
        _Line(f"{name} − loro", ours, theirs, metric_bounds(task, steps, data_of_both)),
    ]


def _measured(line: _Line, measure: str) -> dict[str, Any] | None:
    """Return what a line says by a measure; None if a seed has no value."""
    ours = [metrics[measure] for metrics in line.ours]
    theirs = [metrics[measure] for metrics in line.theirs or ()]
    if None in ours + theirs:
        return None
    bounds = line.bounds[measure]
    if line.theirs is None:
        found = interval(ours, bounds)
    else:
        found = difference(ours, theirs, bounds)
    return {"n_seeds": len(ours)} | found


def _published(task: Task, arm: str, measure: str) -> dict[str, int]:
    """Return the published sum of an arm and its number of rounds, if the paper has it."""
    paper = task.paper
    if paper is None or measure != "paper_cumulative_reward":
        return {}
    sums = {"rl": paper.rl, "loro": paper.loro, "llm": paper.llm}
    if arm not in sums:
        return {}
    return {"published": sums[arm], "published_rounds": paper.rounds}


def markdown(labels: Sequence[str], seeds: int, rows: Sequence[dict[str, Any]]) -> str:
    """Return the tables: one row per task and arm, one column per label.

    The published numbers stand beside the sums by the paper's accounting.
    """
    lines = [f"# LORO, {seeds} seeds, 95% intervals\n"]
    if STAND_IN in labels:
        lines.append(
            "The scripted stand-in played (no language model was asked). Every seed has a D of its "
            "own.\n"
        )
    for measure, title in MEASURES.items():
        chosen = [row for row in rows if row["measure"] == measure]
        with_published = measure == "paper_cumulative_reward"
        lines += [f"## {title}\n", *_table(labels, chosen, with_published), ""]
    return "\n".join(lines)


def _table(
    labels: Sequence[str], rows: Sequence[dict[str, Any]], with_published: bool
) -> list[str]:
    """Return the lines of one table. rows: those of one measure."""
    header = ["task", "arm", *labels]
    if with_published:
        header.append("paper, 7B")
    lines = [_table_line(header), "|---" * len(header) + "|"]
    by_task_and_arm: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        by_label = by_task_and_arm.setdefault((row["task"], row["arm"]), {})
        by_label[row["column"]] = row
    for (task, arm), by_label in by_task_and_arm.items():
        any_row = next(iter(by_label.values()))
        texts = [f"{task}, {any_row['rounds']} rounds", arm]
        texts += [_result_text(by_label.get(label)) for label in labels]
        if with_published:
            texts.append(_published_text(any_row))
        lines.append(_table_line(texts))
    return lines


def _table_line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _result_text(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    text = format_interval(row, row["n_seeds"])
    return f"{text}: {row['verdict']}" if row["verdict"] else text


def _published_text(row: dict[str, Any]) -> str:
    """Return the published sum, with its number of rounds if it is another than that of the row."""
    if row["published"] is None:
        return ""
    text = format_number(row["published"])
    if row["published_rounds"] != row["rounds"]:
        text += f" ({row['published_rounds']} rounds)"
    return text
