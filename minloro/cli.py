"""The command line: flags in, Settings out, errors in one line. Nothing heavy is imported before the flags are read."""

import os
import shlex
import signal
import sys
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from minloro import __version__
from minloro.errors import RunError, SettingsError, UserError
from minloro.flags import ARMS, SAMPLING, SETTINGS, TASKS, make_parser

# BLAS reads these when NumPy is loaded. One thread: the matrices are small, and seeds run side by side.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 failed run, 2 wrong usage or input, 130 Ctrl-C."""
    for variable in BLAS_THREADS:
        os.environ[variable] = "1"
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(make_parser().parse_args(argv))
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


def _run(args) -> int:
    from minloro import experiment, plot, report
    from minloro.progress import Progress
    from minloro.runfolder import RunFolder
    from minloro.tasks import make_task

    progress = Progress(args.quiet)
    if args.task == "paper" or (args.resume is not None and RunFolder.open(args.resume).config.get("task") == "paper"):
        return _paper(args, progress)
    _without_paper_flags(args)
    if args.dry_run or args.task == "doctor":
        return _look_ahead(args)
    folder = RunFolder.open(args.resume) if args.resume is not None else None
    settings = _new_settings(args) if folder is None else _resumed_settings(args, folder)
    task, data = make_task(settings.task), None
    task.make_env()  # what is not installed is told before anything is written
    if settings.data is not None and (folder is None or not folder.data_path(settings.seed).exists()):
        data = experiment.read_data(settings.data, task, settings, progress)
    if folder is None:
        about = {"minloro": __version__, "behaviour": experiment.behaviour(settings, data)}
        folder = RunFolder.create(args.out, about | vars(settings))
    server = experiment.Server(args.llm_url, args.concurrency or 1, args.call_budget)
    with _going_on(folder, args), _executor(args) as executor:
        summary, returns, data_by_seed = experiment.run(settings, folder, data, server, executor, progress)
    plot.save_learning_curves(folder.path / "learning_curves.png", task, returns, summary)
    agent = folder.agent_path("loro", settings.seed)
    if task.grid is not None and agent.exists():
        (learner := task.make_agent()).load(agent)
        plot.save_map(folder.path / "map.png", task, data_by_seed[settings.seed], learner.table, f"loro, seed {settings.seed}")
    print(report.table(task, summary))
    print(f"\nWritten to {folder.path}: figures, returns.csv, summary.json and what made them.")
    return 0


@contextmanager
def _going_on(folder, args):
    """Add to whatever ends a run how to go on with it; remove a folder in which nothing has happened yet."""
    resume = f"python -m minloro --resume {shlex.quote(str(folder.path))}"
    resume += f" --llm-url {args.llm_url}" if args.llm_url else ""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: {resume}") from None
    except (RunError, OSError, MemoryError, BrokenExecutor) as error:
        raise RunError(f"{error or type(error).__name__}; go on with: {resume}") from None
    except UserError as error:
        folder.discard_if_unused()
        if not folder.path.exists() or args.resume is not None or isinstance(error, SettingsError):
            raise
        raise UserError(f"{error}; then go on with: {resume}") from None


def _paper(args, progress) -> int:
    from minloro import paper
    from minloro.runfolder import RunFolder

    given = {name: value for name, value in vars(args).items() if value is not None and value is not False}
    for name in given.keys() & {"dry_run", "llm_url", "call_budget", "concurrency", *SETTINGS} - {"data", "seeds", "seed"}:
        raise UserError(f"--{name.replace('_', '-')} is not for paper, whose protocol is fixed: leave it out")
    typed = {name: given[name] for name in ("seeds", "seed", "full", "ablations") if name in given}
    context = _executor(args)
    if args.data:
        typed["columns"] = paper.read_columns(args.data)
    if args.resume is None:
        plan = paper.Plan(**{"columns": {}} | typed)
        folder = RunFolder.create(args.out, {"task": "paper", "minloro": __version__} | vars(plan))
    else:
        folder = RunFolder.open(args.resume)
        config = {name: value for name, value in folder.config.items() if name not in ("task", "minloro")}
        changed = any(config.get(name) != value for name, value in typed.items())
        if changed or args.out is not None or args.task not in (None, "paper"):
            raise UserError("a resumed comparison keeps its folder and its settings: give --resume alone")
        try:
            plan = paper.Plan(**config)
        except TypeError:
            raise UserError(f"{folder.path / 'config.json'} is not from this version of minloro") from None
        paper.read_columns([f"{label}={path}" for label, path in plan.columns.items()])  # are they still there?
    with _going_on(folder, args), context as executor:
        print(paper.about(plan, 1 if args.scheduler else args.jobs or _processors()), file=sys.stderr)
        rows = paper.run(plan, folder.path, executor, progress)
    print(paper.markdown(plan, rows))
    print(f"Written to {folder.path}: paper.md, paper.csv, figures, and every run.")
    return 0


def _without_paper_flags(args) -> None:
    """Refuse what is for `paper` only, and turn --data into the one file that it is."""
    if args.full or args.ablations:
        raise UserError("--full and --ablations are for paper: python -m minloro paper")
    if args.data is not None:
        if len(args.data) > 1:
            raise UserError("--data is one file, except for paper: leave the others out")
        args.data = args.data[0]


def _look_ahead(args) -> int:
    from minloro import doctor, experiment

    examined = args.task == "doctor"
    if examined:
        args.task = "cartpole"  # the questions that are asked
        if args.llm_url is None or args.llm_model is None:
            raise UserError("doctor needs to know whom to ask: give --llm-url and --llm-model")
    if args.resume is not None:
        raise UserError("--resume goes on with a run that was planned: leave --dry-run or doctor out")
    settings = _new_settings(args)
    task = experiment.task_of(settings)
    if examined:
        print(doctor.examine(settings, task, experiment.make_llm(settings, task, settings.seed, args.llm_url)))
    else:
        print(doctor.estimate(settings, task))
    return 0


def _executor(args):
    """Return what runs the jobs, as a context: a cluster, or processes on this machine."""
    from minloro import sweep

    if args.scheduler is None:
        return sweep.process_pool(args.jobs or _processors())
    if args.jobs is not None:
        raise UserError("--scheduler and --jobs exclude each other: leave one out")
    return sweep.cluster(args.scheduler)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _new_settings(args):
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
    settings = Settings(task=args.task, updates=task.updates, **dict.fromkeys(SETTINGS) | defaults | typed)
    if not 200 <= settings.steps <= 10**8:
        raise UserError("--steps must be at least 200, the distance between two evaluations, and at most 100 million")
    if settings.seeds > 10_000:
        raise UserError("--seeds must be at most 10,000")
    return settings


def _resumed_settings(args, folder):
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
