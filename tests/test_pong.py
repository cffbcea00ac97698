"""Pong: the emulator's RAM against its screen, the protocol of an episode, and the prompt.

Also what happens if the extra package is not installed.
"""

import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from conftest import ATARI

import minloro
from minloro import cli
from minloro.arms import Job
from minloro.bench import sweep
from minloro.errors import UserError
from minloro.tasks.pong import MOST_WAITING, Pong, PongFeatures, stand_in_rule
from minloro.transitions import load_transitions, save_transitions

emulator = pytest.mark.skipif(
    not ATARI, reason="the extra atari is not installed: pip install 'minloro[atari]'"
)
PADDLE, OPPONENT, X, Y, VX, VY, LOST, WON = range(8)


@pytest.fixture(scope="module")
def pong():
    return minloro.make_task("pong")


def play(env, seed, actions):
    """Return the observations, (n + 1, 8), and rewards, (n,), of an episode under fixed actions."""
    observations = [env.reset(seed=seed)[0]]
    rewards = []
    for action in actions:
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards)


@pytest.fixture(scope="module")
def random_actions():
    return np.random.default_rng(0).integers(3, size=400).tolist()


@emulator
def test_same_seed_same_game_whatever_was_played_before(random_actions):
    first = Pong()
    second = Pong()
    play(second, 7, random_actions[:50])
    for seed in (3, 4):
        a, rewards = play(first, seed, random_actions)
        b, same_rewards = play(second, seed, random_actions)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(rewards, same_rewards)


@emulator
def test_an_episode_is_one_of_31_games(random_actions):
    env = Pong()
    waits = {}
    for seed in range(200):
        env.reset(seed=seed)
        waits.setdefault(env._game.unwrapped.ale.getEpisodeFrameNumber(), []).append(seed)
    assert sorted(waits) == list(range(MOST_WAITING + 1)) == list(range(31))
    games = set()
    for seeds in waits.values():
        played = [play(env, seed, random_actions[:100])[0].tobytes() for seed in seeds[:2]]
        assert len(set(played)) == 1  # the wait alone decides the game
        games.add(played[0])
    assert len(games) == 31


@emulator
def test_an_action_is_held_for_four_frames_once():
    env = Pong()
    env.reset(seed=0)
    emulated = env._game.unwrapped.ale
    start = emulated.getEpisodeFrameNumber()
    for step in range(1, 11):
        env.step(step % 3)
        assert emulated.getEpisodeFrameNumber() == start + 4 * step
    assert emulated.getFloat("repeat_action_probability") == 0


PADDLE_COLOUR = (92, 186, 92)
OPPONENT_COLOUR = (213, 130, 74)
BALL_COLOUR = (236, 236, 236)


def pixels(env, colour):
    """Row and column of every pixel of the playing field that has a colour."""
    screen = env._game.unwrapped.ale.getScreenRGB()[34:194]
    return np.argwhere((screen == colour).all(axis=-1))


@emulator
def test_the_labels_are_what_the_screen_shows(random_actions):
    """The pixels are an oracle that knows nothing of RAM."""
    env = Pong()
    seen = 0
    observation, _ = env.reset(seed=0)
    for action in random_actions:
        ours = pixels(env, PADDLE_COLOUR)
        theirs = pixels(env, OPPONENT_COLOUR)
        ball = pixels(env, BALL_COLOUR)
        if 0 < ours[:, 0].min() and ours[:, 0].max() < 159:  # not cut by the edge
            assert abs(ours[:, 0].min() + 48 - observation[PADDLE]) <= 1
        if len(ball) == 8 and len(theirs) == 64 and observation[Y]:
            assert abs(ball[:, 0].min() + 48 - observation[Y]) <= 1
            assert ball[:, 1].min() + 49 == observation[X]
            assert abs(theirs[:, 0].min() + 48 - observation[OPPONENT]) <= 1
            seen += 1
        observation, *_ = env.step(action)
    assert seen > 100


@emulator
def test_the_ball_is_in_play_where_the_screen_shows_it():
    """At the very first frame RAM holds the height of a ball that is not there."""
    env = Pong()
    waited = set()
    for seed in range(60):
        observation, _ = env.reset(seed=seed)
        waited.add(env._game.unwrapped.ale.getEpisodeFrameNumber())
        assert not observation[[Y, VX, VY]].any()
        while True:
            assert (observation[Y] > 0) == (len(pixels(env, BALL_COLOUR)) > 0), seed
            if observation[Y]:
                break
            observation, *_ = env.step(0)
    assert 0 in waited


@emulator
def test_a_new_game_knows_nothing_of_the_last_ball():
    env = Pong()
    fresh = Pong()
    env.reset(seed=0)
    while not env.step(0)[0][Y]:
        pass
    env.reset(seed=1)
    fresh.reset(seed=1)
    np.testing.assert_array_equal(env._ball, fresh._ball)


@emulator
def test_the_emulator_is_quiet(capfd):
    Pong().reset(seed=0)
    assert capfd.readouterr() == ("", "")


@emulator
def test_velocity_is_the_balls_way_since_the_last_decision(random_actions):
    observations, _ = play(Pong(), 5, random_actions)
    before = observations[:-1]
    now = observations[1:]
    in_play = (before[:, Y] > 0) & (now[:, Y] > 0)
    np.testing.assert_array_equal(now[in_play, VX], (now - before)[in_play, X])
    np.testing.assert_array_equal(now[in_play, VY], (now - before)[in_play, Y])
    assert in_play.sum() > 100 and (~in_play).sum() > 10
    assert (now[~in_play, VX : VY + 1] == 0).all() and (observations[0, VX : VY + 1] == 0).all()
    assert np.abs(observations[:, VX : VY + 1]).max() < 13


@emulator
def test_rewards_are_the_points(random_actions):
    env = Pong()
    observations, rewards = play(env, 1, random_actions)
    changes = np.diff(observations[:, [WON, LOST]], axis=0)
    np.testing.assert_array_equal(rewards, changes[:, 0] - changes[:, 1])
    assert (rewards == -1).sum() >= 3 and env.observation_space.contains(observations[-1])


@emulator
@pytest.mark.parametrize(("action", "expected"), [(0, 0), (1, -1), (2, 1)])
def test_the_three_moves(action, expected):
    up_and_down = [1, 2] * 5
    observations, _ = play(Pong(), 0, up_and_down + [0] * 6 + [action] * 6)
    assert np.sign(observations[-1, PADDLE] - observations[-7, PADDLE]) == expected


@emulator
def test_truncated_after_200_decisions_and_terminated_at_21_points(pong):
    env = pong.make_env()
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(200)]
    assert ends[-1] == (False, True)
    assert set(ends[:-1]) == {(False, False)}
    whole = Pong()
    whole.reset(seed=0)
    for _ in range(2000):
        observation, _, terminated, truncated, _ = whole.step(0)
        if terminated or truncated:
            break
    assert terminated and not truncated and observation[LOST] == 21 and observation[WON] == 0


def test_the_prompt_says_where_the_ball_is(pong):
    def lines(*observation):
        _, user = pong.prompt.messages(np.array(observation, np.float32), [])
        return user["content"].splitlines()

    assert lines(109, 130, 126, 134, 4, -8, 2, 1) == [
        "The current state:",
        "Your paddle: height 117",
        "The opponent's paddle: height 138",
        "Ball: x 126, height 136",
        "Its motion, in pixels a decision: 4 to the right, towards you, 8 up",
        "The ball is 19 pixels below your paddle.",
        "Points: you 1, the opponent 2",
        "What do you do?",
    ]
    text = "\n".join(lines(140, 130, 126, 134, -4, 0, 0, 0))
    assert "4 to the left, away from you, neither up nor down" in text
    assert "12 pixels above your paddle" in text
    assert "The ball is level with your paddle." in lines(128, 130, 126, 134, 0, 8, 0, 0)
    assert "The ball is not in play; it will be in a moment." in lines(109, 0, 0, 0, 0, 0, 0, 0)
    assert pong.prompt.parse("Down.\nAction: 3") == 2 and pong.prompt.parse("Action: 4") is None


# The middle of the paddle at 109 is level with a ball at 115.
@pytest.mark.parametrize(
    ("y", "number"), [(0, 1), (115, 1), (119, 1), (120, 3), (111, 1), (110, 2), (200, 3), (40, 2)]
)
def test_the_stand_in_follows_the_ball(pong, y, number):
    observation = np.array([109, 130, 126, y, 0, 0, 0, 0], np.float32)
    assert stand_in_rule(pong.prompt.describe(observation, [])) == number


def test_features_see_the_distance_and_not_the_score():
    features = PongFeatures(order=2)
    row = np.array([109, 130, 126, 134, 4, -8, 0, 0], np.float32)
    one = features(row)
    later = features(row + [0, 0, 0, 0, 0, 0, 3, 2])
    np.testing.assert_array_equal(one, later)
    np.testing.assert_allclose(features(np.stack([row, row + 1]))[0], one, rtol=0, atol=1e-5)
    assert one.shape == (features.size,) and one.dtype == np.float32
    for column in range(8):
        other = row.copy()
        other[column] += 1
        assert np.array_equal(features(other), one) == (column in (OPPONENT, LOST, WON)), column
    # As far from the ball, but elsewhere.
    elsewhere = row + [40, 0, 0, 40, 0, 0, 0, 0]
    assert not np.allclose(features(elsewhere), one)
    # Across, the ball is never faster than 6; up and down it reaches 12.
    sideways = np.tile(row, (2, 1))
    sideways[:, VX] = (6, 9)
    down = np.tile(row, (2, 1))
    down[:, VY] = (6, 9)
    assert np.allclose(*features(sideways)) and not np.allclose(*features(down))


@emulator
def test_from_d_to_learning_and_back_from_disk(pong, tmp_path):
    data = minloro.collect(pong, minloro.StandInLLM(pong, seed=0), episodes=2, seed=0)
    assert len(data) == 400 and data.truncated.sum() == 2 and not data.terminated.any()
    np.testing.assert_array_equal(data.observations[1:200], data.next_observations[:199])
    save_transitions(tmp_path / "D.npz", data)
    loaded = load_transitions(tmp_path / "D.npz", pong)
    np.testing.assert_array_equal(loaded.observations, data.observations)
    agent = pong.make_agent(0)
    minloro.pretrain(agent, loaded, updates=50)
    before = agent.weights.copy()
    returns = minloro.finetune(agent, pong, steps=800, data=loaded)
    assert [r.env_steps for r in returns if r.phase == "eval"] == [400, 600, 800]
    assert (agent.weights != before).any()


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ale_py", None)  # importing it raises ImportError
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"pip install 'minloro\[atari\]'"):
        minloro.make_task("pong").make_env()
    for more in ([], ["--dry-run"], ["--arms", "rl"]):
        assert cli.main(["pong", "--out", "run", *more]) == 2
        error = capsys.readouterr().err.strip()
        assert error.count("\n") == 0 and "minloro[atari]" in error
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@emulator
def test_the_command(tmp_path, capfd):
    out = tmp_path / "run"
    run = "pong --quiet --seeds 1 --episodes 2 --steps 800 --jobs 2".split()
    run += ["--arms", "rl,loro,random-data,mix,llm"]
    assert cli.main([*run, "--out", str(out)]) == 0
    said, err = capfd.readouterr()
    assert "not comparable" in said and not err
    assert cli.main(["--resume", str(out), "--quiet"]) == 0
    agent = minloro.make_task("pong").make_agent()
    agent.load(out / "agents" / "loro-0.npz")
    assert agent.n_updates == 3400
    capfd.readouterr()
    assert cli.main(["pong", "--dry-run"]) == 0
    assert "At most 2,000, if every episode" in capfd.readouterr().out


@pytest.mark.slow
@emulator
def test_rl_ends_at_minus_one_or_better(pong):
    jobs = [Job(pong, "rl", seed, pong.steps, None, 0, "keep") for seed in range(10)]
    with ProcessPoolExecutor() as pool:
        results = list(sweep.run(jobs, pool))
    finals = []
    for _, (returns, _) in results:
        evaluations = [r.episode_return for r in returns if r.phase == "eval"]
        finals.append(np.mean(evaluations[-10:]))
    assert len(finals) == 10 and np.mean(finals) >= -1
