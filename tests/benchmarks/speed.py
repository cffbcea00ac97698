"""Print what a step costs and whether that is what was asked: `python tests/benchmarks/speed.py`.

It takes five minutes. For every task, microseconds per step:

    bare         the environment alone, under random actions drawn beforehand, resets included
    acting       the same episodes; every observation is encoded and an exploring action is chosen
                 (the choice is paid for, but the action drawn beforehand is made, so that the
                 episodes stay alike)
    learning     the same, with what finetune does after every step: the transition is stored, a
                 minibatch is drawn, one update is made
    evaluating   minloro.rollout.evaluate, on greedy episodes of the agent that has just learned
    beyond       learning minus bare
    ratio        learning divided by bare

Then a soft actor-critic update beside its matrix products alone, all of them by np.matmul; the
start of `python -m minloro --help`; and, if stable-baselines3 is installed, learning there with
equally large minibatches and equally many updates.

One core, one thread. Everything is measured in turn, ROUNDS times, in processor time, so that other
programs do not count. (The start is measured on the clock.) The printed numbers are medians;
`beyond` and `ratio` are computed for every round first. What costs grow with is measured by
`python tests/benchmarks/costs.py`.
"""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import subprocess
import sys
from collections.abc import Callable
from itertools import count
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np

import minloro
from minloro.errors import UserError
from minloro.loro import learn, online_buffer
from minloro.randomness import stream
from minloro.replay import ReplayBuffer
from minloro.rollout import evaluate
from minloro.tasks.task import Task

STEPS = 4000
ROUNDS = 21
STEPS_THERE = 1000  # against stable-baselines3
ROUNDS_THERE = 5
KINDS = {
    minloro.TabularQ: "tabular",
    minloro.LinearQ: "linear",
    minloro.ActorCritic: "actor-critic",
}


def random_actions(task, steps: int) -> list:
    """Draw random actions, the same ones for every task."""
    rng = np.random.default_rng(0)
    return [task.random_action(rng) for _ in range(steps)]


def bare(task) -> float:
    """Return the seconds per step of the environment alone."""
    env = task.make_env()
    actions = random_actions(task, STEPS)
    env.reset(seed=0)
    start = process_time()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (process_time() - start) / STEPS


def acting(task, agent) -> float:
    """Return the seconds per step with an encoded observation and a choice."""
    env = task.make_env()
    actions = random_actions(task, STEPS)
    exploration = stream(0, "exploration")
    encoded = agent.encode(env.reset(seed=0)[0])
    start = process_time()
    for action in actions:
        agent.act(encoded, exploration)
        observation, _, terminated, truncated, _ = env.step(action)
        encoded = agent.encode(observation)
        if terminated or truncated:
            encoded = agent.encode(env.reset()[0])
    return (process_time() - start) / STEPS


def learning(task, agent, steps: int = STEPS) -> float:
    """Return the seconds per step with acting, storing and one update, as finetune does it."""
    env = task.make_env()
    actions = random_actions(task, steps)
    replay_rng = stream(0, "replay")
    exploration = stream(0, "exploration")
    encoded = agent.encode(env.reset(seed=0)[0])
    buffer = online_buffer(task, agent, encoded, steps, data=None)
    start = process_time()
    for action in actions:
        agent.act(encoded, exploration)
        observation, reward, terminated, truncated, _ = env.step(action)
        next_encoded = agent.encode(observation)
        learn(agent, buffer, (encoded, action, reward, next_encoded, terminated), replay_rng)
        encoded = next_encoded
        if terminated or truncated:
            encoded = agent.encode(env.reset()[0])
    return (process_time() - start) / steps


def evaluating(task, agent) -> float:
    """Return the seconds per step of greedy episodes."""
    env = task.make_env()
    seconds = 0.0
    steps = 0
    for seed in count():
        start = process_time()
        _, length = evaluate(agent, env, [seed])
        seconds += process_time() - start
        steps += length
        if steps >= STEPS:
            return seconds / steps


class Learner(NamedTuple):
    """A row of the table: a task and its agent."""

    kind: str  # tabular, linear or actor-critic
    task: Task
    one_step: bool  # whether it learns from each transition once, when it happens
    label: str


def one_round(learner: Learner) -> list[float]:
    """Return the microseconds per step: bare, acting, learning, evaluating."""
    task = learner.task
    agent = task.make_agent()
    if learner.one_step:
        agent.batch_size = 0
    seconds = [bare(task), acting(task, agent), learning(task, agent), evaluating(task, agent)]
    return [1e6 * value for value in seconds]


def learners() -> list[Learner]:
    """Return the rows of the table."""
    found = []
    for name in minloro.TASK_NAMES:
        task = minloro.make_task(name)
        try:
            task.make_env()
        except UserError as error:  # an environment that needs a further package
            print(f"{name}: skipped: {error}")
            continue
        agent = task.make_agent()
        kind = KINDS[type(agent)]
        label = f"{name}, {kind}, minibatch of {agent.batch_size}"
        found.append(Learner(kind, task, False, label))
        if kind == "tabular":
            found.append(Learner(kind, task, True, f"{name}, {kind}, one-step"))
    return found


def print_tasks() -> tuple[float, float]:
    """Print the table.

    Return the worst ratio of tabular one-step learning and the most that linear learning adds.
    """
    rows = learners()
    # All rows take their turn in every round. If the machine does something else for half a minute,
    # it spoils a round or two of each.
    measured = []
    for _ in range(ROUNDS):
        measured.append([one_round(row) for row in rows])
    rounds = np.array(measured)  # [ROUNDS, rows, 4]
    beyond = rounds[..., 2] - rounds[..., 0]
    ratio = rounds[..., 2] / rounds[..., 0]
    table = np.median(np.dstack([rounds, beyond, ratio]), axis=0)  # [rows, 6]
    columns = ("bare", "acting", "learning", "evaluating", "beyond", "ratio")
    print("microseconds per step".ljust(40) + "".join(f"{column:>11}" for column in columns))
    ratios = []
    additions = []
    for row, values in zip(rows, table, strict=True):
        numbers = "".join(f"{value:>11.1f}" for value in values[:5])
        print(f"{row.label:<40}{numbers}{values[5]:>11.2f}")
        if row.one_step:
            ratios.append(values[5])
        if row.kind == "linear":
            additions.append(values[4])
    return max(ratios), max(additions)


class Products(NamedTuple):
    """The matrix products of a network: triples (left, right, out), one for each layer."""

    forward: list
    to_weights: list
    to_inputs: list


def products_of(copies: int, sizes: tuple, batch: int, rng: np.random.Generator) -> Products:
    """Return the products of `copies` stacked networks with these layer sizes, preallocated."""

    def array(*shape: int) -> np.ndarray:
        stacked = (copies, *shape) if copies > 1 else shape
        return rng.normal(size=stacked).astype(np.float32)

    weights = [array(n, m) for n, m in zip(sizes[:-1], sizes[1:], strict=True)]
    inputs = [array(batch, n) for n in sizes]
    forward = []
    to_weights = []
    to_inputs = []
    for i, weight in enumerate(weights):
        forward.append((inputs[i], weight, np.empty_like(inputs[i + 1])))
        to_weights.append((inputs[i].swapaxes(-1, -2), inputs[i + 1], np.empty_like(weight)))
        to_inputs.append((inputs[i + 1], weight.swapaxes(-1, -2), np.empty_like(inputs[i])))
    return Products(forward, to_weights, to_inputs)


def matrix_products(
    batch: int = 128, hidden: int = 64, s: int = 3, a: int = 1
) -> Callable[[], None]:
    """Return a function that does the matrix products of one soft actor-critic update.

    Forward passes: of the two stacked critics three times, of the policy twice. Backward passes:
    the weights of the critics once, the inputs of their upper layers once and of all layers once
    more, the weights and upper inputs of the policy once. All of it is float32. (The update itself
    replaces two of the smallest products by faster multiplications; this function does not.)
    """
    rng = np.random.default_rng(0)
    critics = products_of(2, (s + a, hidden, hidden, 1), batch, rng)
    policy = products_of(1, (s, hidden, hidden, 2 * a), batch, rng)
    products = 3 * critics.forward + critics.to_weights + critics.to_inputs[1:] + critics.to_inputs
    products += 2 * policy.forward + policy.to_weights + policy.to_inputs[1:]

    def run() -> None:
        for left, right, out in products:
            np.matmul(left, right, out=out)

    return run


def actor_critic_update() -> Callable[[], object]:
    """Return a function that draws a minibatch and does one update of pendulum's agent."""
    task = minloro.make_task("pendulum")
    agent = task.make_agent()
    rng = np.random.default_rng(0)
    data = minloro.collect_random(task, 2000)
    buffer = ReplayBuffer(2000, agent.encode(data.observations[0]), data.actions[0])
    buffer.hold(data, agent.encode)
    return lambda: agent.update(buffer.sample(agent.batch_size, rng), rng)


def print_actor_critic() -> float:
    """Print what an update costs beside its matrix products; return the ratio."""

    def seconds(function, repeats: int = 200) -> float:
        start = process_time()
        for _ in range(repeats):
            function()
        return (process_time() - start) / repeats

    products = matrix_products()
    update = actor_critic_update()
    rounds = np.array([(seconds(products), seconds(update)) for _ in range(2 * ROUNDS)])
    alone, whole = np.median(rounds, axis=0) * 1e6
    ratio = np.median(rounds[:, 1] / rounds[:, 0])
    print(
        f"\nsoft actor-critic, 64x64, minibatch of 128: an update takes {whole:.0f} microseconds, "
        f"its matrix products alone {alone:.0f}, ratio {ratio:.2f}"
    )
    return ratio


def print_start() -> float:
    """Print how long `python -m minloro --help` takes; return the median of the seconds."""
    command = [sys.executable, "-m", "minloro", "--help"]
    seconds = []
    for _ in range(ROUNDS):
        start = perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(perf_counter() - start)
    median = float(np.median(seconds))
    print(
        f"\npython -m minloro --help: {min(seconds):.2f} s at least, {median:.2f} s in the median"
    )
    return median


def print_stable_baselines() -> None:
    """Print microseconds per step of minloro and of stable-baselines3, with as many updates."""
    try:
        import torch
        from stable_baselines3 import DQN, SAC
    except ImportError:
        print("\nstable-baselines3 is not installed: not compared")
        return
    torch.set_num_threads(1)
    print(
        f"\n{'microseconds per step, one update each':<40}{'minloro':>11}{'SB3':>11}{'ratio':>11}"
    )
    compare("pendulum", SAC, "actor-critic 64x64, SAC 64x64")
    compare("cartpole", DQN, "81 linear features, DQN 64x64")


def compare(name: str, algorithm: type, learners_compared: str) -> None:
    """Measure learning on one task, here and in stable-baselines3, in turn; print a row."""
    task = minloro.make_task(name)
    batch_size = task.make_agent().batch_size
    settings = {"train_freq": 1, "gradient_steps": 1, "device": "cpu", "seed": 0}
    settings |= {"batch_size": batch_size, "learning_starts": batch_size - 1}
    settings |= {"buffer_size": STEPS_THERE, "policy_kwargs": {"net_arch": [64, 64]}}
    rounds = []
    for _ in range(ROUNDS_THERE):
        agent = task.make_agent()
        model = algorithm("MlpPolicy", task.make_env(), **settings)
        own = learning(task, agent, STEPS_THERE)
        start = process_time()
        model.learn(STEPS_THERE)
        rounds.append((own, (process_time() - start) / STEPS_THERE))
        assert model._n_updates == agent.n_updates == STEPS_THERE - batch_size + 1
    own, other = np.median(rounds, axis=0) * 1e6
    ratio = np.median([b / a for a, b in rounds])
    label = f"{name}, {batch_size} rows: {learners_compared}"
    print(f"{label:<40}{own:>11.0f}{other:>11.0f}{ratio:>11.1f}", flush=True)


def main() -> None:
    """Print everything, and whether the targets are reached."""
    tabular, linear = print_tasks()
    actor_critic = print_actor_critic()
    start = print_start()
    print_stable_baselines()
    print(f"\n{'target':<66}{'asked':>10}{'measured':>10}")
    for what, asked, measured in (
        ("tabular one-step learning, over the bare environment, at most", 2.0, tabular),
        ("linear learning, microseconds beyond the bare environment, at most", 60.0, linear),
        ("soft actor-critic update, over its matrix products, at most", 2.2, actor_critic),
        ("python -m minloro --help, seconds, at most", 0.4, start),
    ):
        verdict = "reached" if measured <= asked else "NOT REACHED"
        print(f"{what:<66}{asked:>10.1f}{measured:>10.2f}  {verdict}")


if __name__ == "__main__":
    main()
