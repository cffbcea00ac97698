"""Print what a step costs: `python tests/benchmark.py`. One core, medians of several rounds in one process."""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import time

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


def learning_loop(task) -> float:
    """Seconds a step of the same random episodes, with acting, storing and one update each, as in finetune."""
    env, agent = task.make_env(), task.make_agent()
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
        buffer.add(encoded, action, reward, next_encoded, terminated, truncated, 0)
        if len(buffer) >= agent.batch_size:
            agent.update(buffer.sample(agent.batch_size, replay_rng), replay_rng)
        encoded = next_encoded
        if terminated or truncated:
            observation, _ = env.reset()
            encoded = agent.encode(observation)
    return (time.perf_counter() - start) / STEPS


def main() -> None:
    print(f"{'task':<14}{'bare env':>12}{'learning':>12}{'beyond it':>12}{'ratio':>8}   (microseconds a step)")
    for name in minloro.TASK_NAMES:
        task = minloro.make_task(name)
        rounds = [(bare_environment(task), learning_loop(task)) for _ in range(ROUNDS)]  # in turn: a shared machine
        bare, learning = np.median(rounds, axis=0) * 1e6
        print(f"{name:<14}{bare:>12.1f}{learning:>12.1f}{learning - bare:>12.1f}{learning / bare:>8.1f}")


if __name__ == "__main__":
    main()
