"""The guide: who plays and who is evaluated, and that a poor clone changes nothing."""

import csv
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from conftest import CORE_TASKS, remember_batches

import minloro
from minloro import loro
from minloro.agents.clone import TableClone, fit_clone
from minloro.arms import Job, run_arm
from minloro.cli import main
from minloro.loro import (
    CLONE,
    FIRST_EPISODES,
    LEARNER,
    ClonePlayer,
    Guide,
    mean_and_error,
    returns_of_teacher,
)
from minloro.rollout import unreproduced
from minloro.tasks.task import Task
from minloro.transitions import Minibatch, Transitions, from_rows, save_transitions

GREEDY = "greedy policy"


class Player:
    """A learner for tests that ends every episode after its fourth step; keeps its minibatches.

    An observation is the number of steps so far. `plays`: its actions, one per step of an episode.
    """

    batch_size = 4
    n_actions = 2

    def __init__(self, plays=(0, 0, 0, 1), epsilon=0.0):
        self.plays = plays
        self.epsilon = epsilon
        self.batches = []

    def encode(self, observations):
        return np.asarray(observations, np.float32)

    def act(self, encoded, rng=None):
        return self.plays[int(encoded[0]) % len(self.plays)]

    def update(self, batch, rng):
        self.batches.append(batch)


class FakeClone:
    """A clone for tests that plays one action per step of an episode; None: it does not know."""

    def __init__(self, plays=(0, 1), usable=True):
        self.plays = plays
        self.usable = usable

    def sample(self, encoded, rng):
        return self.plays[int(encoded[0]) % len(self.plays)]

    best = sample


class Clock(gym.Env):
    """The observation is the number of steps in the episode, the reward that of all steps before.

    Action 1 ends the episode.
    """

    observation_space = gym.spaces.Box(-1, 1000, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return np.array([0], np.float32), {}

    def step(self, action):
        self.n += 1
        self.steps += 1
        observation = np.array([self.n], np.float32)
        return observation, float(self.steps - 1), bool(action == 1), False, {}


@pytest.fixture
def numbers(monkeypatch):
    """The numbers that the cases below are worked with, whatever the settings are."""
    values = {
        "CLONE_RECENT": 4,
        "CLONE_OWN": 2,
        "REFUTED": 2.0,
        "LEARNER_RECENT": 3,
        "CLONE_ERRORS": 0.0,
        "LEARNER_ERRORS": 1.0,
        "EVERY": 3,
    }
    for name, value in values.items():
        assert hasattr(loro, name)
        monkeypatch.setattr(loro, name, value)


def guide_of(data_returns, threshold=0.0, usable=True):
    clone = FakeClone(usable=usable)
    return Guide(Player(), clone, np.array(data_returns, np.float64), threshold, seed=0)


def after(data_returns, learner=(), clone=(), **more):
    """A guide that remembers these returns of both players."""
    guide = guide_of(data_returns, **more)
    for episode_return in learner:
        guide.remember(guide.agent, episode_return)
    for episode_return in clone:
        guide.remember(guide.clone, episode_return)
    return guide


def clone_leads(*arguments, **more):
    guide = after(*arguments, **more)
    assert guide.better in (guide.agent, guide.clone)
    return guide.better is guide.clone


# The rule


def test_mean_and_standard_error_by_hand():
    # Squared distances to the mean: 9 + 1 + 4 = 14. Variance: 14 / 2, of the mean 7 / 3.
    assert mean_and_error([1.0, 5.0, 6.0]) == (4.0, pytest.approx(np.sqrt(7 / 3)))
    assert mean_and_error([-7.0]) == (-7.0, 0.0)


def test_the_learner_plays_the_first_episode_and_every_third(numbers):
    guide = after([10.0], learner=[0.0])
    players = [guide.player(episode) for episode in range(8)]
    a, c = guide.agent, guide.clone
    assert players == [a, c, c, a, c, c, a, c]
    guide = after([10.0], learner=[20.0])
    assert {guide.player(episode) for episode in range(8)} == {guide.agent}


def test_the_learner_plays_the_first_episode_and_every_second():
    """As the settings are."""
    guide = after([10.0], learner=[0.0])
    assert [guide.player(episode) is guide.agent for episode in range(6)] == [True, False] * 3


def test_the_better_one_is_evaluated(numbers):
    assert clone_leads([-5.0, -3.0], learner=[-5.0])
    assert not clone_leads([-5.0, -3.0], learner=[-3.0])
    # Only the learner's last three episodes count: the mean is -5, and then -1.
    assert clone_leads([-4.0], learner=[0.0, 0.0, -5.0, -5.0, -5.0])
    assert not clone_leads([-4.0], learner=[-5.0, -5.0, -1.0, -1.0, -1.0])
    # Only the last four of the clone's count.
    assert clone_leads([-100.0, -1.0, -1.0, -1.0, -1.0], learner=[-2.0])
    assert not clone_leads([-1.0, -1.0, -3.0, -3.0, -3.0, -3.0], learner=[-2.0])


def test_a_tie_goes_to_the_learner(numbers):
    assert not clone_leads([-13.0], learner=[-13.0])
    assert not clone_leads([0.0, 0.0], learner=[0.0])


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e7])
def test_rounding_makes_no_lead(numbers, scale):
    """The means of both are equal but for the last bits."""
    data_returns = np.array([0.1, 0.2, 0.3, 0.2]) * scale
    clone_mean = np.mean(data_returns)
    assert clone_mean * (1 - 1e-15) < clone_mean
    assert not clone_leads(data_returns, learner=[clone_mean * (1 - 1e-15)])
    assert clone_leads(data_returns, learner=[clone_mean - 1e-6 * scale])


@pytest.mark.parametrize("lucky", [-199.0, -130.7, -83.0])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_player_that_always_gets_the_least_never_leads(numbers, n, lucky):
    """One good episode among bad ones: mean less error is the bad one's return, a tie."""
    learner = [-200.0] * (n - 1) + [lucky]
    assert not clone_leads([-200.0] * 7, learner=learner)
    assert not clone_leads([-200.0] * 7, learner=learner, clone=[-200.0] * 5)


def test_the_learner_has_to_lead_by_a_standard_error(numbers, monkeypatch):
    # Returns 2, 4, 6: mean 4, standard error sqrt(4 / 3) = 1.1547.
    assert clone_leads([2.85], learner=[2.0, 4.0, 6.0])
    assert not clone_leads([2.84], learner=[2.0, 4.0, 6.0])
    monkeypatch.setattr(loro, "LEARNER_ERRORS", 2.0)  # 4 - 2.3094
    assert clone_leads([1.70], learner=[2.0, 4.0, 6.0])
    assert not clone_leads([1.68], learner=[2.0, 4.0, 6.0])


def test_returns_of_the_data_count_as_the_first_of_the_clone(numbers):
    # One own return and the last three of D: (-2 - 2 - 2 - 6) / 4 = -3.
    data = [-100.0, -2.0, -2.0, -2.0]
    assert clone_leads(data, learner=[-3.1], clone=[-6.0])
    assert not clone_leads(data, learner=[-2.9], clone=[-6.0])


def test_own_returns_that_are_clearly_worse_refute_the_data(numbers):
    """D: mean -2, error 0. One own episode refutes nothing, two do, if they are alike enough."""
    data = [-2.0] * 4
    assert clone_leads(data, learner=[-4.0], clone=[-9.0])  # (3 * -2 - 9) / 4 = -3.75
    assert not clone_leads(data, learner=[-8.5], clone=[-8.0, -9.0])  # a tie at their own mean
    assert clone_leads(data, learner=[-8.6], clone=[-8.0, -9.0])
    # Own returns -3 and -9: mean -6, error 3. -6 + 2 * 3 lies above -2: (-2 - 2 - 3 - 9) / 4 = -4.
    assert clone_leads(data, learner=[-4.1], clone=[-3.0, -9.0])
    assert not clone_leads(data, learner=[-3.9], clone=[-3.0, -9.0])
    # D's error counts, too: sqrt(64 / 3 / 4) = 2.3. Own returns: mean -5.5, error 0.5.
    wide = [2.0, -6.0, 2.0, -6.0]
    assert clone_leads(wide, learner=[-3.8], clone=[-5.0, -6.0])  # (2 - 6 - 5 - 6) / 4 = -3.75
    # Own returns that are better than D's refute nothing.
    assert clone_leads([-9.0] * 4, learner=[-5.1], clone=[-1.0, -1.0])


@pytest.mark.parametrize(
    ("best", "threshold", "leads"), [(-99.0, -100, True), (-100, -100, True), (-101, -100, False)]
)
def test_before_the_learners_first_return_the_threshold_decides(numbers, best, threshold, leads):
    data_returns = [-500.0, best, -500.0]
    assert clone_leads(data_returns, threshold=threshold) == leads
    # Afterwards the threshold plays no part.
    assert clone_leads(data_returns, learner=[-600.0], threshold=0)
    assert not clone_leads(data_returns, learner=[-1.0], threshold=-1000)


def test_both_are_taken_at_the_lower_end(numbers, monkeypatch):
    """By hand: the clone's mean is -10, its standard error 2; the learner's -13 and 1."""
    clone_returns, learner_returns = [-12.0, -8.0], [-15.0, -13.0, -11.0]
    learner_error = 2 / np.sqrt(3)
    for off_clone, off_learner in ((0, 0), (1, 0), (2, 0), (2, 1), (2, 0.5), (1.5, -0.1)):
        monkeypatch.setattr(loro, "CLONE_ERRORS", off_clone)
        monkeypatch.setattr(loro, "LEARNER_ERRORS", off_learner)
        leads = -10 - 2 * off_clone > -13 - learner_error * off_learner
        assert clone_leads(clone_returns, learner=learner_returns) == leads
    # A single return has no error.
    monkeypatch.setattr(loro, "CLONE_ERRORS", 100.0)
    assert clone_leads([-10.0], learner=[-11.0])


def test_a_clone_that_is_not_usable_never_plays(numbers):
    for usable in (True, False):
        more = {"threshold": -10, "usable": usable}
        assert clone_leads([-1.0], **more) == usable
        assert clone_leads([-1.0], learner=[-5.0], **more) == usable
        guide = after([-1.0], learner=[-5.0], **more)
        assert (guide.player(1) is guide.clone) == usable


def test_enormous_returns_overflow_nothing():
    """D's rewards are at most the largest number of 32 bits, for 10,000 steps."""
    most = 1e4 * float(np.finfo(np.float32).max)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert clone_leads([most, -most], threshold=0)
        assert clone_leads([most, most], learner=[1.0, 2.0], clone=[most, most])
        assert not clone_leads([-most, -most], learner=[1.0, 2.0], clone=[-most, most / 2])
        # Two own returns of the task refute what its data set says.
        assert not clone_leads([most, most], learner=[1.0, 2.0], clone=[0.0, -1.0])


# The returns of D's player


def data_with(rewards, episode, terminated=(), **metadata):
    n = len(rewards)
    return Transitions(
        observations=np.zeros(n, int),
        actions=np.zeros(n, int),
        rewards=np.array(rewards, np.float64),
        next_observations=np.zeros(n, int),
        terminated=np.isin(np.arange(n), terminated),
        truncated=np.zeros(n, bool),
        episode=np.array(episode),
        metadata=metadata,
    )


def test_the_returns_of_the_teacher_by_hand():
    data = data_with([1, 2, 3, 4, 5, 6], [0, 0, 0, 4, 4, 4], (2, 5), collection_step_limit=8)
    assert returns_of_teacher(data, 8).tolist() == [6, 15]
    # The first step of an episode is missing: it is taken to have earned what the second one did.
    dropped = replace(data, metadata=data.metadata | {"first_transition_dropped": True})
    assert returns_of_teacher(dropped, 8).tolist() == [6 + 1, 15 + 4]
    # The last episode was not played to its end.
    unfinished = replace(dropped, metadata=dropped.metadata | {"last_episode_unfinished": True})
    assert returns_of_teacher(unfinished, 8).tolist() == [7]


def test_the_returns_of_a_teacher_with_another_step_limit():
    """Episodes of pendulum that were cut off after 50 steps count four times, as 200 steps."""
    task = minloro.make_task("pendulum")
    data = minloro.collect_random(task, 120, step_limit=50)
    found = returns_of_teacher(data, task.step_limit)
    expected = [4 * data.rewards[:50].sum(), 4 * data.rewards[50:100].sum()]
    np.testing.assert_allclose(found, expected)


# The player of a clone


def test_a_clone_explores_as_the_learner_does():
    player = ClonePlayer(Player(plays=[1], epsilon=0.3), FakeClone(plays=[0]))
    rng = np.random.default_rng(0)
    encoded = player.encode([0])
    drawn = np.mean([player.act(encoded, rng) for _ in range(20_000)])
    assert abs(drawn - 0.15) < 0.01  # half of the random actions are the other one
    assert {player.act(encoded) for _ in range(100)} == {0}


def test_where_a_clone_knows_nothing_the_learner_acts():
    player = ClonePlayer(Player(plays=[1, 0]), FakeClone(plays=[None, 1]))
    for rng in (None, np.random.default_rng(0)):
        assert [player.act(player.encode([n]), rng) for n in range(4)] == [1, 1, 1, 1]


def test_an_evaluation_draws_from_a_generator_of_its_own():
    data = data_with([0, 0], [0, 1])
    clone = TableClone(replace(data, actions=np.array([0, 1])), 1, 2)
    agent = minloro.make_task("cliffwalking").make_agent()
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    runs = []
    for seed in (0, 0, 1):
        player = ClonePlayer(agent, clone, seed)
        runs.append([player.act(0) for _ in range(50)])
    assert rng.bit_generator.state == state and set(runs[0]) == {0, 1}
    assert runs[0] == runs[1] != runs[2]


# Learning with a guide


def clock_task(step_limit=6, **more):
    agent = minloro.make_task("cartpole").agent
    settings = {"steps": 400, "threshold": 0, "env_factory": Clock} | more
    return Task("clock", "Clock", step_limit, agent, **settings)


@pytest.fixture
def trusted(monkeypatch):
    """A guide that believes in a good D whatever its clone earns."""
    monkeypatch.setattr(loro, "CLONE_OWN", 10**9)
    monkeypatch.setattr(loro, "CLONE_RECENT", 10**9)


def play_clock(agent, clone, steps=200, step_limit=6):
    """Learn in the clock task with a clone whose D is very good; return the episodes."""
    data = minloro.collect_random(clock_task(), 10)
    data = replace(data, rewards=np.full(10, 1e9))
    options = {"data_retention": "drop", "clone": clone}
    return minloro.finetune(agent, clock_task(step_limit), 10 + steps, data, **options)


def rows_of(agent):
    """{reward: (s, action, s', terminated)} of all minibatches; a reward is the step's number."""
    rows = {}
    for batch in agent.batches:
        assert type(batch) is Minibatch  # which has no `truncated`
        for i in range(len(batch)):
            s, after = float(batch.observations[i][0]), float(batch.next_observations[i][0])
            row = (s, int(batch.actions[i]), after, bool(batch.terminated[i]))
            assert rows.setdefault(int(batch.rewards[i]), row) == row
    return rows


def test_the_learner_sees_every_step_of_both_players(trusted):
    agent = Player(plays=(0, 0, 0, 1))
    returns = play_clock(agent, FakeClone(plays=(0, 1)))
    train = [r for r in returns if r.phase == "train"]
    assert [r.episode_length for r in train[:6]] == [4, 2, 4, 2, 4, 2]
    assert [r.behaviour for r in train[:6]] == [LEARNER, CLONE] * 3
    rows = rows_of(agent)
    assert sorted(rows) == list(range(200))
    for number, row in rows.items():
        place = number % 6  # four steps of the learner, two of the clone
        s = place if place < 4 else place - 4
        ends = place in (3, 5)
        assert row == (s, int(ends), s + 1, ends)
    # It learns after every step, as soon as there is a minibatch, and from the newest row at once.
    newest = [int(batch.rewards[-1]) for batch in agent.batches]
    assert newest == list(range(3, 200))


@pytest.mark.parametrize(
    ("learner_plays", "clone_plays", "lengths"),
    [((0, 0, 0, 1), (0,), (4, 6)), ((0,), (0, 0, 1), (6, 3))],
)
def test_a_time_limit_is_told_from_an_end_whoever_plays(
    learner_plays, clone_plays, lengths, trusted
):
    agent = Player(plays=learner_plays)
    returns = play_clock(agent, FakeClone(plays=clone_plays), step_limit=6)
    train = [r for r in returns if r.phase == "train"]
    assert tuple(r.episode_length for r in train[:2]) == lengths
    for number, (s, action, after, terminated) in rows_of(agent).items():
        place = number % sum(lengths)
        learner_plays_it = place < lengths[0]
        step = place if learner_plays_it else place - lengths[0]
        length = lengths[0] if learner_plays_it else lengths[1]
        # An episode of 6 steps was cut off: its last state is a next one, and keeps its value.
        assert (s, after) == (step, step + 1)
        assert terminated == (action == 1) == (step == length - 1 and length < 6)


def guided_training(evaluation_episodes, task, data):
    """Learn with a clone of D whose returns are taken as unbeatable.

    Returns the weights, the training, the evaluations, and the sum of features of every minibatch.
    """
    agent = task.make_agent(1)
    clone = fit_clone(agent, data, *task.spaces, seed=1)
    batches = remember_batches(agent)
    unbeatable = replace(data, rewards=data.rewards * 1000)
    options = {"data_retention": "drop", "evaluation_episodes": evaluation_episodes}
    returns = minloro.finetune(agent, task, 2000, unbeatable, 1, clone=clone, **options)
    train = [r for r in returns if r.phase == "train"]
    evaluations = [r for r in returns if r.phase == "eval"]
    sums = [float(batch.observations.sum()) for batch in batches]
    return agent.weights.tobytes(), train, evaluations, sums


def test_evaluating_does_not_change_the_training(cartpole, small_data, trusted, monkeypatch):
    runs = [guided_training(n, cartpole, small_data) for n in (1, 3)]
    monkeypatch.setattr(loro, "FIRST_EPISODES", 2)
    runs.append(guided_training(1, cartpole, small_data))
    weights, train, evaluations, batches = runs[0]
    assert {r.behaviour for r in train} == {LEARNER, CLONE}
    assert {r.behaviour for r in evaluations} == {CLONE}
    for other_weights, other_train, other_evaluations, other_batches in runs[1:]:
        assert other_weights == weights and other_batches == batches and other_train == train
        assert other_evaluations != evaluations


# Whole runs


def job(task, arm, data, seed=0, steps=1000, updates=100):
    return Job(task, arm, seed, steps, data, updates, task.data_retention)


def bits(agent):
    return (agent.table if hasattr(agent, "table") else agent.weights).tobytes()


@pytest.mark.parametrize(
    ("name", "rows", "steps"),
    [("mountaincar", 600, 4000), ("cliffwalking", 600, 3000), ("frozenlake", 300, 2000)],
)
def test_with_a_player_that_always_fails_everything_is_as_in_loro(name, rows, steps):
    """Evaluations, training and weights; so it is although the learner succeeds on the way."""
    task = minloro.make_task(name)
    data = minloro.collect_random(task, rows, seed=1)
    least = {"mountaincar": -200, "cliffwalking": -1000, "frozenlake": 0}[name]
    assert returns_of_teacher(data, task.step_limit).max() <= least
    guided, guided_agent = run_arm(job(task, "guided", data, steps=steps))
    plain, plain_agent = run_arm(job(task, "loro", data, steps=steps))
    assert guided == plain
    assert bits(guided_agent) == bits(plain_agent)
    assert {r.behaviour for r in guided if r.phase != "llm"} == {LEARNER, GREEDY}
    assert max(r.episode_return for r in plain) > least


@pytest.mark.parametrize("name", CORE_TASKS)
def test_with_random_data_every_task_learns(name):
    """The control gets the guide, too."""
    task = minloro.make_task(name)
    data = minloro.collect_random(task, 250)
    returns, agent = run_arm(job(task, "guided", data, steps=450, updates=20))
    evaluations = [r for r in returns if r.phase == "eval"]
    assert [r.env_steps for r in evaluations] == [250, 400]
    assert agent.n_updates > 200


START, GOAL = 36, 47
MOVE = {0: -12, 1: 1, 2: 12}


def way_over_the_cliff(episodes):
    """D of cliffwalking: the shortest way, up, eleven times right, and down."""
    rows = []
    for episode in range(episodes):
        state = START
        for action in (0, *[1] * 11, 2):
            after = state + MOVE[action]
            rows.append((state, action, -1.0, after, after == GOAL, False, episode))
            state = after
    metadata = {"environment": "CliffWalking-v1", "collection_step_limit": 200}
    return from_rows(rows, None, metadata)


@pytest.fixture(scope="module")
def cliff():
    return minloro.make_task("cliffwalking")


def test_the_hand_made_way_is_one_of_the_simulator(cliff):
    data = way_over_the_cliff(2)
    assert not unreproduced(cliff, data).any()
    assert returns_of_teacher(data, cliff.step_limit).tolist() == [-13, -13]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_after_a_perfect_player_the_evaluations_are_perfect(cliff, seed):
    """All but one at most: between two equals, exploration decides who is thought better."""
    data = way_over_the_cliff(3)
    returns, _ = run_arm(job(cliff, "guided", data, seed, steps=2000))
    evaluations = [r for r in returns if r.phase == "eval"]
    assert [r.env_steps for r in evaluations] == [39, *range(200, 2001, 200)]
    assert [r.episode_return for r in evaluations].count(-13) >= len(evaluations) - 1
    assert evaluations[0].episode_return == -13 and evaluations[0].behaviour == CLONE
    train = [r for r in returns if r.phase == "train"]
    assert train[0].behaviour == LEARNER and train[1].behaviour == CLONE
    assert max(r.episode_return for r in train if r.behaviour == CLONE) == -13
    plain, _ = run_arm(job(cliff, "loro", data, seed, steps=2000))
    assert min(r.episode_return for r in plain if r.phase == "eval") < -13


def test_a_single_episode_makes_no_clone_of_a_table(cliff):
    """No other episode shows its states: the clone is not usable, and all is as in loro."""
    data = way_over_the_cliff(1)
    assert run_arm(job(cliff, "guided", data))[0] == run_arm(job(cliff, "loro", data))[0]


def test_loro_does_not_know_the_guide(cartpole, small_data):
    """A clone without D is not used, and without a clone there is no guide."""
    runs = []
    for clone in (None, FakeClone()):
        agent = cartpole.make_agent()
        runs.append(minloro.finetune(agent, cartpole, 600, seed=2, clone=clone))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("limit", [None, 50])
def test_a_guided_run_with_short_or_unfinished_episodes_of_pendulum(limit):
    task = minloro.make_task("pendulum")
    data = minloro.collect_random(task, 100, step_limit=limit)
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        returns, _ = run_arm(job(task, "guided", data, steps=600, updates=10))
    assert np.isfinite([r.episode_return for r in returns]).all()
    assert returns[-1].phase == "eval"


# The arm `clone`


def test_the_clone_alone_is_a_flat_line(cliff):
    data = way_over_the_cliff(2)
    returns, agent = run_arm(job(cliff, "clone", data))
    assert agent is None
    assert [r for r in returns if r.phase == "llm"] == run_arm(job(cliff, "guided", data))[0][:2]
    evaluations = returns[2:]
    expected = [("eval", CLONE, n, -13.0, 13.0) for n in (26, 200, 400, 600, 800, 1000)]
    assert evaluations == expected


def test_the_evaluations_of_the_clone_alone_are_its_own(cartpole, small_data, monkeypatch):
    """Each starts elsewhere, and where those of the other arms do. Nothing is learned."""
    seeds = {"clone": [], "loro": []}
    real = loro.evaluate

    def runs(arm):
        def evaluate(player, env, seeds_of_point):
            seeds[arm].append(tuple(seeds_of_point))
            return real(player, env, seeds[arm][-1])

        with monkeypatch.context() as patch:
            patch.setattr("minloro.loro.evaluate", evaluate)

            returns, _ = run_arm(job(cartpole, arm, small_data, updates=5))
        return [r for r in returns if r.phase == "eval"]

    clone, plain = runs("clone"), runs("loro")
    assert seeds["clone"] == seeds["loro"]
    assert [len(point) for point in seeds["clone"]] == [FIRST_EPISODES] + [1] * (len(clone) - 1)
    assert [r.env_steps for r in clone] == [r.env_steps for r in plain]
    assert len({r.episode_return for r in clone}) > 1


@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_guided_begins_where_the_clone_is(name):
    """Where D's best episode reaches the threshold, the first evaluation is the clone's.

    A table's clone would play differently in states that D never shows.
    """
    task = replace(minloro.make_task(name), threshold=-1e9)
    data = minloro.collect(task, minloro.StandInLLM(task, skill=1.0), episodes=1)
    first = []
    for arm in ("guided", "clone"):
        returns, _ = run_arm(job(task, arm, data, steps=400, updates=10))
        first.append(next(r for r in returns if r.phase == "eval"))
    assert first[0] == first[1] and first[0].behaviour == CLONE


# returns.csv


def test_returns_csv_says_who_was_evaluated_and_who_trained(cliff, tmp_path):
    save_transitions(tmp_path / "data.npz", way_over_the_cliff(2))
    out = tmp_path / "run"
    argv = "cliffwalking --seeds 1 --steps 1000 --jobs 1 --quiet --arms loro,guided,clone".split()
    assert main([*argv, "--data", str(tmp_path / "data.npz"), "--out", str(out)]) == 0
    with open(out / "returns.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    seen = {(row["arm"], row["phase"], row["behaviour"]) for row in rows if row["phase"] != "llm"}
    assert seen >= {("guided", "eval", CLONE), ("guided", "train", CLONE)}
    assert ("guided", "train", LEARNER) in seen
    assert {one[1:] for one in seen if one[0] == "loro"} == {("eval", GREEDY), ("train", LEARNER)}
    assert {one[1:] for one in seen if one[0] == "clone"} == {("eval", CLONE)}
    # The file says of every episode what the run does.
    data = way_over_the_cliff(2)
    expected, _ = run_arm(Job(cliff, "guided", 0, 1000, data, cliff.updates, cliff.data_retention))
    written = [row for row in rows if row["arm"] == "guided"]
    assert [row["behaviour"] for row in written] == [r.behaviour for r in expected]
    # The clone alone learned nothing, so there is no agent of it.
    agents = {path.stem for path in (out / "agents").iterdir()}
    assert agents == {"loro-0", "guided-0"}
