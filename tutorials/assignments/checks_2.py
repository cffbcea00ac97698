"""The checks of assignment 2: replay, pretraining and the warm start."""

from contextlib import contextmanager

import gymnasium as gym
import numpy as np
from checking import Check, Mistake

from minloro.tasks import Task
from minloro.transitions import Minibatch, Transitions

LEARNED = Minibatch.__slots__  # the columns of a buffer, in their order


def _row(i: int) -> tuple:
    """Transition number i, from whose reward all other columns can be told."""
    return np.array([i, i + 0.5]), i % 3, float(i), np.array([i + 1, i + 1.5]), i % 4 == 3, i % 5 == 4, i // 4


def _transitions(n: int, start: int = 0) -> Transitions:
    return Transitions(*(np.array(column) for column in zip(*map(_row, range(start, start + n)), strict=True)))


def _buffer(module, capacity: int, held: int = 0):
    """An empty buffer, or one that holds transitions 100, 101, … as D."""
    buffer = module.ReplayBuffer(capacity, np.zeros(2), 0)
    if held:
        data = _transitions(held, start=100)
        buffer.hold(data, np.asarray)
    return buffer


def _with_add(module):
    """Put a plain `add` in the place of the student's, so that a mistake there does not cost points elsewhere."""

    def add(buffer, *row):
        for name, value in zip(LEARNED, row, strict=True):
            buffer._columns[name][buffer._next] = value
        buffer._newest, buffer.size = buffer._next, max(len(buffer), buffer._next + 1)
        buffer._next = buffer._next + 1 if buffer._next + 1 < buffer.capacity else buffer.n_data

    module.ReplayBuffer.add = add


def add_a_few(module, rng):
    buffer = _buffer(module, 6)
    sizes = []
    for i in range(4):
        buffer.add(*_row(i)[:5])
        sizes.append(len(buffer))
    return {"the size": sizes} | {name: buffer._columns[name][:4] for name in LEARNED}


def add_when_full(module, rng):
    values = {}
    for held, name in ((0, ""), (2, ", with D in front")):
        buffer, sizes, kept = _buffer(module, 5 + held, held), [], []
        for i in range(12):
            buffer.add(*_row(i)[:5])
            sizes.append(len(buffer))
            kept.append(sorted(buffer._columns["rewards"][held:]))
        values |= {f"the size{name}": sizes, f"what is kept{name}": kept}
    return values | {"D": buffer._columns["rewards"][:2]}


def sample_rows(module, rng):
    _with_add(module)
    buffer = _buffer(module, 8)
    for i in range(5):
        buffer.add(*_row(i)[:5])
    drawn = [buffer.sample(4, rng) for _ in range(2000)]
    rewards = np.array([batch.rewards for batch in drawn])
    shared = np.array([buffer.sample(4, rng, 0.25).rewards for _ in range(2000)])
    columns = {name: np.array([getattr(batch, name) for batch in drawn]) for name in LEARNED}
    stored, rows = _transitions(5), rewards.astype(int)
    return {
        "the number of rows": rewards.shape[1],
        "rows whose columns belong together": np.mean(
            [(columns[name] == getattr(stored, name)[rows]).mean() for name in LEARNED]
        ),
        "how often each row is drawn": [(rewards == i).mean() for i in range(5)],
        "how often a minibatch holds a row twice": np.mean([len(set(row)) < 4 for row in rewards]),
        "rows of a minibatch larger than the buffer": len(buffer.sample(20, rng)),
        "how often each row is drawn where there is no D, with a share of 1/4": [(shared == i).mean() for i in range(5)],
    }


def sample_newest(module, rng):
    _with_add(module)
    values = {}
    for held, name in ((0, ""), (3, ", with D in front")):
        buffer, last = _buffer(module, 5 + held, held), []
        for i in range(12):
            buffer.add(*_row(i)[:5])
            last.append([buffer.sample(3, rng).rewards[-1] for _ in range(5)])
        values[f"the last row of a minibatch{name}"] = last
    buffer = _buffer(module, 5, 3)
    drawn = {float(r) for _ in range(50) for r in buffer.sample(3, rng).rewards}
    return values | {"what is drawn while only D is there": sorted(drawn)}


def sample_share(module, rng):
    _with_add(module)

    def rows_of_data(share: float, held: int, added: int) -> list[int]:
        buffer = _buffer(module, 40, held)
        for i in range(added):
            buffer.add(*_row(i)[:5])
        return [int((buffer.sample(8, rng, share).rewards >= 100).sum()) for _ in range(20)]

    return {
        "rows of D with a share of 1/4": rows_of_data(0.25, 20, 10),
        "rows of D with a share of 0": rows_of_data(0.0, 20, 10),
        "rows of D while only D is there": rows_of_data(0.25, 20, 0),
        "rows of D where there is no D": rows_of_data(0.25, 0, 10),
    }


class _Recorder:
    """An agent that plays a fixed sequence of actions and keeps what it is given."""

    def __init__(self, actions=(0, 0, 0, 1), batch_size: int = 4):
        self.actions, self.batch_size = actions, batch_size
        self.batches, self.inside, self.learned, self.played = [], [], [], 0
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
    data, agent = _transitions(20), _Recorder()
    seed, again, wide = int(rng.integers(1000)), _Recorder(), _Recorder()
    wide.encode = lambda observations: np.repeat(np.asarray(observations, np.float64), 2, axis=-1)
    module.pretrain(agent, data, updates=200, seed=seed)
    batches = agent.batches
    values = {"the number of updates": len(batches), "rows of each minibatch": [len(batch) for batch in batches]}
    ids = [batch.rewards.astype(int) for batch in batches]
    for name in ("observations", "actions", "next_observations", "terminated"):
        found = np.full(getattr(data, name).shape, np.nan)  # what stood beside each reward
        for batch, rows in zip(batches, ids, strict=True):
            found[rows] = getattr(batch, name)
        values[f"{name} of the minibatches"] = found
    values["rows of D that were never drawn"] = 20 - len({i for rows in ids for i in rows.tolist()})
    values["minibatches that are like the one before"] = sum(
        np.array_equal(a, b) for a, b in zip(ids[1:], ids[:-1], strict=True)
    )
    values["updates inside agent.pretraining()"] = sum(agent.inside)
    module.pretrain(again, data, updates=200, seed=seed)
    values["minibatches that the same seed gives again"] = sum(
        np.array_equal(a.rewards, b.rewards) for a, b in zip(batches, again.batches, strict=False)
    )
    module.pretrain(wide, data, updates=1)
    values["the shape of a minibatch's features"] = np.shape(wide.batches[0].observations)
    return values


class _SpyBuffer:
    """A buffer that keeps how it was used."""

    def __init__(self):
        self.rows, self.asked = [], []

    def __len__(self):
        return len(self.rows)

    def add(self, *row):
        self.rows.append(row)

    def sample(self, batch_size, rng, data_share=None):
        self.asked.append([batch_size, -1 if data_share is None else data_share])
        rows = _transitions(batch_size)
        return Minibatch(*(getattr(rows, name) for name in LEARNED))


def learning_step(module, rng):
    agent, buffer, updates = _Recorder(batch_size=4), _SpyBuffer(), []
    for i in range(8):
        module._learn(agent, buffer, _row(i)[:5], rng, 0.25)
        updates.append(len(agent.batches))
    one_by_one = _Recorder(batch_size=0)
    for i in range(3):
        module._learn(one_by_one, None, _row(i)[:5], rng)
    return {
        "updates so far, after each of 8 rows, batch_size 4": updates,
        "rows in the buffer": len(buffer),
        "batch_size and share, as sample gets them": buffer.asked,
        "what agent.learn gets where batch_size is 0": one_by_one.learned,
        "updates where batch_size is 0": len(one_by_one.batches),
    }


class _Counting(gym.Env):
    """The observation is the number of steps so far, from 1; action 1 ends the episode; reward: the observation before it."""

    observation_space = gym.spaces.Box(-1, 1000, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    seeds: list[int] = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(-1 if seed is None else seed)
        self.n = 1
        return np.array([1], np.float32), {}

    def step(self, action):
        reward, self.n = float(self.n), self.n + 1
        return np.array([self.n], np.float32), reward, bool(action == 1), False, {}


def _played(module, actions, steps: int = 420, data=None, offline=None, shares=None):
    """Play with `finetune`; return the rows that it learned from and what it returned. shares: is given D's share of each."""
    rows, shares = [], [] if shares is None else shares

    def learn(agent, buffer, row, rng, share=None):
        rows.append(row)
        shares.append(-1 if share is None else share)

    module._learn = learn
    module._online_buffer = lambda *arguments: None
    _Counting.seeds = []
    task = Task("counting", "Counting", 6, agent=None, steps=400, threshold=1, env_factory=_Counting)
    return rows, module.finetune(_Recorder(actions), task, steps, data, seed=3, offline=offline)


def finetune_rows(module, rng):
    values = {}
    for name, actions in (("where the game ends", (0, 0, 0, 1)), ("at the time limit", (0,))):
        rows, _ = _played(module, actions)
        for k, column in enumerate(LEARNED):
            values[f"{column} {name}"] = [np.ravel(row[k])[0] for row in rows]
    return values


def finetune_returns(module, rng):
    rows, returns = _played(module, (0, 0, 0, 1))
    train = [row for row in returns if row.phase == "train"]
    starts = list(_Counting.seeds)
    data = Transitions(*(np.array(column) for column in zip(*[_row(i) for i in range(30)], strict=True)))
    shares: list[float] = []
    with_data, returns_with_data = _played(module, (0, 0, 0, 1), data=data, offline=0.25, shares=shares)
    return {
        "env_steps of the evaluations": [row.env_steps for row in returns if row.phase == "eval"],
        "env_steps at the episodes' ends": [row.env_steps for row in train],
        "returns of the episodes": [row.episode_return for row in train],
        "lengths of the episodes": [row.episode_length for row in train],
        "seeds of env.reset": starts,
        "online steps after 30 transitions of D": len(with_data),
        "D's share as _learn gets it": shares,
        "env_steps of the evaluations after D": [row.env_steps for row in returns_with_data if row.phase == "eval"],
    }


CHECKS = (
    Check("replay.py", "ReplayBuffer.add, with room", 10, add_a_few),
    Check("replay.py", "ReplayBuffer.add, when full", 15, add_when_full),
    Check("replay.py", "ReplayBuffer.sample, rows", 10, sample_rows, tolerance=0.02),
    Check("replay.py", "ReplayBuffer.sample, the newest", 10, sample_newest),
    Check("replay.py", "ReplayBuffer.sample, a share of D", 10, sample_share),
    Check("loro.py", "pretrain", 15, pretraining),
    Check("loro.py", "_learn", 10, learning_step),
    Check("loro.py", "finetune, the transitions", 10, finetune_rows),
    Check("loro.py", "finetune, episodes and evaluations", 10, finetune_returns),
)

_TURN = "if self._next == self.capacity:\n            self._next = self.n_data"
_ROWS = "rows = (uniform * self.size).astype(np.intp)\n        else"
_LAST = "rows[-1] = self._newest"
_LOST = "the newest transition is not in every minibatch, or not where it should be."
_MIXED = "an array is drawn from once for every column: what keeps s, a, r and s' of one step together?"
_REPLAY = [
    (_ROWS, _ROWS.replace("self.size", "self.capacity"),
     "rows are drawn that were never written. How many are there?"),
    (_ROWS, _ROWS.replace("self.size", "(self.size - 1)"),
     "one row is drawn too rarely. Does the upper limit of what you draw from belong to what is drawn?"),
    (_ROWS, _ROWS.replace("(uniform * self.size).astype(np.intp)", "rng.permutation(self.size)[:batch_size]"),
     "rows are drawn without replacement: then no row comes twice, and a small buffer gives small minibatches."),
    (_ROWS, _ROWS.replace("(uniform * self.size).astype(np.intp)", "np.arange(self.size - batch_size, self.size)"),
     "always the same rows are taken. Which ones should have a chance?"),
    ("self.size = max(self.size, self._next + 1)", "self.size += 1", "can there be more rows than the buffer has room for?"),
    ("self.size = max(self.size, self._next + 1)", "self.size = self._next + 1",
     "the size falls when the ring turns, although nothing is lost."),
    ("self.size = max(self.size, self._next + 1)", "self.size = max(self.size, self._next)",
     "the size is one behind: is the row counted that has just been stored?"),
    (_TURN, _TURN.replace("self.capacity", "self.capacity - 1"),
     "the last row of the ring is never written. What is the number of the last one of `capacity` rows?"),
    (_TURN, _TURN.replace("self.capacity:", "self.capacity + 1:"),
     "the ring turns too late: what is the number of the last one of `capacity` rows?"),
    (_TURN, _TURN.replace("self.n_data", "0"),
     "D is overwritten when the ring turns. Where does the part begin that is not D's?"),
    (_TURN, _TURN.replace("self._next = self.n_data", "self._next = self.capacity - 1"),
     "when full, always the same row is overwritten. Which one is the oldest?"),
    (_LAST, "pass", _LOST),
    (_LAST, "rows[0] = self._newest", _LOST),
    (_LAST, "rows[-1] = self.size - 1", "the last row of the arrays is the newest one only until the ring turns."),
    ("array.take(rows, axis=0) for array", "array.take(rng.permutation(rows), axis=0) for array", _MIXED),
    ("array.take(rows, axis=0) for array",
     "array.take((rng.random(batch_size) * self.size).astype(int), axis=0) for array", _MIXED),
    ("from_data = round(data_share * batch_size)", "from_data = batch_size - round(data_share * batch_size)",
     "the two parts of the minibatch have changed places: whose share is data_share?"),
    ("if data_share is None or self.n_data in (0, self.size):", "if True:", "data_share changes nothing yet."),
    ("self.n_data in (0, self.size)", "self.n_data == 0", "what is there to draw from while nothing has come after D?"),
    ("self.n_data in (0, self.size)", "self.n_data == self.size", "what is there to draw from where there is no D?"),
]  # fmt: skip
_PRETRAIN_LOOP = "for _ in range(updates):\n            agent.update(buffer.sample(agent.batch_size, rng), rng)"
_ONE = "buffer.sample(agent.batch_size, rng), rng"
_LEARNT = "_learn(agent, buffer, (encoded, action, reward, next_encoded, terminated)"
_AT_END = "if terminated or truncated:\n            returns"
_NEW_EPISODE = 'env.reset(seed=stream_seed(seed, "environment", episode))\n            encoded = agent.encode(observation)'
_PAIRS = "the wrong observations stand beside the actions: which state was the action chosen in, which one did it lead to?"
_LORO = [
    ("buffer.hold(data, agent.encode)\n    rng", "buffer.hold(data, np.asarray)\n    rng",
     "what is stored is not encoded: see what `encode` is in the docstring of `ReplayBuffer.hold`."),
    ("buffer.hold(data, agent.encode)\n    rng",
     "buffer.hold(data, lambda observations: agent.encode(agent.encode(observations)))\n    rng",
     "what is stored is encoded twice: `hold` encodes already."),
    ('rng = stream(seed, "pretraining")', "rng = np.random.default_rng()",
     "the same seed does not give the same minibatches again: where does the generator come from?"),
    (_PRETRAIN_LOOP, _PRETRAIN_LOOP.replace("range(updates)", "range(updates // agent.batch_size)"),
     "an update is one minibatch, not one row."),
    (_PRETRAIN_LOOP, _PRETRAIN_LOOP.replace("range(updates)", "range(len(data))"), "how many updates were asked for?"),
    (_PRETRAIN_LOOP, "batch = buffer.sample(agent.batch_size, rng)\n        " + _PRETRAIN_LOOP.replace(_ONE, "batch, rng"),
     "all updates see one and the same minibatch. Where is it drawn, and where is the generator made?"),
    (_PRETRAIN_LOOP, _PRETRAIN_LOOP.replace("agent.batch_size", "1"), "how many rows does a minibatch of this agent have?"),
    ('with getattr(agent, "pretraining", nullcontext)():', "if True:",
     "an agent may have a context in which it is pretrained; see minloro/agents/__init__.py, which lists what agents have."),
    ("if len(buffer) >= agent.batch_size:", "if len(buffer) > agent.batch_size:",
     "the first update comes too late: how many rows does a minibatch need?"),
    ("if len(buffer) >= agent.batch_size:", "if True:", "the first updates come before there are enough rows for a minibatch."),
    ("if len(buffer) >= agent.batch_size:", "if len(buffer) % agent.batch_size == 0:",
     "there is one update a step, not one a minibatch."),
    ("agent.update(buffer.sample(agent.batch_size, rng, share), rng)",
     "agent.update(buffer.sample(agent.batch_size, rng), rng)",
     "the share of D does not reach the buffer."),
    ("agent.learn(*row)\n        return", "return", "an agent with batch_size 0 learns nothing."),
    ("action = agent.act(encoded, exploration)", "action = agent.act(encoded)", "the agent never explores while it learns."),
    (_LEARNT, _LEARNT.replace("terminated", "terminated or truncated"),
     "the time limit is stored as the end of the game. What would have come after it, had nobody stopped?"),
    (_LEARNT, _LEARNT.replace("terminated", "truncated"),
     "the buffer is told that an episode was cut off, in the place of whether the game was over."),
    (_LEARNT, _LEARNT.replace("(encoded,", "(next_encoded,"), _PAIRS),
    (_LEARNT, _LEARNT.replace("next_encoded,", "encoded,"), _PAIRS),
    (_LEARNT, _LEARNT.replace("next_encoded,", "observation,"), "what is stored as the next observation is not encoded."),
    ("length + 1, next_encoded\n", "length + 1, encoded\n",
     "the next action is chosen as if nothing had happened: in which state is the agent now?"),
    (_AT_END, _AT_END.replace(" or truncated", ""), "after the time limit the episode goes on. When does a new one begin?"),
    (_AT_END, _AT_END.replace("terminated or ", ""),
     "after the end of the game the episode goes on. When does a new one begin?"),
    ("episode, episode_return, length = episode + 1, 0.0, 0\n            obs", "episode = episode + 1\n            obs",
     "return and length go on counting in the next episode."),
    ("episode, episode_return, length = episode + 1, 0.0, 0\n            obs",
     "episode_return, length = 0.0, 0\n            obs",
     "every episode has the same number, and so the same seed."),
    (_NEW_EPISODE, _NEW_EPISODE.replace('seed=stream_seed(seed, "environment", episode)', ""),
     "the environment is reset without a seed: nobody can repeat this run."),
    (_NEW_EPISODE, _NEW_EPISODE.partition("\n")[0],
     "the first action of a new episode is chosen in the last state of the old one."),
    ("range(start + 1, steps + 1)", "range(start, steps)",
     "env_steps counts the steps that are already taken, this one included."),
    ("range(start + 1, steps + 1)", "range(1, steps + 1)", "D's steps count, too: how many are left for playing?"),
    ("if env_steps % GRID == 0:", "if terminated or truncated:",
     "evaluations lie on a grid of environment steps, not at the ends of episodes."),
    ("if env_steps % GRID == 0:", "if (env_steps - start) % GRID == 0:", "the grid counts D's steps, too."),
    ("if env_steps % GRID == 0:", "if False:", "evaluations are missing: see the docstring for when they are made."),
]  # fmt: skip
MISTAKES = [Mistake("replay.py", *row) for row in _REPLAY] + [Mistake("loro.py", *row) for row in _LORO]
