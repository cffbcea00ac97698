"""Collecting, pretraining, fine-tuning and the arms: rows are right, and runs share nothing."""

import gc
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from conftest import remember

import minloro
from minloro import arms, loro, rollout
from minloro.agents.clone import SoftmaxClone
from minloro.arms import Job, run_arm
from minloro.errors import UserError
from minloro.llm.model import Reply
from minloro.replay import ReplayBuffer
from minloro.rollout import unreproduced
from minloro.tasks.task import Task
from minloro.transitions import COLUMNS, Minibatch


class Counting(gym.Env):
    """The observation is the number of steps so far, the reward is the observation before the step.

    Action 1 ends the episode.
    """

    observation_space = gym.spaces.Box(-1, 1000, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return np.array([0], np.float32), {}

    def step(self, action):
        reward = float(self.n)
        self.n = self.n + 1
        return np.array([self.n], np.float32), reward, bool(action == 1), False, {}


class Recorder:
    """An agent that plays a fixed sequence of actions and keeps its minibatches."""

    batch_size = 4

    def __init__(self, actions=(0, 0, 0, 1)):
        self.actions = actions
        self.batches = []
        self.played = 0
        self.evaluated = 0

    def encode(self, observations):
        return np.asarray(observations, np.float32) * 10  # what is stored is what encode gave

    def act(self, encoded, rng=None):
        if rng is None:
            self.evaluated += 1
            return 0
        self.played += 1
        return self.actions[(self.played - 1) % len(self.actions)]

    def update(self, batch, rng):
        self.batches.append(batch)


def counting_task(step_limit=6, **more):
    agent = minloro.make_task("cartpole").agent
    settings = {"steps": 400, "threshold": 1, "env_factory": Counting} | more
    return Task("counting", "Counting", step_limit, agent, **settings)


def test_collected_rows_belong_to_one_step(cartpole, small_data):
    assert not unreproduced(cartpole, small_data).any()
    for episode in small_data.episode_ids:
        rows = small_data.rows(small_data.episode == episode)
        np.testing.assert_array_equal(rows.observations[1:], rows.next_observations[:-1])
        ended = rows.terminated | rows.truncated
        assert ended[-1] and not ended[:-1].any()
        assert not (rows.terminated & rows.truncated).any()


def test_collecting_stores_truncation_as_truncation(cartpole):
    class AlwaysOne:
        name = "one"
        source = "one"
        settings = {}
        request = staticmethod(lambda messages: {})

        def complete(self, messages, sample):
            return Reply("Action: 1", "one")

    def describe(observation, rows):
        return f"{observation[0]}"

    task = counting_task(prompt=minloro.Prompt("rules", ("go on", "stop"), describe))
    data = minloro.collect(task, AlwaysOne(), episodes=2)
    assert data.episode_lengths.tolist() == [6, 6] and not data.terminated.any()
    assert np.flatnonzero(data.truncated).tolist() == [5, 11]
    assert data.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert data.next_observations[:, 0].tolist() == [1, 2, 3, 4, 5, 6] * 2
    assert data.rewards.tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_random_data_has_exactly_the_asked_length(cartpole):
    data = minloro.collect_random(cartpole, 500, seed=3)
    assert len(data) == 500 and set(data.source) == {"random"}
    assert not unreproduced(cartpole, data).any()
    assert abs(data.actions.mean() - 0.5) < 0.1
    assert data.metadata["last_episode_unfinished"] == (not data.terminated[-1])
    assert data.truncated[-1] == (not data.terminated[-1])
    other = minloro.collect_random(cartpole, 500, seed=4)
    assert (other.observations[:50] != data.observations[:50]).any()


class Clock(Counting):
    """The same, but the reward is the number of steps before, in all episodes.

    So every transition has a reward of its own.
    """

    steps = 0

    def step(self, action):
        observation, _, *ended = super().step(action)
        self.steps += 1
        return observation, float(self.steps - 1), *ended


def row_of(batch, i):
    """s, a, r, s' and terminated of a row, as five numbers."""
    return tuple(float(getattr(batch, name)[i].reshape(-1)[0]) for name in COLUMNS[:5])


def test_finetune_stores_what_happened():
    agent = Recorder()
    task = replace(counting_task(), env_factory=Clock)
    returns = minloro.finetune(agent, task, steps=400, seed=0)
    seen = set()
    for batch in agent.batches:
        for i in range(len(batch)):
            s, action, reward, after, terminated = row_of(batch, i)
            n = int(reward) % 4
            assert (s, action, after, terminated) == (10 * n, (0, 0, 0, 1)[n], 10 * (n + 1), n == 3)
            seen.add(int(reward))
    assert seen == set(range(400))
    # The newest transition is learned from at once.
    assert [int(batch.rewards[-1]) for batch in agent.batches] == list(range(3, 400))
    train = [r for r in returns if r.phase == "train"]
    assert [r.env_steps for r in train] == list(range(4, 401, 4))
    played = [(r.episode_return, r.episode_length) for r in train]
    assert played == [(16 * k + 6, 4) for k in range(100)]


def test_finetune_tells_a_time_limit_from_an_end():
    agent = Recorder(actions=(0,))
    minloro.finetune(agent, counting_task(step_limit=6), steps=200, seed=0)
    rows = []
    for batch in agent.batches:
        assert type(batch) is Minibatch  # which has no `truncated`
        assert not batch.terminated.any()
        for i in range(len(batch)):
            rows.append((row_of(batch, i)[0], row_of(batch, i)[3]))
    # The state that was cut off is a next one.
    assert (50, 60) in rows and all(after == s + 10 for s, after in rows)
    # After a time limit the next row starts a new episode, not at the state that was cut off.
    assert {s for s, _ in rows} == {0, 10, 20, 30, 40, 50}


def test_evaluations_lie_on_the_common_grid(cartpole, small_data):
    assert 100 < len(small_data) < 200
    for data, start in ((None, 0), (small_data, len(small_data))):
        agent = cartpole.make_agent()
        returns = minloro.finetune(agent, cartpole, steps=700, data=data, seed=0)
        evaluations = [r.env_steps for r in returns if r.phase == "eval"]
        assert evaluations == [start, 200, 400, 600]
        # One update per step, as soon as the buffer holds a minibatch.
        without_update = 63 if data is None else 0
        assert agent.n_updates == 700 - start - without_update


def test_evaluation_seeds_differ_from_point_to_point_and_agree_between_arms(
    cartpole, small_data, monkeypatch
):
    seeds = []

    def evaluate(agent, env, seeds_of_point):
        seeds.append(tuple(seeds_of_point))
        return 0.0, 1.0

    monkeypatch.setattr(loro, "evaluate", evaluate)
    runs = []
    for seed, data in ((0, None), (0, small_data), (1, None)):
        seeds.clear()
        minloro.finetune(cartpole.make_agent(), cartpole, 1000, data, seed, evaluation_episodes=2)
        runs.append(list(seeds))
    assert runs[0] == runs[1] and not set(runs[0]) & set(runs[2])
    flat = [s for point in runs[0] for s in point]
    assert [len(point) for point in runs[0]] == [loro.FIRST_EPISODES] + [2] * 5
    assert len(set(flat)) == len(flat) == loro.FIRST_EPISODES + 10


def test_evaluating_changes_nothing(cartpole, monkeypatch):
    def train(episodes):
        agent = cartpole.make_agent()
        returns = minloro.finetune(agent, cartpole, 600, seed=5, evaluation_episodes=episodes)
        return agent.weights.tobytes(), [r for r in returns if r.phase == "train"]

    assert train(1) == train(7)
    agent = cartpole.make_agent()
    agent.weights[:] = 1.0
    arrays = {name: value for name, value in vars(agent).items() if isinstance(value, np.ndarray)}
    before = {name: value.copy() for name, value in arrays.items()}
    env = cartpole.make_env()
    assert rollout.evaluate(agent, env, [1, 2]) == rollout.evaluate(agent, env, [1, 2])
    assert before and agent.n_updates == 0
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(agent, name), value)


@pytest.mark.parametrize(("retention", "share"), [("keep", None), ("drop", 0.0), (0.5, 0.5)])
def test_what_becomes_of_the_data(retention, share):
    task = counting_task()
    data = minloro.collect_random(task, 40, seed=0)
    agent = Recorder(actions=(0,))
    minloro.finetune(agent, task, 240, data, seed=0, data_retention=retention)
    # Only rows of D hold the action that stops early.
    from_data = np.concatenate([batch.actions == 1 for batch in agent.batches[20:]]).mean()
    stops = (data.actions == 1).mean()
    if retention == "keep":
        expected = np.mean([40 / (40 + t) for t in range(21, 201)]) * stops
        assert abs(from_data - expected) < 0.08
    else:
        assert abs(from_data - share * stops) < 0.06
    assert len(agent.batches) == (197 if retention == "drop" else 200)


def test_pretraining_sees_only_the_data():
    task = counting_task()
    data = minloro.collect_random(task, 40, seed=0)
    agent = Recorder()
    minloro.pretrain(agent, data, updates=50, seed=0)
    assert len(agent.batches) == 50 and agent.played == agent.evaluated == 0
    known = {row_of(data, i) for i in range(40)}
    for batch in agent.batches:
        for i in range(4):
            s, a, r, next_s, terminated = row_of(batch, i)
            assert (s / 10, a, r, next_s / 10, terminated) in known


def test_a_budget_that_the_data_uses_up(cartpole, small_data):
    with pytest.raises(UserError, match="use up the budget"):
        minloro.finetune(cartpole.make_agent(), cartpole, len(small_data), small_data)


def agent_for_two_actions():
    basis = minloro.FourierBasis([-1.2, -0.07], [0.6, 0.07], order=2)
    return minloro.LinearQ(basis, n_actions=2, step_size=0.1)


def test_data_with_an_action_that_the_agent_does_not_have():
    task = minloro.make_task("mountaincar")
    data = minloro.collect_random(task, 200)
    with pytest.raises(UserError, match="holds the action 2, LinearQ was made for 2"):
        minloro.finetune(agent_for_two_actions(), task, 400, data=data)
    with pytest.raises(UserError, match="holds the action 2, LinearQ was made for 2"):
        minloro.pretrain(agent_for_two_actions(), data, updates=1)
    # Data that are dropped are not looked at.
    playing_left = minloro.finetune(
        agent_for_two_actions(), task, 400, data=data, data_retention="drop"
    )
    assert playing_left[0].env_steps == 200


def job(task, arm, seed, data, steps=600):
    return Job(task, arm, seed, steps, data, updates=200, data_retention="keep")


def test_what_each_arm_does(cartpole, small_data, monkeypatch):
    pretrained = []
    finetuned = []
    real = arms.finetune

    def pretrain(agent, data, updates, seed):
        pretrained.append((data, updates))

    def finetune(agent, task, steps, data, seed, data_retention, clone):
        finetuned.append((steps, data, data_retention, clone))
        return real(agent, task, steps, data, seed, data_retention, clone=clone)

    monkeypatch.setattr(arms, "pretrain", pretrain)
    monkeypatch.setattr(arms, "finetune", finetune)
    for arm in ("rl", "loro", "random-data", "mix", "guided"):
        run_arm(Job(cartpole, arm, 0, 400, small_data, updates=7, data_retention="drop"))
    rl, loro_, control, mix, guided = finetuned
    assert rl == (400, None, "drop", None)
    assert loro_ == (400, small_data, "drop", None) and pretrained[0] == (small_data, 7)
    assert guided[:3] == loro_[:3] and pretrained[2] == pretrained[0]
    assert isinstance(guided[3], SoftmaxClone)
    assert control[1] is not small_data and len(control[1]) == len(small_data)
    assert control[1].behaviour == "uniformly random policy" and pretrained[1] == (control[1], 7)
    assert mix == (400, small_data, "keep", None) and len(pretrained) == 3


TAUGHT = ("rl", "mix", "loro", "random-data", "guided")


def arrays_of(dictionaries):
    """Return all arrays among the values of some dictionaries."""
    values = [value for dictionary in dictionaries for value in dictionary.values()]
    return [value for value in values if isinstance(value, np.ndarray)]


def test_the_arms_and_seeds_share_nothing(cartpole, small_data, monkeypatch):
    """Every run has objects of its own and starts from the same bytes, whatever ran before."""
    before = small_data.observations.tobytes()
    agents = remember(monkeypatch, Task, "make_agent")
    environments = remember(monkeypatch, Task, "make_env")
    buffers = remember(monkeypatch, loro, "ReplayBuffer")
    initial_weights = []
    real = arms.finetune

    def finetune(agent, *arguments, clone):
        initial_weights.append(agent.weights.tobytes())
        return real(agent, *arguments, clone=clone)

    monkeypatch.setattr(arms, "finetune", finetune)
    jobs = [(arm, seed) for arm in TAUGHT for seed in (0, 1)]
    together = {key: run_arm(job(cartpole, *key, small_data))[0] for key in jobs}

    # All are still alive, so that ids are unique. Six of the agents were pretrained as well.
    assert len({id(agent) for agent in agents}) == len(agents) == len(jobs)
    assert len({id(env.unwrapped) for env in environments}) == len(environments)
    assert len({id(buffer) for buffer in buffers}) == len(buffers) == len(jobs) + 6
    arrays = [*arrays_of(vars(agent) for agent in agents)]
    arrays += arrays_of(buffer._columns for buffer in buffers)
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[:i])
        assert not np.shares_memory(array, small_data.observations)
    untrained = initial_weights[:4]  # rl and mix, both seeds
    assert set(untrained) == {np.zeros_like(agents[0].weights).tobytes()}
    assert small_data.observations.tobytes() == before

    gc.collect()
    for key in reversed(jobs):
        assert run_arm(job(cartpole, *key, small_data))[0] == together[key]
    assert together["rl", 0] != together["rl", 1]


def resets(monkeypatch, task, run):
    """Every seed that `run` passes to the environment's reset, in order."""
    found = []
    env_class = type(task.make_env().unwrapped)
    original = env_class.reset

    def reset(self, **options):
        found.append(options["seed"])
        return original(self, **options)

    with monkeypatch.context() as patch:
        patch.setattr(env_class, "reset", reset)
        run()
    return found


def test_arms_share_the_environments_luck_and_seeds_do_not(cartpole, small_data, monkeypatch):
    def all_resets(arm, seed):
        return resets(monkeypatch, cartpole, lambda: run_arm(job(cartpole, arm, seed, small_data)))

    rl, loro_, mix = (all_resets(arm, 0) for arm in ("rl", "loro", "mix"))
    other = all_resets("rl", 1)
    assert None not in rl
    first = loro.FIRST_EPISODES + 1  # the first evaluation and the first training episode
    assert rl[:first] == loro_[:first] == mix[:first]
    assert set(mix) <= set(rl) | set(loro_) | set(mix)
    # Training and evaluation, and any two episodes, start differently.
    assert len(set(rl)) == len(rl)
    assert not set(rl) & set(other) and not set(all_resets("loro", 1)) & set(loro_)
    assert not set(all_resets("random-data", 1)) & set(all_resets("random-data", 0))


def test_seeds_differ_in_pretraining_and_in_random_data(cartpole, small_data, monkeypatch):
    first_batches = {}
    data = {}
    real = arms.finetune
    for arm, seed in (("loro", 0), ("loro", 1), ("random-data", 0), ("random-data", 1)):
        used = []

        def finetune(agent, task, steps, kept_data, *rest, used=used, clone):
            used.append(kept_data)
            return real(agent, task, steps, kept_data, *rest, clone=clone)

        with monkeypatch.context() as patch:
            patch.setattr(arms, "finetune", finetune)
            batches = remember(patch, ReplayBuffer, "sample")
            run_arm(Job(cartpole, arm, seed, 400, small_data, updates=5, data_retention="keep"))
        first_batches[arm, seed] = batches[0].observations.tobytes()
        (data[arm, seed],) = used
    assert len(set(first_batches.values())) == 4
    assert data["loro", 0] is data["loro", 1] is small_data
    one, other = (data["random-data", seed].observations for seed in (0, 1))
    assert one.tobytes() != other.tobytes()


def test_an_end_at_the_time_limit_is_an_end(cartpole):
    """If the last step before the limit terminates, the episode is terminated and not truncated."""
    rows = []

    def choose(observation, rows, step):
        return int(step == 3), "x"

    rollout.play_episode(Counting(), choose, 0, 0, rows, sources=[], most_steps=4)
    assert [row[4:6] for row in rows] == [(False, False)] * 3 + [(True, False)]


def test_the_unfinished_last_episode_of_random_data_is_not_reported(cartpole):
    data = minloro.collect_random(cartpole, 57, seed=3)
    assert data.metadata["last_episode_unfinished"]
    assert len(arms.data_returns(data)) == len(data.episode_ids) - 1


def test_the_example_of_the_design(cartpole):
    llm = minloro.StandInLLM(cartpole, seed=0)
    data = minloro.collect(cartpole, llm, episodes=3, seed=0)
    agent = cartpole.make_agent(seed=0)
    minloro.pretrain(agent, data, updates=100, seed=0)
    returns = minloro.finetune(agent, cartpole, steps=600, data=data, seed=0)
    assert returns[0].phase == "eval" and returns[0].env_steps == len(data)


def test_the_control_has_the_step_limit_of_the_data(cartpole):
    task = minloro.make_task("pendulum")
    data = minloro.collect_random(task, 120, step_limit=50)
    assert data.episode_lengths.tolist() == [50, 50, 20]
    assert data.metadata["last_episode_unfinished"]
    assert np.flatnonzero(data.truncated).tolist() == [49, 99, 119] and not data.terminated.any()
    again = Job(task, "random-data", 0, 400, data, updates=1, data_retention="keep")
    lengths = [r.episode_length for r in run_arm(again)[0] if r.phase == "llm"]
    assert lengths == [50, 50]
    assert minloro.collect_random(cartpole, 100, step_limit=9).episode_lengths.max() == 9


@pytest.mark.parametrize("task_name", ["cartpole", "cliffwalking"])
def test_own_data_are_the_first_steps_of_an_agent_that_learns(task_name, monkeypatch):
    """They are aligned, and they are the first steps of the arm `rl` with the seed in metadata."""
    task = minloro.make_task(task_name)
    data = arms.collect_own(task, 300, seed=3)
    assert len(data) == 300 and data.metadata["source"] == "agent learning from scratch"
    assert not unreproduced(task, data).any()
    assert data.truncated[-1] or data.terminated[-1]
    steps = []
    real = loro.learn

    def learn(agent, buffer, transition, *rest):
        steps.append(transition)
        return real(agent, buffer, transition, *rest)

    monkeypatch.setattr(loro, "learn", learn)
    own_seed = data.metadata["seed"]
    minloro.finetune(task.make_agent(own_seed), task, 300, seed=own_seed)
    assert [action for _, action, *_ in steps] == data.actions.tolist()
    assert [reward for _, _, reward, *_ in steps] == data.rewards.tolist()
    assert arms.collect_own(task, 300, seed=4).metadata["seed"] != own_seed


def test_own_data_are_another_agents_than_the_one_that_goes_on(cartpole, small_data, monkeypatch):
    pretrained = []
    monkeypatch.setattr(arms, "pretrain", lambda agent, data, *a: pretrained.append((agent, data)))
    returns, agent = run_arm(job(cartpole, "own-data", 0, small_data))
    other = run_arm(job(cartpole, "own-data", 1, small_data))[1]
    (first_agent, first_data), (_, second_data) = pretrained
    assert len(first_data) == len(second_data) == len(small_data)
    assert first_agent is agent is not other
    assert first_data.observations.tobytes() != second_data.observations.tobytes()
    players = {row.behaviour for row in returns if row.phase == "llm"}
    assert players == {"agent learning from scratch"}
