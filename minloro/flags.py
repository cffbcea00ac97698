"""The command line's flags: what there is, and what each takes. Nothing heavy is imported here."""

import argparse
import re
from contextlib import suppress
from functools import partial

from minloro import __version__
from minloro.errors import UserError

TASKS = ("cartpole", "mountaincar", "acrobot", "pendulum", "frozenlake", "cliffwalking", "taxi", "pong")
ARMS = ("rl", "loro", "random-data", "mix", "llm")
ALL_ARMS = (*ARMS, "own-data")
SAMPLING = ("reasoning", "max_tokens", "temperature", "top_p")
SETTINGS = (
    *SAMPLING, "arms", "seeds", "seed", "steps", "episodes", "data", "llm_model", "fresh_data", "stand_in_skill", "offline",
)  # fmt: skip

DESCRIPTION = """\
Warm-start reinforcement learning with a language model (LORO, arXiv 2505.10861): a model plays the task through text,
an agent is pretrained on what it did and goes on learning, and is compared with the agent alone, with as much random
data, with a naive mix and with the model alone. Without --llm-url a scripted stand-in plays; every output says so."""


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str):
        message = re.sub(r"(?<=unrecognized arguments: )(--[\w-]+)?.*", r"\1 …", message)  # a value may be a key
        message = re.sub(r"\S*(?:\bsk-|KEY=)\S*", "***", message)
        raise UserError(f"{message} (python -m minloro --help lists what there is)")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; its errors are UserErrors."""
    # Every option defaults to None: with --resume only what was really typed is compared with the folder's settings.
    parser = _OneLineParser(
        prog="python -m minloro", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("task", metavar="TASK", nargs="?", choices=(*TASKS, "doctor", "paper"), help="one of: "
        f"{', '.join(TASKS)}; or doctor: what can the server of --llm-url do; or paper: the paper's comparison")  # fmt: skip
    add = parser.add_argument_group("the experiment").add_argument
    add("--arms", metavar="LIST", type=_arms, help=f"what is compared (default {','.join(ARMS)}; there is own-data, too)")
    add("--seeds", metavar="N", type=_positive, help="independent repeats of every arm (default 5)")
    add("--seed", metavar="N", type=_natural, help="the first of them; same seed, same bits (default 0)")
    add("--steps", metavar="N", type=_positive, help="environment steps of every learning arm, D's included")
    add("--offline", metavar="WHAT", type=_offline, help="D after pretraining: keep, drop, or its share of a minibatch")
    add = parser.add_argument_group("where D, the data set, comes from").add_argument
    add("--episodes", metavar="N", type=_positive, help="that the LLM plays, or the first of a given D (default 10)")
    add("--data", metavar="FILE.npz", type=_text, action="append", help="a given D: of an earlier run, or published rollouts; "
        "for paper LABEL=DIR, a column a model, DIR with files TASK.npz")  # fmt: skip
    add("--llm-url", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:11434/v1; "
        "a key is read from the environment variable OPENAI_API_KEY only")  # fmt: skip
    add("--llm-model", metavar="NAME", type=_text, help="the model, as that server names it")
    add("--stand-in-skill", metavar="P", type=_probability,
        help="share of the stand-in's steps that follow its rule (default 0.7)")  # fmt: skip
    add("--reasoning", choices=("direct", "cot"), help="answer at once, or think step by step first (default direct)")
    add("--max-tokens", metavar="N", type=_positive, help="of one reply (default 512, with cot 2048)")
    add("--temperature", metavar="T", type=_temperature, help="of sampling (default: the server's)")
    add("--top-p", metavar="P", type=_probability, help="of sampling (default: the server's)")
    add("--concurrency", metavar="N", type=_positive, help="episodes that the model plays at once; D does not depend on it")
    add("--dry-run", action="store_true", help="only say how many calls and tokens a run would need")
    add("--call-budget", metavar="N", type=_positive, help="calls to the model after which this run stops, to be resumed")
    add("--full", action="store_true", help="paper: pendulum over all of the paper's 40,000 steps, not 10,000")
    add("--ablations", action="store_true", help="paper: own-data, 20 and 30 episodes, 1000 updates, D kept or dropped, too")
    add("--fresh-data", action="store_const", const=True, help="collect a D of its own for every seed")
    add = parser.add_argument_group("the run").add_argument
    add("--out", metavar="DIR", type=_text, help="folder for the results (default runs/TASK-date-time)")
    add("--resume", metavar="DIR", type=_text, help="finish an interrupted run, or report a finished one again")
    add("--jobs", metavar="N", type=_positive, help="runs side by side (default: the number of processors)")
    add("--scheduler", metavar="ADDRESS", help="run on the dask.distributed cluster there (extra dask)")
    add("--quiet", action="store_true", help="no progress on stderr")
    add("--version", action="version", version=f"minloro {__version__}")
    return parser


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("it is empty or holds characters that cannot be printed")
    return text


def _whole(text: str, low: int) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to 2147483647")
    return int(text)


def _number(text: str, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {high:g}")
    return value


_natural, _positive = partial(_whole, low=0), partial(_whole, low=1)
_probability, _temperature = partial(_number, high=1), partial(_number, high=100)


def _offline(text: str) -> str | float:
    if text in ("keep", "drop"):
        return text
    with suppress(argparse.ArgumentTypeError):
        if 0 < _probability(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither keep nor drop nor a share between 0 and 1")


def _arms(text: str) -> tuple[str, ...]:
    names = text.split(",")
    unknown = [name for name in names if name not in ALL_ARMS]
    if unknown or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be a list of different arms out of {','.join(ALL_ARMS)}")
    return tuple(name for name in ALL_ARMS if name in names)
