"""What the pendulum's prompt says is what the environment does."""

import re

import numpy as np
import pytest
from test_transcript import Scripted

import minloro
from minloro.llm.policy import LLMPolicy
from minloro.rollout import unreproduced
from minloro.transitions import load_transitions


@pytest.fixture(scope="module")
def pendulum():
    return minloro.make_task("pendulum")


def test_angles_and_their_motion(pendulum):
    env = pendulum.make_env()
    bare = env.unwrapped
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        angle, speed = rng.uniform([-3.1, -8], [3.1, 8])
        bare.state = np.array([angle, speed])
        text = pendulum.prompt.describe(bare._get_obs(), [])
        told_angle, told_speed = (float(v) for v in re.findall(r": ([+-]?[0-9.]+) rad", text))
        assert abs(told_angle - angle) < 1e-3 and abs(told_speed - speed) < 0.01
        told_degrees = float(re.search(r"\(([+-]?[0-9.]+) degrees", text)[1])
        assert told_degrees == pytest.approx(np.degrees(angle), abs=0.06)
        assert ("counter-clockwise from upright" in text) == (angle > 0)
        assert ("turning counter-clockwise" in text) == (speed > 0)
        if abs(speed) > 1 and 0.5 < abs(angle) < 2.5:
            # "Towards" means that the size of the angle falls. (In a step of the environment the
            # speed may turn first.)
            after = angle + speed * 0.01
            assert ("towards the upright" in text) == (abs(after) < abs(angle))
            assert ("away from the upright" in text) == (abs(after) > abs(angle))


def test_directions_of_torque_and_motion(pendulum):
    env = pendulum.make_env()
    env.reset(seed=0)
    for torque in (-2.0, 2.0):
        env.unwrapped.state = np.array([np.pi, 0.0])  # hanging: no gravity torque
        observation = env.step(np.array([torque], np.float32))[0]
        assert np.sign(observation[2]) == np.sign(torque)
    env.unwrapped.state = np.array([0.3, 2.0])  # a positive speed raises a positive angle
    cos, sin, _ = env.step(np.array([0.0], np.float32))[0]
    assert np.arctan2(sin, cos) > 0.3


def test_facts(pendulum):
    env = pendulum.make_env()
    bare = env.unwrapped
    rules = pendulum.prompt.rules
    env.reset(seed=0)
    assert (bare.max_torque, bare.max_speed, bare.dt, bare.l) == (2.0, 8, 0.05, 1.0)
    facts = ["at most 2 N m", "at most 8 rad/s", "0.05 s", "a rod of 1 m"]
    for fact in (*facts, f"after {env.spec.max_episode_steps} steps"):
        assert fact in rules
    bare.state = np.array([0.5, -1.0])
    reward = env.step(np.array([1.5], np.float32))[1]
    assert reward == pytest.approx(-(0.5**2 + 0.1 * 1.0 + 0.001 * 1.5**2))
    assert pendulum.prompt.low == env.action_space.low[0]
    assert pendulum.prompt.high == env.action_space.high[0]


@pytest.mark.parametrize(
    ("reply", "torque"),
    [
        ("Action: 1.5", 1.5),
        ("Action: -2", -2.0),
        ("Action: 2.0", 2.0),
        ("Swing!\nAction: +0.25\n", 0.25),
        ("Action: .5", 0.5),
        ("Action: 2.001", None),
        ("Action: -3", None),
        ("Action: nan", None),
        ("Action: NaN", None),
        ("Action: inf", None),
        ("Action: -inf", None),
        ("Action: 1e5", None),
        ("Action: 1e-1", None),
        ("Action: x", None),
        ("Action: 1,5", None),
        ("1.5", None),
        ("Action: 1.5 N m", None),
        ("Action: 1\nDone.", None),
        ("", None),
        ("Action: " + "1" * 500, None),
        ("Action: ١", None),
        ("Action: .", None),
        ("Action: +", None),
    ],
)
def test_torques_that_can_and_cannot_be_read(pendulum, reply, torque):
    action = pendulum.prompt.parse(reply)
    if torque is None:
        assert action is None
    else:
        assert action.tolist() == [torque]


def test_unreadable_torques_are_counted_and_replaced(pendulum):
    policy = LLMPolicy(pendulum, Scripted("Action: 7"), seed=0)
    actions = [policy.choose([1.0, 0.0, 0.0], [], step, episode=0) for step in range(50)]
    assert policy.counts["parse_failures"] == 100 and policy.counts["fallbacks"] == 50
    torques = np.array([action for action, source in actions if source == "fallback"])
    assert torques.shape == (50, 1) and np.ptp(torques) > 2 and (np.abs(torques) <= 2).all()


def test_rows_replay(pendulum, published):
    data = minloro.collect(pendulum, minloro.StandInLLM(pendulum), episodes=2)
    assert data.actions.shape == (400, 1) and not data.terminated.any()
    assert np.flatnonzero(data.truncated).tolist() == [199, 399]
    assert not unreproduced(pendulum, data).any()
    theirs = load_transitions(published("pendulum"), pendulum)
    assert not unreproduced(pendulum, theirs).any()
    # Their episodes have 49 or 50 steps: returns are compared over the 200 steps of the task.
    assert theirs.rescaled(200) and theirs.episode_returns.mean() == pytest.approx(-309.8, abs=10)
    assert theirs.returns_at(200).mean() == pytest.approx(200 * theirs.rewards.mean(), rel=1e-6)


def test_the_stand_in_is_better_than_random(pendulum):
    means = []
    for skill in (0, 0.7):
        llm = minloro.StandInLLM(pendulum, skill=skill)
        data = minloro.collect(pendulum, llm, episodes=8)
        means.append(data.episode_returns.mean())
    assert means[0] < -950 and -850 < means[1] < -300
