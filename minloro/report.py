"""From episode returns to figures with intervals, verdicts in words, and the table.

Everything here is computed from the rows of returns.csv and from what is known of D, so that a finished run can be
reported again at any time. The definitions are those of the protocol in the README.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from minloro.dynamics import optimal_return
from minloro.loro import ABLATION, GRID

FIELDS = ("first_return", "mean_return", "online_mean_return", "final_return", "paper_cumulative_reward")
COMPARED = (("loro", "rl"), ("loro", "random-data"))
WINDOW = 10  # evaluations that the final return and the threshold are means of


@lru_cache
def t_quantile(df: int, probability: float = 0.975) -> float:
    """Return the quantile of Student's t distribution.

    With t = sqrt(df) tan(x) its density becomes proportional to cos(x)^(df - 1) on (-pi/2, pi/2), which is smooth
    and bounded: a cumulative sum gives the distribution function.

    >>> round(t_quantile(4), 3), round(t_quantile(9), 3)
    (2.776, 2.262)
    """
    edges = np.linspace(-np.pi / 2, np.pi / 2, 200_001)
    middles = (edges[1:] + edges[:-1]) / 2
    cumulative = np.append(0.0, np.cumsum(np.cos(middles) ** (df - 1)))
    return float(np.sqrt(df) * np.tan(np.interp(probability, cumulative / cumulative[-1], edges)))


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean of independent values and its 95% interval: {"mean", "low", "high"}.

    Student's t and the percentile bootstrap (10,000 resamples, fixed generator) are both computed; the wider one
    decides. A single value has no interval; no value has no mean.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return {"mean": float(values[0]) if n else None, "low": None, "high": None}
    mean = float(values.mean())
    half = t_quantile(n - 1) * values.std(ddof=1) / np.sqrt(n)
    resamples = np.random.default_rng(0).integers(n, size=(10_000, n))
    bootstrap = np.quantile(values[resamples].mean(axis=1), (0.025, 0.975))
    low, high = (mean - half, mean + half) if 2 * half >= np.ptp(bootstrap) else bootstrap
    return {"mean": mean, "low": float(low), "high": float(high)}


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict:
    """Return the interval of the paired differences and the verdict, seeds in the same order on both sides."""
    result = interval(np.subtract(ours, theirs))
    low, high = result["low"], result["high"]
    word = "no clear difference" if low is None or low <= 0 <= high else "better" if low > 0 else "worse"
    return result | {"verdict": word if len(ours) >= 10 else f"indicative: {word}"}


def seed_figures(rows, steps: int, data_mean: float, data_rounds: int, online_points: int, threshold, data_sum=None) -> dict:
    """Return the figures of one arm and seed from its episode returns, in the order in which they happened.

    data_mean: D's mean return; data_rounds: rounds that D takes by the paper's accounting, one an episode of the LLM
    (both 0 for an arm without D). data_sum: D's returns as they were played, which the paper counts, where they are not
    data_mean a round. online_points: evaluations that enter online_mean_return, the same number for every arm. A figure
    that the budget does not hold is None.
    """
    data_sum = data_mean * data_rounds if data_sum is None else data_sum
    evaluations = [row for row in rows if row.phase == "eval"]
    first, online = evaluations[0], evaluations[1:]
    returns = np.array([row.episode_return for row in online])
    # The n-th online round: an evaluation after x online steps counts as x / GRID, rounded to the nearest.
    nth = [int((row.env_steps - first.env_steps) / GRID + 0.5) for row in online]
    matched = [row.episode_return for row, n in zip(online, nth, strict=True) if 1 <= n <= online_points]
    rounds = steps // GRID
    with_data = [data_mean] * (rounds - len(returns)) + returns.tolist()  # every grid point up to the budget
    paper_online, paper_sum = rounds - data_rounds, None
    if 0 <= paper_online <= len(returns):
        paper_sum = float(data_sum + returns[:paper_online].sum())
    windows = np.convolve(returns, np.ones(WINDOW) / WINDOW, mode="valid") if len(returns) >= WINDOW else np.array([])
    holds = np.flatnonzero(windows >= threshold - 1e-9)
    return {
        "first_return": first.episode_return,
        "mean_return": float(np.mean(with_data)),
        "online_mean_return": float(np.mean(matched)) if matched else None,
        "final_return": float(np.mean(returns[-WINDOW:])) if len(returns) else None,
        "paper_cumulative_reward": paper_sum,
        "steps_to_threshold": online[holds[0]].env_steps if len(holds) else None,
    }


def llm_figures(data_mean: float, paper_sum: float) -> dict:
    """Return the figures of the arm `llm`: D's mean return, whatever the number of steps; paper_sum: over the rounds."""
    return dict.fromkeys(FIELDS, data_mean) | {"steps_to_threshold": None, "paper_cumulative_reward": float(paper_sum)}


def arm_summary(per_seed: Sequence[dict], possible: bool = True) -> dict:
    """Return n_seeds and, for every figure, its interval over the seeds.

    steps_to_threshold is about the seeds that reached it, n_reached; `possible` says whether there were enough
    evaluations to tell.
    """
    summary = {"n_seeds": len(per_seed)}
    for name in (*FIELDS, "steps_to_threshold"):
        values = [figures[name] for figures in per_seed if figures[name] is not None]
        complete = name == "steps_to_threshold" or len(values) == len(per_seed)
        summary[name] = interval(values if complete else [])
    summary["steps_to_threshold"]["n_reached"] = sum(f["steps_to_threshold"] is not None for f in per_seed)
    summary["steps_to_threshold"]["possible"] = possible
    return summary


def figures_by_arm(task, steps: int, rows: dict, data_by_seed: dict, other_data: dict | None = None) -> dict[str, list[dict]]:
    """Return the figures of every arm and seed. rows: {(arm, seed): episode returns}; data_by_seed: {seed: D}.

    other_data: D of what these are to be compared with, where it is another: the longer D of a seed says how many online
    evaluations there are for both.
    """
    figures: dict[str, list[dict]] = {arm: [] for arm, _ in rows}
    for (arm, seed), returns in rows.items():
        data = data_by_seed.get(seed)
        mean, played, online_points = 0.0, [], steps // GRID
        if data is not None:
            mean, played = float(data.returns_at(task.step_limit).mean()), data.episode_returns[: data.n_finished]
            longest = max(len(data), len((other_data or {}).get(seed, ())))
            online_points = int(steps // GRID - longest / GRID + 0.5)
        if arm == "llm":
            figures[arm].append(llm_figures(mean, np.mean(played) * (steps // GRID)))
            continue
        if arm == "rl":
            mean, played = 0.0, []
        elif arm in ("random-data", ABLATION):
            mean, rounds = control_mean(returns, data, task.step_limit), len(played)
            played = [np.mean([row.episode_return for row in returns if row.phase == "llm"])] * rounds
        figures[arm].append(seed_figures(returns, steps, mean, len(played), online_points, task.threshold, sum(played)))
    return figures


def distinct(data_by_seed: dict) -> list:
    """Return every D once."""
    return list({id(data): data for data in data_by_seed.values()}.values())


def control_mean(rows: Sequence, data, step_limit: int) -> float:
    """Return the control's mean return while its data were collected, under the same step limit as D."""
    played = [row for row in rows if row.phase == "llm"]
    own_limit = min(data.metadata.get("collection_step_limit") or step_limit, step_limit)
    scale = [step_limit / own_limit if row.episode_length == own_limit else 1 for row in played]
    return float(np.mean([row.episode_return * factor for row, factor in zip(played, scale, strict=True)]))


def data_summary(task, data_by_seed: dict) -> dict | None:
    """Return what D is: where it comes from, its size, its mean return and its cost (means over the seeds' D)."""
    sets = distinct(data_by_seed)
    if not sets:
        return None
    mean = {
        "episodes": np.mean([data.n_finished for data in sets]),
        "transitions": np.mean([len(data) for data in sets]),
        "mean_return": np.mean([data.returns_at(task.step_limit).mean() for data in sets]),
        "cost": np.mean([data.cost for data in sets]),
    }
    whole = {name: int(value) if value == int(value) else float(value) for name, value in mean.items()}
    about = {"source": sets[0].behaviour, **whole, "data_sets": len(sets)}
    about["return_rescaled_to_step_limit"] = any(data.rescaled(task.step_limit) for data in sets)
    dropped = any(data.metadata.get("first_transition_dropped") for data in sets)
    return about | {"notes": ["first_transition_dropped"] * dropped}


def llm_summary(data_by_seed: dict) -> dict:
    """Return who was asked and what it took, summed over the seeds' D; null where D came without these counts."""
    sets = distinct(data_by_seed)
    counts = [data.metadata.get("llm") for data in sets]
    names = ("calls", "parse_failures", "fallbacks", "tokens")
    known = all(isinstance(c, dict) and all(isinstance(c.get(name), int) for name in names) for c in counts)
    totals = {name: sum(c[name] for c in counts) if counts and known else None for name in names}
    return {"model": sets[0].behaviour if sets else None, **totals}


def summarize(task, steps: int, rows: dict, data_by_seed: dict) -> dict:
    """Return the contents of summary.json."""
    figures = figures_by_arm(task, steps, rows, data_by_seed)
    in_data = max((len(data) for data in data_by_seed.values()), default=0)
    evaluations = {arm: steps // GRID - (arm != "rl") * (in_data // GRID) for arm in figures} | {"llm": 0}
    differences = {}
    for ours, theirs in COMPARED:
        if ours in figures and theirs in figures:
            differences[f"{ours}-{theirs}"] = {
                name: difference([f[name] for f in figures[ours]], [f[name] for f in figures[theirs]])
                for name in ("mean_return", "online_mean_return")
                if all(f[name] is not None for f in figures[ours] + figures[theirs])
            }
    return {
        "task": task.name,
        "steps": steps,
        "data": data_summary(task, data_by_seed),
        "arms": {arm: arm_summary(f, evaluations[arm] >= WINDOW) for arm, f in figures.items()},
        "difference": differences,
        "llm": llm_summary(data_by_seed),
    }


def table(task, summary: dict) -> str:
    """Return the summary as text of about 100 columns."""
    steps, arms, data = summary["steps"], summary["arms"], summary["data"]
    lines = [f"{task.name} ({task.environment}): {steps:,} environment steps for every learning arm, D's included"]
    if data is not None:
        lines += _data_lines(summary)
    blocks = (
        {"first_return": "before online steps", "mean_return": "mean return", "online_mean_return": "online mean return"},
        {
            "final_return": f"last {WINDOW} evaluations",
            "steps_to_threshold": f"steps to {task.threshold:g}",
            "paper_cumulative_reward": f"sum over {steps // GRID} rounds",
        },
    )
    for block in blocks:
        cells = [["arm", "seeds", *block.values()]]
        for arm, figures in arms.items():
            shown = [cell(figures[name], figures["n_seeds"]) for name in block]
            cells.append([arm, str(figures["n_seeds"]), *shown])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines.append("")
        for arm, *others in cells:
            padded = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
            lines.append("  ".join([arm.ljust(widths[0]), *padded]))
    if summary["difference"]:
        lines += ["", *_difference_lines(summary)]
    return "\n".join([*lines, *_notes(task, summary)])


def _data_lines(summary: dict) -> list[str]:
    data, llm = summary["data"], summary["llm"]
    each = f" for each of {data['data_sets']} seeds" if data["data_sets"] > 1 else ""
    scaled = " (per step, scaled to the step limit)" if data["return_rescaled_to_step_limit"] else ""
    lines = [
        f"D: {data['source']}",
        f"   {count(data['episodes'])} episodes{each}, {count(data['transitions'])} transitions, "
        f"mean return {number(data['mean_return'])}{scaled}, cost (summed reward) {number(data['cost'])}",
    ]
    if any("first_transition_dropped" in note for note in data["notes"]):
        lines.append("   The first transition of every episode is missing in this data set: returns are that much short.")
    if llm["calls"] is not None:
        lines.append(
            f"   {llm['calls']:,} calls, {llm['parse_failures']} replies without an action, "
            f"{llm['fallbacks']} random actions in their place"
        )
    return lines


def number(value: float, like: float | None = None) -> str:
    """Format a figure: three decimals below 10, one below 1000, none above; never a negative zero.

    like: the number whose size decides, by default `value` itself.

    >>> number(0.7442), number(186.04), number(-41858.3), number(-0.0001)
    ('0.744', '186.0', '-41,858', '0.000')
    """
    size = abs(value if like is None else like)
    digits = 3 if size < 10 else 1 if size < 1000 else 0
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def count(value: float) -> str:
    """Format a number of things, or the mean of several such numbers."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def cell(figure: dict, n_seeds: int) -> str:
    """Format a figure with its interval, and with the number of seeds where not all have it."""
    if figure["mean"] is None:
        return "never" if figure.get("possible") else "-"
    values = [figure[name] for name in ("mean", "low", "high") if figure[name] is not None]
    mean, *bounds = (number(value, like=max(map(abs, values))) for value in values)
    text = f"{mean} [{', '.join(bounds)}]" if bounds else mean
    reached = figure.get("n_reached", n_seeds)
    return text if reached == n_seeds else f"{text} ({reached}/{n_seeds})"


def _difference_lines(summary: dict) -> list[str]:
    names = {"mean_return": "mean return", "online_mean_return": "online mean return"}
    return [
        f"{pair.replace('-', ' - ', 1):<20}{names[name]:<20}{cell(result, 0):>24}   {result['verdict']}"
        for pair, figures in summary["difference"].items()
        for name, result in figures.items()
    ]


def _notes(task, summary: dict) -> list[str]:
    notes = ["", "[low, high]: 95% intervals over seeds; differences are paired by seed."]
    start = getattr(task.make_env().unwrapped, "initial_state_distrib", None)
    if task.transition_table is not None and start is not None:
        best = optimal_return(task.transition_table, start, task.step_limit)
        notes.append(f"Optimal return of an episode, from the environment's transition table: {number(best)}.")
    if task.paper:
        notes.append(
            f"Paper, sum over {task.paper['rounds']} rounds: RL alone {task.paper['rl']:,}, LORO (Qwen2.5-7B) "
            f"{task.paper['loro']:,}, the LLM alone {task.paper['llm']:,}{task.paper.get('remark', '')}."
        )
    if summary["data"] is not None and summary["data"]["data_sets"] == 1:
        notes.append("One D serves all seeds: the intervals are about learning, given D (--fresh-data: a D a seed).")
    return notes
