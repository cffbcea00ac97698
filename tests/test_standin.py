"""The scripted stand-in: what its skill means, and that it says it is no language model."""

import re

import numpy as np
import pytest

import minloro
from minloro.errors import UserError
from minloro.flags import make_parser


def answers(task, skill, observation, seed=0, n=2000):
    llm = minloro.StandInLLM(task, seed=seed, skill=skill)
    messages = task.prompt.messages(observation, [])
    return [llm.complete(messages, (0, 0, step, 0)).text for step in range(n)]


def test_skill_is_the_share_of_rule_steps(cartpole):
    right = np.array([0, 0, 0.1, 0])
    left = np.array([0, 0, -0.1, 0])
    assert set(answers(cartpole, 1, right)) == {"Action: 2"}
    assert set(answers(cartpole, 1, left)) == {"Action: 1"}
    for skill in (0, 0.7):
        share = np.mean([text == "Action: 2" for text in answers(cartpole, skill, right)])
        # Random answers are right half of the time.
        assert abs(share - (skill + (1 - skill) / 2)) < 0.04


def test_an_answer_depends_on_seed_and_sample_alone(cartpole):
    messages = cartpole.prompt.messages(np.array([0, 0, 0.1, 0]), [])
    samples = [(0, episode, step, 0) for episode in range(5) for step in range(20)]
    forward = {s: minloro.StandInLLM(cartpole, seed=3).complete(messages, s).text for s in samples}
    llm = minloro.StandInLLM(cartpole, seed=3)
    assert {s: llm.complete(messages, s).text for s in reversed(samples)} == forward
    other = minloro.StandInLLM(cartpole, seed=4)
    assert {s: other.complete(messages, s).text for s in samples} != forward


def test_it_plays_as_long_as_the_models_of_the_paper(cartpole):
    data = minloro.collect(cartpole, minloro.StandInLLM(cartpole, seed=0), episodes=100, seed=0)
    assert 30 < data.episode_returns.mean() < 60
    assert set(data.source) == {"reply"}


def test_it_says_that_it_is_no_language_model(cartpole):
    llm = minloro.StandInLLM(cartpole)
    data = minloro.collect(cartpole, llm, episodes=1)
    _, user = cartpole.prompt.messages(np.zeros(4), [])
    reply = llm.complete([{"role": "system", "content": ""}, user], (0,))
    for text in (llm.name, reply.model, data.behaviour, data.metadata["model"]):
        assert "no language model was asked" in text


def test_bad_settings(cartpole):
    for skill in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match="skill"):
            minloro.StandInLLM(cartpole, skill=skill)
    bare = minloro.Task("mine", "CartPole-v1", 200, agent=cartpole.agent, steps=400, threshold=1)
    with pytest.raises(UserError, match="stand_in_rule"):
        minloro.StandInLLM(bare)
    with pytest.raises(UserError, match="no prompt"):
        minloro.collect(bare, minloro.StandInLLM(cartpole))


def test_default_skill():
    text = " ".join(make_parser().format_help().split())
    assert re.search(r"follow its rule \(default\s+0\.7\)", text)
