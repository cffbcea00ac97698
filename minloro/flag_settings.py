"""From flags to Settings or a Plan: what does not go together is refused here."""

from __future__ import annotations

from typing import Any

from minloro.bench import paper
from minloro.bench.folder import RunFolder
from minloro.bench.settings import Settings
from minloro.errors import UserError
from minloro.flags import ARMS, SAMPLING, SETTINGS, Flags, flag_name, typed_values
from minloro.loro import EVALUATE_EVERY
from minloro.tasks.registry import TASK_NAMES, make_task

MOST_STEPS = 10**8
MOST_SEEDS = 10_000
# Pairs of flags of which only one can be typed.
EXCLUSIVE = (
    ("data", "llm_url"),
    ("data", "fresh_data"),
    ("data", "stand_in_skill"),
    ("llm_url", "stand_in_skill"),
)
# Flags that are fields of a Plan, besides --data, which gives its columns.
PLAN_FLAGS = ("seeds", "seed", "full", "ablations")
PLAN_ORIGIN = ("task", "minloro")  # what config.json of a comparison says besides the plan
RUN_FLAGS = ("dry_run", "llm_url", "call_budget", "concurrency", *SETTINGS)
FIXED_BY_PAPER = [name for name in RUN_FLAGS if name not in ("data", *PLAN_FLAGS)]


def new_settings(flags: Flags, task_name: str | None) -> Settings:
    """Return the settings of a new run; raise UserError if the flags do not fit together."""
    if task_name is None:
        raise UserError(
            f"say what to play: python -m minloro TASK, TASK one of {', '.join(TASK_NAMES)}"
        )
    refuse_contradictions(flags)
    task = make_task(task_name)
    defaults: dict[str, Any] = dict.fromkeys(SETTINGS)
    defaults |= {
        "arms": ARMS,
        "seeds": 5,
        "seed": 0,
        "steps": task.steps,
        "episodes": 10,
        "fresh_data": False,
        "stand_in_skill": 0.7,
        "data_retention": task.data_retention,
        "reasoning": "direct",
    }
    settings = Settings(task=task_name, updates=task.updates, **defaults | typed_settings(flags))
    if not EVALUATE_EVERY <= settings.steps <= MOST_STEPS:
        raise UserError(
            f"--steps must be at least {EVALUATE_EVERY}, the distance between two evaluations, and "
            "at most 100 million"
        )
    if settings.seeds > MOST_SEEDS:
        raise UserError(f"--seeds must be at most {MOST_SEEDS:,}")
    return settings


def typed_settings(flags: Flags) -> dict[str, Any]:
    """Return {name: value} of the settings of a run that were typed."""
    values = {name: value for name, value in typed_values(flags).items() if name in SETTINGS}
    if flags.data is not None:
        if len(flags.data) > 1:
            raise UserError("--data is one file, except for paper: leave the others out")
        values["data"] = flags.data[0]
    return values


def refuse_contradictions(flags: Flags) -> None:
    """Raise UserError if flags were typed that do not go together."""
    if (flags.llm_url is None) != (flags.llm_model is None):
        raise UserError(
            "--llm-url and --llm-model belong together: give both, or neither to ask the stand-in"
        )
    values = typed_values(flags)
    for name in SAMPLING:
        if flags.llm_url is None and name in values:
            raise UserError(
                f"{flag_name(name)} is for a language model: give --llm-url and --llm-model, too"
            )
    for one, other in EXCLUSIVE:
        if one in values and other in values:
            raise UserError(
                f"{flag_name(one)} and {flag_name(other)} exclude each other: leave one out"
            )


def resumed_settings(flags: Flags, folder: RunFolder) -> Settings:
    """Return the settings in the folder; what was typed again must be the same."""
    if flags.out is not None:
        raise UserError("--resume writes to the folder that it resumes: leave --out away")
    try:
        settings = Settings.from_config(folder.config)
    except TypeError:
        raise UserError(_not_from_this_version(folder)) from None
    if flags.llm_url is not None and settings.llm_model is None:
        raise UserError("no language model is asked in this run: leave --llm-url away")
    typed = typed_settings(flags)
    if flags.task is not None:
        typed = {"task": flags.task} | typed
    for name, value in typed.items():
        kept = getattr(settings, name)
        if value != kept:
            raise UserError(
                f"this run has {name.replace('_', '-')} {kept}, not {value}: a resumed run keeps "
                "its settings"
            )
    return settings


def new_plan(flags: Flags) -> paper.Plan:
    """Return the plan of a new comparison."""
    refuse_settings_of_runs(flags)
    values: dict[str, Any] = {"columns": {}}
    return paper.Plan(**values | typed_plan(flags))


def resumed_plan(flags: Flags, folder: RunFolder) -> paper.Plan:
    """Return the plan in the folder of a comparison.

    What was typed again must be the same, and the data sets must still be there.
    """
    refuse_settings_of_runs(flags)
    config = {name: value for name, value in folder.config.items() if name not in PLAN_ORIGIN}
    typed = typed_plan(flags)
    changed = any(config.get(name) != value for name, value in typed.items())
    if changed or flags.out is not None or flags.task not in (None, "paper"):
        raise UserError(
            "a resumed comparison keeps its folder and its settings: give --resume alone"
        )
    try:
        plan = paper.Plan(**config)
    except TypeError:
        raise UserError(_not_from_this_version(folder)) from None
    paper.read_columns([f"{label}={path}" for label, path in plan.columns.items()])
    return plan


def typed_plan(flags: Flags) -> dict[str, Any]:
    """Return {name: value} of the fields of a Plan that were typed."""
    values = {name: value for name, value in typed_values(flags).items() if name in PLAN_FLAGS}
    if flags.data is not None:
        values["columns"] = paper.read_columns(flags.data)
    return values


def refuse_settings_of_runs(flags: Flags) -> None:
    """Raise UserError if a flag was typed whose value the protocol of `paper` fixes."""
    for name in typed_values(flags):
        if name in FIXED_BY_PAPER:
            raise UserError(
                f"{flag_name(name)} is not for paper, whose protocol is fixed: leave it out"
            )


def _not_from_this_version(folder: RunFolder) -> str:
    return f"{folder.path / 'config.json'} is not from this version of minloro"
