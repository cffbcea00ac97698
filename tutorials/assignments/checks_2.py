"""The checks of assignment 2: replay, pretraining and the warm start."""

from contextlib import contextmanager
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
from checking import Check, Mistake

from minloro.rollout import EpisodeReturn
from minloro.tasks.task import Task
from minloro.transitions import Minibatch, Transitions

LEARNED = Minibatch.__slots__  # the columns of a buffer, in their order
SEED = 3  # of a run of finetune or play_and_learn


def _row(i: int) -> tuple:
    """Return transition number i. All its columns can be told from its reward."""
    observation = np.array([i, i + 0.5])
    return observation, i % 3, float(i), observation + 1, i % 4 == 3, i % 5 == 4, i // 4


def _transitions(n: int, start: int = 0) -> Transitions:
    rows = [_row(i) for i in range(start, start + n)]
    return Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


def _buffer(module, capacity: int, held: int = 0):
    """Return an empty buffer, or one that holds transitions 100, 101, … as D."""
    buffer = module.ReplayBuffer(capacity, np.zeros(2), 0)
    if held:
        data = _transitions(held, start=100)
        buffer.hold(data, np.asarray)
    return buffer


def _add(buffer, i: int) -> None:
    """Add transition number i."""
    buffer.add(*_row(i)[: len(LEARNED)])


def _with_add(module) -> None:
    """Replace the student's `add`: a mistake there must not cost points elsewhere."""

    def add(buffer, *row):
        for name, value in zip(LEARNED, row, strict=True):
            buffer._columns[name][buffer._next] = value
        buffer._newest = buffer._next
        buffer.size = max(len(buffer), buffer._next + 1)
        buffer._next += 1
        if buffer._next == buffer.capacity:
            buffer._next = buffer.n_data

    module.ReplayBuffer.add = add


def add_a_few(module, rng):
    buffer = _buffer(module, 6)
    sizes = []
    for i in range(4):
        _add(buffer, i)
        sizes.append(len(buffer))
    return {"the size": sizes} | {name: buffer._columns[name][:4] for name in LEARNED}


def add_when_full(module, rng):
    values = {}
    for held, name in ((0, ""), (2, ", with D in front")):
        buffer = _buffer(module, 5 + held, held)
        sizes = []
        kept = []
        for i in range(12):
            _add(buffer, i)
            sizes.append(len(buffer))
            kept.append(sorted(buffer._columns["rewards"][held:]))
        values[f"the size{name}"] = sizes
        values[f"what is kept{name}"] = kept
    values["D"] = buffer._columns["rewards"][:2]
    return values


def sample_rows(module, rng):
    _with_add(module)
    buffer = _buffer(module, 8)
    for i in range(5):
        _add(buffer, i)
    drawn = [buffer.sample(4, rng) for _ in range(2000)]
    rewards = np.array([batch.rewards for batch in drawn])
    shared = np.array([buffer.sample(4, rng, 0.25).rewards for _ in range(2000)])
    stored = _transitions(5)
    rows = rewards.astype(int)
    belonging = []
    for name in LEARNED:
        column = np.array([getattr(batch, name) for batch in drawn])
        belonging.append((column == getattr(stored, name)[rows]).mean())
    twice = [len(set(row)) < 4 for row in rewards]
    drawn_without_data = "how often each row is drawn if there is no D, with a share of 1/4"
    return {
        "the number of rows": rewards.shape[1],
        "rows whose columns belong together": np.mean(belonging),
        "how often each row is drawn": [(rewards == i).mean() for i in range(5)],
        "how often a minibatch holds a row twice": np.mean(twice),
        "rows of a minibatch larger than the buffer": len(buffer.sample(20, rng)),
        drawn_without_data: [(shared == i).mean() for i in range(5)],
    }


def sample_newest(module, rng):
    _with_add(module)
    values = {}
    for held, name in ((0, ""), (3, ", with D in front")):
        buffer = _buffer(module, 5 + held, held)
        last = []
        for i in range(12):
            _add(buffer, i)
            last.append([buffer.sample(3, rng).rewards[-1] for _ in range(5)])
        values[f"the last row of a minibatch{name}"] = last
    buffer = _buffer(module, 5, 3)
    drawn = set()
    for _ in range(50):
        drawn |= set(buffer.sample(3, rng).rewards.tolist())
    values["what is drawn while only D is there"] = sorted(drawn)
    return values


def sample_share(module, rng):
    _with_add(module)

    def rows_of_data(share: float, held: int, added: int) -> list[int]:
        buffer = _buffer(module, 40, held)
        for i in range(added):
            _add(buffer, i)
        drawn = [buffer.sample(8, rng, share).rewards for _ in range(20)]
        return [int((rewards >= 100).sum()) for rewards in drawn]

    return {
        "rows of D with a share of 1/4": rows_of_data(0.25, 20, 10),
        "rows of D with a share of 0": rows_of_data(0.0, 20, 10),
        "rows of D while only D is there": rows_of_data(0.25, 20, 0),
        "rows of D if there is no D": rows_of_data(0.25, 0, 10),
    }


class _Recorder:
    """An agent that plays a fixed sequence of actions and keeps what it is given."""

    def __init__(self, actions=(0, 0, 0, 1), batch_size: int = 4):
        self.actions = actions
        self.batch_size = batch_size
        self.batches = []
        self.inside = []  # for every update, whether it was inside `pretraining`
        self.learned = []
        self.played = 0
        self._inside = False

    def encode(self, observations):
        return np.asarray(observations, np.float64) * 10

    def act(self, encoded, rng=None):
        if rng is None:
            return 1
        self.played += 1
        return self.actions[(self.played - 1) % len(self.actions)]

    def update(self, batch, rng=None):
        self.batches.append(batch)
        self.inside.append(self._inside)

    def learn(self, *row):
        self.learned.append([np.ravel(value)[0] for value in row])

    @contextmanager
    def pretraining(self):
        self._inside = True
        yield
        self._inside = False


def pretraining(module, rng):
    data = _transitions(20)
    seed = int(rng.integers(1000))
    agent = _Recorder()
    module.pretrain(agent, data, updates=200, seed=seed)
    batches = agent.batches
    values = {
        "the number of updates": len(batches),
        "rows of each minibatch": [len(batch) for batch in batches],
    }
    drawn = [batch.rewards.astype(int) for batch in batches]
    for name in ("observations", "actions", "next_observations", "terminated"):
        beside_reward = np.full(getattr(data, name).shape, np.nan)
        for batch, rows in zip(batches, drawn, strict=True):
            beside_reward[rows] = getattr(batch, name)
        values[f"{name} of the minibatches"] = beside_reward
    values["rows of D that were never drawn"] = 20 - len(set(np.ravel(drawn).tolist()))
    values["minibatches that are like the one before"] = _n_equal(drawn[1:], drawn[:-1])
    values["updates inside agent.pretraining()"] = sum(agent.inside)
    again = _Recorder()
    module.pretrain(again, data, updates=200, seed=seed)
    drawn_again = [batch.rewards for batch in again.batches]
    values["minibatches that the same seed gives again"] = _n_equal(drawn, drawn_again)
    wide = _Recorder()
    wide.encode = lambda observations: np.repeat(np.asarray(observations, float), 2, axis=-1)
    module.pretrain(wide, data, updates=1)
    values["the shape of a minibatch's features"] = np.shape(wide.batches[0].observations)
    return values


def _n_equal(ones: list, others: list) -> int:
    """Return how many arrays of two lists are equal, place by place."""
    return sum(np.array_equal(one, other) for one, other in zip(ones, others, strict=False))


class _SpyBuffer:
    """A buffer that keeps how it was used."""

    def __init__(self):
        self.rows = []
        self.asked = []

    def __len__(self):
        return len(self.rows)

    def add(self, *row):
        self.rows.append(row)

    def sample(self, batch_size, rng, data_share=None):
        self.asked.append([batch_size, -1 if data_share is None else data_share])
        rows = _transitions(batch_size)
        return Minibatch(*(getattr(rows, name) for name in LEARNED))


def learning_step(module, rng):
    agent = _Recorder(batch_size=4)
    buffer = _SpyBuffer()
    updates = []
    for i in range(8):
        module.learn(agent, buffer, _row(i)[: len(LEARNED)], rng, 0.25)
        updates.append(len(agent.batches))
    one_by_one = _Recorder(batch_size=0)
    for i in range(3):
        module.learn(one_by_one, None, _row(i)[: len(LEARNED)], rng)
    return {
        "updates so far, after each of 8 rows, batch_size 4": updates,
        "rows in the buffer": len(buffer),
        "batch_size and share, as sample gets them": buffer.asked,
        "what agent.learn gets if batch_size is 0": one_by_one.learned,
        "updates if batch_size is 0": len(one_by_one.batches),
    }


class _Counting(gym.Env):
    """The observation is the number of steps so far, from 1.

    Action 1 ends the episode. The reward is the observation before the step.
    """

    observation_space = gym.spaces.Box(-1, 1000, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    seeds: list[int] = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(-1 if seed is None else seed)
        self.n = 1
        return np.array([1], np.float32), {}

    def step(self, action):
        reward = float(self.n)
        self.n += 1
        return np.array([self.n], np.float32), reward, bool(action == 1), False, {}


TASK = Task("counting", "Counting", 6, agent=None, steps=400, threshold=1, env_factory=_Counting)


def _played(module, actions, steps=range(1, 421), data_share=None) -> SimpleNamespace:
    """Run `play_and_learn`.

    Returns the rows that it learned from, D's share at each of them, what it yielded, and the seeds
    of the environment.
    """
    played = SimpleNamespace(rows=[], shares=[], yielded=[], seeds=[])

    def learn(agent, buffer, row, rng, share=None):
        played.rows.append(row)
        played.shares.append(-1 if share is None else share)

    module.learn = learn
    module.online_buffer = lambda *arguments: None
    _Counting.seeds = played.seeds
    agent = _Recorder(actions)
    played.yielded = list(module.play_and_learn(agent, TASK, steps, None, SEED, data_share))
    return played


def playing_rows(module, rng):
    values = {}
    for name, actions in (("if the game ends", (0, 0, 0, 1)), ("at the time limit", (0,))):
        played = _played(module, actions)
        for k, column in enumerate(LEARNED):
            values[f"{column} {name}"] = [np.ravel(row[k])[0] for row in played.rows]
    return values


def playing_episodes(module, rng):
    played = _played(module, (0, 0, 0, 1))
    finished = [episode for _, episode in played.yielded if episode is not None]
    with_data = _played(module, (0, 0, 0, 1), steps=range(31, 421), data_share=0.25)
    return {
        "env_steps that were yielded": [env_steps for env_steps, _ in played.yielded],
        "env_steps at the episodes' ends": [episode.env_steps for episode in finished],
        "returns of the episodes": [episode.episode_return for episode in finished],
        "lengths of the episodes": [episode.episode_length for episode in finished],
        "seeds of env.reset": played.seeds,
        "online steps after 30 transitions of D": len(with_data.rows),
        "D's share as learn gets it": with_data.shares,
    }


def finetune_evaluations(module, rng):
    """Check finetune with a play_and_learn that plays nothing, as if every episode had 70 steps."""
    asked = []

    def play_and_learn(agent, task, steps, kept_data, seed, data_share, guide=None):
        n_kept = 0 if kept_data is None else len(kept_data)
        asked.append([steps[0], steps[-1], n_kept, seed, -1 if data_share is None else data_share])
        for env_steps in steps:
            if env_steps % 70 == 0:
                episode = EpisodeReturn("train", "learning agent", env_steps, 1.0, 70)
                yield env_steps, episode
            else:
                yield env_steps, None

    module.play_and_learn = play_and_learn
    data = _transitions(30)
    runs = {
        "": module.finetune(_Recorder(), TASK, 420, seed=SEED),
        " after D": module.finetune(_Recorder(), TASK, 420, data, SEED, 0.25),
        " after D, which is dropped": module.finetune(_Recorder(), TASK, 420, data, SEED, "drop"),
    }
    values = {}
    for name, returns in runs.items():
        evaluations = [row.env_steps for row in returns if row.phase == "eval"]
        episodes = [row.env_steps for row in returns if row.phase == "train"]
        values[f"env_steps of the evaluations{name}"] = evaluations
        values[f"env_steps of the episodes{name}"] = episodes
    values["first step, last step, rows of D, seed and share for play_and_learn"] = asked
    return values


CHECKS = (
    Check("replay.py", "ReplayBuffer.add, with room", 10, add_a_few),
    Check("replay.py", "ReplayBuffer.add, when full", 15, add_when_full),
    Check("replay.py", "ReplayBuffer.sample, rows", 10, sample_rows, tolerance=0.02),
    Check("replay.py", "ReplayBuffer.sample, the newest", 10, sample_newest),
    Check("replay.py", "ReplayBuffer.sample, a share of D", 10, sample_share),
    Check("loro.py", "pretrain", 15, pretraining),
    Check("loro.py", "learn", 10, learning_step),
    Check("loro.py", "play_and_learn, the transitions", 10, playing_rows),
    Check("loro.py", "play_and_learn, the episodes", 5, playing_episodes),
    Check("loro.py", "finetune, the evaluations", 5, finetune_evaluations),
)

# Places in the package's source.
_SIZE = "self.size = max(self.size, self._next + 1)"
_TURN = "if self._next == self.capacity:\n            self._next = self.n_data"
_UNIFORM = "(uniform * self.size).astype(np.intp)"
_ROWS = f"rows = {_UNIFORM}\n        else"
_LAST = "rows[-1] = self._newest"
_TAKE = "column.take(rows, axis=0) for column"
_FROM_DATA = "n_from_data = round(data_share * batch_size)"
_ALONE = "self.n_data in (0, self.size)"
_HOLD = "buffer.hold(data, agent.encode)\n    rng"
_PRETRAIN_RNG = 'rng = stream(seed, "pretraining")'
_PRETRAIN_LOOP = (
    "for _ in range(updates):\n            agent.update(buffer.sample(agent.batch_size, rng), rng)"
)
_ONE = "buffer.sample(agent.batch_size, rng), rng"
_ENOUGH = "if len(buffer) >= agent.batch_size:"
_SHARED = "agent.update(buffer.sample(agent.batch_size, rng, data_share), rng)"
_ACTION = "action = player.act(encoded, exploration)"
_TRANSITION = "transition = (encoded, action, reward, next_encoded, terminated)"
_GOING_ON = "if not (terminated or truncated):"
_NEXT_NUMBER = "name = LEARNER if player is agent else CLONE\n        episode += 1\n"
_FROM_ZERO = "episode_return = 0.0\n        length = 0\n        encoded = _reset"
_RESET = "length = 0\n        encoded = _reset(agent, env, seed, episode)"
_STEPS = "range(start + 1, steps + 1)"
_ON_GRID = "if env_steps % EVALUATE_EVERY == 0:"

# Messages that several mistakes have.
_LOST = "the newest transition is not in every minibatch, or not where it should be."
_MIXED = (
    "an array is drawn from once for every column: what keeps s, a, r and s' of one step together?"
)
_PAIRS = (
    "the wrong observations stand beside the actions: "
    "which state was the action chosen in, which one did it lead to?"
)

_REPLAY = [
    (
        _ROWS,
        _ROWS.replace("self.size", "self.capacity"),
        "rows are drawn that were never written. How many are there?",
    ),
    (
        _ROWS,
        _ROWS.replace("self.size", "(self.size - 1)"),
        "one row is drawn too rarely. "
        "Does the upper limit of what you draw from belong to what is drawn?",
    ),
    (
        _ROWS,
        _ROWS.replace(_UNIFORM, "rng.permutation(self.size)[:batch_size]"),
        "rows are drawn without replacement: "
        "then no row comes twice, and a small buffer gives small minibatches.",
    ),
    (
        _ROWS,
        _ROWS.replace(_UNIFORM, "np.arange(self.size - batch_size, self.size)"),
        "always the same rows are taken. Which ones should have a chance?",
    ),
    (_SIZE, "self.size += 1", "can there be more rows than the buffer has room for?"),
    (
        _SIZE,
        "self.size = self._next + 1",
        "the size falls when the ring turns, although nothing is lost.",
    ),
    (
        _SIZE,
        "self.size = max(self.size, self._next)",
        "the size is one behind: is the row counted that has just been stored?",
    ),
    (
        _TURN,
        _TURN.replace("self.capacity", "self.capacity - 1"),
        "the last row of the ring is never written. "
        "What is the number of the last one of `capacity` rows?",
    ),
    (
        _TURN,
        _TURN.replace("self.capacity:", "self.capacity + 1:"),
        "the ring turns too late: what is the number of the last one of `capacity` rows?",
    ),
    (
        _TURN,
        _TURN.replace("self.n_data", "0"),
        "D is overwritten when the ring turns. Where does the part begin that is not D's?",
    ),
    (
        _TURN,
        _TURN.replace("self._next = self.n_data", "self._next = self.capacity - 1"),
        "when full, always the same row is overwritten. Which one is the oldest?",
    ),
    (_LAST, "pass", _LOST),
    (_LAST, "rows[0] = self._newest", _LOST),
    (
        _LAST,
        "rows[-1] = self.size - 1",
        "the last row of the arrays is the newest one only until the ring turns.",
    ),
    (_TAKE, "column.take(rng.permutation(rows), axis=0) for column", _MIXED),
    (
        _TAKE,
        "column.take((rng.random(batch_size) * self.size).astype(int), axis=0) for column",
        _MIXED,
    ),
    (
        _FROM_DATA,
        "n_from_data = batch_size - round(data_share * batch_size)",
        "the two parts of the minibatch have changed places: whose share is data_share?",
    ),
    (
        f"if data_share is None or {_ALONE}:",
        "if True:",
        "data_share changes nothing yet.",
    ),
    (
        _ALONE,
        "self.n_data == 0",
        "what is there to draw from while nothing has come after D?",
    ),
    (
        _ALONE,
        "self.n_data == self.size",
        "what is there to draw from if there is no D?",
    ),
]
_LORO = [
    (
        _HOLD,
        "buffer.hold(data, np.asarray)\n    rng",
        "what is stored is not encoded: "
        "see what `encode` is in the docstring of `ReplayBuffer.hold`.",
    ),
    (
        _HOLD,
        "buffer.hold(data, lambda observations: agent.encode(agent.encode(observations)))\n    rng",
        "what is stored is encoded twice: `hold` encodes already.",
    ),
    (
        _PRETRAIN_RNG,
        "rng = np.random.default_rng()",
        "the same seed does not give the same minibatches again: "
        "where does the generator come from?",
    ),
    (
        _PRETRAIN_LOOP,
        _PRETRAIN_LOOP.replace("range(updates)", "range(updates // agent.batch_size)"),
        "an update is one minibatch, not one row.",
    ),
    (
        _PRETRAIN_LOOP,
        _PRETRAIN_LOOP.replace("range(updates)", "range(len(data))"),
        "how many updates were asked for?",
    ),
    (
        _PRETRAIN_LOOP,
        "batch = buffer.sample(agent.batch_size, rng)\n        "
        + _PRETRAIN_LOOP.replace(_ONE, "batch, rng"),
        "all updates see one and the same minibatch. "
        "Where is it drawn, and where is the generator made?",
    ),
    (
        _PRETRAIN_LOOP,
        _PRETRAIN_LOOP.replace("agent.batch_size", "1"),
        "how many rows does a minibatch of this agent have?",
    ),
    (
        "with pretraining(agent):",
        "if True:",
        "an agent may have a context in which it is pretrained; "
        "see minloro/agents/agent.py, which lists what agents have.",
    ),
    (
        _ENOUGH,
        "if len(buffer) > agent.batch_size:",
        "the first update comes too late: how many rows does a minibatch need?",
    ),
    (
        _ENOUGH,
        "if True:",
        "the first updates come before there are enough rows for a minibatch.",
    ),
    (
        _ENOUGH,
        "if len(buffer) % agent.batch_size == 0:",
        "there is one update per step, not one per minibatch.",
    ),
    (
        _SHARED,
        "agent.update(buffer.sample(agent.batch_size, rng), rng)",
        "the share of D does not reach the buffer.",
    ),
    (
        "cast(OneStepAgent, agent).learn(*transition)\n        return",
        "return",
        "an agent with batch_size 0 learns nothing.",
    ),
    (
        _ACTION,
        "action = player.act(encoded)",
        "the agent never explores while it learns.",
    ),
    (
        _TRANSITION,
        _TRANSITION.replace("terminated", "terminated or truncated"),
        "the time limit is stored as the end of the game. "
        "What would have come after it, had nobody stopped?",
    ),
    (
        _TRANSITION,
        _TRANSITION.replace("terminated", "truncated"),
        "the buffer is told that an episode was cut off, "
        "in the place of whether the game was over.",
    ),
    (_TRANSITION, _TRANSITION.replace("(encoded,", "(next_encoded,"), _PAIRS),
    (_TRANSITION, _TRANSITION.replace("next_encoded,", "encoded,"), _PAIRS),
    (
        _TRANSITION,
        _TRANSITION.replace("next_encoded,", "observation,"),
        "what is stored as the next observation is not encoded.",
    ),
    (
        "encoded = next_encoded\n",
        "pass\n",
        "the next action is chosen as if nothing had happened: in which state is the agent now?",
    ),
    (
        _GOING_ON,
        "if not terminated:",
        "after the time limit the episode goes on. When does a new one begin?",
    ),
    (
        _GOING_ON,
        "if not truncated:",
        "after the end of the game the episode goes on. When does a new one begin?",
    ),
    (
        "yield env_steps, None\n",
        "pass\n",
        "something is yielded after every step: what, if no episode has ended?",
    ),
    (
        _FROM_ZERO,
        "encoded = _reset",
        "return and length go on counting in the next episode.",
    ),
    (
        _NEXT_NUMBER,
        _NEXT_NUMBER.replace("episode += 1\n", "pass\n"),
        "every episode has the same number, and so the same seed.",
    ),
    (
        _RESET,
        "length = 0\n        encoded = agent.encode(env.reset()[0])",
        "the environment is reset without a seed: nobody can repeat this run.",
    ),
    (
        _RESET,
        "length = 0\n        _reset(agent, env, seed, episode)",
        "the first action of a new episode is chosen in the last state of the old one.",
    ),
    (
        _STEPS,
        "range(start, steps)",
        "env_steps counts the steps that are already taken, this one included.",
    ),
    (
        _STEPS,
        "range(1, steps + 1)",
        "D's steps count, too: how many are left for playing?",
    ),
    (
        "online, kept_data",
        "online, data",
        "D goes into the buffer even if it is to be dropped: which name holds what is kept?",
    ),
    (
        _ON_GRID,
        "if finished_episode is not None:",
        "evaluations lie on a grid of environment steps, not at the ends of episodes.",
    ),
    (
        _ON_GRID,
        _ON_GRID.replace("env_steps", "(env_steps - start)"),
        "the grid counts D's steps, too.",
    ),
    (
        _ON_GRID,
        "if False:",
        "evaluations are missing: see the docstring for when they are made.",
    ),
]
MISTAKES = [
    *(Mistake("replay.py", *row) for row in _REPLAY),
    *(Mistake("loro.py", *row) for row in _LORO),
]
