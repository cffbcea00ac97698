import gc
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import minloro
from minloro import loro, rollout
from minloro.errors import UserError
from minloro.loro import Job, run_arm
from minloro.rollout import unreproduced
from minloro.tasks import Task
from minloro.transitions import COLUMNS, Minibatch


class Counting(gym.Env):
    """The observation is the number of steps so far; action 1 ends the episode; reward: the observation before it."""

    observation_space = gym.spaces.Box(-1, 1000, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return np.array([0], np.float32), {}

    def step(self, action):
        reward, self.n = float(self.n), self.n + 1
        return np.array([self.n], np.float32), reward, bool(action == 1), False, {}


class Recorder:
    """An agent that plays a fixed sequence of actions and keeps the minibatches that it is given."""

    batch_size = 4

    def __init__(self, actions=(0, 0, 0, 1)):
        self.actions, self.batches, self.played, self.evaluated = actions, [], 0, 0

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
    return Task("counting", "Counting", step_limit, agent, steps=400, threshold=1, env_factory=Counting, **more)


def test_collected_rows_belong_to_one_step(cartpole, small_data):
    assert not unreproduced(cartpole, small_data).any()
    for episode in small_data.episode_ids:
        rows = small_data.rows(small_data.episode == episode)
        np.testing.assert_array_equal(rows.observations[1:], rows.next_observations[:-1])
        ended = rows.terminated | rows.truncated
        assert ended[-1] and not ended[:-1].any() and not (rows.terminated & rows.truncated).any()


def test_collecting_stores_truncation_as_truncation(cartpole):
    class AlwaysOne:
        name, source, settings = "one", "one", {}
        request = staticmethod(lambda messages: {})

        def complete(self, messages, sample):
            from minloro.llm.client import Reply

            return Reply("Action: 1", "one")

    task = counting_task(prompt=minloro.Prompt("rules", ("go on", "stop"), lambda observation, rows: f"{observation[0]}"))
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
    """The same, but the reward is the number of steps in all episodes before it: every transition has another one."""

    steps = 0

    def step(self, action):
        observation, _, *ended = super().step(action)
        self.steps += 1
        return observation, float(self.steps - 1), *ended


def test_finetune_stores_what_happened():
    agent, task = Recorder(), replace(counting_task(), env_factory=Clock)
    returns = minloro.finetune(agent, task, steps=400, seed=0)
    seen = set()
    for batch in agent.batches:
        for i in range(len(batch)):
            s, action, reward, after, terminated = (float(getattr(batch, name)[i].reshape(-1)[0]) for name in COLUMNS[:5])
            n = int(reward) % 4
            assert (s, action, after, terminated) == (10 * n, (0, 0, 0, 1)[n], 10 * (n + 1), n == 3)
            seen.add(int(reward))
    assert seen == set(range(400))
    assert [int(batch.rewards[-1]) for batch in agent.batches] == list(range(3, 400))  # the newest, at once
    train = [r for r in returns if r.phase == "train"]
    assert [r.env_steps for r in train] == list(range(4, 401, 4))
    assert [(r.episode_return, r.episode_length) for r in train] == [(16 * k + 6, 4) for k in range(100)]


def test_finetune_tells_a_time_limit_from_an_end():
    agent = Recorder(actions=(0,))
    minloro.finetune(agent, counting_task(step_limit=6), steps=200, seed=0)
    rows = [
        (float(s[0]), float(after[0]))
        for b in agent.batches
        for s, after in zip(b.observations, b.next_observations, strict=True)
    ]
    assert all(type(b) is Minibatch and not b.terminated.any() for b in agent.batches)  # which has no `truncated`
    assert (50, 60) in rows and all(after == s + 10 for s, after in rows)  # the state that was cut off is a next one
    # After a time limit the next row starts a new episode, not at the state that was cut off.
    assert {s for s, _ in rows} == {0, 10, 20, 30, 40, 50}


def test_evaluations_lie_on_the_common_grid(cartpole, small_data):
    assert 100 < len(small_data) < 200
    for data, start in ((None, 0), (small_data, len(small_data))):
        agent = cartpole.make_agent()
        returns = minloro.finetune(agent, cartpole, steps=700, data=data, seed=0)
        evaluations = [r.env_steps for r in returns if r.phase == "eval"]
        assert evaluations == [start, 200, 400, 600]
        assert agent.n_updates == 700 - start - (63 if data is None else 0)  # one a step, once a minibatch is there


def test_evaluation_seeds_differ_from_point_to_point_and_agree_between_arms(cartpole, small_data, monkeypatch):
    seeds = []
    monkeypatch.setattr(loro, "evaluate", lambda agent, env, s: seeds.append(tuple(s)) or (0.0, 1.0))
    runs = []
    for seed, data in ((0, None), (0, small_data), (1, None)):
        seeds.clear()
        minloro.finetune(cartpole.make_agent(), cartpole, 1000, data, seed, evaluation_episodes=2)
        runs.append(list(seeds))
    assert runs[0] == runs[1] and not set(runs[0]) & set(runs[2])
    flat = [s for point in runs[0] for s in point]
    assert len(flat) == 12 and len(set(flat)) == 12


def test_evaluating_changes_nothing(cartpole, monkeypatch):
    def train(episodes):
        agent = cartpole.make_agent()
        returns = minloro.finetune(agent, cartpole, 600, seed=5, evaluation_episodes=episodes)
        return agent.weights.tobytes(), [r for r in returns if r.phase == "train"]

    assert train(1) == train(7)
    agent = cartpole.make_agent()
    agent.weights[:] = 1.0
    before = {name: np.copy(value) for name, value in vars(agent).items() if isinstance(value, np.ndarray)}
    env = cartpole.make_env()
    assert rollout.evaluate(agent, env, [1, 2]) == rollout.evaluate(agent, env, [1, 2])
    assert all((getattr(agent, name) == value).all() for name, value in before.items()) and agent.n_updates == 0


@pytest.mark.parametrize(("offline", "share"), [("keep", None), ("drop", 0.0), (0.5, 0.5)])
def test_what_becomes_of_the_data(offline, share):
    task = counting_task()
    data = minloro.collect_random(task, 40, seed=0)
    agent = Recorder(actions=(0,))
    minloro.finetune(agent, task, 240, data, seed=0, offline=offline)
    from_data = np.concatenate([(b.actions == 1) for b in agent.batches[20:]]).mean()  # only D stops early
    stops = (data.actions == 1).mean()
    if offline == "keep":
        expected = np.mean([40 / (40 + t) for t in range(21, 201)]) * stops
        assert abs(from_data - expected) < 0.08
    else:
        assert abs(from_data - share * stops) < 0.06
    assert len(agent.batches) == (200 if offline != "drop" else 197)


def test_pretraining_sees_only_the_data():
    task = counting_task()
    data = minloro.collect_random(task, 40, seed=0)
    agent = Recorder()
    minloro.pretrain(agent, data, updates=50, seed=0)
    assert len(agent.batches) == 50 and agent.played == agent.evaluated == 0
    known = {tuple(float(getattr(data, n)[i].reshape(-1)[0]) for n in COLUMNS[:5]) for i in range(40)}
    for batch in agent.batches:
        for i in range(4):
            s, a, r, next_s, *ends = (float(getattr(batch, n)[i].reshape(-1)[0]) for n in COLUMNS[:5])
            assert (s / 10, a, r, next_s / 10, *ends) in known


def test_a_budget_that_the_data_uses_up(cartpole, small_data):
    with pytest.raises(UserError, match="holds the action 2, LinearQ was made for 2"):
        wrong = minloro.collect_random(minloro.make_task("mountaincar"), 200)
        minloro.finetune(minloro.LinearQ(minloro.FourierBasis([-1.2, -0.07], [0.6, 0.07], 2), 2, step_size=0.1),
                         minloro.make_task("mountaincar"), 400, data=wrong)  # fmt: skip
    with pytest.raises(UserError, match="use up the budget"):
        minloro.finetune(cartpole.make_agent(), cartpole, len(small_data), small_data)


def job(task, arm, seed, data, steps=600):
    return Job(task, arm, seed, steps, data, updates=200, offline="keep")


def test_what_each_arm_does(cartpole, small_data, monkeypatch):
    pretrained, finetuned = [], []
    real = loro.finetune
    monkeypatch.setattr(loro, "pretrain", lambda agent, data, updates, seed: pretrained.append((data, updates)))
    monkeypatch.setattr(loro, "finetune", lambda *args: finetuned.append((args[2], args[3], args[5])) or real(*args))
    for arm in ("rl", "loro", "random-data", "mix"):
        run_arm(Job(cartpole, arm, 0, 400, small_data, updates=7, offline="drop"))
    (rl, loro_, control, mix) = finetuned
    assert rl == (400, None, "drop")
    assert loro_ == (400, small_data, "drop") and pretrained[0] == (small_data, 7)
    assert control[1] is not small_data and len(control[1]) == len(small_data)
    assert control[1].behaviour == "uniformly random policy" and pretrained[1] == (control[1], 7)
    assert mix == (400, small_data, "keep") and len(pretrained) == 2


def test_the_arms_and_seeds_share_nothing(cartpole, small_data, monkeypatch):
    """Every run gets objects of its own, starts from the same bytes, and does not depend on what ran before."""
    agents, buffers, environments = [], [], []
    before = small_data.observations.tobytes()

    def remember(target, name, found):
        original = getattr(target, name)

        def wrapper(*args, **kwargs):
            made = original(*args, **kwargs)
            found.append(made)
            return made

        monkeypatch.setattr(target, name, wrapper)

    remember(Task, "make_agent", agents)
    remember(Task, "make_env", environments)
    remember(loro, "ReplayBuffer", buffers)
    initial = []
    real = loro.finetune
    monkeypatch.setattr(loro, "finetune", lambda agent, *a: initial.append((agent, agent.weights.tobytes())) or real(agent, *a))
    jobs = [(arm, seed) for arm in ("rl", "mix", "loro", "random-data") for seed in (0, 1)]
    together = {key: run_arm(job(cartpole, *key, small_data))[0] for key in jobs}

    assert len({id(a) for a in agents}) == len(jobs) == len(agents)  # all still alive, so ids are unique
    assert len({id(e.unwrapped) for e in environments}) == len(environments)
    assert len({id(b) for b in buffers}) == len(buffers) == len(jobs) + 4  # four of them pretrained as well
    arrays = [v for a in agents for v in vars(a).values() if isinstance(v, np.ndarray)]
    arrays += [v for b in buffers for v in b._columns.values()]
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[:i])
        assert not np.shares_memory(array, small_data.observations)
    untrained = [weights for agent, weights in initial[:4]]  # rl and mix, both seeds
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
    with monkeypatch.context() as patch:
        patch.setattr(env_class, "reset", lambda self, **k: found.append(k["seed"]) or original(self, **k))
        run()
    return found


def test_arms_share_the_environments_luck_and_seeds_do_not(cartpole, small_data, monkeypatch):
    def all_resets(arm, seed):
        return resets(monkeypatch, cartpole, lambda: run_arm(job(cartpole, arm, seed, small_data)))

    rl, loro_, mix, other = (all_resets(*run) for run in (("rl", 0), ("loro", 0), ("mix", 0), ("rl", 1)))
    assert None not in rl
    assert rl[:2] == loro_[:2] == mix[:2]  # the first evaluation and the first training episode
    assert set(mix) <= set(rl) | set(loro_) | set(mix)
    assert len(set(rl)) == len(rl), "training and evaluation, and any two episodes, start differently"
    assert not set(rl) & set(other) and not set(all_resets("loro", 1)) & set(loro_)
    assert not set(all_resets("random-data", 1)) & set(all_resets("random-data", 0))


def test_seeds_differ_in_pretraining_and_in_random_data(cartpole, small_data, monkeypatch):
    batches, data = {}, {}
    real = loro.finetune
    for arm, seed in (("loro", 0), ("loro", 1), ("random-data", 0), ("random-data", 1)):
        monkeypatch.setattr(
            loro,
            "finetune",
            lambda agent, task, steps, d, *a, key=(arm, seed): data.setdefault(key, d) and real(agent, task, steps, d, *a),
        )
        found = batches[arm, seed] = []
        original = loro.ReplayBuffer.sample
        with monkeypatch.context() as patch:
            patch.setattr(
                loro.ReplayBuffer,
                "sample",
                lambda self, *a: found.append(original(self, *a)) or found[-1],  # noqa: B023
            )
            run_arm(Job(cartpole, arm, seed, 400, small_data, updates=5, offline="keep"))
    first = {key: found[0].observations.tobytes() for key, found in batches.items()}
    assert len(set(first.values())) == 4
    assert data["loro", 0] is data["loro", 1] is small_data
    assert data["random-data", 0].observations.tobytes() != data["random-data", 1].observations.tobytes()


def test_an_end_at_the_time_limit_is_an_end(cartpole):
    """When an episode terminates on the very step at which it would be cut off, it is terminated and not truncated."""
    rows, sources = [], []
    env = Counting()
    rollout.play_episode(env, lambda o, r, step: (int(step == 3), "x"), 0, 0, rows, sources, most_steps=4)
    assert [row[4:6] for row in rows] == [(False, False)] * 3 + [(True, False)]


def test_the_unfinished_last_episode_of_random_data_is_not_reported(cartpole):
    data = minloro.collect_random(cartpole, 57, seed=3)
    assert data.metadata["last_episode_unfinished"]
    assert len(loro.data_returns(data)) == len(data.episode_ids) - 1


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
    assert data.episode_lengths.tolist() == [50, 50, 20] and data.metadata["last_episode_unfinished"]
    assert np.flatnonzero(data.truncated).tolist() == [49, 99, 119] and not data.terminated.any()
    again = Job(task, "random-data", 0, 400, data, updates=1, offline="keep")
    lengths = [r.episode_length for r in run_arm(again)[0] if r.phase == "llm"]
    assert lengths == [50, 50]
    assert minloro.collect_random(cartpole, 100, step_limit=9).episode_lengths.max() == 9


@pytest.mark.parametrize("task_name", ["cartpole", "cliffwalking"])
def test_own_data_are_the_first_steps_of_an_agent_that_learns(task_name, monkeypatch):
    """As many as D has, aligned, and the same as the arm `rl` makes with the seed that they come from."""
    task = minloro.make_task(task_name)
    data = loro.collect_own(task, 300, seed=3)
    assert len(data) == 300 and data.metadata["source"] == "agent learning from scratch"
    assert not unreproduced(task, data).any()
    assert data.truncated[-1] or data.terminated[-1]
    steps, real = [], loro._learn
    monkeypatch.setattr(loro, "_learn", lambda agent, buffer, row, *a: steps.append(row) or real(agent, buffer, row, *a))
    own_seed = data.metadata["seed"]
    minloro.finetune(task.make_agent(own_seed), task, 300, seed=own_seed)
    assert [row[1] for row in steps] == data.actions.tolist() and [row[2] for row in steps] == data.rewards.tolist()
    assert loro.collect_own(task, 300, seed=4).metadata["seed"] != own_seed


def test_own_data_are_another_agents_than_the_one_that_goes_on(cartpole, small_data, monkeypatch):
    pretrained = []
    monkeypatch.setattr(loro, "pretrain", lambda agent, data, *a: pretrained.append((agent, data)))
    returns, agent = run_arm(job(cartpole, "own-data", 0, small_data))
    other = run_arm(job(cartpole, "own-data", 1, small_data))[1]
    assert [len(data) for _, data in pretrained] == [len(small_data)] * 2 and pretrained[0][0] is agent is not other
    assert pretrained[0][1].observations.tobytes() != pretrained[1][1].observations.tobytes()
    assert {row.behaviour for row in returns if row.phase == "llm"} == {"agent learning from scratch"}
