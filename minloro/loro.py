"""LORO: LLM Off-policy, then RL Online. The method of the paper (arXiv 2505.10861) and its arms, in one file.

1. collect: a language model plays; its transitions are the data set D;
2. pretrain: an agent learns from minibatches of D, without playing;
3. finetune: the same agent goes on learning online.

Departures from the official code are marked "Paper: … Here: …". The others are in the protocol: what an arm may use is
counted in environment steps, D's included, and a uniformly random policy's data is the control.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import gymnasium as gym
import numpy as np

import minloro
from minloro.errors import UserError
from minloro.llm.policy import LLMPolicy
from minloro.llm.transcript import BudgetSpent, Transcript
from minloro.randomness import stream, stream_seed
from minloro.replay import ReplayBuffer
from minloro.rollout import evaluate, play_episode
from minloro.tasks import Task
from minloro.transitions import Transitions, from_rows

GRID = 200  # environment steps between two evaluations; one round of the paper
ABLATION = "own-data"  # an arm of its own: pretraining on what another learner did
PRETRAINED = ("loro", "random-data", ABLATION)
MOST_FEATURES = 2**25  # numbers that the features of D may be beyond its observations: those of 217,885 rows in cartpole


class EpisodeReturn(NamedTuple):
    """One episode, or the mean of one evaluation's episodes. phase: llm, train or eval."""

    phase: str
    behaviour: str  # who chose the actions
    env_steps: int  # taken before this evaluation, or up to this episode's end
    episode_return: float
    episode_length: float


def collect(
    task: Task, llm, episodes: int = 10, seed: int = 0, transcript: Transcript | None = None, concurrency: int = 1, on_call=None
) -> Transitions:
    """Let `llm` play and return D: its transitions, in order, with the metadata that belong to them.

    transcript: where replies are kept and looked up. concurrency: episodes that are played at once, in threads; D does not
    depend on it. (Where the prompt remembers earlier episodes they are played one after the other, whatever it says.)
    on_call(counts): called after every call, from the thread that made it. Where the transcript's budget of calls is spent,
    the episodes that were finished are returned, and the metadata say how many were asked for.
    """
    if episodes < 1:
        raise UserError(f"{episodes} episodes make no data set: at least 1 must be played")
    if task.prompt is None:
        raise UserError(f"the task {task.name} has no prompt: give it one, or start from a data set")
    policy = LLMPolicy(task, llm, seed, transcript, on_call)
    transcript = policy.transcript
    shared: tuple[list, list] = ([], [])  # rows and sources of all episodes, where the prompt remembers them

    def play(episode: int) -> tuple[list, list]:
        rows, sources = shared if task.prompt.remembers else ([], [])
        start, choose = len(rows), partial(policy.choose, episode=episode)
        try:
            play_episode(task.make_env(), choose, episode, stream_seed(seed, "collection", episode), rows, sources)
        except BudgetSpent:
            return [], []
        except BaseException:
            transcript.stopped = True  # the other threads need not go on
            raise
        return rows[start:], sources[start:]

    pool = ThreadPoolExecutor(1 if task.prompt.remembers else concurrency)
    futures = [pool.submit(play, episode) for episode in range(episodes)]
    try:
        played = [future.result() for future in futures]
    except BaseException:
        transcript.stopped = True
        wait([future for future in futures if not future.cancel()], timeout=5.0)  # for answers that are on their way
        pool.shutdown(wait=False)
        raise
    pool.shutdown()
    rows, sources = ([item for part in parts for item in part] for parts in zip(*played, strict=True))
    if not rows:
        raise BudgetSpent
    metadata = _metadata(task, seed, llm.source) | {"model": ", ".join(sorted(policy.models)), "llm": dict(policy.counts)}
    metadata |= {"sampling": llm.settings | {"dropped": sorted(policy.dropped)}, "episodes_asked": episodes}
    metadata |= {"prompt": task.prompt.system, "reminder": task.prompt.reminder}
    metadata["prompt_sha256"] = hashlib.sha256(task.prompt.system.encode()).hexdigest()
    return from_rows(rows, sources, metadata)


def collect_random(task: Task, transitions: int, seed: int = 0, step_limit: int | None = None) -> Transitions:
    """Return exactly `transitions` steps of a uniformly random policy; the last episode may be cut off (truncated).

    step_limit: of an episode, by default the task's. Where D was collected with a shorter one, so is its control: more short
    episodes see more starts than few long ones, and that should not be taken for the model's doing.
    """
    rng = stream(seed, "random-data")
    about = {"name": "random-data", "source": "uniformly random policy"}
    return _collect_steps(task, transitions, seed, step_limit, lambda *_: (task.random_action(rng), "random"), **about)


def collect_own(task: Task, transitions: int, seed: int = 0, step_limit: int | None = None) -> Transitions:
    """Return exactly the first `transitions` steps of an agent that learns from scratch, and is then thrown away.

    They are those of the arm `rl` with another run seed, made from `seed`. step_limit: as in collect_random.
    """
    own_seed = stream_seed(seed, "own-data")
    agent, exploration, replay_rng = task.make_agent(own_seed), stream(own_seed, "exploration"), stream(own_seed, "replay")
    buffer = _online_buffer(task, agent, agent.encode(task.make_env().reset(seed=0)[0]), transitions, None)

    def choose(observation, rows, step):
        encoded = agent.encode(observation)
        if rows:  # learn from the step before, now that it is there
            before, action, reward, after, terminated, *_ = rows[-1]
            _learn(agent, buffer, (agent.encode(before), action, reward, agent.encode(after), terminated), replay_rng)
        return agent.act(encoded, exploration), "agent"

    return _collect_steps(task, transitions, own_seed, step_limit, choose, "environment", "agent learning from scratch")


def _collect_steps(task: Task, transitions: int, seed: int, step_limit: int | None, choose, name: str, source: str):
    """Play episodes of the stream `name` until there are exactly `transitions` of them."""
    step_limit = min(step_limit or task.step_limit, task.step_limit)
    if transitions < 1:
        raise UserError(f"{transitions} transitions make no data set: at least 1 is needed")
    env, parts, rows, missing = task.make_env(), [], [], transitions
    while missing:
        # What was played is kept as arrays, a fraction of the tuples' size; `choose` may look back at the last row.
        rows, sources, env_seed = rows[-1:], [], stream_seed(seed, name, len(parts))
        play_episode(env, choose, len(parts), env_seed, rows, sources, min(step_limit, missing))
        parts.append(from_rows(rows[-len(sources) :], sources, {}))
        missing -= len(parts[-1])
    unfinished = not parts[-1].terminated[-1] and len(parts[-1]) < step_limit
    metadata = _metadata(task, seed, source) | {"last_episode_unfinished": unfinished, "collection_step_limit": step_limit}
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0].columns}
    return Transitions(**columns, metadata=metadata).read_only()


def pretrain(agent, data: Transitions, updates: int = 3000, seed: int = 0) -> None:
    """Take `updates` gradient steps on minibatches of D. The agent is changed in place; nothing is played."""
    if not agent.batch_size:
        raise UserError("an agent that learns from each transition once, batch_size 0, cannot be pretrained")
    agent = _learner(agent, data)
    buffer = ReplayBuffer(len(data), agent.encode(data.observations[0]), data.actions[0])
    buffer.hold(data, agent.encode)
    rng = stream(seed, "pretraining")
    with getattr(agent, "pretraining", nullcontext)():
        for _ in range(updates):
            agent.update(buffer.sample(agent.batch_size, rng), rng)


def finetune(
    agent, task: Task, steps: int, data: Transitions | None = None, seed: int = 0, offline: str | float | None = None,
    evaluation_episodes: int = 1,
) -> list[EpisodeReturn]:  # fmt: skip
    """Learn online until `steps` environment steps are spent, those of `data` included.

    There is one update a step, from the first one on after which the buffer holds a minibatch. offline: what becomes of D:
    "keep" (in the buffer), "drop", or a number: its share of every minibatch; by default what the task says. Returns the
    evaluation before the first online step, every finished episode of the training, and the evaluations of the greedy policy
    on the grid, in the order in which they happened.
    """
    env, evaluation_env = task.make_env(), task.make_env()
    replay_rng, exploration = stream(seed, "replay"), stream(seed, "exploration")
    offline = task.offline if offline is None else offline
    share = None if isinstance(offline, str) else offline
    agent = _learner(agent, None if offline == "drop" else data)
    start = 0 if data is None else len(data)
    if start >= steps:
        raise UserError(f"D's {start} transitions use up the budget of {steps} steps: give more steps or less data")

    def evaluation(env_steps: int, grid_point: int) -> EpisodeReturn:
        seeds = [stream_seed(seed, "evaluation", grid_point, k) for k in range(evaluation_episodes)]
        return EpisodeReturn("eval", "greedy policy", env_steps, *evaluate(agent, evaluation_env, seeds))

    returns = [evaluation(start, grid_point=0)]
    episode, episode_return, length = 0, 0.0, 0
    observation, _ = env.reset(seed=stream_seed(seed, "environment", episode))
    encoded = agent.encode(observation)
    buffer = _online_buffer(task, agent, encoded, steps - start, None if offline == "drop" else data)
    for env_steps in range(start + 1, steps + 1):
        action = agent.act(encoded, exploration)
        observation, reward, terminated, truncated, _ = env.step(action)
        next_encoded = agent.encode(observation)
        _learn(agent, buffer, (encoded, action, reward, next_encoded, terminated), replay_rng, share)
        episode_return, length, encoded = episode_return + float(reward), length + 1, next_encoded
        if terminated or truncated:
            returns.append(EpisodeReturn("train", "learning agent", env_steps, episode_return, length))
            episode, episode_return, length = episode + 1, 0.0, 0
            observation, _ = env.reset(seed=stream_seed(seed, "environment", episode))
            encoded = agent.encode(observation)
        if env_steps % GRID == 0:
            returns.append(evaluation(env_steps, grid_point=env_steps // GRID))
    return returns


def _learner(agent, data: Transitions | None):
    """Return `agent`, or where D has too many rows for all of their features, a view of it that encodes only what is drawn.

    Its buffer holds observations. An update takes longer, but the memory is that of D, however many features there are. (Only
    D counts: without so large a D, the features of online steps are kept, however many there are.)
    """
    if data is not None and data.actions.max() >= getattr(agent, "n_actions", np.inf):
        raise UserError(f"D holds the action {data.actions.max()}, {type(agent).__name__} was made for {agent.n_actions}")
    first = None if data is None or not agent.batch_size else data.observations[0]
    if first is None or 2 * len(data) * (np.size(agent.encode(first)) - np.size(first)) <= MOST_FEATURES:
        return agent

    def update(batch, rng):
        drawn = {name: agent.encode(getattr(batch, name)) for name in ("observations", "next_observations")}
        return agent.update(replace(batch, **drawn), rng)

    about = {"batch_size": agent.batch_size, "pretraining": getattr(agent, "pretraining", nullcontext)}
    return SimpleNamespace(encode=np.array, act=lambda o, rng=None: agent.act(agent.encode(o), rng), update=update, **about)


def _learn(agent, buffer: ReplayBuffer, row: tuple, rng: np.random.Generator, share: float | None = None) -> None:
    """Take one learning step after the transition `row`: s, a, r, s' and terminated, the observations encoded."""
    if not agent.batch_size:
        agent.learn(*row)
        return
    buffer.add(*row)
    if len(buffer) >= agent.batch_size:
        agent.update(buffer.sample(agent.batch_size, rng, share), rng)


def _online_buffer(task: Task, agent, encoded, online_steps: int, data: Transitions | None) -> ReplayBuffer:
    """Return a buffer with room for D, if any, and all online steps."""
    example = task.random_action(np.random.default_rng(0))  # only its shape and type are used
    buffer = ReplayBuffer(len(data or ()) + online_steps, encoded, example)
    if data is not None:
        buffer.hold(data, agent.encode)
    return buffer


@dataclass(frozen=True)
class Job:
    """One arm with one seed: all that is needed to run it, anywhere. data: the LLM's D, None for `rl` alone."""

    task: Task
    arm: str
    seed: int
    steps: int
    data: Transitions | None
    updates: int
    offline: str | float


def run_arm(job: Job) -> tuple[list[EpisodeReturn], object]:
    """Run one arm from scratch and return its episodes and the agent as it ended.

    The agent, the buffer and the environments are fresh, and shared with no other run.

    Paper: the official code fine-tunes one agent in all five "repeats" of LORO. Here: every seed pretrains its own.
    """
    agent = job.task.make_agent(job.seed)
    data = None if job.arm == "rl" else job.data
    if job.arm in ("random-data", ABLATION):
        collect_other = collect_random if job.arm == "random-data" else collect_own
        data = collect_other(job.task, len(data), job.seed, data.metadata.get("collection_step_limit"))
    if job.arm in PRETRAINED:
        pretrain(agent, data, job.updates, job.seed)
    offline = "keep" if job.arm == "mix" else job.offline
    played = [] if data is None else data_returns(data)
    return played + finetune(agent, job.task, job.steps, data, job.seed, offline), agent


def data_returns(data: Transitions) -> list[EpisodeReturn]:
    """Return the finished episodes of D as they were played."""
    ends, lengths = np.cumsum(data.episode_lengths).tolist(), data.episode_lengths.tolist()
    episodes = zip(ends, data.episode_returns.tolist(), lengths, strict=True)
    return [EpisodeReturn("llm", data.behaviour, *episode) for episode in episodes][: data.n_finished]


def _metadata(task: Task, seed: int, source: str) -> dict:
    metadata = {"environment": task.environment, "collection_step_limit": task.step_limit, "seed": seed, "source": source}
    return metadata | {"versions": {"minloro": minloro.__version__, "numpy": np.__version__, "gymnasium": gym.__version__}}
