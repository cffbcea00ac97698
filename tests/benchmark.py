"""Print what a step costs: `python tests/benchmark.py`. One core, medians of several rounds in one process."""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import time
from functools import partial

import numpy as np

import minloro
from minloro.randomness import stream
from minloro.replay import ReplayBuffer

STEPS, ROUNDS = 4000, 7


def bare_environment(task) -> float:
    """Seconds a step of the environment alone, under precomputed random actions, resets included."""
    env = task.make_env()
    rng = np.random.default_rng(0)
    actions = [task.random_action(rng) for _ in range(STEPS)]
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - start) / STEPS


def learning_loop(task, agent) -> float:
    """Seconds a step of the same random episodes, with acting, storing and one update each, as in finetune."""
    env = task.make_env()
    rng = np.random.default_rng(0)
    actions = [task.random_action(rng) for _ in range(STEPS)]
    replay_rng, exploration = stream(0, "replay"), stream(0, "exploration")
    observation, _ = env.reset(seed=0)
    encoded = agent.encode(observation)
    buffer = ReplayBuffer(STEPS, encoded, actions[0])
    start = time.perf_counter()
    for action in actions:
        agent.act(encoded, exploration)  # the choice is paid for; the random action keeps the episodes alike
        observation, reward, terminated, truncated, _ = env.step(action)
        next_encoded = agent.encode(observation)
        if not agent.batch_size:
            agent.learn(encoded, action, reward, next_encoded, terminated)
        else:
            buffer.add(encoded, action, reward, next_encoded, terminated, truncated, 0)
            if len(buffer) >= agent.batch_size:
                agent.update(buffer.sample(agent.batch_size, replay_rng), replay_rng)
        encoded = next_encoded
        if terminated or truncated:
            observation, _ = env.reset()
            encoded = agent.encode(observation)
    return (time.perf_counter() - start) / STEPS


def matrix_products(batch: int = 128, hidden: int = 64, s: int = 3, a: int = 1):
    """Return a function that does the matrix products of one soft actor-critic update, and nothing else.

    Forward passes of the two stacked critics three times and of the policy twice, the critics' weight and input gradients
    once, their input gradients alone once more, the policy's weight and input gradients once; float32, preallocated.
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
    products = 3 * forward + 2 * policy_forward + to_weights + 2 * to_inputs + policy_to_weights + policy_to_inputs

    def run():
        for left, right, out in products:
            np.matmul(left, right, out=out)

    return run


def actor_critic_update():
    """Return a function that does one update of the pendulum's agent, its minibatch drawn from a buffer."""
    task = minloro.make_task("pendulum")
    agent, rng = task.make_agent(), np.random.default_rng(0)
    data = minloro.collect_random(task, 2000)
    buffer = ReplayBuffer(2000, agent.encode(data.observations[0]), data.actions[0])
    buffer.hold(data, agent.encode(data.observations), agent.encode(data.next_observations))
    return lambda: agent.update(buffer.sample(agent.batch_size, rng), rng)


def seconds(function, repeats: int = 300) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def variants():
    """The tasks with their own agents, and tabular learning with one-step updates and with 16 replayed transitions."""
    for name in minloro.TASK_NAMES:
        task = minloro.make_task(name)
        yield name, task, task.make_agent
    for name, states, actions in (("frozenlake", 16, 4), ("cliffwalking", 48, 4)):
        for batch_size, what in ((0, "one-step"), (16, "16 replayed")):
            settings = {"step_size": 0.1, "discount": 0.99, "epsilon": 0.1, "initial_value": 0.0, "batch_size": batch_size}
            make = partial(minloro.TabularQ, states, actions, **settings)
            yield f"{name}, {what}", minloro.make_task(name), make


def main() -> None:
    print(f"{'task':<26}{'bare env':>10}{'learning':>10}{'beyond it':>11}{'ratio':>7}   microseconds a step")
    for name, task, make_agent in variants():
        rounds = [(bare_environment(task), learning_loop(task, make_agent())) for _ in range(ROUNDS)]  # in turn
        bare, learning = np.median(rounds, axis=0) * 1e6
        print(f"{name:<26}{bare:>10.1f}{learning:>10.1f}{learning - bare:>11.1f}{learning / bare:>7.1f}")
    products, update = matrix_products(), actor_critic_update()
    rounds = [(seconds(products), seconds(update)) for _ in range(3 * ROUNDS)]
    alone, whole = np.median(rounds, axis=0) * 1e6
    print(f"\nsoft actor-critic, one update: {whole:.0f} microseconds")
    print(f"its matrix products alone: {alone:.0f} microseconds, ratio {whole / alone:.2f}")


if __name__ == "__main__":
    main()
