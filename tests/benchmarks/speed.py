"""Print what a step costs and whether that is what was asked: `python tests/benchmark.py`, five minutes.

For every task, microseconds a step:

    bare         the environment alone, under random actions drawn beforehand, resets included
    acting       the same episodes; every observation is encoded and an action chosen, exploring (the choice is paid for,
                 the action drawn beforehand is made, so that the episodes stay alike)
    learning     the same, with what finetune does after every step: the transition is stored, a minibatch drawn, one update
    evaluating   minloro.rollout.evaluate, on greedy episodes of the agent that has just learned
    beyond       learning less bare
    ratio        learning over bare

Then a soft actor-critic update over its matrix products alone, all of them by np.matmul, the start of `python -m minloro
--help`, and, where stable-baselines3 is installed, learning there with the same minibatch and as many updates. One core, one
thread. Everything is measured in turn, ROUNDS times, in processor time, so that other programs' turns do not count (but
the start in seconds on the clock); the figures are medians, those of `beyond` and `ratio` of what each round gives. What
costs grow with: `python tests/benchmark_costs.py`.
"""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import subprocess
import sys
from collections.abc import Callable
from itertools import count
from time import perf_counter, process_time

import numpy as np

import minloro
from minloro.errors import UserError
from minloro.loro import _learn, _online_buffer
from minloro.randomness import stream
from minloro.replay import ReplayBuffer
from minloro.rollout import evaluate

STEPS, ROUNDS = 4000, 21
STEPS_THERE, ROUNDS_THERE = 1000, 5  # against stable-baselines3


def random_actions(task, steps: int) -> list:
    rng = np.random.default_rng(0)
    return [task.random_action(rng) for _ in range(steps)]


def bare(task) -> float:
    """Seconds a step of the environment alone."""
    env, actions = task.make_env(), random_actions(task, STEPS)
    env.reset(seed=0)
    start = process_time()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (process_time() - start) / STEPS


def acting(task, agent) -> float:
    """Seconds a step with an encoded observation and a choice."""
    env, actions, exploration = task.make_env(), random_actions(task, STEPS), stream(0, "exploration")
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
    """Seconds a step with acting, storing and one update, by finetune's own functions."""
    env, actions = task.make_env(), random_actions(task, steps)
    replay_rng, exploration = stream(0, "replay"), stream(0, "exploration")
    encoded = agent.encode(env.reset(seed=0)[0])
    buffer = _online_buffer(task, agent, encoded, steps, None)
    start = process_time()
    for action in actions:
        agent.act(encoded, exploration)
        observation, reward, terminated, truncated, _ = env.step(action)
        next_encoded = agent.encode(observation)
        _learn(agent, buffer, (encoded, action, reward, next_encoded, terminated), replay_rng)
        encoded = next_encoded
        if terminated or truncated:
            encoded = agent.encode(env.reset()[0])
    return (process_time() - start) / steps


def evaluating(task, agent) -> float:
    """Seconds a step of greedy episodes."""
    env, seconds, steps = task.make_env(), 0.0, 0
    for seed in count():
        start = process_time()
        _, length = evaluate(agent, env, [seed])
        seconds, steps = seconds + process_time() - start, steps + length
        if steps >= STEPS:
            return seconds / steps


def one_round(task, one_step: bool) -> tuple[float, float, float, float]:
    agent = task.make_agent()
    if one_step:
        agent.batch_size = 0  # learns from each transition once, when it happens
    return bare(task), acting(task, agent), learning(task, agent), evaluating(task, agent)


def learners() -> list[tuple]:
    """Return (kind of learner, task, one_step, what it is called) for every row of the table."""
    found = []
    for name in minloro.TASK_NAMES:
        task = minloro.make_task(name)
        try:
            task.make_env()
        except UserError as error:  # an environment that needs a further package
            print(f"{name}: skipped: {error}")
            continue
        agent = task.make_agent()
        kind = {"TabularQ": "tabular", "LinearQ": "linear", "ActorCritic": "actor-critic"}.get(type(agent).__name__, "")
        found.append((kind, task, False, f"{name}, {kind}, minibatch of {agent.batch_size}"))
        if kind == "tabular":
            found.append((kind, task, True, f"{name}, {kind}, one-step"))
    return found


def print_tasks() -> tuple[float, float]:
    """Print the table; return the worst ratio of tabular one-step learning and the most that linear learning adds."""
    rows = learners()
    # All rows take their turn in every round: what else the machine does for half a minute then spoils a round or two of each.
    rounds = np.array([[one_round(task, one_step) for _, task, one_step, _ in rows] for _ in range(ROUNDS)]) * 1e6
    beyond, ratio = rounds[..., 2] - rounds[..., 0], rounds[..., 2] / rounds[..., 0]
    table = np.median(np.dstack([rounds, beyond, ratio]), axis=0)  # [rows, 6]
    columns = ("bare", "acting", "learning", "evaluating", "beyond", "ratio")
    print("microseconds a step".ljust(40) + "".join(f"{column:>11}" for column in columns))
    for (*_, label), values in zip(rows, table, strict=True):
        print(f"{label:<40}" + "".join(f"{value:>11.1f}" for value in values[:5]) + f"{values[5]:>11.2f}")
    ratios = [values[5] for (_, _, one_step, _), values in zip(rows, table, strict=True) if one_step]
    additions = [values[4] for (kind, *_), values in zip(rows, table, strict=True) if kind == "linear"]
    return max(ratios), max(additions)


def matrix_products(batch: int = 128, hidden: int = 64, s: int = 3, a: int = 1) -> Callable[[], None]:
    """Return a function that does the matrix products of one soft actor-critic update, and nothing else.

    Forward passes of the two stacked critics three times and of the policy twice; backwards, the critics' weights once, the
    inputs of their upper layers once and of all layers once more, the policy's weights and upper inputs once; float32,
    preallocated. (The update itself replaces two of the smallest products by faster multiplications; these are not a baseline.)
    """
    rng = np.random.default_rng(0)

    def network(copies, sizes):
        def array(*shape):
            return rng.normal(size=(copies, *shape) if copies > 1 else shape).astype(np.float32)

        weights = [array(n, m) for n, m in zip(sizes, sizes[1:], strict=False)]
        inputs = [array(batch, n) for n in sizes]
        forward = [(inputs[i], weights[i], np.empty_like(inputs[i + 1])) for i in range(3)]
        to_weights = [(inputs[i].swapaxes(-1, -2), inputs[i + 1], np.empty_like(weights[i])) for i in range(3)]
        to_inputs = [(inputs[i + 1], weights[i].swapaxes(-1, -2), np.empty_like(inputs[i])) for i in range(3)]
        return forward, to_weights, to_inputs

    forward, to_weights, to_inputs = network(2, (s + a, hidden, hidden, 1))
    policy_forward, policy_to_weights, policy_to_inputs = network(1, (s, hidden, hidden, 2 * a))
    products = 3 * forward + to_weights + to_inputs[1:] + to_inputs
    products += 2 * policy_forward + policy_to_weights + policy_to_inputs[1:]

    def run():
        for left, right, out in products:
            np.matmul(left, right, out=out)

    return run


def actor_critic_update() -> Callable[[], object]:
    """Return a function that does one update of the pendulum's agent, its minibatch drawn from a buffer."""
    task = minloro.make_task("pendulum")
    agent, rng = task.make_agent(), np.random.default_rng(0)
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

    products, update = matrix_products(), actor_critic_update()
    rounds = np.array([(seconds(products), seconds(update)) for _ in range(2 * ROUNDS)])
    alone, whole = np.median(rounds, axis=0) * 1e6
    ratio = np.median(rounds[:, 1] / rounds[:, 0])
    print(f"\nsoft actor-critic, 64x64, minibatch of 128: an update takes {whole:.0f} microseconds, its matrix products alone "
          f"{alone:.0f}, ratio {ratio:.2f}")  # fmt: skip
    return ratio


def print_start() -> float:
    """Print the seconds from typing `python -m minloro --help` to its end; return their median."""
    seconds = []
    for _ in range(ROUNDS):
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "minloro", "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(perf_counter() - start)
    print(f"\npython -m minloro --help: {min(seconds):.2f} s at least, {np.median(seconds):.2f} s in the median")
    return float(np.median(seconds))


def print_stable_baselines() -> None:
    """Print microseconds a step, minloro's and stable-baselines3's, in turn, with equally many updates."""
    try:
        import torch
        from stable_baselines3 import DQN, SAC
    except ImportError:
        print("\nstable-baselines3 is not installed: not compared")
        return
    torch.set_num_threads(1)
    common = {"train_freq": 1, "gradient_steps": 1, "device": "cpu", "seed": 0}
    print(f"\n{'microseconds a step, one update each':<40}{'minloro':>11}{'SB3':>11}{'ratio':>11}")
    for name, algorithm, here, there in (
        ("pendulum", SAC, "actor-critic 64x64", "SAC 64x64"),
        ("cartpole", DQN, "81 linear features", "DQN 64x64"),
    ):
        task = minloro.make_task(name)
        batch_size = task.make_agent().batch_size
        settings = common | {"batch_size": batch_size, "learning_starts": batch_size - 1, "buffer_size": STEPS_THERE}
        rounds = []
        for _ in range(ROUNDS_THERE):
            network = {"net_arch": [64, 64]}
            agent, model = task.make_agent(), algorithm("MlpPolicy", task.make_env(), policy_kwargs=network, **settings)
            own = learning(task, agent, STEPS_THERE)
            start = process_time()
            model.learn(STEPS_THERE)
            rounds.append((own, (process_time() - start) / STEPS_THERE))
            assert model._n_updates == agent.n_updates == STEPS_THERE - batch_size + 1
        own, other = np.median(rounds, axis=0) * 1e6
        ratio = np.median([b / a for a, b in rounds])
        print(f"{f'{name}, {batch_size} rows: {here}, {there}':<40}{own:>11.0f}{other:>11.0f}{ratio:>11.1f}", flush=True)


def main() -> None:
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
        print(f"{what:<66}{asked:>10.1f}{measured:>10.2f}  {'reached' if measured <= asked else 'NOT REACHED'}")


if __name__ == "__main__":
    main()
