"""The command line's flags: what there is, and what each takes. Nothing heavy is imported here."""

import argparse
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from minloro import __version__
from minloro.errors import UserError
from minloro.tasks.registry import TASK_NAMES

Flags = argparse.Namespace  # what was typed; None for a flag that was not

ARMS = ("rl", "loro", "guided", "random-data", "llm")
ALL_ARMS = ("rl", "loro", "guided", "random-data", "mix", "llm", "own-data", "clone")
SAMPLING = ("reasoning", "max_tokens", "temperature", "top_p")
# The flags whose values a run keeps in its config.json.
SETTINGS = (
    "arms",
    "seeds",
    "seed",
    "steps",
    "data_retention",
    "episodes",
    "data",
    "llm_model",
    "stand_in_skill",
    "fresh_data",
    *SAMPLING,
)

DESCRIPTION = """\
Warm-start reinforcement learning with a language model (LORO, arXiv 2505.10861). A model plays a
task through text. An agent is pretrained on what it did, and goes on learning online. It is
compared with the agent alone, with as much random data, with a mix without pretraining, and with
the model alone. Without --llm-url a scripted stand-in plays, and every output says so."""


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are UserErrors that repeat nothing that may be a key."""

    def error(self, message: str) -> NoReturn:
        unrecognized = r"(?<=unrecognized arguments: )(--[\w-]+)?.*"
        message = re.sub(unrecognized, r"\1 …", message)  # a value may be a key
        message = re.sub(r"\S*(?:\bsk-|KEY=)\S*", "***", message)
        raise UserError(f"{message} (python -m minloro --help lists what there is)")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; its errors are UserErrors.

    Every flag defaults to None: only what was really typed is compared with the settings of a run
    that is resumed.
    """
    parser = _OneLineParser(
        prog="python -m minloro",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = (
        f"one of: {', '.join(TASK_NAMES)}; or doctor: what can the server of --llm-url do; "
        "or paper: the paper's comparison"
    )
    choices = (*TASK_NAMES, "doctor", "paper")
    parser.add_argument("task", metavar="TASK", nargs="?", choices=choices, help=commands)
    _add_experiment(_Group(parser, "the experiment"))
    _add_data(_Group(parser, "where D, the data set, comes from"))
    _add_model(_Group(parser, "how the model is asked"))
    _add_paper(_Group(parser, "only for paper"))
    _add_run(_Group(parser, "the run"))
    return parser


def typed_values(flags: Flags) -> dict[str, Any]:
    """Return {name: value} of the flags that were typed, in the order of --help."""
    return {name: value for name, value in vars(flags).items() if value is not None}


def flag_name(name: str) -> str:
    """Return a flag as it is typed.

    >>> flag_name("llm_url")
    '--llm-url'
    """
    return f"--{name.replace('_', '-')}"


class _Group:
    """Flags that stand together in --help."""

    def __init__(self, parser: argparse.ArgumentParser, title: str):
        self.add = parser.add_argument_group(title).add_argument

    def value(self, flag: str, metavar: str, type: Callable[[str], Any], help: str) -> None:
        """Add a flag with a value."""
        self.add(flag, metavar=metavar, type=type, help=help)

    def switch(self, flag: str, help: str) -> None:
        """Add a flag without a value: True if it is typed, else None."""
        self.add(flag, action="store_true", default=None, help=help)


def _add_experiment(group: _Group) -> None:
    arms = f"what is compared (default {','.join(ARMS)}; mix, own-data and clone can be added)"
    group.value("--arms", "LIST", _arms, arms)
    group.value("--seeds", "N", _positive, "independent repeats per arm (default 5)")
    group.value("--seed", "N", _natural, "the first of them; same seed, same bits (default 0)")
    steps = "environment steps per learning arm, D's included (default: the task's)"
    group.value("--steps", "N", _positive, steps)
    retention = "D after pretraining: keep, drop, or its share of a minibatch (default: the task's)"
    group.add("--data-retention", "--offline", metavar="WHAT", type=_data_retention, help=retention)


def _add_data(group: _Group) -> None:
    episodes = "episodes that the LLM plays, or that are used of a given D (default 10)"
    group.value("--episodes", "N", _positive, episodes)
    data = (
        "a given D: of an earlier run, or published rollouts; for paper LABEL=DIR, one column per "
        "model, DIR with files TASK.npz"
    )
    group.add("--data", metavar="FILE.npz", type=_text, action="append", help=data)
    url = (
        "an OpenAI-compatible server, such as http://localhost:11434/v1; a key is read from the "
        "environment variable OPENAI_API_KEY only"
    )
    group.value("--llm-url", "URL", str, url)
    group.value("--llm-model", "NAME", _text, "the model, as that server names it")
    skill = "share of the stand-in's steps that follow its rule (default 0.7)"
    group.value("--stand-in-skill", "P", _probability, skill)
    group.switch("--fresh-data", "collect one D per seed")


def _add_model(group: _Group) -> None:
    reasoning = "answer at once, or think step by step first (default direct)"
    group.add("--reasoning", choices=("direct", "cot"), help=reasoning)
    group.value("--max-tokens", "N", _positive, "limit of one reply (default 512, with cot 2048)")
    group.value("--temperature", "T", _temperature, "of sampling (default: the server's)")
    group.value("--top-p", "P", _probability, "of sampling (default: the server's)")
    concurrency = "episodes that the model plays at once; D does not depend on it"
    group.value("--concurrency", "N", _positive, concurrency)
    budget = "calls to the model after which this run stops; it can be resumed"
    group.value("--call-budget", "N", _positive, budget)
    group.switch("--dry-run", "only say how many calls and tokens a run would need")


def _add_paper(group: _Group) -> None:
    group.switch("--full", "pendulum over all of the paper's 40,000 steps, not 10,000")
    ablations = "also own-data, 20 and 30 episodes, 1000 updates, and D kept or dropped"
    group.switch("--ablations", ablations)


def _add_run(group: _Group) -> None:
    group.value("--out", "DIR", _text, "folder for the results (default runs/TASK-date-time)")
    resume = "finish an interrupted run, or report a finished one again"
    group.value("--resume", "DIR", _text, resume)
    group.value("--jobs", "N", _positive, "runs side by side (default: the number of processors)")
    scheduler = "run on the dask.distributed cluster there (extra dask)"
    group.value("--scheduler", "ADDRESS", str, scheduler)
    group.switch("--quiet", "no progress on stderr")
    group.add("--version", action="version", version=f"minloro {__version__}")


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("it is empty or holds characters that cannot be printed")
    return text


def _natural(text: str) -> int:
    return _whole_number(text, low=0)


def _positive(text: str) -> int:
    return _whole_number(text, low=1)


def _whole_number(text: str, low: int) -> int:
    is_number = text.isascii() and text.isdigit()
    if not is_number or not low <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to 2147483647")
    return int(text)


def _probability(text: str) -> float:
    return _number(text, high=1)


def _temperature(text: str) -> float:
    return _number(text, high=100)


def _number(text: str, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {high:g}")
    return value


def _data_retention(text: str) -> str | float:
    if text in ("keep", "drop"):
        return text
    with suppress(argparse.ArgumentTypeError):
        share = _probability(text)
        if 0 < share < 1:
            return share
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither keep nor drop nor a share between 0 and 1"
    )


def _arms(text: str) -> tuple[str, ...]:
    names = text.split(",")
    all_known = set(names) <= set(ALL_ARMS)
    all_different = len(set(names)) == len(names)
    if not all_known or not all_different:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a list of different arms out of {','.join(ALL_ARMS)}"
        )
    return tuple(name for name in ALL_ARMS if name in names)
