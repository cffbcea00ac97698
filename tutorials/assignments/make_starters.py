"""Write what students get: `python tutorials/assignments/make_starters.py [ASSIGNMENT] OUT_DIR`.

The files to be filled in are minloro's own modules, copied, with the bodies of some functions taken out. What is taken out
stands in the table below, by the function's name and, where only a part of it goes, by how the first and the last statement
begin. Nothing is marked in the package itself. A name or a beginning that is no longer there, or not there exactly once,
stops the generator, so that starters cannot drift away from the package.

Assignment 4 hands out code that is not part of the package: instructor/warmstart.py, with defects put in.
"""

import argparse
import ast
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import minloro
from minloro.errors import UserError

HERE = Path(__file__).resolve().parent
PACKAGE = Path(minloro.__file__).parent
PYTEST_INI = "[pytest]\naddopts = -q --doctest-modules -p no:cacheprovider\n"


@dataclass(frozen=True)
class Cut:
    """What is taken out of `function`: all of its body, or the statements from `first` to `last`, by how they begin."""

    function: str
    hint: str
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True)
class Assignment:
    """folder: its texts. sources: a student's file to the package's module. cuts: a student's file to what is taken out."""

    number: int
    title: str
    folder: str
    sources: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, tuple[Cut, ...]] = field(default_factory=dict)

    @property
    def handed_in(self) -> tuple[str, ...]:
        """The names of the files that students write in."""
        return tuple(self.sources) or ("test_student.py",)


ASSIGNMENTS = {
    1: Assignment(
        1, "tabular and linear updates", "1-updates",
        {"tabular.py": "agents/tabular.py", "linear.py": "agents/linear.py"},
        {
            "tabular.py": (
                Cut("TabularQ.act", "one action: greedy, or epsilon-greedy where a generator is given"),
                Cut("TabularQ.update", "equations (1) and (2), for a minibatch"),
                Cut("TabularQ.learn", "equations (1) and (2), for one transition"),
            ),
            "linear.py": (
                Cut("double_q_target", "equation (3)"),
                Cut("LinearQ.act", "one action: greedy, or epsilon-greedy where a generator is given"),
                Cut("LinearQ.update", "equation (5): the target weights", "self.target_weights +=", "self.target_weights +="),
                Cut("LinearQ._gradient", "equation (4), and td_error"),
            ),
        },
    ),
    2: Assignment(
        2, "replay, pretraining and the warm start", "2-warm-start",
        {"replay.py": "replay.py", "loro.py": "loro.py"},
        {
            "replay.py": (
                Cut("ReplayBuffer.add", "store one transition in the ring"),
                Cut("ReplayBuffer.sample", "draw a minibatch"),
            ),
            "loro.py": (
                Cut("pretrain", "fill a buffer with D, then take the updates", "buffer = ReplayBuffer("),
                Cut("finetune", "play `steps` environment steps and learn from each", "for env_steps in", "for env_steps in"),
                Cut("_learn", "one learning step"),
            ),
        },
    ),
    3: Assignment(
        3, "the actor-critic's backward pass", "3-backward-pass",
        {"mlp.py": "agents/mlp.py", "actor_critic.py": "agents/actor_critic.py"},
        {
            "mlp.py": (Cut("MLP.backward", "the chain rule, from the last layer to the first"),),
            "actor_critic.py": (
                Cut("ActorCritic._fill_gradients", "equation (5): the temperature's gradient",
                    "self._log_temperature_gradient", "self._log_temperature_gradient"),
                Cut("ActorCritic._critic_gradients", "equation (2), and td_error"),
                Cut("ActorCritic._policy_gradients", "equation (4), and log pi"),
                Cut("ActorCritic._sample", "equation (3): a squashed Gaussian sample", "self._unclipped"),
            ),
        },
    ),
    4: Assignment(4, "find the bug", "4-find-the-bug"),
}  # fmt: skip


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
    """Take the statements of `cut`, and the comments above them, out of a module; docstrings stay."""
    body = _find(ast.parse(source), cut.function).body
    start = 1 if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else 0
    lines = source.splitlines(keepends=True)
    first = start if cut.first is None else _place(body, lines, cut.first, cut.function)
    last = len(body) - 1 if cut.last is None else _place(body, lines, cut.last, cut.function)
    if not start <= first <= last:
        raise LookupError(f"{cut.function} has no statements from {cut.first!r} to {cut.last!r}")
    begin = body[first - 1].end_lineno if first else body[0].lineno - 1
    indent = " " * body[first].col_offset
    lines[begin : body[last].end_lineno] = [f'{indent}raise NotImplementedError("{cut.function}: {cut.hint}")\n']
    return "".join(lines)


def _find(tree: ast.AST, name: str) -> ast.FunctionDef:
    """Return the function `name`, or `Class.method`, of a module."""
    for part in name.split("."):
        found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part]
        if len(found) != 1:
            raise LookupError(f"the package has no function {name}: correct the table in make_starters.py")
        (tree,) = found
    return tree


def _place(body: list[ast.stmt], lines: list[str], beginning: str, function: str) -> int:
    """Return which statement of a body begins so."""
    found = [i for i, statement in enumerate(body) if lines[statement.lineno - 1].lstrip().startswith(beginning)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} statements of {function} begin with {beginning!r}: correct the table")
    return found[0]


def write_starter(assignment: Assignment, out_dir: Path, task: str = "cartpole", defects: tuple[str, ...] = ()) -> Path:
    """Write the folder that students get; raise UserError where it is already there."""
    folder = _new_folder(out_dir / assignment.folder)
    for path in sorted((HERE / assignment.folder).glob("*.*")):
        text = path.read_text(encoding="utf-8")
        (folder / path.name).write_text(text.replace("{task}", task) if path.suffix == ".md" else text, encoding="utf-8")
    (folder / "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
    for file in assignment.sources:
        (folder / file).write_text(starter(assignment, file), encoding="utf-8")
    if assignment.number == 4:
        from instructor.defects import REAL, warmstart

        (folder / "warmstart.py").write_text(warmstart(defects or REAL), encoding="utf-8")
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
        raise UserError(f"{folder} is already there: move it away, or choose another OUT_DIR") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}): choose another OUT_DIR") from None
    return folder


class OneLineParser(argparse.ArgumentParser):
    """Its errors are UserErrors."""

    def error(self, message: str):
        raise UserError(f"{message} (--help lists what there is)")


def defect_list(text: str) -> tuple[str, ...]:
    """Read a list of defects of assignment 4, as both commands take it."""
    from instructor.defects import DEFECTS

    names = tuple(text.split(","))
    for name in names:
        if name not in DEFECTS or names.count(name) > 1:
            raise argparse.ArgumentTypeError(f"{name!r} is unknown or given twice; there are {', '.join(DEFECTS)}")
    return names


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = OneLineParser(prog="make_starters.py", description="Write what students get.", allow_abbrev=False)
    parser.add_argument(
        "assignment", metavar="ASSIGNMENT", nargs="?", type=int, choices=ASSIGNMENTS, help="1 to 4; default: all"
    )
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help="where the folders are made")
    parser.add_argument("--task", default="cartpole", help="what assignment 2 ends with (default cartpole)")
    parser.add_argument("--defects", type=defect_list, default=(), metavar="LIST", help="what is wrong in assignment 4")
    parser.add_argument("--solutions", action="store_true", help="for you alone: the folders with full marks")
    try:
        given = parser.parse_args(arguments)
        minloro.make_task(given.task)
        for number in [given.assignment] if given.assignment else ASSIGNMENTS:
            assignment = ASSIGNMENTS[number]
            if given.solutions:
                print(write_solution(assignment, given.out_dir))
            else:
                print(write_starter(assignment, given.out_dir, given.task, given.defects))
    except UserError as error:
        print(f"make_starters.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
