"""What a beginner does wrong is answered with what to do."""

import numpy as np
import pytest
from test_loro import Recorder

import minloro
from minloro.errors import UserError


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cartpol", "did you mean cartpole?"),
        ("CartPole-v1", "did you mean cartpole?"),
        ("Taxi", "did you mean taxi?"),
    ],
)
def test_an_unknown_task(name, near):
    with pytest.raises(UserError, match=r"choose one of cartpole, mountaincar, .*, taxi") as error:
        minloro.make_task(name)
    assert near in str(error.value)
    with pytest.raises(UserError, match="there is no task 'zzz'; choose"):
        minloro.make_task("zzz")


@pytest.mark.parametrize(
    "basis",
    [lambda *b: minloro.FourierBasis(*b, order=2), lambda *b: minloro.RadialBasis(*b, 3, 0.5)],
)
def test_bounds_of_features(basis, cartpole):
    space = cartpole.spaces[0]
    message = "two lists of equal length, with finite numbers, each low below its high"
    unequal = ([-1, -1, -1], [1, 1, 1, 1])
    not_below = [([1.0], [1.0]), ([1.0], [0.0])]
    for low, high in (unequal, (-1, 1), *not_below, ([0.0], [np.inf]), ([[0]], [[1]])):
        with pytest.raises(UserError, match=message):
            basis(low, high)
    agent = minloro.LinearQ(basis([-1, -1, -1], [1, 1, 1]), 2, step_size=0.1)
    data = minloro.collect_random(cartpole, 20)
    message = r"observations have the shape \(4,\): low and high need as many entries, not 3"
    with pytest.raises(UserError, match=message):
        minloro.pretrain(agent, data, 3)
    with pytest.raises(UserError, match=message):
        minloro.finetune(agent, cartpole, 300)
    assert basis([-1] * 4, [1] * 4)(np.zeros((2, 3, *space.shape))).shape[:2] == (2, 3)


@pytest.mark.parametrize("action", [np.array([0]), np.array([0.5, 0.5]), 0.0, None, 2])
def test_no_action_of_a_discrete_space(cartpole, action):
    agent = Recorder()
    agent.act = lambda encoded, rng=None: action
    message = r"Recorder.act returned .*no action of Discrete\(2\): return an int below n"
    with pytest.raises(UserError, match=message):
        minloro.finetune(agent, cartpole, 300)


@pytest.mark.parametrize("action", [0, 0.5, np.zeros(2), np.zeros((1, 1))])
def test_no_action_of_a_box(action):
    agent = Recorder()
    agent.act = lambda encoded, rng=None: action
    with pytest.raises(UserError, match=r"no action of Box.* an array of its shape for a Box"):
        minloro.finetune(agent, minloro.make_task("pendulum"), 300)


def test_agents_in_the_wrong_kind_of_task(cartpole):
    linear = minloro.LinearQ(minloro.FourierBasis([-1, -1, -8], [1, 1, 8], 2), 3, step_size=0.1)
    with pytest.raises(UserError, match="ActorCritic"):
        minloro.finetune(linear, minloro.make_task("pendulum"), 300)
    continuous = minloro.ActorCritic(4, [0], [1], np.random.default_rng(0))
    with pytest.raises(UserError, match="LinearQ"):
        minloro.finetune(continuous, cartpole, 300)


@pytest.mark.parametrize("action", [1, np.int64(1), np.int32(0)])
def test_any_kind_of_int_is_an_action(cartpole, action):
    agent = Recorder()
    agent.act = lambda encoded, rng=None: action
    assert minloro.finetune(agent, cartpole, 50)
