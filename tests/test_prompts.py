"""The prompt of cartpole, and how an action is read from a reply."""

import re

import numpy as np
import pytest

from minloro.tasks.words import signed


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Action: 1", 0),
        ("Action: 2", 1),
        ("Action:2", 1),
        ("  Action: 2  \n\n", 1),
        ("I think.\nAction: 1", 0),
        ("Action: 1\nAction: 2", 1),
        ("Action: 2\r\n", 1),
        ("", None),
        ("2", None),
        ("Action: 0", None),
        ("Action: 3", None),
        ("Action: -1", None),
        ("Action: 1.5", None),
        ("Action: two", None),
        ("action: 2", None),
        ("Action: 2 (right)", None),
        ("Action: 2\nGood luck!", None),
        ("The pole leans 0.21 rad", None),
        ("Action: 1 or 2", None),
        ("My Action: 2", None),
        ("Action: ²", None),
        ("Action: 99999999999999999999", None),
    ],
)
def test_only_the_last_line_is_an_action(cartpole, reply, action):
    assert cartpole.prompt.parse(reply) == action


def test_every_sign_is_in_words_and_numbers(cartpole):
    text = cartpole.prompt.describe(np.array([0.5, -0.25, -0.0123, 1.5], np.float32), [])
    assert "+0.500 m, right of the centre" in text
    assert "-0.250 m/s, moving to the left" in text
    assert "-0.0123 rad (-0.70 degrees), leaning to the left" in text
    assert "+1.500 rad/s, turning to the right" in text
    mirrored = cartpole.prompt.describe(np.array([-0.5, 0.25, 0.0123, -1.5], np.float32), [])
    assert "left of the centre" in mirrored
    assert "leaning to the right" in mirrored and "+0.0123 rad" in mirrored


def test_zero_has_no_sign(cartpole):
    text = cartpole.prompt.describe(np.array([-1e-6, 0.0, 1e-6, -0.0]), [])
    assert "0.000 m, at the centre" in text and "standing still" in text and "upright" in text
    assert "-0" not in text and "+0" not in text
    assert signed(-0.0, 2, "m") == "0.00 m"


def test_the_rules_are_those_of_the_environment(cartpole):
    rules = cartpole.prompt.rules
    env = cartpole.make_env()
    bare = env.unwrapped
    assert f"{bare.x_threshold:g} m" in rules
    assert f"{np.degrees(bare.theta_threshold_radians):g} degrees" in rules
    assert f"{bare.theta_threshold_radians:.4f}"[:5] in rules
    assert f"after {env.spec.max_episode_steps} steps" in rules
    assert cartpole.step_limit == env.spec.max_episode_steps
    env.reset(seed=0)
    for action, sign in ((0, -1), (1, 1)):  # 1: to the left, 2: to the right
        cartpole.set_state(bare, np.zeros(4))
        observation, reward, terminated, _, _ = env.step(action)
        assert np.sign(observation[1]) == sign and reward == 1 and not terminated
    # Positive angles lean to the right: above a cart that stands still, such a pole falls further
    # to the right.
    cartpole.set_state(bare, [0, 0, 0.1, 0])
    assert env.step(0)[0][3] > 0
    cartpole.set_state(bare, [0, 3, 0.2094, 2.0])
    _, reward, terminated, _, _ = env.step(1)
    assert terminated and reward == 1  # "1 for every step, the last one included"


def test_the_messages(cartpole):
    system, user = cartpole.prompt.messages(np.zeros(4), [])
    assert (system["role"], user["role"]) == ("system", "user")
    assert "1: push the cart to the left\n2: push the cart to the right" in system["content"]
    assert system["content"].endswith("\nAction: N")
    assert not re.search(r"\b(None|nan)\b|  ", system["content"] + user["content"])
