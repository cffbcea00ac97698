# %% [markdown]
# # 1. Tabular Q-learning
#
# **Question.** How does an agent learn what its actions are worth from nothing but trying them, and
# how do we know that it is right?
#
# The game is FrozenLake: 16 cells, a start, a goal and four holes. The ice is slippery. A move goes
# the wanted way with probability 1/3 and to each side with probability 1/3. The reward is 1 at the
# goal and 0 everywhere else. So the return of an episode is 1 or 0, and the mean return is the
# probability of reaching the goal.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro.bench.maps import policy_map
from minloro.bench.statistics import interval
from minloro.dynamics import optimal_return, optimal_values, transition_arrays
from minloro.randomness import stream, stream_seed

task = minloro.make_task("frozenlake")
start = task.make_env().unwrapped.initial_state_distrib  # (S,) probabilities of the first state

# %% [markdown]
# ## The update
#
# The agent keeps a table with one number q(s, a) for each state and action. After one step from s
# with action a to reward r and next state s', it moves that number towards a target (Sutton and
# Barto, 2018, eq. 6.8):
#
#     target   = r + discount * max over a' of q(s', a')      (r alone if the episode terminated)
#     td_error = target - q(s, a)
#     q(s, a) <- q(s, a) + step_size * td_error
#
# `TabularQ.learn` is these three lines. Here is one update that you can check by hand: from state
# 14 to the goal.


# %%
def make_agent(**settings):
    """Return an untrained agent. batch_size 0: it learns from each transition once."""
    chosen = {"step_size": 0.05, "discount": 0.99, "epsilon": 0.1, "initial_value": 0.5} | settings
    return minloro.TabularQ(n_states=16, n_actions=4, batch_size=0, **chosen)


agent = make_agent()
td_error = agent.learn(state=14, action=2, reward=1.0, next_state=15, terminated=True)
print(f"one update: td_error {td_error:.3f}, q(14, right) becomes {agent.table[14, 2]:.3f}")

# %% [markdown]
# ## The loop
#
# With probability epsilon the agent tries a random action. Otherwise it takes the action that looks
# best. To judge what it has learned, we need no episodes: the environment publishes its
# probabilities. So the chance that the *greedy* policy reaches the goal within 100 steps is a sum
# (policy evaluation, Sutton and Barto, section 4.1). The learner itself never sees these tables.

# %%
going_on, rewards = transition_arrays(task.transition_table)  # (S, A, S) and (S, A)


def success(table):
    """Return the exact probability that the greedy policy of `table` reaches the goal in time."""
    states = np.arange(16)
    actions = table.argmax(axis=1)
    values = np.zeros(16)
    for _ in range(task.step_limit):
        values = rewards[states, actions] + going_on[states, actions] @ values
    return float(start @ values)


def learn(seed, steps=30_000, **settings):
    """Return the learned table, and the success of the greedy policy at every 500th step."""
    agent = make_agent(**settings)
    env = task.make_env()
    rng = stream(seed, "exploration")
    state, _ = env.reset(seed=stream_seed(seed, "environment"))
    curve = [success(agent.table)]
    for step in range(1, steps + 1):
        action = agent.act(state, rng)
        next_state, reward, terminated, truncated, _ = env.step(action)
        agent.learn(state, action, reward, next_state, terminated)
        state = next_state
        if terminated or truncated:
            state, _ = env.reset()
        if step % 500 == 0:
            curve.append(success(agent.table))
    return agent.table, curve


def mean_success(**settings):
    """Return the mean success of 10 seeds over the last 10,000 steps."""
    curves = [learn(seed, **settings)[1] for seed in range(10)]
    return float(np.mean([curve[-20:] for curve in curves]))


runs = [learn(seed) for seed in range(10)]
curves = np.array([curve for _, curve in runs])  # (seeds, evaluations)
optimum = optimal_values(task.transition_table, discount=0.99)
best = success(optimum)
last = interval(curves[:, -20:].mean(axis=1))
optimal_seeds = int((curves[:, -1] > best - 1e-6).sum())
best_with_clock = optimal_return(task.transition_table, start, task.step_limit)
print(f"untrained: {curves[0, 0]:.3f}, after 5,000 steps: {curves[:, 10].mean():.3f}")
last_interval = f"{last['mean']:.3f} [{last['low']:.3f}, {last['high']:.3f}]"
print(f"last 10,000 steps: {last_interval}, 95% interval over 10 seeds")
print(f"optimal at the last step: {optimal_seeds} of 10 seeds; seed 0 has {curves[0, -1]:.3f}")
print(f"optimal policy: {best:.3f}; with a clock: {best_with_clock:.3f}")

# %% [markdown]
# "With a clock": a player who knows how many of the 100 steps are left can do a little better at
# the end. A table over the 16 states cannot.
#
# The figure: on the left each thin line is one seed. In the middle is the policy that seed 0 has
# learned, on the right the optimal one. They differ in a single cell: row 3, column 3. There seed 0
# goes down and slips into the hole on the right one time in three. This alone lowers its chance
# from 0.740 to 0.601. (In row 2, column 3 two actions are equally good.)

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained", width_ratios=(1.4, 1, 1))
steps = np.arange(curves.shape[1]) * 500
axes[0].plot(steps, curves.T, color="#0072B2", linewidth=0.6, alpha=0.5)
axes[0].plot(steps, curves.mean(axis=0), color="#0072B2", linewidth=2.5, label="mean of 10 seeds")
axes[0].axhline(best, color="black", linestyle="--", label="optimal policy")
axes[0].set(xlabel="environment steps", ylabel="exact chance to reach the goal", ylim=(0, 0.8))
axes[0].set_xticks((0, 10_000, 20_000, 30_000))
axes[0].legend(loc="lower right", frameon=False)
learned = runs[0][0]
title = f"seed 0 and its values: success {curves[0, -1]:.3f}"
policy_map(axes[1], task.grid, learned, learned.max(axis=1), title)
title = f"optimal policy and its values: {best:.3f}"
policy_map(axes[2], task.grid, optimum, optimum.max(axis=1), title)
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "1_tabular_q_learning.png", dpi=90)

# %% [markdown]
# ## What could mislead you
#
# - **The last point of one curve.** The step size is constant, so the values never settle. Single
#   seeds still jump between good and bad policies. That is why we average over 10,000 steps and 10
#   seeds.
# - **A few test episodes.** If you estimate a chance of 0.7 from 20 episodes, the standard error is
#   0.1. Here the chance is exact; in most environments it cannot be.
# - **Two policies.** The agent that plays explores (epsilon 0.1) and falls into holes more often
#   than the greedy policy that we measure. Q-learning learns about the greedy policy from what the
#   exploring one does: it is *off-policy*.
# - **A lucky start.** The initial value 0.5 is a choice, and it decides a lot (exercise 2).
# - **One stream of random numbers for two purposes.** `default_rng(seed)` for the agent and
#   `env.reset(seed=seed)` would draw the *same* numbers for exploring and for slipping. `stream`
#   and `stream_seed` give each purpose its own numbers.
#
# ## Exercises
#
# 1. By hand: q(s, a) = 0.6, r = 0, the best value at s' is 0.4, step size 0.05, discount 0.99. What
#    is q(s, a) afterwards? Check: `0.6 + 0.05 * (0.99 * 0.4 - 0.6)` gives 0.590.
# 2. Start the table at 0 instead of 0.5. What happens to the success, and why? (Which action does
#    `argmax` take if all are equal? When is the first td_error different from 0?)
#    Check: `mean_success(initial_value=0.0)` gives 0.066.
# 3. A larger step size learns faster at first. And in the end?
#    Check: `mean_success(step_size=0.5)` gives 0.555.
