"""What does a guide keep? Run `python tutorials/studies/guided.py`.

Seven ways of using a data set D, over all data sets that there are: what models played, one step at
a time or by a program that they wrote, and what the scripted stand-in played.

rl             from scratch
loro           the paper: pretrained on D, then online
conservative   the same with a conservative term, which fades online (below)
guided         loro with a clone of D's policy as a guide: minloro.loro.Guide
clone          the clone alone, never improved
random-data    loro with as many random transitions: the control
guided-random  guided with the same random transitions: the control of the guide

All learn for the same number of online steps, after D. The budgets are shorter than the tasks' own:
the question is how a learner starts. Seeds are 300 to 309; the rule was chosen on seeds 0 to 4, and
200 to 209 had been looked at before it was final.

Every finished run is written to the CSV at once, and a second start goes on where the first one
stopped. If the CSV is complete, nothing is run, and the tables are printed.
"""

import argparse
import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is loaded, here and in the workers

import numpy as np

import minloro
from minloro.agents.actor_critic import ActorCritic
from minloro.agents.clone import softmax
from minloro.agents.linear import LinearQ
from minloro.arms import Job, collect_random, run_arm
from minloro.bench import sweep
from minloro.bench.statistics import difference
from minloro.bench.text import format_interval, format_number
from minloro.files import replace_file
from minloro.loro import CLONE, finetune, pretrain, returns_of_teacher
from minloro.rollout import EpisodeReturn
from minloro.transitions import Transitions, load_transitions

EPISODES = 10
FIRST_SEED = 300
WINDOW = 10  # evaluations that "the first ten" and "the last ten" are
DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
OUT = Path(__file__).parents[1] / "figures" / "guided-study.csv"
METHODS = ("rl", "loro", "conservative", "guided", "clone", "random-data", "guided-random")
# Online steps after D.
STEPS = {
    "acrobot": 10_000,
    "mountaincar": 10_000,
    "cliffwalking": 6_000,
    "taxi": 20_000,
    "cartpole": 5_000,
    "frozenlake": 6_000,
    "pendulum": 4_000,
}
# The longest runs come last. A stand-in's name ends with its skill.
SETS = (
    ("acrobot", "claude"),
    ("acrobot", "claude-program"),
    ("mountaincar", "claude-program"),
    ("mountaincar", "qwen2.5-7b"),
    ("cliffwalking", "claude"),
    ("cliffwalking", "claude-program"),
    ("cliffwalking", "qwen3-235b"),
    ("cliffwalking", "qwen2.5-7b"),
    ("cartpole", "claude-program"),
    ("cartpole", "qwen2.5-7b"),
    ("frozenlake", "qwen2.5-7b"),
    ("taxi", "claude"),
    ("taxi", "claude-program"),
    ("acrobot", "stand-in 0.7"),
    ("mountaincar", "stand-in 0.7"),
    ("cliffwalking", "stand-in 0.7"),
    ("cartpole", "stand-in 0.7"),
    ("frozenlake", "stand-in 1"),
    ("taxi", "stand-in 0.7"),
    ("pendulum", "claude-program"),
    ("pendulum", "qwen2.5-7b"),
    ("pendulum", "stand-in 0.7"),
)
VALUES = ("first", "first_ten", "online", "last_ten", "training", "takeover")
COLUMNS = ("task", "data", "teacher", "transitions", "method", "seed", *VALUES)

CONSERVATIVE_WEIGHT = 1.0
FADE = 3000  # online updates after which the conservative term is gone


class Conservative:
    """A LinearQ or TabularQ whose updates also lower the values of actions that D does not show.

    To the loss of Q-learning it adds, for the rows of a minibatch,

        weight * mean(log sum_a exp q(s, a) - q(s, a_D)).

    The first term is nearly the highest value of the state, the second that of the action that was
    taken. The slope with respect to q(s, a) is softmax(q)_a - [a = a_D]: an action that looks good
    and was not taken falls, the one that was taken rises. The values are divided by the scale of
    D's returns, so that one weight serves all tasks. The weight is constant while pretraining and
    falls to 0 over the first FADE online updates. Source: Kumar et al. (2020), "Conservative
    Q-Learning for Offline Reinforcement Learning", eq. 4.
    """

    def __init__(self, agent, scale: float):
        self.agent = agent
        self.scale = scale
        self.online_updates = 0
        self.is_pretrained = False
        self.batch_size = agent.batch_size
        self.n_actions = agent.n_actions
        self.encode = agent.encode
        self.act = agent.act

    def update(self, batch, rng: np.random.Generator) -> np.ndarray:
        """Take one step of Q-learning, then one down the slope of the conservative term."""
        td_error = self.agent.update(batch, rng)
        weight = CONSERVATIVE_WEIGHT
        if self.is_pretrained:
            self.online_updates += 1
            weight *= max(0.0, 1 - self.online_updates / FADE)
        if weight:
            self._lower(batch, weight)
        return td_error

    def _lower(self, batch, weight: float) -> None:
        states = batch.observations
        if isinstance(self.agent, LinearQ):
            slope = conservative_slope(states.dot(self.agent.weights) / self.scale, batch.actions)
            gradient = states.T.dot(slope) / len(slope)
            self.agent.weights -= self.agent.step_size * weight * gradient * self.scale
        else:
            slope = conservative_slope(self.agent.table[states] / self.scale, batch.actions)
            np.add.at(self.agent.table, states, -self.agent.step_size * weight * slope * self.scale)


def conservative_slope(q: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the slope of log sum_a exp q(s, a) - q(s, a_D) with respect to q, (B, A)."""
    slope = softmax(q)
    slope[np.arange(len(actions)), actions] -= 1
    return slope


def run_conservative(task: minloro.Task, data: Transitions, steps: int, seed: int) -> list:
    """Return the episodes of LORO with the conservative term."""
    scale = max(float(np.abs(data.episode_returns).mean()) / 10, 1e-3)
    agent = Conservative(task.make_agent(seed), scale)
    pretrain(agent, data, task.updates, seed)
    agent.is_pretrained = True
    return finetune(agent, task, steps, data, seed)


class Unit(NamedTuple):
    """One method with one data set and one seed."""

    task: str
    data: str
    method: str
    seed: int
    folder: Path


def load(unit_task: str, name: str, folder: Path) -> Transitions:
    """Return the first EPISODES episodes of a data set, or what the stand-in plays."""
    task = minloro.make_task(unit_task)
    if name.startswith("stand-in"):
        skill = float(name.split()[1])
        model = minloro.StandInLLM(task, FIRST_SEED, skill)
        return minloro.collect(task, model, EPISODES, FIRST_SEED)
    path = folder / name / f"{unit_task}.npz"
    return load_transitions(path, task).first_episodes(EPISODES)


def run_unit(unit: Unit) -> dict:
    """Return one row of the CSV."""
    task = minloro.make_task(unit.task)
    data = load(unit.task, unit.data, unit.folder)
    steps = STEPS[unit.task]
    if unit.method == "rl":
        returns, _ = run_arm(Job(task, "rl", unit.seed, steps))
    elif unit.method == "conservative":
        returns = run_conservative(task, data, len(data) + steps, unit.seed)
    else:
        arm = unit.method
        given = data
        if unit.method == "guided-random":
            limit = data.metadata.get("collection_step_limit")
            given = collect_random(task, len(data), unit.seed, limit)
            arm = "guided"
        job = Job(task, arm, unit.seed, len(data) + steps, given, task.updates)
        returns, _ = run_arm(job)
    row = {"task": unit.task, "data": unit.data, "method": unit.method, "seed": unit.seed}
    row["teacher"] = float(returns_of_teacher(data, task.step_limit).mean())
    row["transitions"] = len(data)
    return row | measures(returns)


def measures(returns: list[EpisodeReturn]) -> dict[str, float | None]:
    """Return what is measured of a run."""
    first, *online = [row for row in returns if row.phase == "eval"]
    values = [row.episode_return for row in online]
    trained = [row.episode_return for row in returns if row.phase == "train"]
    by_clone = [row.env_steps for row in online if row.behaviour == CLONE]
    return {
        "first": first.episode_return,
        "first_ten": float(np.mean(values[:WINDOW])),
        "online": float(np.mean(values)),
        "last_ten": float(np.mean(values[-WINDOW:])),
        "training": float(np.mean(trained)) if trained else None,
        "takeover": max(by_clone, default=None),  # the last evaluation that the clone played
    }


def units(folder: Path, only: str, n_seeds: int) -> Iterator[Unit]:
    """Yield what is to be run, the seeds of a data set together."""
    for task_name, data_name in SETS:
        given = data_name.startswith("stand-in")
        if only not in (task_name, "all"):
            continue
        if not given and not (folder / data_name / f"{task_name}.npz").exists():
            print(f"skipped: {folder / data_name / task_name}.npz is not there")
            continue
        continuous = isinstance(minloro.make_task(task_name).make_agent(), ActorCritic)
        for method in METHODS:
            if continuous and method == "conservative":
                continue  # the actor would need its own
            for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
                yield Unit(task_name, data_name, method, seed, folder)


def read(path: Path) -> list[dict]:
    """Return the rows of the CSV, numbers as numbers."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows: list[dict] = list(csv.DictReader(file))
    for row in rows:
        row["seed"] = int(row["seed"])
        for name in ("teacher", "transitions", *VALUES):
            row[name] = float(row[name]) if row[name] else None
    return rows


def write(path: Path, rows: list[dict]) -> None:
    """Write the CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    replace_file(path, lambda file: file.write(content))


def tables(rows: list[dict]) -> str:
    """Return two Markdown tables: where the methods begin and end, and what differs clearly."""
    pairs = (("guided", "loro"), ("guided", "random-data"), ("guided", "rl"))
    names = " | ".join(f"`{ours}` − `{theirs}`" for ours, theirs in pairs)
    starts = [
        "| task | D | teacher | `loro` | `conservative` | `clone` | `guided` | of the way "
        "| `guided`, first ten | last ten | `loro`, last ten |",
        "|" + "---|" * 11,
    ]
    differences = [f"| task | D | {names} | `conservative` − `loro` |", "|" + "---|" * 6]
    for task_name, data_name in SETS:
        own = [r for r in rows if (r["task"], r["data"]) == (task_name, data_name)]
        found = {m: [r for r in own if r["method"] == m] for m in METHODS}
        if not found["guided"]:
            continue
        starts.append(start_line(task_name, data_name, found))
        texts = [verdict(found, *pair) for pair in (*pairs, ("conservative", "loro"))]
        differences.append(f"| {task_name} | {data_name} | " + " | ".join(texts) + " |")
    return "\n".join(starts) + "\n\n" + "\n".join(differences)


def start_line(task_name: str, data_name: str, found: dict[str, list[dict]]) -> str:
    """Return a line of the first table. `rl` before its first step stands for random play."""
    teacher = found["guided"][0]["teacher"]
    # The control's own data are random play; the untrained agent of `rl` is greedy, so it is not.
    random_return = random_play(task_name)
    begins = mean_of(found["guided"], "first")
    way = "–"
    if teacher > random_return:
        way = f"{100 * (begins - random_return) / (teacher - random_return):.0f}%"
    cells = [
        format_number(teacher),
        *[shown(found[m], "first") for m in ("loro", "conservative", "clone", "guided")],
        way,
        shown(found["guided"], "first_ten"),
        shown(found["guided"], "last_ten"),
        shown(found["loro"], "last_ten"),
    ]
    return f"| {task_name} | {data_name} | " + " | ".join(cells) + " |"


def random_play(task_name: str) -> float:
    """Return the mean return of some twenty episodes of a uniformly random policy."""
    task = minloro.make_task(task_name)
    data = collect_random(task, 20 * task.step_limit, seed=0)
    return float(data.episode_returns[: data.n_finished].mean())


def mean_of(rows: list[dict], name: str) -> float:
    """Return the mean of a value over the seeds."""
    return float(np.mean([row[name] for row in rows]))


def shown(rows: list[dict], name: str) -> str:
    """Return the mean of a value as text; a dash if the method was not run."""
    return format_number(mean_of(rows, name)) if rows else "–"


def verdict(found: dict[str, list[dict]], ours: str, theirs: str) -> str:
    """Return the paired difference of two methods' online means, with its interval and a word."""
    their_values = {row["seed"]: row["online"] for row in found[theirs]}
    pairs = [
        (r["online"], their_values[r["seed"]]) for r in found[ours] if r["seed"] in their_values
    ]
    if not pairs:
        return "–"
    found_difference = difference([a for a, _ in pairs], [b for _, b in pairs])
    return f"{format_interval(found_difference, 0)}: {found_difference['verdict']}"


def main() -> None:
    """Run what the CSV does not hold yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, default=OUT, help="the CSV")
    parser.add_argument("--only", default="all", help="one task")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    rows = read(options.out)
    done = {(row["task"], row["data"], row["method"], row["seed"]) for row in rows}
    wanted = [
        unit
        for unit in units(options.data, options.only, options.seeds)
        if tuple(unit[:4]) not in done
    ]
    with sweep.process_pool(options.jobs) as executor:
        for unit, row in sweep.run(wanted, executor, run_unit):
            rows.append(row)
            write(options.out, rows)
            print(*unit[:4], f"{row['first']:.1f} {row['online']:.1f}", flush=True)
    print(tables(rows))


if __name__ == "__main__":
    main()
