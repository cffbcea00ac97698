"""Play episodes: with a behaviour policy into rows of D, with an agent for its return."""

from collections.abc import Callable, Iterable

import gymnasium as gym
import numpy as np

from minloro.transitions import Transitions


def play_episode(env: gym.Env, choose: Callable, episode: int, env_seed: int, most_steps: int | None = None):
    """Play one episode from `env_seed`; return its rows, in the order of transitions.COLUMNS, and their sources.

    `choose(observation, rows)` returns an action and how it came about; `rows` are this episode's so far.
    After `most_steps` steps the episode is cut off, and its last row is truncated.
    """
    observation, _ = env.reset(seed=env_seed)
    rows, sources = [], []
    ended = False
    while not ended:
        action, source = choose(observation, rows)
        next_observation, reward, terminated, truncated, _ = env.step(action)
        truncated = truncated or (len(rows) + 1 == most_steps and not terminated)
        rows.append((observation, action, float(reward), next_observation, bool(terminated), bool(truncated), episode))
        sources.append(source)
        observation = next_observation
        ended = terminated or truncated
    return rows, sources


def evaluate(agent, env: gym.Env, seeds: Iterable[int]) -> tuple[float, float]:
    """Play one episode a seed with the greedy policy; return the mean episode return and length.

    Nothing is stored or learned, and no generator of the training is touched.
    """
    returns, lengths = [], []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        episode_return, length, ended = 0.0, 0, False
        while not ended:
            action = agent.act(agent.encode(observation))
            observation, reward, terminated, truncated, _ = env.step(action)
            episode_return += float(reward)
            length += 1
            ended = terminated or truncated
        returns.append(episode_return)
        lengths.append(length)
    return float(np.mean(returns)), float(np.mean(lengths))


def unreproduced(task, data: Transitions) -> np.ndarray | None:
    """Return (N,) bool: the rows whose s', r or terminated the simulator does not give when it makes a in s.

    None where the task cannot put its environment into a given state. Rows that pair the wrong observation with an
    action, and time limits stored as terminations, show here.
    """
    if task.set_state is None:
        return None
    env = task.make_env().unwrapped
    env.reset(seed=0)
    wrong = np.zeros(len(data), bool)
    for i in range(len(data)):
        task.set_state(env, data.observations[i])
        observation, reward, terminated, _, _ = env.step(data.actions[i])
        # float32 observations of a float64 simulator: a step moves them by far more than this.
        same = np.allclose(observation, data.next_observations[i], rtol=1e-5, atol=1e-5)
        wrong[i] = not (same and np.isclose(reward, data.rewards[i]) and terminated == data.terminated[i])
    return wrong
