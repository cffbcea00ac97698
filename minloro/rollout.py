"""Play episodes: with a behaviour policy into rows of D, with an agent for its return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import gymnasium as gym
import numpy as np

from minloro.errors import UserError
from minloro.transitions import Transitions

if TYPE_CHECKING:
    from minloro.agents.agent import Player
    from minloro.tasks.task import Task

LONGEST_WAIT = 5.0  # seconds that an interrupted collection waits for answers on their way
Played = TypeVar("Played")


class EpisodeReturn(NamedTuple):
    """One episode, or the mean of the episodes of one evaluation."""

    phase: str  # llm, train or eval
    behaviour: str  # who chose the actions
    env_steps: int  # taken before this evaluation, or up to the end of this episode
    episode_return: float
    episode_length: float


def play_episode(
    env: gym.Env,
    choose: Callable,
    episode: int,
    env_seed: int,
    rows: list,
    sources: list,
    most_steps: int | None = None,
) -> None:
    """Play one episode and append its transitions to `rows`, in the order of transitions.COLUMNS.

    `choose(observation, rows, step)` returns an action and how it came about, which is appended to
    `sources`; it sees everything that `rows` holds so far. After `most_steps` steps the episode is
    cut off: its last row is truncated.
    """
    observation = copy(env.reset(seed=env_seed)[0])
    step = 0
    ended = False
    while not ended:
        action, source = choose(observation, rows, step)
        next_observation, reward, terminated, truncated, _ = env.step(action)
        next_observation = copy(next_observation)  # an environment may reuse its array
        step += 1
        if step == most_steps and not terminated:
            truncated = True
        s_a_r_s = (observation, action, float(reward), next_observation)
        rows.append((*s_a_r_s, bool(terminated), bool(truncated), episode))
        sources.append(source)
        observation = next_observation
        ended = terminated or truncated


def play_episodes(
    play: Callable[[int], Played], episodes: int, workers: int, on_failure: Callable[[], None]
) -> list[Played]:
    """Call play(0), play(1), … in `workers` threads; return what they return, in order.

    If one of them raises, `on_failure` is called at once, so that the others can end early.
    """

    def play_or_stop(episode: int) -> Played:
        try:
            return play(episode)
        except BaseException:
            on_failure()
            raise

    pool = ThreadPoolExecutor(workers)
    futures = [pool.submit(play_or_stop, episode) for episode in range(episodes)]
    try:
        played = [future.result() for future in futures]
    except BaseException:
        on_failure()
        running = [future for future in futures if not future.cancel()]
        wait(running, timeout=LONGEST_WAIT)
        pool.shutdown(wait=False)
        raise
    pool.shutdown()
    return played


def evaluate(agent: Player, env: gym.Env, seeds: Iterable[int]) -> tuple[float, float]:
    """Play one episode per seed with the greedy policy; return the mean return and mean length.

    Nothing is stored or learned, and no generator of the training is touched.
    """
    returns = []
    lengths = []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        episode_return = 0.0
        length = 0
        ended = False
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


def _check_action(agent: Player, space: gym.Space, action: Any) -> None:
    """Raise UserError if an agent acts in another kind of action space."""
    if isinstance(space, gym.spaces.Discrete):
        fits = space.contains(action)
    else:
        fits = np.shape(action) == space.shape
    if not fits:
        raise UserError(
            f"{type(agent).__name__}.act returned {action!r}, no action of {space}: return an int "
            "below n for Discrete actions (as TabularQ and LinearQ do), an array of its shape for "
            "a Box (as ActorCritic)"
        )


def unreproduced(task: Task, data: Transitions) -> np.ndarray | None:
    """Return (N,) bool: the rows that the simulator does not reproduce.

    A row is reproduced if action a in state s gives its s', its r and its `terminated`; if chance
    decides, if it may give them. Rows that pair an action with the wrong observation show here, and
    so do time limits that were stored as terminations. None if the environment can neither be put
    into a given state nor has a transition table.
    """
    if task.transition_table is not None:
        return _impossible(task.transition_table, data)
    if task.set_state is None:
        return None
    env = task.make_env().unwrapped
    env.reset(seed=0)
    wrong = np.zeros(len(data), bool)
    for i in range(len(data)):
        task.set_state(env, data.observations[i])
        observation, reward, terminated, _, _ = env.step(data.actions[i])
        # Observations are float32, the simulator computes in float64; one step moves them by far
        # more than the tolerance.
        with np.errstate(all="ignore"):  # absurd values are simply not the same
            same_observation = np.allclose(
                observation, data.next_observations[i], rtol=1e-5, atol=1e-5
            )
            same_reward = np.isclose(float(reward), data.rewards[i])
        same_end = terminated == data.terminated[i]
        wrong[i] = not (same_observation and same_reward and same_end)
    return wrong


def _impossible(transition_table: dict, data: Transitions) -> np.ndarray:
    """Return (N,) bool: the rows whose outcome has no probability in the table."""
    pairs = zip(data.observations.tolist(), data.actions.tolist(), strict=True)
    outcomes = zip(
        data.next_observations.tolist(),
        data.rewards.tolist(),
        data.terminated.tolist(),
        strict=True,
    )
    wrong = []
    for (state, action), outcome in zip(pairs, outcomes, strict=True):
        possible = {entry[1:] for entry in transition_table[state][action] if entry[0] > 0}
        wrong.append(outcome not in possible)
    return np.array(wrong)
