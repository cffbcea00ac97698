"""The command line: flags in, Settings out, errors in one line. Nothing heavy is imported before the flags are read."""

import argparse
import os
import signal
import sys

from minloro import __version__
from minloro.errors import RunError, UserError

# BLAS reads these when NumPy is loaded. One thread: the matrices are small, and seeds run side by side.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

TASKS = ("cartpole", "mountaincar", "acrobot", "pendulum", "frozenlake", "cliffwalking", "taxi")
ARMS = ("rl", "loro", "random-data", "mix", "llm")
ALL_ARMS = (*ARMS, "own-data")
SAMPLING = ("reasoning", "max_tokens", "temperature", "top_p")
SETTINGS = (
    *SAMPLING,
    "arms",
    "seeds",
    "seed",
    "steps",
    "episodes",
    "data",
    "llm_model",
    "fresh_data",
    "stand_in_skill",
    "offline",
)

DESCRIPTION = """\
Warm-start reinforcement learning with a language model (LORO, arXiv 2505.10861): a model plays the task through text,
an agent is pretrained on what it did and goes on learning online, and is compared with the agent alone, with the
same amount of random data, with a naive mix and with the model alone.
Without --llm-url a scripted stand-in plays, no language model is asked, and every output says so."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 failed run, 2 wrong usage or input, 130 Ctrl-C."""
    for variable in BLAS_THREADS:
        os.environ[variable] = "1"
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(_parser().parse_args(argv))
    except UserError as error:
        return _fail(str(error), 2)
    except (RunError, OSError, MemoryError) as error:
        return _fail(str(error) or type(error).__name__, 1)
    except UnicodeEncodeError:
        return _fail("the terminal cannot show these characters: set PYTHONIOENCODING=utf-8", 1)
    except KeyboardInterrupt as interruption:
        return _fail(str(interruption) or "interrupted", 130)


def _fail(message: str, status: int) -> int:
    line = f"minloro: error: {message}".replace("\n", " ")
    if sys.stderr is not None:
        start = "\r\x1b[K" if sys.stderr.isatty() else ""  # over what is left of a progress bar
        print(start + line.encode("ascii", "backslashreplace").decode(), file=sys.stderr)
    return status


def _interrupt(*_):
    raise KeyboardInterrupt


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message} (python -m minloro --help lists what there is)")


def _parser() -> argparse.ArgumentParser:
    # Every option defaults to None: with --resume only what was really typed is compared with the folder's settings.
    parser = _OneLineParser(
        prog="python -m minloro", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    add = parser.add_argument
    add("task", metavar="TASK", nargs="?", choices=(*TASKS, "doctor"),
        help=f"one of: {', '.join(TASKS)}; or doctor: what can the server of --llm-url do")  # fmt: skip
    experiment = parser.add_argument_group("the experiment")
    add = experiment.add_argument
    add("--arms", metavar="LIST", type=_arms, help=f"what is compared (default {','.join(ARMS)}; there is own-data, too)")
    add("--seeds", metavar="N", type=_positive, help="independent repeats of every arm (default 5)")
    add("--seed", metavar="N", type=_natural, help="the first of them; same seed, same bits (default 0)")
    add("--steps", metavar="N", type=_positive, help="environment steps of every learning arm, D's included")
    add("--offline", metavar="WHAT", type=_offline, help="D after pretraining: keep, drop, or its share of a minibatch")
    add = parser.add_argument_group("where D, the data set, comes from").add_argument
    add("--episodes", metavar="N", type=_positive, help="that the LLM plays, or the first of a given D (default 10)")
    add("--data", metavar="FILE.npz", type=_text, help="a given D: of an earlier run, or published rollouts")
    add("--llm-url", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:11434/v1; "
        "a key is read from the environment variable OPENAI_API_KEY only")  # fmt: skip
    add("--llm-model", metavar="NAME", type=_text, help="the model, as that server names it")
    add("--stand-in-skill", metavar="P", type=_probability,
        help="share of the stand-in's steps that follow its rule (default 0.7)")  # fmt: skip
    add("--reasoning", choices=("direct", "cot"), help="answer at once, or think step by step first (default direct)")
    add("--max-tokens", metavar="N", type=_positive, help="of one reply (default 512, with cot 2048)")
    add("--temperature", metavar="T", type=_non_negative, help="of sampling (default: the server's)")
    add("--top-p", metavar="P", type=_probability, help="of sampling (default: the server's)")
    add("--concurrency", metavar="N", type=_positive, help="episodes that the model plays at once; D does not depend on it")
    add("--dry-run", action="store_true", help="only say how many calls and tokens a run would need")
    add("--call-budget", metavar="N", type=_positive, help="calls to the model after which this run stops, to be resumed")
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


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2147483647")
    return int(text)


def _positive(text: str) -> int:
    if _natural(text) == 0:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return int(text)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _non_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 100")
    return value


def _offline(text: str) -> str | float:
    if text in ("keep", "drop"):
        return text
    try:
        share = _probability(text)
    except argparse.ArgumentTypeError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither keep nor drop nor a share between 0 and 1")
    return share


def _arms(text: str) -> tuple[str, ...]:
    names = text.split(",")
    unknown = [name for name in names if name not in ALL_ARMS]
    if unknown or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be a list of different arms out of {','.join(ALL_ARMS)}")
    return tuple(name for name in ALL_ARMS if name in names)


def _run(args: argparse.Namespace) -> int:
    from concurrent.futures import BrokenExecutor

    from minloro import experiment, plot, report
    from minloro.progress import Progress
    from minloro.runfolder import RunFolder
    from minloro.tasks import make_task

    progress = Progress(args.quiet)
    if args.dry_run or args.task == "doctor":
        return _look_ahead(args)
    data = None
    if args.resume is not None:
        folder = RunFolder.open(args.resume)
        settings = _resumed_settings(args, folder)
        task = make_task(settings.task)
        if settings.data is not None and not folder.data_path(settings.seed).exists():
            data = experiment.read_data(settings.data, task, settings, progress)
    else:
        settings = _new_settings(args)
        task = make_task(settings.task)
        if settings.data is not None:
            data = experiment.read_data(settings.data, task, settings, progress)
        about = {"minloro": __version__, "behaviour": experiment.behaviour(settings, data)}
        folder = RunFolder.create(args.out, about | vars(settings))
    if args.scheduler is not None and args.jobs is not None:
        raise UserError("--scheduler and --jobs exclude each other: leave one out")
    server = experiment.Server(args.llm_url, args.concurrency or 1, args.call_budget)
    resume = f"python -m minloro --resume {folder.path}" + (f" --llm-url {args.llm_url}" if args.llm_url else "")
    try:
        with _executor(args) as executor:
            summary, returns, data_by_seed = experiment.run(settings, folder, data, server, executor, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: {resume}") from None
    except (RunError, MemoryError, BrokenExecutor) as error:
        raise RunError(f"{error or type(error).__name__}; go on with: {resume}") from None
    except UserError:
        folder.discard_if_unused()
        raise
    plot.save_learning_curves(folder.path / "learning_curves.png", task, returns, summary)
    agent = folder.agent_path("loro", settings.seed)
    if task.grid is not None and agent.exists():
        learner = task.make_agent()
        learner.load(agent)
        label = f"loro, seed {settings.seed}"
        plot.save_map(folder.path / "map.png", task, data_by_seed[settings.seed], learner.table, label)
    print(report.table(task, summary))
    print(f"\nWritten to {folder.path}: figures, returns.csv, summary.json and what made them.")
    return 0


def _look_ahead(args: argparse.Namespace) -> int:
    from minloro import doctor, experiment

    examined = args.task == "doctor"
    if examined:
        args.task = "cartpole"  # the questions that are asked
        if args.llm_url is None or args.llm_model is None:
            raise UserError("doctor needs to know whom to ask: give --llm-url and --llm-model")
    settings = _new_settings(args)
    task = experiment.task_of(settings)
    if examined:
        print(doctor.examine(settings, task, experiment.make_llm(settings, task, settings.seed, args.llm_url)))
    else:
        print(doctor.estimate(settings, task))
    return 0


def _executor(args: argparse.Namespace):
    """Return what runs the jobs, as a context: a cluster, or processes on this machine."""
    from minloro import sweep

    if args.scheduler is not None:
        return sweep.cluster(args.scheduler)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return sweep.process_pool(args.jobs or processors)


def _new_settings(args: argparse.Namespace):
    from minloro.experiment import Settings
    from minloro.tasks import make_task

    if args.task is None:
        raise UserError(f"say what to play: python -m minloro TASK, TASK one of {', '.join(TASKS)}")
    if (args.llm_url is None) != (args.llm_model is None):
        raise UserError("--llm-url and --llm-model belong together: give both, or neither to ask the stand-in")
    for name in SAMPLING:
        if args.llm_url is None and getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for a language model: give --llm-url and --llm-model, too")
    for given, others in (("data", ("llm_url", "fresh_data", "stand_in_skill")), ("llm_url", ("stand_in_skill",))):
        for other in others:
            if getattr(args, given) is not None and getattr(args, other) is not None:
                raise UserError(f"--{given} and --{other} exclude each other: leave one out".replace("_", "-"))
    task = make_task(args.task)
    defaults = {"arms": ARMS, "seeds": 5, "seed": 0, "steps": task.steps, "episodes": 10, "offline": task.offline}
    defaults |= {"fresh_data": False, "stand_in_skill": 0.7, "reasoning": "direct"}
    typed = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    unset = dict.fromkeys(SETTINGS)
    settings = Settings(task=args.task, updates=task.updates, **unset | defaults | typed)
    if not 200 <= settings.steps <= 10**8:
        raise UserError("--steps must be at least 200, the distance between two evaluations, and at most 100 million")
    if settings.seeds > 10_000:
        raise UserError("--seeds must be at most 10,000")
    return settings


def _resumed_settings(args: argparse.Namespace, folder):
    """Return the settings in the folder; what was typed again must be the same."""
    from minloro.experiment import Settings

    if args.out is not None:
        raise UserError("--resume writes to the folder that it resumes: leave --out away")
    try:
        config = {name: value for name, value in folder.config.items() if name not in ("minloro", "behaviour")}
        settings = Settings(**config | {"arms": tuple(config["arms"])})
    except (KeyError, TypeError):
        raise UserError(f"{folder.path / 'config.json'} is not from this version of minloro") from None
    if args.llm_url is not None and settings.llm_model is None:
        raise UserError("no language model is asked in this run: leave --llm-url away")
    for name in ("task", *SETTINGS):
        typed, kept = getattr(args, name), getattr(settings, name)
        if typed is not None and typed != kept:
            flag = name.replace("_", "-")
            raise UserError(f"this run has {flag} {kept}, not {typed}: a resumed run keeps its settings")
    return settings
