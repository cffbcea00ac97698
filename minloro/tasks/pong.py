"""Pong: table tennis, seen as eight labelled numbers out of the emulator's memory.

An observation is (height of our paddle, height of the opponent's paddle, x of the ball, height of
the ball, velocity of the ball in x, velocity of the ball in height, points of the opponent, our
points). Positions are in pixels. Heights are those of upper edges and grow downwards; x grows to
the right, where we play. Velocities are in pixels per decision, from the last frame of this
decision and of the one before. They are 0 if the ball was not in play at one of the two. The height
of the ball is 0 while it is not in play. The actions are 0 stay, 1 up, 2 down.

Paper: the official code applies every action twice and starts every episode from the same state, so
that one game can be learned by heart. Here: an action is held for 4 frames, once. Every episode
starts after 0 to 30 frames without an action (Mnih et al. 2015). Their number is the only thing
that chance decides: actions are never repeated at random ("sticky actions").

The emulator comes with the extra minloro[atari]. Left out on purpose: pixels, and the three actions
with the fire button. The paper's prompt does not name these three either.
"""

import re
from typing import Any

import gymnasium as gym
import numpy as np

from minloro.agents.features import FourierBasis
from minloro.agents.linear import LinearQ
from minloro.errors import UserError
from minloro.llm.prompt import Prompt
from minloro.tasks.task import PublishedSums, Rows, Task
from minloro.tasks.words import side, state_text

STEP_LIMIT = 200
MOST_POINTS = 21

RULES = (
    "You are playing Pong, a game of table tennis seen from above. Your paddle moves up and down "
    "at the right edge, the opponent's at the left edge; the ball bounces off the paddles and off "
    "the walls above and below.\n"
    "Positions are in pixels: x is about 67 at the opponent's paddle and about 189 at yours; "
    "heights go from 46 at the top to 211 at the bottom, so that a greater height is farther down. "
    "A paddle is 16 pixels high, the ball 4; their heights are those of their middles.\n"
    "Reward: 1 when the ball passes the opponent, -1 when it passes you.\n"
    "Every decision is held for 4 frames. The episode ends when a player has 21 points, or after "
    f"{STEP_LIMIT} decisions."
)
ACTIONS = ("stay", "move up", "move down")
# From upper edges to middles, in pixels.
HALF_PADDLE = 8
HALF_BALL = 2


def describe(observation: np.ndarray, rows: Rows) -> str:
    """Say what the model sees of a state."""
    paddle_top, opponent_top, x, ball_top, speed_x, speed_y, lost, won = (
        int(value) for value in observation
    )
    paddle = paddle_top + HALF_PADDLE
    if ball_top == 0:
        ball_lines = ["The ball is not in play; it will be in a moment."]
    else:
        ball = ball_top + HALF_BALL
        ball_lines = [
            f"Ball: x {x}, height {ball}",
            f"Its motion, in pixels a decision: {_motion(speed_x, speed_y)}",
            f"The ball is {_distance(ball - paddle)} your paddle.",
        ]
    return state_text(
        f"Your paddle: height {paddle}",
        f"The opponent's paddle: height {opponent_top + HALF_PADDLE}",
        *ball_lines,
        f"Points: you {won}, the opponent {lost}",
        "What do you do?",
    )


def _motion(speed_x: int, speed_y: int) -> str:
    """Say where the ball moves, given its velocities in x and in height."""
    sideways = side(
        speed_x,
        0,
        f"{-speed_x} to the left, away from you",
        "not sideways",
        f"{speed_x} to the right, towards you",
    )
    vertical = side(speed_y, 0, f"{-speed_y} up", "neither up nor down", f"{speed_y} down")
    return f"{sideways}, {vertical}"


def _distance(below: int) -> str:
    return side(below, 0, f"{-below} pixels above", "level with", f"{below} pixels below")


def stand_in_rule(text: str) -> int:
    """Follow the ball: the number of the action.

    Stay if the ball is less than 5 pixels away, or not in play.

    >>> stand_in_rule("The ball is 12 pixels below your paddle.")
    3
    """
    away = re.search(r"^The ball is (\d+) pixels (above|below) your paddle\.$", text, re.MULTILINE)
    if away is None or int(away[1]) < 5:
        return 1
    return 2 if away[2] == "above" else 3


# Where the numbers lie in the emulator's memory. OBSERVED has the order of an observation without
# the velocities.
LABELS = {
    "paddle": 51,
    "opponent": 50,
    "ball_x": 49,
    "ball_y": 54,
    "opponent_score": 13,
    "score": 14,
}
OBSERVED = list(LABELS.values())
MOVES = (0, 2, 3)  # stay, up, down: the emulator's NOOP, RIGHT and LEFT
NOOP = 0  # for the emulator itself, which numbers its actions in another way than MOVES
MOST_WAITING = 30  # frames before an episode


class Pong(gym.Env):
    """ALE/Pong-v5 with the observations and actions of this module.

    Reward: 1 for each point won, -1 for each point lost. Raises UserError if the emulator is
    missing.
    """

    def __init__(self) -> None:
        try:
            import ale_py  # registers its games, too
        except ImportError:
            raise UserError(
                "the task pong needs an emulator: python -m pip install 'minloro[atari]'"
            ) from None
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._game: Any = gym.make(
            "ALE/Pong-v5", obs_type="ram", frameskip=4, repeat_action_probability=0.0
        )
        self._game.reset(seed=0)
        self._ball: np.ndarray = np.zeros(2, np.float32)  # its x and height at the last decision
        self.action_space = gym.spaces.Discrete(len(MOVES))
        low = np.array([0, 0, 0, 0, -255, -255, 0, 0], np.float32)
        self.observation_space = gym.spaces.Box(low, np.full_like(low, 255))

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Start a game, after a random number of frames without an action."""
        super().reset(seed=seed)
        self._game.reset()  # without a seed: that would load the game again, which takes 100 ms
        emulator = self._game.unwrapped.ale
        for _ in range(self.np_random.integers(MOST_WAITING + 1)):
            emulator.act(NOOP)
        self._ball = np.zeros(2, np.float32)
        return self._observe(emulator.getRAM()), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold an action for 4 frames."""
        ram, reward, terminated, truncated, info = self._game.step(MOVES[action])
        return self._observe(ram), reward, terminated, truncated, info

    def _observe(self, ram: np.ndarray) -> np.ndarray:
        now = ram[OBSERVED].astype(np.float32)
        if now[2] == 0:
            now[3] = 0  # at the very first frame there is a height in memory, but no ball
        ball = now[2:4]
        before = self._ball
        in_play = ball[1] > 0 and before[1] > 0
        velocity = ball - before if in_play else np.zeros(2, np.float32)
        self._ball = ball
        return np.concatenate((now[:4], velocity, now[4:]))


class PongFeatures:
    """A Fourier basis on what matters, in pairs.

    That is how far the ball is below the paddle, the ball's x, its two velocities, and the paddle.
    The opponent and the scores are left out: they say little about where to meet the next ball.
    """

    # Bounds of these five. The middles of ball and paddle are level if their upper edges are 6
    # pixels apart. A ball that is farther than 40 pixels above or 50 below counts as that far; both
    # numbers were found by trial.
    LOW = (-34, 50, -6, -12, 38)
    HIGH = (56, 205, 6, 12, 203)

    def __init__(self, order: int) -> None:
        self._basis = FourierBasis(self.LOW, self.HIGH, order, interactions=2)
        self.size = self._basis.size
        # One column for each of the five: what it adds up from an observation.
        self._chosen = np.zeros((8, 5), np.float32)
        for column, observed in enumerate((3, 2, 4, 5, 0)):
            self._chosen[observed, column] = 1
        self._chosen[0, 0] = -1  # the ball's height less the paddle's

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Map observations (…, 8) to features (…, F), float32."""
        return self._basis(np.asarray(observations, np.float32).dot(self._chosen))


FEATURES = PongFeatures(order=3)


def make_agent(rng: np.random.Generator) -> LinearQ:
    """Return an untrained agent. Its weights start at zero: `rng` is not used."""
    return LinearQ(
        FEATURES,
        n_actions=len(ACTIONS),
        step_size=0.0001,
        discount=0.98,
        epsilon=0.05,
        target_step_size=0.02,
    )


TASK = Task(
    name="pong",
    environment="ALE/Pong-v5",
    step_limit=STEP_LIMIT,
    env_factory=Pong,
    agent=make_agent,
    steps=40_000,
    threshold=0,
    return_range=(-MOST_POINTS, MOST_POINTS),
    prompt=Prompt(RULES, ACTIONS, describe),
    stand_in_rule=stand_in_rule,
    paper=PublishedSums(
        rounds=200,
        rl=-2088,
        loro=-1765,
        llm=-993,
        remark=" (of a game that applies every action twice: not comparable)",
    ),
)
