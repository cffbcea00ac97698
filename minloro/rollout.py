"""Play episodes: with a behaviour policy into rows of D, with an agent for its return."""

from collections.abc import Callable, Iterable
from copy import copy

import gymnasium as gym
import numpy as np

from minloro.errors import UserError
from minloro.transitions import Transitions

_ACTIONS = "an int below n for Discrete actions (as TabularQ and LinearQ do), an array of its shape for a Box (as ActorCritic)"


def play_episode(
    env: gym.Env, choose: Callable, episode: int, env_seed: int, rows: list, sources: list, most_steps: int | None = None
) -> None:
    """Play one episode from `env_seed` and append its transitions to `rows`, in the order of transitions.COLUMNS.

    `choose(observation, rows, step)` returns an action and how it came about, which is appended to `sources`; it sees all
    that `rows` holds so far. After `most_steps` steps the episode is cut off: its last row is truncated.
    """
    observation = copy(env.reset(seed=env_seed)[0])
    step, ended = 0, False
    while not ended:
        action, source = choose(observation, rows, step)
        next_observation, reward, terminated, truncated, _ = env.step(action)
        truncated = truncated or (step + 1 == most_steps and not terminated)
        next_observation = copy(next_observation)  # an environment may write the next one into the same array
        rows.append((observation, action, float(reward), next_observation, bool(terminated), bool(truncated), episode))
        sources.append(source)
        observation, step = next_observation, step + 1
        ended = terminated or truncated


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
            if not length:
                _check_action(agent, env.action_space, action)
            observation, reward, terminated, truncated, _ = env.step(action)
            episode_return += float(reward)
            length += 1
            ended = terminated or truncated
        returns.append(episode_return)
        lengths.append(length)
    return float(np.mean(returns)), float(np.mean(lengths))


def _check_action(agent, space: gym.Space, action) -> None:
    """Raise UserError, with what to do, where an agent acts in another kind of action space."""
    if not (space.contains(action) if isinstance(space, gym.spaces.Discrete) else np.shape(action) == space.shape):
        raise UserError(f"{type(agent).__name__}.act returned {action!r}, no action of {space}: return {_ACTIONS}")


def unreproduced(task, data: Transitions) -> np.ndarray | None:
    """Return (N,) bool: the rows whose s', r or terminated the simulator does not give when it makes a in s.

    None where the task cannot put its environment into a given state. Rows that pair the wrong observation with an
    action, and time limits stored as terminations, show here. Where chance decides, every outcome with a positive
    probability is right.
    """
    if task.transition_table is not None:
        names = ("observations", "actions", "next_observations", "rewards", "terminated")
        rows = zip(*(getattr(data, name).tolist() for name in names), strict=True)
        possible = ((tuple(outcome), task.transition_table[s][a]) for s, a, *outcome in rows)
        return np.array([outcome not in {t[1:] for t in table if t[0] > 0} for outcome, table in possible])
    if task.set_state is None:
        return None
    env = task.make_env().unwrapped
    env.reset(seed=0)
    wrong = np.zeros(len(data), bool)
    for i in range(len(data)):
        task.set_state(env, data.observations[i])
        observation, reward, terminated, _, _ = env.step(data.actions[i])
        # float32 observations of a float64 simulator: a step moves them by far more than this.
        with np.errstate(all="ignore"):  # absurd values are simply not the same
            same = np.allclose(observation, data.next_observations[i], rtol=1e-5, atol=1e-5)
        wrong[i] = not (same and np.isclose(reward, data.rewards[i]) and terminated == data.terminated[i])
    return wrong
