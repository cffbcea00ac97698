"""The checks of assignment 1: tabular and linear updates."""

from types import SimpleNamespace

import numpy as np
from checking import Check, Mistake

from minloro.transitions import Transitions


def _tabular(module, rng, **settings):
    chosen = {"step_size": 0.1, "discount": 0.8, "epsilon": 0.3, "initial_value": 0.0} | settings
    agent = module.TabularQ(6, 3, **chosen)
    agent.table[:] = rng.normal(size=agent.table.shape)
    return agent


def _states(rng, states, actions, terminated=False, truncated=False) -> Transitions:
    n = len(states)
    return Transitions(
        observations=np.array(states),
        actions=np.array(actions),
        rewards=rng.normal(size=n),
        next_observations=rng.integers(6, size=n),
        terminated=np.full(n, terminated),
        truncated=np.full(n, truncated),
        episode=np.zeros(n, int),
    )


def tabular_greedy(module, rng):
    agent = _tabular(module, rng)
    values = {"the greedy action": [agent.act(s) for s in range(6)]}
    agent.table[:] = [[1, 2, 2], [0, 0, 0], [3, 1, 3], [0, 1, 1], [2, 2, 1], [-1, -2, -1]]
    values["the first of equals"] = [agent.act(s) for s in range(6)]
    return values


def tabular_exploring(module, rng):
    agent = _tabular(module, rng)
    agent.table[0] = [0, 5, 1]
    return _exploring(agent, 0, rng)


def _exploring(agent, encoded, rng):
    """Return the shares of the actions with several epsilons."""
    values = {}
    for epsilon in (0.0, 0.3, 1.0):
        agent.epsilon = epsilon
        actions = np.array([agent.act(encoded, rng) for _ in range(6000)])
        shares = [(actions == action).mean() for action in range(3)]
        values[f"shares of the actions with epsilon {epsilon:g}"] = shares
    return values


def tabular_td_error(module, rng):
    kinds = {
        "ordinary rows": (False, False),
        "terminated rows": (True, False),
        "truncated rows": (False, True),
    }
    values = {}
    for kind, ends in kinds.items():
        agent = _tabular(module, rng)
        batch = _states(rng, [0, 1, 2, 3], [0, 1, 2, 0], *ends)
        values[f"td_error of {kind}"] = agent.update(batch, rng)
    return values


def tabular_table(module, rng):
    values = {}
    for name, states, actions in (
        ("the table after a minibatch of different rows", [0, 1, 2, 3], [0, 1, 2, 0]),
        ("the table if a state and action stand twice", [4, 4, 4, 2], [1, 1, 1, 0]),
    ):
        agent = _tabular(module, rng)
        batch = _states(rng, states, actions)
        batch.next_observations[:] = np.roll(states, 1)  # s' of one row is s of another
        agent.update(batch, rng)
        values[name] = agent.table
        agent.update(batch, rng)
        values[f"{name}, twice"] = agent.table
        values["n_updates"] = agent.n_updates
    return values


def tabular_learn(module, rng):
    agent = _tabular(module, rng)
    values = {
        "td_error": agent.learn(0, 1, 0.5, 2, False),
        "td_error if the episode terminated": agent.learn(1, 1, 0.5, 2, True),
        "td_error if s' is s": agent.learn(3, 0, -1.0, 3, False),
    }
    return values | {"the table": agent.table, "n_updates": agent.n_updates}


def double_q(module, rng):
    q = rng.normal(size=(8, 3))
    q_target = rng.normal(size=(8, 3))
    rewards = rng.normal(size=8)
    going_on = np.zeros(8, bool)
    over = np.ones(8, bool)
    target = module.double_q_target
    return {
        "the target of ordinary rows": target(rewards, going_on, q, q_target, 0.8),
        "the target of terminated rows": target(rewards, over, q, q_target, 0.8),
        "the target with discount 0": target(rewards, going_on, q, q_target, 0.0),
    }


def _linear(module, rng, **settings):
    chosen = {"step_size": 0.1, "discount": 0.8, "epsilon": 0.3, "dtype": np.float64} | settings
    agent = module.LinearQ(SimpleNamespace(size=4), 3, **chosen)
    agent.weights[:] = rng.normal(size=(4, 3))
    agent.target_weights[:] = rng.normal(size=(4, 3))
    return agent


def _target_by_loop(rewards, terminated, next_q, next_q_target, discount):
    """Replace the student's own double_q_target: a mistake there must not cost points here."""
    targets = []
    for reward, over, q, q_target in zip(rewards, terminated, next_q, next_q_target, strict=True):
        targets.append(reward if over else reward + discount * q_target[np.argmax(q)])
    return np.array(targets)


def linear_gradient(module, rng):
    module.double_q_target = _target_by_loop
    values = {}
    for n, rows in ((1, "1 row"), (8, "8 rows")):
        agent = _linear(module, rng)
        batch = Transitions(
            observations=rng.normal(size=(n, 4)),
            actions=rng.integers(3, size=n),
            rewards=rng.normal(size=n),
            next_observations=rng.normal(size=(n, 4)),
            terminated=np.arange(n) % 4 == 3,
            truncated=np.arange(n) % 4 == 2,
            episode=np.zeros(n, int),
        )
        gradient, td_error = agent._gradient(batch)
        values[f"the gradient of {rows}"] = gradient
        values[f"td_error of {rows}"] = td_error
    return values


def linear_act(module, rng):
    agent = _linear(module, rng)
    return {"the greedy action": [agent.act(phi) for phi in rng.normal(size=(12, 4))]}


def linear_exploring(module, rng):
    return _exploring(_linear(module, rng), np.ones(4), rng)


def linear_targets(module, rng):
    agent = _linear(module, rng, target_step_size=0.2)
    gradient = rng.normal(size=(4, 3))
    # So that a mistake in the gradient does not cost points here.
    agent._gradient = lambda batch: (gradient, np.zeros(8))
    agent.update(None)
    values = {
        "the weights after one update": agent.weights,
        "the target weights after one update": agent.target_weights.copy(),
    }
    for _ in range(2):
        agent.update(None)
    values["the target weights after three updates"] = agent.target_weights
    values["one array for both"] = np.shares_memory(agent.weights, agent.target_weights)
    return values


CHECKS = (
    Check("tabular.py", "TabularQ.act, greedy", 5, tabular_greedy),
    Check("tabular.py", "TabularQ.act, exploring", 10, tabular_exploring, tolerance=0.03),
    Check("tabular.py", "TabularQ.update, td_error", 15, tabular_td_error),
    Check("tabular.py", "TabularQ.update, the table", 15, tabular_table),
    Check("tabular.py", "TabularQ.learn", 10, tabular_learn),
    Check("linear.py", "double_q_target", 15, double_q),
    Check("linear.py", "LinearQ._gradient", 15, linear_gradient),
    Check("linear.py", "LinearQ.act, greedy", 2, linear_act),
    Check("linear.py", "LinearQ.act, exploring", 3, linear_exploring, tolerance=0.03),
    Check("linear.py", "LinearQ.update, the target weights", 10, linear_targets),
)

# Places in the package's source.
_EXPLORE = "if rng is not None and rng.random() < self.epsilon:"
_RANDOM_ACTION = "return int(rng.integers(self.n_actions))"
_WHERE = "np.where(batch.terminated, 0, "
_NEXT_VALUE = "self.discount * bootstrap)"
_BEST_NEXT = "self.table[batch.next_observations].max(axis=1)"
_MOVE = "np.add.at(self.table, taken, self.step_size * td_error)"
_LEARN = "target = reward if terminated else reward + self.discount * self.table[next_state].max()"
_MOVE_ONE = "self.table[state, action] += self.step_size * td_error"
_GREEDY = "greedy = next_q.argmax(axis=1)"
_SLOPE = "slope.put(taken, td_error / -n)"
_NEXT_Q = (
    "next_q = next_phi.dot(self.weights)  # [B, A]\n"
    "        next_q_target = next_phi.dot(self.target_weights)"
)
_FOLLOW = "self.target_weights += self.target_step_size * (self.weights - self.target_weights)"

# Messages that several mistakes have.
_TERMINATION = (
    "something is added to the reward of the last step. "
    "What is a state worth after which nothing comes?"
)
_TRUNCATION = (
    "the time limit is taken for the end of the game. "
    "What would have come after it, had nobody stopped?"
)
_DISCOUNT = "what comes one step later counts as much as what comes now."
_WRONG_STATE = "the value of the wrong state is added: after the step, in which state is the agent?"
_SIGN = (
    "the difference is taken the wrong way round. Which way should a value move if it is too low?"
)
_OTHER_WAY = "the exploring and the greedy case have changed places: what does epsilon = 0 mean?"
_NEVER_FIRST = (
    "one of the actions is never explored, or explored too rarely. "
    "May a random action be the greedy one?"
)
_DRAWN = "there is no exploring. When is a generator given, and when not?"
_TOO_FAR = "the values jump all the way to the target. How far should they move?"
_COUNTED = "is every update counted?"

_OF_ACT = [
    (_EXPLORE, "if rng is not None and rng.random() > self.epsilon:", _OTHER_WAY),
    (_RANDOM_ACTION, "return int(rng.integers(1, self.n_actions))", _NEVER_FIRST),
    (_RANDOM_ACTION, "return int(rng.integers(self.n_actions - 1))", _NEVER_FIRST),
    (_EXPLORE, "if rng is None and False:", _DRAWN),
]
_OF_TABULAR = [
    *_OF_ACT,
    (_WHERE + _NEXT_VALUE, _NEXT_VALUE[:-1], _TERMINATION),
    (_WHERE, "np.where(batch.terminated | batch.truncated, 0, ", _TRUNCATION),
    (
        _WHERE,
        "np.where(batch.truncated, 0, ",
        "terminated and truncated have changed places: "
        "which of the two means that the game is over?",
    ),
    (_WHERE + _NEXT_VALUE, _WHERE + "bootstrap)", _DISCOUNT),
    (
        _BEST_NEXT,
        "self.table[batch.next_observations].max()",
        "all rows get the same best value. Over which axis of (B, A) is the maximum of each row?",
    ),
    (_BEST_NEXT, "self.table[batch.observations].max(axis=1)", _WRONG_STATE),
    (
        _BEST_NEXT,
        "self.table[batch.next_observations, batch.actions]",
        "in the next state the action of this step is valued. "
        "Which action does Q-learning value there?",
    ),
    ("td_error = target - self.table[taken]", "td_error = self.table[taken] - target", _SIGN),
    (
        _MOVE,
        "self.table[taken] += self.step_size * td_error",
        "a state and action that stand several times in a minibatch are moved only once. "
        "How does NumPy treat repeated indices in `a[i] += b`?",
    ),
    (_MOVE, "np.add.at(self.table, taken, td_error)", _TOO_FAR),
    (
        _MOVE,
        "[self.learn(*row) for row in zip(batch.observations, batch.actions, batch.rewards, "
        "batch.next_observations, batch.terminated)]; self.n_updates -= len(td_error)",
        "later rows are computed from values that earlier rows have already moved. "
        "When are the targets of a minibatch computed?",
    ),
    (
        _MOVE,
        "np.add.at(self.table, taken, self.step_size / len(td_error) * td_error)",
        "the errors of a minibatch are averaged here. The docstring says what becomes of them.",
    ),
    (_MOVE + "\n        self.n_updates += 1", _MOVE, _COUNTED),
    (
        _LEARN,
        "target = reward + self.discount * self.table[next_state].max()",
        _TERMINATION,
    ),
    (_LEARN, _LEARN.replace("self.discount * ", ""), _DISCOUNT),
    (_LEARN, _LEARN.replace("next_state", "state"), _WRONG_STATE),
    (
        "td_error = target - self.table[state, action]",
        "td_error = self.table[state, action] - target",
        _SIGN,
    ),
    (_MOVE_ONE, "self.table[state, action] += td_error", _TOO_FAR),
    (_MOVE_ONE + "\n        self.n_updates += 1", _MOVE_ONE, _COUNTED),
]
_OF_LINEAR = [
    *_OF_ACT,
    (
        _GREEDY,
        "greedy = next_q_target.argmax(axis=1)",
        "the target weights choose the next action and value it as well. "
        "What is double about double Q-learning?",
    ),
    (
        "bootstrap = next_q_target.take(",
        "bootstrap = next_q.take(",
        "the online weights choose the next action and value it as well. "
        "What is double about double Q-learning?",
    ),
    (
        _GREEDY,
        "greedy, next_q_target = next_q_target.argmax(axis=1), next_q",
        "the two sets of weights have changed places: which one chooses, which one values?",
    ),
    (" * np.logical_not(terminated)", "", _TERMINATION),
    ("rewards + discount * bootstrap", "rewards + bootstrap", _DISCOUNT),
    (
        _SLOPE,
        "slope.put(taken, td_error / n)",
        "the gradient points the other way. "
        "L falls when q(s, a) moves towards the target: which sign has dL/dw?",
    ),
    (
        _SLOPE,
        "slope.put(taken, -td_error)",
        "the errors are summed, but L is a mean over the minibatch.",
    ),
    (
        _SLOPE,
        "slope.put(taken, 2 * td_error / -n)",
        "L is half of the mean squared error: what is left of the 2?",
    ),
    (
        _SLOPE,
        "slope[:] = (td_error / -n)[:, None]",
        "the weights of all actions are changed. The reward was earned by one of them.",
    ),
    (
        "td_error = target - phi.dot(self.weights).take(taken)",
        "td_error = phi.dot(self.weights).take(taken) - target",
        _SIGN,
    ),
    (
        "td_error = target - phi.dot(self.weights)",
        "td_error = target - phi.dot(self.target_weights)",
        "td_error is taken against the target weights. Whose error is to become smaller?",
    ),
    (
        _NEXT_Q,
        "next_q = next_phi.dot(self.target_weights)\n"
        "        next_q_target = next_phi.dot(self.weights)",
        "double_q_target gets its two tables of values in the wrong order.",
    ),
    (
        "next_phi.dot(self.target_weights)",
        "next_phi.dot(self.weights)",
        "double_q_target gets the same values twice. Where are the target weights used?",
    ),
    ("batch.terminated, next_q", "batch.terminated | batch.truncated, next_q", _TRUNCATION),
    (
        _FOLLOW,
        "self.target_weights = self.weights",
        "the target weights have become another name for the weights, one array for both. "
        "What does `=` do to an array?",
    ),
    (
        _FOLLOW,
        "self.target_weights[:] = self.weights",
        "the target weights jump to the weights. How far do they move at each update?",
    ),
    (
        _FOLLOW,
        _FOLLOW.replace("+=", "-="),
        "the target weights move away from the weights.",
    ),
    (
        _FOLLOW,
        "self.weights += self.target_step_size * (self.target_weights - self.weights)",
        "it is the weights that move here, towards the target weights. "
        "Which of the two follows the other?",
    ),
    (
        _FOLLOW,
        _FOLLOW.replace("self.target_step_size", "(1 - self.target_step_size)"),
        "the target weights follow too fast: "
        "do they move by target_step_size, or by what is left of 1?",
    ),
]
MISTAKES = [
    *(Mistake("tabular.py", *row) for row in _OF_TABULAR),
    *(Mistake("linear.py", *row) for row in _OF_LINEAR),
]
