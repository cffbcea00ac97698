"""Write what students get: `python tutorials/assignments/make_starters.py [ASSIGNMENT] OUT_DIR`.

The files that students fill in are copies of minloro's own modules without the bodies of some
functions. The table below says what is taken out: a function by its name and, if only a part of it
goes, how the first and the last statement begin. Nothing is marked in the package itself. If a name
or a beginning does not stand there exactly once, the generator stops. So starters cannot drift away
from the package.

Assignment 4 hands out code that is not part of the package: instructor/warmstart.py, with defects
put in.
"""

import argparse
import ast
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import minloro
from minloro.errors import UserError

HERE = Path(__file__).resolve().parent
PACKAGE = Path(minloro.__file__).parent
PYTEST_INI = "[pytest]\naddopts = -q --doctest-modules -p no:cacheprovider\n"


@dataclass(frozen=True)
class Cut:
    """What is taken out of a function: its whole body, or some of its statements."""

    function: str
    hint: str
    # How the first and the last statement begin that are taken out.
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True)
class Assignment:
    """What an assignment is made of."""

    number: int
    title: str
    # Where its texts are.
    folder: str
    # A student's file to the package's module.
    sources: dict[str, str] = field(default_factory=dict)
    # A student's file to what is taken out of it.
    cuts: dict[str, tuple[Cut, ...]] = field(default_factory=dict)

    @property
    def handed_in(self) -> tuple[str, ...]:
        """The names of the files that students write in."""
        return tuple(self.sources) or ("test_student.py",)


ACT = "one action: greedy; with a generator, epsilon-greedy"
UPDATES = Assignment(
    number=1,
    title="tabular and linear updates",
    folder="1-updates",
    sources={"tabular.py": "agents/tabular.py", "linear.py": "agents/linear.py"},
    cuts={
        "tabular.py": (
            Cut("TabularQ.act", ACT),
            Cut("TabularQ.update", "equations (1) and (2), for a minibatch"),
            Cut("TabularQ.learn", "equations (1) and (2), for one transition"),
        ),
        "linear.py": (
            Cut("double_q_target", "equation (3)"),
            Cut("LinearQ.act", ACT),
            Cut(
                "LinearQ.update",
                "equation (5): the target weights",
                first="self.target_weights +=",
                last="self.target_weights +=",
            ),
            Cut("LinearQ._gradient", "equation (4), and td_error"),
        ),
    },
)
WARM_START = Assignment(
    number=2,
    title="replay, pretraining and the warm start",
    folder="2-warm-start",
    sources={"replay.py": "replay.py", "loro.py": "loro.py"},
    cuts={
        "replay.py": (
            Cut("ReplayBuffer.add", "store one transition in the ring"),
            Cut("ReplayBuffer.sample", "draw a minibatch"),
        ),
        "loro.py": (
            Cut(
                "pretrain",
                "fill a buffer with D, then take the updates",
                first="buffer = ReplayBuffer(",
            ),
            Cut(
                "finetune",
                "play, keep the finished episodes, and evaluate on the grid",
                first="online = ",
                last="for env_steps, finished_episode in",
            ),
            Cut(
                "play_and_learn",
                "play the environment steps and learn from each",
                first="for env_steps in",
            ),
            Cut("learn", "one learning step"),
        ),
    },
)
BACKWARD_PASS = Assignment(
    number=3,
    title="the actor-critic's backward pass",
    folder="3-backward-pass",
    sources={"mlp.py": "agents/mlp.py", "actor_critic.py": "agents/actor_critic.py"},
    cuts={
        "mlp.py": (Cut("MLP.backward", "the chain rule, from the last layer to the first"),),
        "actor_critic.py": (
            Cut(
                "ActorCritic._fill_gradients",
                "equation (5): the temperature's gradient",
                first="self._log_temperature_gradient",
                last="self._log_temperature_gradient",
            ),
            Cut("ActorCritic._critic_gradients", "equation (2), and td_error"),
            Cut("ActorCritic._policy_gradients", "equation (4), and log pi"),
            Cut(
                "ActorCritic._sample",
                "equation (3): a squashed Gaussian sample",
                first="self._unclipped",
            ),
        ),
    },
)
FIND_THE_BUG = Assignment(number=4, title="find the bug", folder="4-find-the-bug")
ASSIGNMENTS = {each.number: each for each in (UPDATES, WARM_START, BACKWARD_PASS, FIND_THE_BUG)}


def solution(assignment: Assignment, file: str) -> str:
    """Return the package's module that `file` is made from."""
    return (PACKAGE / assignment.sources[file]).read_text(encoding="utf-8")


def starter(assignment: Assignment, file: str) -> str:
    """Return the same module without what the student is to write."""
    source = solution(assignment, file)
    for cut in assignment.cuts[file]:
        source = without(source, cut)
    return source


def without(source: str, cut: Cut) -> str:
    """Take the statements of `cut`, and the comments above them, out of a module.

    Docstrings stay.
    """
    body = _find(ast.parse(source), cut.function).body
    lines = source.splitlines(keepends=True)
    after_docstring = 1 if _is_docstring(body[0]) else 0
    first = after_docstring
    if cut.first is not None:
        first = _place(body, lines, cut.first, cut.function)
    last = len(body) - 1
    if cut.last is not None:
        last = _place(body, lines, cut.last, cut.function)
    if not after_docstring <= first <= last:
        raise LookupError(f"{cut.function} has no statements from {cut.first!r} to {cut.last!r}")
    begin = body[first - 1].end_lineno if first else body[0].lineno - 1
    indent = " " * body[first].col_offset
    stop = f'{indent}raise NotImplementedError("{cut.function}: {cut.hint}")\n'
    lines[begin : body[last].end_lineno] = [stop]
    return "".join(lines)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _find(tree: ast.Module, name: str) -> ast.FunctionDef:
    """Return the function `name`, or `Class.method`, of a module."""
    found = tree
    for part in name.split("."):
        nodes = [
            node
            for node in found.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part
        ]
        if len(nodes) != 1:
            raise LookupError(
                f"the package has no function {name}: correct the table in make_starters.py"
            )
        found = nodes[0]
    return found


def _place(body: list[ast.stmt], lines: list[str], beginning: str, function: str) -> int:
    """Return which statement of a body begins so."""
    found = [
        i
        for i, statement in enumerate(body)
        if lines[statement.lineno - 1].lstrip().startswith(beginning)
    ]
    if len(found) != 1:
        raise LookupError(
            f"{len(found)} statements of {function} begin with {beginning!r}: correct the table"
        )
    return found[0]


def write_starter(
    assignment: Assignment,
    out_dir: Path,
    task: str = "cartpole",
    defects: tuple[str, ...] = (),
) -> Path:
    """Write the folder that students get; raise UserError if it is already there."""
    folder = _new_folder(out_dir / assignment.folder)
    for path in sorted((HERE / assignment.folder).glob("*.*")):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            text = text.replace("{task}", task)
        (folder / path.name).write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
    for file in assignment.sources:
        (folder / file).write_text(starter(assignment, file), encoding="utf-8")
    if assignment.number == 4:
        from instructor.defects import REAL, warmstart

        text = warmstart(defects or REAL)
        (folder / "warmstart.py").write_text(text, encoding="utf-8")
    return folder


def write_solution(assignment: Assignment, out_dir: Path) -> Path:
    """Write the folder as it would be with full marks. It is not for students."""
    folder = write_starter(assignment, out_dir)
    for file in assignment.sources:
        (folder / file).write_text(solution(assignment, file), encoding="utf-8")
    if assignment.number == 4:
        for file in ("warmstart.py", "test_student.py"):
            shutil.copy(HERE / "instructor" / file, folder / file)
    return folder


def _new_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{folder} is already there: move it away, or choose another OUT_DIR"
        ) from None
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}): choose another OUT_DIR"
        ) from None
    return folder


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are UserErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message} (--help lists what there is)")


def defect_list(text: str) -> tuple[str, ...]:
    """Read a list of defects of assignment 4, as both commands take it."""
    from instructor.defects import DEFECTS

    names = tuple(text.split(","))
    for name in names:
        if name not in DEFECTS or names.count(name) > 1:
            raise argparse.ArgumentTypeError(
                f"{name!r} is unknown or given twice; there are {', '.join(DEFECTS)}"
            )
    return names


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return what was typed; raise UserError if it is wrong."""
    parser = OneLineParser(
        prog="make_starters.py", description="Write what students get.", allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "assignment",
        metavar="ASSIGNMENT",
        nargs="?",
        type=int,
        choices=ASSIGNMENTS,
        help="1 to 4; default: all",
    )
    add("out_dir", metavar="OUT_DIR", type=Path, help="where the folders are made")
    add("--task", default="cartpole", help="what assignment 2 ends with (default cartpole)")
    add(
        "--defects",
        type=defect_list,
        default=(),
        metavar="LIST",
        help="what is wrong in assignment 4",
    )
    add(
        "--solutions",
        action="store_true",
        help="for you alone: the folders with full marks",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        given = parse_arguments(arguments)
        minloro.make_task(given.task)
        numbers = [given.assignment] if given.assignment else ASSIGNMENTS
        for number in numbers:
            assignment = ASSIGNMENTS[number]
            if given.solutions:
                folder = write_solution(assignment, given.out_dir)
            else:
                folder = write_starter(assignment, given.out_dir, given.task, given.defects)
            print(folder)
    except UserError as error:
        print(f"make_starters.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
