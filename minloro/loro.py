"""LORO: LLM Off-policy, then RL Online. The paper (arXiv 2505.10861) in one file: start here.

1. collect: a language model plays; its transitions are the data set D.
2. pretrain: an agent learns from minibatches of D, without playing.
3. finetune: the same agent goes on learning online.

What LORO is compared with is in arms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from minloro.agents.agent import Agent, OneStepAgent, check_actions, pretraining, within_memory
from minloro.errors import UserError
from minloro.llm.policy import LLMPolicy
from minloro.llm.transcript import BudgetSpent, Transcript
from minloro.randomness import stream, stream_seed
from minloro.replay import ReplayBuffer
from minloro.rollout import EpisodeReturn, evaluate, play_episode, play_episodes
from minloro.transitions import Transitions, from_rows, provenance

if TYPE_CHECKING:
    import gymnasium as gym

    from minloro.llm.model import LanguageModel
    from minloro.tasks.task import Task

EVALUATE_EVERY = 200  # environment steps between two evaluations: one round of the paper


def collect(
    task: Task,
    llm: LanguageModel,
    episodes: int = 10,
    seed: int = 0,
    transcript: Transcript | None = None,
    concurrency: int = 1,
    on_call: Callable[[Any], None] | None = None,
) -> Transitions:
    """Let a language model play and return D: its transitions, in order.

    transcript: keeps the model's replies; what it holds already is not asked again. If its budget
    of calls runs out, D holds the finished episodes, and the metadata say how many were wanted.
    concurrency: episodes that are played at the same time, in threads; D does not depend on it.
    If the prompt shows earlier episodes, they are played one after the other all the same.
    on_call(counts): called after every call, from the thread that made it.
    """
    if episodes < 1:
        raise UserError(f"{episodes} episodes make no data set: at least 1 must be played")
    if task.prompt is None:
        raise UserError(
            f"the task {task.name} has no prompt: give it one, or start from a data set"
        )
    remembers = task.prompt.remembers
    policy = LLMPolicy(task, llm, seed, transcript, on_call)
    memory: tuple[list, list] = ([], [])  # rows of all episodes and their sources

    def play(episode: int) -> tuple[list, list]:
        rows, sources = memory if remembers else ([], [])
        start = len(rows)
        choose = partial(policy.choose, episode=episode)
        env_seed = stream_seed(seed, "collection", episode)
        try:
            play_episode(task.make_env(), choose, episode, env_seed, rows, sources)
        except BudgetSpent:
            return [], []
        return rows[start:], sources[start:]

    workers = 1 if remembers else concurrency
    played = play_episodes(play, episodes, workers, on_failure=policy.transcript.stop)
    rows = [row for episode_rows, _ in played for row in episode_rows]
    sources = [source for _, episode_sources in played for source in episode_sources]
    if not rows:
        raise BudgetSpent
    return from_rows(rows, sources, provenance(task, seed, llm.source) | policy.metadata(episodes))


def pretrain(agent: Agent, data: Transitions, updates: int = 3000, seed: int = 0) -> None:
    """Take `updates` gradient steps on minibatches of D. The agent is changed; nothing is played.

    Paper: the official code stores s' in the place of s and time limits as terminations.
    Here: s, a, r, s' of a row belong to one step, and only a termination ends bootstrapping.
    """
    if not agent.batch_size:
        raise UserError(
            "an agent that learns from each transition once, batch_size 0, cannot be pretrained"
        )
    check_actions(agent, data)
    agent = within_memory(agent, data)
    buffer = ReplayBuffer(len(data), agent.encode(data.observations[0]), data.actions[0])
    buffer.hold(data, agent.encode)
    rng = stream(seed, "pretraining")
    with pretraining(agent):
        for _ in range(updates):
            agent.update(buffer.sample(agent.batch_size, rng), rng)


def finetune(
    agent: Agent,
    task: Task,
    steps: int,
    data: Transitions | None = None,
    seed: int = 0,
    data_retention: str | float | None = None,
    evaluation_episodes: int = 1,
) -> list[EpisodeReturn]:
    """Learn online until `steps` environment steps are spent, those of D included.

    data_retention: "keep" leaves D in the buffer, "drop" does not, a number is D's share of every
    minibatch; the default is the task's. Returns, in order: an evaluation before the first step,
    every finished episode of the training, and evaluations of the greedy policy at every multiple
    of EVALUATE_EVERY environment steps. Evaluating does not change the training.
    """
    if data_retention is None:
        data_retention = task.data_retention
    kept_data = None if data_retention == "drop" else data
    data_share = None if isinstance(data_retention, str) else data_retention
    if kept_data is not None:
        check_actions(agent, kept_data)
    agent = within_memory(agent, kept_data)
    start = 0 if data is None else len(data)
    if start >= steps:
        raise UserError(
            f"D's {start} transitions use up the budget of {steps} steps: "
            "give more steps or less data"
        )
    evaluation_env = task.make_env()

    def evaluate_at(env_steps: int, grid_point: int) -> EpisodeReturn:
        seeds = [stream_seed(seed, "evaluation", grid_point, k) for k in range(evaluation_episodes)]
        episode_return, length = evaluate(agent, evaluation_env, seeds)
        return EpisodeReturn("eval", "greedy policy", env_steps, episode_return, length)

    returns = [evaluate_at(start, grid_point=0)]
    playing = play_and_learn(agent, task, range(start + 1, steps + 1), kept_data, seed, data_share)
    for env_steps, finished_episode in playing:
        if finished_episode is not None:
            returns.append(finished_episode)
        if env_steps % EVALUATE_EVERY == 0:
            returns.append(evaluate_at(env_steps, grid_point=env_steps // EVALUATE_EVERY))
    return returns


def play_and_learn(
    agent: Agent,
    task: Task,
    steps: range,
    kept_data: Transitions | None,
    seed: int,
    data_share: float | None,
) -> Iterator[tuple[int, EpisodeReturn | None]]:
    """Play and learn, one update per step as soon as the buffer holds a minibatch.

    Yields, after every step, the number of environment steps so far and the episode that it
    finished, if it finished one.
    """
    env = task.make_env()
    exploration = stream(seed, "exploration")
    replay_rng = stream(seed, "replay")
    episode = 0
    episode_return = 0.0
    length = 0
    encoded = _reset(agent, env, seed, episode)
    buffer = online_buffer(task, agent, encoded, len(steps), kept_data)
    for env_steps in steps:
        action = agent.act(encoded, exploration)
        observation, reward, terminated, truncated, _ = env.step(action)
        next_encoded = agent.encode(observation)
        transition = (encoded, action, reward, next_encoded, terminated)
        learn(agent, buffer, transition, replay_rng, data_share)
        encoded = next_encoded
        episode_return += float(reward)
        length += 1
        if not (terminated or truncated):
            yield env_steps, None
            continue
        yield env_steps, EpisodeReturn("train", "learning agent", env_steps, episode_return, length)
        episode += 1
        episode_return = 0.0
        length = 0
        encoded = _reset(agent, env, seed, episode)


def learn(
    agent: Agent,
    buffer: ReplayBuffer,
    transition: tuple,
    rng: np.random.Generator,
    data_share: float | None = None,
) -> None:
    """Take one learning step after a transition: s, a, r, s' and terminated, encoded.

    Paper: the official code also stores a time limit as a termination. Here: `terminated` alone
    ends bootstrapping; a truncated episode was cut off, and its last state keeps its value.
    """
    if not agent.batch_size:
        cast(OneStepAgent, agent).learn(*transition)
        return
    buffer.add(*transition)
    if len(buffer) >= agent.batch_size:
        agent.update(buffer.sample(agent.batch_size, rng, data_share), rng)


def online_buffer(
    task: Task, agent: Agent, encoded: Any, online_steps: int, data: Transitions | None
) -> ReplayBuffer:
    """Return a buffer with room for D, if it is kept, and for all online steps."""
    action = task.random_action(np.random.default_rng(0))  # only its shape and type are used
    n_data = 0 if data is None else len(data)
    buffer = ReplayBuffer(n_data + online_steps, encoded, action)
    if data is not None:
        buffer.hold(data, agent.encode)
    return buffer


def _reset(agent: Agent, env: gym.Env, seed: int, episode: int) -> Any:
    """Begin an episode; return its first observation, encoded."""
    observation, _ = env.reset(seed=stream_seed(seed, "environment", episode))
    return agent.encode(observation)
