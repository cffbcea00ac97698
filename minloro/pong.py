"""Pong as eight labelled numbers out of the emulator's RAM, and the features in which it is learned.

Paper: the official code applies every action twice and starts every episode from the same state, so that one game can be
learned by heart. Here: an action is held for 4 frames, once, and up to 30 frames without an action (Mnih et al. 2015) go
before an episode. They are the only thing that chance decides: actions are never repeated at random ("sticky actions").

The emulator comes with the extra minloro[atari]. Left out on purpose: pixels, and the three actions with the fire button,
which the paper's prompt does not name either.
"""

import gymnasium as gym
import numpy as np

from minloro.agents.features import FourierBasis
from minloro.errors import UserError

# Where the numbers lie in RAM. Heights are those of upper edges and grow downwards; x grows to the right, where we play.
LABELS = {"paddle": 51, "opponent": 50, "ball_x": 49, "ball_y": 54, "opponent_score": 13, "score": 14}
MOVES = (0, 2, 3)  # stay, up, down: the emulator's NOOP, RIGHT and LEFT
MOST_WAITING = 30  # frames before an episode


class Pong(gym.Env):
    """ALE/Pong-v5, seen as (paddle, opponent, ball x, ball y, ball's velocity in x and y, opponent's score, score).

    Positions in pixels; velocities in pixels a decision, from its last frame and that of the decision before, 0 where the
    ball was not in play; ball y is 0 while it is not. Actions: 0 stay, 1 up, 2 down. Reward: 1 a point, -1 one lost.
    """

    def __init__(self):
        try:
            import ale_py  # registers its games, too
        except ImportError:
            raise UserError("the task pong needs an emulator: python -m pip install 'minloro[atari]'") from None
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._game = gym.make("ALE/Pong-v5", obs_type="ram", frameskip=4, repeat_action_probability=0.0)
        self._game.reset(seed=0)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        low = np.array([0, 0, 0, 0, -255, -255, 0, 0], np.float32)
        self.observation_space = gym.spaces.Box(low, np.full_like(low, 255))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start a game, after a random number of frames without an action."""
        super().reset(seed=seed)
        self._game.reset()  # without a seed: that would load the game's program again, which takes 100 ms
        emulator = self._game.unwrapped.ale
        for _ in range(self.np_random.integers(MOST_WAITING + 1)):
            emulator.act(0)  # NOOP, for the emulator, too, whose other numbers are not those of MOVES
        self._ball = np.zeros(2, np.float32)
        return self._observe(emulator.getRAM()), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold an action for 4 frames."""
        ram, reward, terminated, truncated, info = self._game.step(MOVES[action])
        return self._observe(ram), reward, terminated, truncated, info

    def _observe(self, ram: np.ndarray) -> np.ndarray:
        now = ram[list(LABELS.values())].astype(np.float32)
        now[3] *= now[2] > 0  # at the very first frame there is a height in RAM, but no ball
        ball, before = now[2:4], self._ball
        velocity = ball - before if ball[1] and before[1] else np.zeros(2, np.float32)
        self._ball = ball
        return np.concatenate((now[:4], velocity, now[4:]))


class PongFeatures:
    """A Fourier basis on pairs of what matters: how far the ball is below the paddle, its x and velocity, the paddle.

    The opponent and the scores are left out: they change little in where the next ball has to be met. The middle of the ball
    is at that of the paddle where their upper edges are 6 pixels apart: the paddle is 16 pixels high, the ball 4. A ball that
    is farther than 40 pixels above or 50 below counts as that far; both numbers were found by trial.
    """

    def __init__(self, order: int):
        # Ball y less paddle; ball x; velocity in x; velocity in y; paddle.
        self._basis = FourierBasis([-34, 50, -6, -12, 38], [56, 205, 6, 12, 203], order, interactions=2)
        self.size = self._basis.size
        self._chosen = np.zeros((8, 5), np.float32)  # of an observation
        self._chosen[[3, 2, 4, 5, 0], range(5)] = 1
        self._chosen[0, 0] = -1

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Map observations (…, 8) to features (…, D), float32."""
        return self._basis(np.asarray(observations, np.float32).dot(self._chosen))
