"""The arms: what LORO is compared with, on equal numbers of environment steps.

rl           the agent from scratch
loro         pretrained on the model's data set D, then online
random-data  the same with as many transitions of a uniformly random policy: the control, without
             which a gain says nothing about the model
guided       loro with a clone of D's policy as a guide: beyond the paper
clone        the clone alone, never improved: what D is worth without learning from rewards
mix          D in the replay buffer, no pretraining
own-data     pretrained on the first transitions of another learner (an ablation)
llm          D's mean return; nothing is played for it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minloro.agents.agent import check_actions
from minloro.agents.clone import fit_clone
from minloro.errors import UserError
from minloro.loro import (
    EVALUATE_EVERY,
    FIRST_EPISODES,
    ClonePlayer,
    evaluate_at,
    finetune,
    learn,
    online_buffer,
    pretrain,
)
from minloro.randomness import stream, stream_seed
from minloro.rollout import EpisodeReturn, play_episode
from minloro.transitions import Transitions, from_rows, provenance

if TYPE_CHECKING:
    from minloro.agents.agent import Agent
    from minloro.tasks.task import Task

RANDOM_DATA = "random-data"
OWN_DATA = "own-data"
GUIDED = "guided"
CLONED = "clone"
PRETRAINED = ("loro", GUIDED, RANDOM_DATA, OWN_DATA)


@dataclass(frozen=True)
class Job:
    """One arm with one seed: everything that its result depends on."""

    task: Task
    arm: str
    seed: int
    # The budget in environment steps, those of D included.
    steps: int
    # D, for every arm but `rl`. The controls need it too: their data sets have its length.
    data: Transitions | None = None
    # Updates of pretraining.
    updates: int = 3000
    # What becomes of D after pretraining, as in `finetune`.
    data_retention: str | float | None = None


def run_arm(job: Job) -> tuple[list[EpisodeReturn], Agent | None]:
    """Run one arm from scratch; return its episodes and the agent at the end, if it has one.

    The agent, the buffer and the environments are fresh and shared with no other run.

    Paper: the official code fine-tunes one and the same agent in all five "repeats" of LORO.
    Here: every seed pretrains its own.
    """
    data = data_of(job)
    if job.arm == CLONED:
        assert data is not None  # only `rl` has none
        return data_returns(data) + play_clone(job.task, data, job.steps, job.seed), None
    agent = job.task.make_agent(job.seed)
    if data is not None and job.arm in PRETRAINED:
        pretrain(agent, data, job.updates, job.seed)
    retention = "keep" if job.arm == "mix" else job.data_retention
    clone = None
    if data is not None and job.arm == GUIDED:
        clone = fit_clone(agent, data, *job.task.spaces, job.seed)
    online = finetune(agent, job.task, job.steps, data, job.seed, retention, clone=clone)
    collected = [] if data is None else data_returns(data)
    return collected + online, agent


def play_clone(task: Task, data: Transitions, steps: int, seed: int) -> list[EpisodeReturn]:
    """Return evaluations of a clone of D's policy at the places where `finetune` has them.

    In a state that D never shows, a table's clone leaves the action to an untrained agent.
    """
    agent = task.make_agent(seed)
    check_actions(agent, data)
    player = ClonePlayer(agent, fit_clone(agent, data, *task.spaces, seed), seed)
    env = task.make_env()
    first_point = len(data) // EVALUATE_EVERY + 1
    returns = []
    for grid_point in (0, *range(first_point, steps // EVALUATE_EVERY + 1)):
        episodes = FIRST_EPISODES if grid_point == 0 else 1
        env_steps = max(len(data), grid_point * EVALUATE_EVERY)
        returns.append(evaluate_at(env_steps, player, env, seed, grid_point, episodes))
    return returns


def data_of(job: Job) -> Transitions | None:
    """Return the data set that an arm begins with: D, a control of the same length, or none."""
    if job.arm == "rl":
        return None
    if job.data is None:
        raise UserError(f"the arm {job.arm} needs a data set: give one")
    step_limit = job.data.metadata.get("collection_step_limit")
    if job.arm == RANDOM_DATA:
        return collect_random(job.task, len(job.data), job.seed, step_limit)
    if job.arm == OWN_DATA:
        return collect_own(job.task, len(job.data), job.seed, step_limit)
    return job.data


def collect_random(
    task: Task, transitions: int, seed: int = 0, step_limit: int | None = None
) -> Transitions:
    """Return exactly `transitions` steps of a uniformly random policy.

    step_limit: of an episode; the default is the task's. A control gets the limit of its D: many
    short episodes see more starts than a few long ones, and that is not the model's doing.
    """
    rng = stream(seed, RANDOM_DATA)

    def choose(observation: Any, rows: list, step: int) -> tuple[Any, str]:
        return task.random_action(rng), "random"

    episodes = _play_steps(task, transitions, seed, RANDOM_DATA, step_limit, choose)
    return _join(task, episodes, seed, step_limit, source="uniformly random policy")


def collect_own(
    task: Task, transitions: int, seed: int = 0, step_limit: int | None = None
) -> Transitions:
    """Return exactly the first `transitions` steps of an agent that learns from scratch.

    They are the steps of the arm `rl` with another run seed, made from `seed`. The agent is then
    thrown away. step_limit: as in `collect_random`.
    """
    own_seed = stream_seed(seed, OWN_DATA)
    agent = task.make_agent(own_seed)
    exploration = stream(own_seed, "exploration")
    replay_rng = stream(own_seed, "replay")
    example, _ = task.make_env().reset(seed=0)
    buffer = online_buffer(task, agent, agent.encode(example), transitions, data=None)

    def choose(observation: Any, rows: list, step: int) -> tuple[Any, str]:
        encoded = agent.encode(observation)
        if rows:  # the step before is complete only now: learn from it
            before, action, reward, after, terminated, *_ = rows[-1]
            transition = (agent.encode(before), action, reward, agent.encode(after), terminated)
            learn(agent, buffer, transition, replay_rng)
        return agent.act(encoded, exploration), "agent"

    episodes = _play_steps(task, transitions, own_seed, "environment", step_limit, choose)
    return _join(task, episodes, own_seed, step_limit, source="agent learning from scratch")


def _play_steps(
    task: Task,
    transitions: int,
    seed: int,
    stream_name: str,
    step_limit: int | None,
    choose: Callable,
) -> list[Transitions]:
    """Play episodes until there are exactly `transitions` steps; the last one may be cut off."""
    if transitions < 1:
        raise UserError(f"{transitions} transitions make no data set: at least 1 is needed")
    limit = _limit(task, step_limit)
    env = task.make_env()
    episodes: list[Transitions] = []
    rows: list[tuple] = []
    missing = transitions
    while missing:
        # Finished episodes are kept as arrays, a fraction of the size of tuples. One row stays:
        # `choose` looks back at it.
        rows = rows[-1:]
        sources: list[str] = []
        episode = len(episodes)
        env_seed = stream_seed(seed, stream_name, episode)
        play_episode(env, choose, episode, env_seed, rows, sources, min(limit, missing))
        played = rows[-len(sources) :]
        episodes.append(from_rows(played, sources, {}))
        missing -= len(played)
    return episodes


def _join(
    task: Task, episodes: list[Transitions], seed: int, step_limit: int | None, source: str
) -> Transitions:
    """Return the episodes as one data set, with its metadata."""
    limit = _limit(task, step_limit)
    last = episodes[-1]
    columns = {
        name: np.concatenate([getattr(episode, name) for episode in episodes])
        for name in last.columns
    }
    metadata = provenance(task, seed, source)
    metadata["last_episode_unfinished"] = not last.terminated[-1] and len(last) < limit
    metadata["collection_step_limit"] = limit
    return Transitions(**columns, metadata=metadata).read_only()


def _limit(task: Task, step_limit: int | None) -> int:
    return min(step_limit or task.step_limit, task.step_limit)


def data_returns(data: Transitions) -> list[EpisodeReturn]:
    """Return the finished episodes of D as they were played."""
    lengths = data.episode_lengths.tolist()
    ends = np.cumsum(lengths).tolist()
    episodes = zip(ends, data.episode_returns.tolist(), lengths, strict=True)
    returns = [
        EpisodeReturn("llm", data.behaviour, end, episode_return, length)
        for end, episode_return, length in episodes
    ]
    return returns[: data.n_finished]
