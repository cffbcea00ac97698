"""LORO: LLM Off-policy, then RL Online. The paper (arXiv 2505.10861) in one file: start here.

1. collect: a language model plays; its transitions are the data set D.
2. pretrain: an agent learns from minibatches of D, without playing.
3. finetune: the same agent goes on learning online.

Guide: beyond the paper, a clone of D's policy beside the learner keeps what pretraining forgets.

What LORO is compared with is in arms.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from minloro.agents.agent import (
    Agent,
    LateEncoding,
    OneStepAgent,
    Player,
    check_actions,
    pretraining,
    within_memory,
)
from minloro.errors import UserError
from minloro.llm.policy import LLMPolicy
from minloro.llm.transcript import BudgetSpent, Transcript
from minloro.randomness import stream, stream_seed
from minloro.replay import ReplayBuffer
from minloro.rollout import EpisodeReturn, evaluate, play_episode, play_episodes
from minloro.transitions import Transitions, from_rows, provenance

if TYPE_CHECKING:
    import gymnasium as gym

    from minloro.agents.clone import Clone
    from minloro.llm.model import LanguageModel
    from minloro.tasks.task import Task

EVALUATE_EVERY = 200  # environment steps between two evaluations: one round of the paper
FIRST_EPISODES = 20  # of the evaluation before the first online step: it costs no environment step

# The rule of the guide. Chosen on seeds 0 to 4; tutorials/reference/decisions.md says what else was
# tried.
CLONE_RECENT = 10  # episodes of the clone that its worth is the mean of
CLONE_OWN = 2  # episodes that the clone has played itself, before they may refute D's returns
REFUTED = 2.0  # standard errors of the difference by which they must lie below D's for that
LEARNER_RECENT = 5  # episodes of the learner
CLONE_ERRORS = 1.0  # standard errors that are taken off the clone's mean
LEARNER_ERRORS = 0.5  # and off the learner's: fewer, because it is still getting better
EVERY = 2  # the learner plays at least one online episode of so many, and the first
LEARNER = "learning agent"
CLONE = "clone of D's policy"


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
    clone: Clone | None = None,
) -> list[EpisodeReturn]:
    """Learn online until `steps` environment steps are spent, those of D included.

    data_retention: "keep" leaves D in the buffer, "drop" does not, a number is D's share of every
    minibatch; the default is the task's. clone: of D's policy, which then guides the agent.
    Returns, in order: an evaluation before the first step, over at least FIRST_EPISODES episodes,
    every finished episode of the training, and evaluations at every multiple of EVALUATE_EVERY
    environment steps. Evaluating does not change the training.
    """
    if data_retention is None:
        data_retention = task.data_retention
    kept_data = None if data_retention == "drop" else data
    data_share = None if isinstance(data_retention, str) else data_retention
    if kept_data is not None:
        check_actions(agent, kept_data)
    agent = within_memory(agent, kept_data)
    start = 0 if data is None else len(data)
    _check_budget(start, steps)
    guide = None
    if clone is not None and data is not None:
        guide = Guide(agent, clone, returns_of_teacher(data, task.step_limit), task.threshold, seed)
    env = task.make_env()
    first_episodes = max(FIRST_EPISODES, evaluation_episodes)
    returns = [evaluate_at(start, _evaluated(agent, guide), env, seed, 0, first_episodes)]
    online = range(start + 1, steps + 1)
    playing = play_and_learn(agent, task, online, kept_data, seed, data_share, guide)
    for env_steps, finished_episode in playing:
        if finished_episode is not None:
            returns.append(finished_episode)
        if env_steps % EVALUATE_EVERY == 0:
            player = _evaluated(agent, guide)
            grid_point = env_steps // EVALUATE_EVERY
            found = evaluate_at(env_steps, player, env, seed, grid_point, evaluation_episodes)
            returns.append(found)
    return returns


def _check_budget(start: int, steps: int) -> None:
    if start >= steps:
        raise UserError(
            f"D's {start} transitions use up the budget of {steps} steps: "
            "give more steps or less data"
        )


def _evaluated(agent: Agent, guide: Guide | None) -> Player:
    return agent if guide is None else guide.better


def evaluate_at(
    env_steps: int, player: Player, env: gym.Env, seed: int, grid_point: int, episodes: int
) -> EpisodeReturn:
    """Evaluate a player; the seeds of the episodes depend on the run's seed and the grid point."""
    seeds = [stream_seed(seed, "evaluation", grid_point, k) for k in range(episodes)]
    name = CLONE if isinstance(player, ClonePlayer) else "greedy policy"
    episode_return, length = evaluate(player, env, seeds)
    return EpisodeReturn("eval", name, env_steps, episode_return, length)


def play_and_learn(
    agent: Agent,
    task: Task,
    steps: range,
    kept_data: Transitions | None,
    seed: int,
    data_share: float | None,
    guide: Guide | None = None,
) -> Iterator[tuple[int, EpisodeReturn | None]]:
    """Play and learn, one update per step as soon as the buffer holds a minibatch.

    With a guide, the clone plays some of the episodes; the agent learns from all of them. Yields,
    after every step, the number of environment steps so far and the episode that it finished, if it
    finished one.
    """
    env = task.make_env()
    exploration = stream(seed, "exploration")
    replay_rng = stream(seed, "replay")
    episode = 0
    episode_return = 0.0
    length = 0
    encoded = _reset(agent, env, seed, episode)
    buffer = online_buffer(task, agent, encoded, len(steps), kept_data)
    player: Player = agent
    for env_steps in steps:
        action = player.act(encoded, exploration)
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
        name = LEARNER if player is agent else CLONE
        episode += 1
        if guide is not None:
            guide.remember(player, episode_return)
            player = guide.player(episode)
        yield env_steps, EpisodeReturn("train", name, env_steps, episode_return, length)
        episode_return = 0.0
        length = 0
        encoded = _reset(agent, env, seed, episode)


class Guide:
    """Two players, the learner and a clone of D's policy: whoever has earned more plays.

    What D is worth is found out by playing. The rule:

    1. The learner plays the first online episode, and at least one of EVERY. It learns from all
       episodes, whoever plays them.
    2. The better one plays the other episodes and is evaluated. A player's worth is the mean return
       of its last episodes, CLONE_RECENT or LEARNER_RECENT of them, less some standard errors. D's
       own returns count as the clone's first, until its own are clearly worse: a clone may be worse
       than its teacher. A tie goes to the learner.
    3. Before the learner has finished an episode, the clone is evaluated if D's best episode
       reaches the task's threshold.
    4. In a state that D never shows, a table's clone leaves the action to the learner. A clone that
       cannot stand for D's player is not used at all: FAMILIAR and EXPLAINED in agents/clone.py.

    A poor clone loses after one episode of the learner, and all is as if it had never been there.

    Sources: Zhang, Xu and Yu (2023), "Policy Expansion for Bridging Offline-to-Online Reinforcement
    Learning", keeps both policies, too, and chooses at every step by the learner's values. Here:
    per episode and by returns, because these values are what pretraining gets wrong. Uchendu et al.
    (2023), "Jump-Start Reinforcement Learning", let a guide play the first part of an episode.
    """

    def __init__(
        self, agent: Agent, clone: Clone, data_returns: np.ndarray, threshold: float, seed: int
    ):
        self.agent = agent
        self.clone = ClonePlayer(agent, clone, seed)
        self.data_returns = data_returns.tolist()
        self._of_data = mean_and_error(self.data_returns)
        self.clone_returns: list[float] = []
        self.learner_returns: list[float] = []
        self._trusted_at_first = data_returns.max() >= threshold

    @property
    def better(self) -> Player:
        """The player that has earned more lately: it is the one that is evaluated."""
        return self.clone if self._clone_leads() else self.agent

    def player(self, episode: int) -> Player:
        """Return who plays the online episode of this number."""
        return self.agent if episode % EVERY == 0 else self.better

    def remember(self, player: Player, episode_return: float) -> None:
        """Note what a player has earned in an episode of training."""
        returns = self.learner_returns if player is self.agent else self.clone_returns
        returns.append(episode_return)

    def _clone_leads(self) -> bool:
        if not self.clone.clone.usable:
            return False
        if not self.learner_returns:
            return bool(self._trusted_at_first)
        mean, error = mean_and_error(self._clones())
        clone_worth = mean - CLONE_ERRORS * error
        mean, error = mean_and_error(self.learner_returns[-LEARNER_RECENT:])
        lead = clone_worth - (mean - LEARNER_ERRORS * error)
        return lead > 1e-9 * max(1.0, abs(clone_worth))  # rounding makes no lead

    def _clones(self) -> list[float]:
        """Return the last episodes of the clone, those of D first, until they are refuted."""
        own = self.clone_returns
        if len(own) >= CLONE_OWN:
            own_mean, own_error = mean_and_error(own[-CLONE_RECENT:])
            data_mean, data_error = self._of_data
            if own_mean + REFUTED * math.hypot(own_error, data_error) < data_mean:
                return own[-CLONE_RECENT:]
        return (self.data_returns + own)[-CLONE_RECENT:]


def mean_and_error(returns: list[float]) -> tuple[float, float]:
    """Return the mean and its standard error; the error of a single return is taken as 0."""
    n = len(returns)
    mean = sum(returns) / n
    if n == 1:
        return mean, 0.0
    distance = math.hypot(*(one - mean for one in returns))  # it cannot overflow
    return mean, distance / math.sqrt(n * (n - 1))


class ClonePlayer:
    """A clone that plays: with a generator it explores as the agent does, without one it does not.

    agent: acts in its place in a state that the clone cannot know.
    """

    def __init__(self, agent: Agent, clone: Clone, seed: int = 0):
        self.agent = agent
        self.clone = clone
        self.encode = agent.encode
        learner = agent.agent if isinstance(agent, LateEncoding) else agent
        self._features = learner.encode if isinstance(agent, LateEncoding) else None
        self._epsilon = getattr(learner, "epsilon", 0.0)
        self._n_actions = getattr(learner, "n_actions", 0)
        self._rng = stream(seed, "clone's actions")  # of evaluations

    def act(self, encoded: Any, rng: np.random.Generator | None = None) -> Any:
        """Return the clone's action, or with a generator one that explores."""
        features = encoded if self._features is None else self._features(encoded)
        if rng is None:
            action = self.clone.best(features, self._rng)
        elif self._epsilon and rng.random() < self._epsilon:
            return int(rng.integers(self._n_actions))
        else:
            action = self.clone.sample(features, rng)
        return self.agent.act(encoded, rng) if action is None else action


def returns_of_teacher(data: Transitions, step_limit: int) -> np.ndarray:
    """Return (E,) what D's episodes would have earned in the task.

    If the first transition of every episode is missing in D, its reward is taken to be that of the
    second: without it, a teacher that always fails would look one step better than it is.
    """
    returns = data.returns_at(step_limit)
    if not data.metadata.get("first_transition_dropped"):
        return returns
    first_rows = np.cumsum(data.episode_lengths) - data.episode_lengths
    return returns + data.rewards[first_rows][: len(returns)]


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
