"""An environment of a user: 100 observations without bounds, four actions with different bounds.

All of them are float64.
"""

import gymnasium as gym
import numpy as np
import pytest
from conftest import remember_batches

import minloro
from minloro.agents import agent as agent_module
from minloro.arms import Job
from minloro.bench.report import summarize, summary_text
from minloro.bench.sweep import run
from minloro.errors import UserError
from minloro.llm.model import Reply
from minloro.rollout import unreproduced
from minloro.transitions import COLUMNS, load_transitions, save_transitions

LOW = np.array([-1.0, -2.0, -0.5, 0.0])
HIGH = np.array([1.0, 1.0, 0.5, 3.0])


class Homing(gym.Env):
    """Bring four coordinates to 0. They are seen through 100 mixtures of them.

    An action in the middle of its range moves nothing. The reward is minus the distance after the
    step. Every observation is the same array, which is written over.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (100,), np.float64)
    action_space = gym.spaces.Box(LOW, HIGH, dtype=np.float64)
    mixtures = np.random.default_rng(0).normal(size=(100, 4))
    P = mixtures  # a name that Gymnasium's grid worlds use for something else

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 4)
        self.seen = np.zeros(100)
        return self._look(), {}

    def step(self, action):
        assert action.shape == (4,) and (action >= LOW).all() and (action <= HIGH).all()
        self.place += 0.5 * (2 * (action - LOW) / (HIGH - LOW) - 1)
        return self._look(), -np.linalg.norm(self.place), False, False, {}

    def _look(self):
        self.seen[:] = self.mixtures @ self.place
        return self.seen


def make_agent(rng):
    settings = {"discount": 0.9, "step_size": 0.003, "target_step_size": 0.02}
    return minloro.ActorCritic(100, LOW, HIGH, rng, **settings)


def homing(**changes):
    fields = {"agent": make_agent, "steps": 1000, "threshold": -4, "env_factory": Homing}
    return minloro.Task("homing", "Homing", 20, **fields | changes)


def test_it_learns_and_is_stored_as_float32(tmp_path):
    task = homing()
    data = minloro.collect_random(task, 1000, seed=0)
    assert data.observations.dtype == data.actions.dtype == np.float64  # D is as it was played
    np.testing.assert_array_equal(data.observations[1:20], data.next_observations[:19])
    assert (data.observations[0] != data.observations[1]).all()
    save_transitions(tmp_path / "d.npz", data)
    data = load_transitions(tmp_path / "d.npz", task)
    assert unreproduced(task, data) is None

    agent = task.make_agent(seed=0)
    env = task.make_env()
    seeds = range(100, 120)
    before = minloro.evaluate(agent, env, seeds)[0]
    batches = remember_batches(agent)
    minloro.pretrain(agent, data, updates=600, seed=0)
    pretrained = minloro.evaluate(agent, env, seeds)[0]
    returns = minloro.finetune(agent, task, steps=1400, data=data, seed=0)
    after = minloro.evaluate(agent, env, seeds)[0]
    # Measured: random -42, untrained -25, pretrained -2.4, in the end -1.8. One jump home earns
    # about -1.
    assert data.episode_returns.mean() < -30 and before < -15
    assert pretrained > -6 and after > -4
    assert returns[0].env_steps == 1000 and len(batches) == 1000
    for batch in (batches[0], batches[-1]):  # while it is pretrained, and online
        assert {getattr(batch, name).dtype for name in COLUMNS[:4]} == {np.dtype(np.float32)}
        assert batch.observations.shape == (128, 100) and batch.actions.shape == (128, 4)


class HomingIn32(Homing):
    """The same in the learner's precision: nothing is converted, so no conversion makes a copy."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (100,), np.float32)

    def reset(self, **options):
        super().reset(**options)
        self.seen = np.zeros(100, np.float32)
        return self._look(), {}


def test_an_array_that_is_handed_out_again_is_copied():
    task = homing(env_factory=HomingIn32)
    agent = task.make_agent(0)
    batches = remember_batches(agent)
    minloro.finetune(agent, task, 250)
    assert len(batches) == 123
    for batch in batches:
        assert not (batch.observations == batch.next_observations).all(axis=1).any()


@pytest.mark.parametrize("env", [Homing, HomingIn32])
def test_a_large_data_set_teaches_the_same(monkeypatch, env):
    task = homing(env_factory=env)
    learned = []
    data = minloro.collect_random(task, 300)
    # With the second limit, observations are encoded when they are drawn.
    for most in (agent_module.MOST_FEATURES, -1):
        monkeypatch.setattr(agent_module, "MOST_FEATURES", most)
        agent = task.make_agent(0)
        minloro.finetune(agent, task, 450, data)
        learned.append(agent.parameters.copy())
    np.testing.assert_array_equal(*learned)


def test_all_arms_run_and_are_reported():
    task = homing()
    steps = 600
    data = minloro.collect_random(task, 200, seed=1)
    arms = ("rl", "loro", "random-data", "mix", "own-data")
    jobs = [Job(task, arm, 0, steps, data, 50, "keep") for arm in arms]
    rows = {(job.arm, job.seed): returns for job, (returns, _) in run(jobs)}
    text = summary_text(task, summarize(task, steps, rows, {0: data}))
    assert "homing (Homing): 600 environment steps" in text


def one_line(raised, *words):
    message = str(raised.value)
    assert "\n" not in message and all(word in message for word in words), message


class Boundless(Homing):
    # A space whose text has several lines.
    action_space = gym.spaces.Box(-np.linspace(1, 3, 40), np.inf, dtype=np.float64)


class Nested(Homing):
    observation_space = gym.spaces.Dict({"seen": Homing.observation_space})


class ManyActions(Homing):
    action_space = gym.spaces.MultiDiscrete([3, 3])


class FromOne(Homing):
    action_space = gym.spaces.Discrete(2, start=1)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (Boundless, ("Box([-1.", "finite bounds")),
        (Nested, ("Dict", "flatten")),
        (ManyActions, ("MultiDiscrete", "Discrete nor")),
        (FromOne, ("not counted from 0", "wrap")),
    ],
)
def test_spaces_that_cannot_be_used(env, words):
    task = homing(env_factory=env)
    with pytest.raises(UserError) as raised:
        minloro.collect_random(task, 300)
    one_line(raised, "homing", *words)
    with pytest.raises(UserError) as raised:
        minloro.finetune(task.make_agent(), task, 300)
    one_line(raised, "homing", *words)


def test_an_agent_of_another_size():
    data = minloro.collect_random(homing(), 200)
    for size, low, high, words in (
        (99, LOW, HIGH, ("(100,)", "(99,)")),
        (100, LOW[:1], HIGH[:1], ("(4,)", "(1,)")),
    ):
        agent = minloro.ActorCritic(size, low, high, np.random.default_rng(0))
        with pytest.raises(UserError) as raised:
            minloro.pretrain(agent, data, 1)
        one_line(raised, *words)
        with pytest.raises(UserError) as raised:
            minloro.finetune(agent, homing(), 300)
        one_line(raised, words[0])


class Repeating:
    """A language model that always gives the same answer."""

    name = "repeating"
    source = "repeating"
    settings = {}
    request = staticmethod(lambda messages: {})

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0

    def complete(self, messages, sample):
        self.asked += 1
        return Reply(f"Action: {self.answer}", self.name)


def prompt(low=None, high=None):
    texts = {"rules": "rules", "describe": lambda observation, rows: "here"}
    if low is None:
        return minloro.Prompt(actions=("left", "right", "stop"), **texts)
    return minloro.ContinuousPrompt(quantity="a number", low=low, high=high, **texts)


class Small(Homing):
    action_space = gym.spaces.Box(-0.1, 0.1, (1,), np.float64)

    def step(self, action):
        assert self.action_space.contains(action)
        return self._look(), 0.0, False, False, {}


class SmallIn32(Small):
    action_space = gym.spaces.Box(-0.1, 0.1, (1,), np.float32)


@pytest.mark.parametrize("env", [Small, SmallIn32])
def test_an_answer_comes_in_the_precision_of_the_environment(env):
    """0.1 in 32 bits is a little more than in 64 bits. It still counts as the bound."""
    task = homing(env_factory=env, prompt=prompt(-0.1, 0.1))
    data = minloro.collect(task, Repeating(0.1), episodes=1)
    assert data.actions.dtype == env.action_space.dtype and len(data) == 20
    assert (data.actions == env.action_space.high).all()


@pytest.mark.parametrize(
    ("env", "prompt", "answer", "action"),
    [
        (Homing, prompt(), 3, 2),
        (Homing, prompt(-1, 1), 0.5, 0.5),
        (lambda: gym.make("CartPole-v1"), prompt(), 3, 2),
        (lambda: gym.make("CartPole-v1"), prompt(0, 1), 1, 1),
        (lambda: gym.make("Pendulum-v1"), prompt(-3, 3), 2.5, 2.5),
    ],
)
def test_a_prompt_whose_actions_are_none_of_the_environment(env, prompt, answer, action):
    task = homing(env_factory=env, prompt=prompt)
    llm = Repeating(answer)
    with pytest.raises(UserError) as raised:
        minloro.collect(task, llm, episodes=1)
    one_line(raised, "prompt", "no action of", str(action))
    assert llm.asked == 1
