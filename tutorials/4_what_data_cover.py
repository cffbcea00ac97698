# %% [markdown]
# # 4. A data set and what it covers
#
# **Question.** Can an agent learn to play perfectly from the recorded steps of somebody who plays
# badly?
#
# LORO hopes for this: the language model plays poorly, but its data set D holds what a good policy
# would do, among much else. In CliffWalking we can compute what a good policy needs and look
# whether it is there. The player walks along a cliff to the goal. A step costs 1. A fall costs 100
# and leads back to the start. The best return is -13.

# %%
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro.bench.maps import policy_map
from minloro.coverage import coverage, occupancy, optimal_policy, visits
from minloro.dynamics import optimal_values
from minloro.rollout import unreproduced

task = minloro.make_task("cliffwalking")

# %% [markdown]
# ## D, and a check that it is true
#
# The player is the scripted stand-in. With probability `skill` it follows a good rule; otherwise it
# acts at random. Before anything is learned from recorded steps, the simulator repeats them: does
# action a in state s really give r and s'?


# %%
def collect(skill, seed, episodes=10):
    """Return the D of a player with this skill."""
    player = minloro.StandInLLM(task, seed=seed, skill=skill)
    return minloro.collect(task, player, episodes, seed)


d = collect(skill=0.3, seed=0)
# The paper's official code stores a beside s' instead of s.
shifted = replace(d, observations=d.next_observations)
wrong = unreproduced(task, d).mean()
wrong_shifted = unreproduced(task, shifted).mean()
print(f"{len(d)} steps, mean return {d.episode_returns.mean():.1f}")
print(f"rows that the simulator contradicts: {wrong:.3f}; of the shifted rows: {wrong_shifted:.3f}")

# %% [markdown]
# ## What a good policy needs
#
# Let d*(s, a) be the share of the optimal policy's steps that take action a in state s. Let mu(s,
# a) be the same share in D. Then
#
#     seen            = the sum of d*(s, a) over the pairs that occur in D
#     concentrability = the largest d*(s, a) / mu(s, a)         (infinite if D lacks a pair)
#
# The second number is the one in the theory. Without a bound on it, no algorithm is sure to learn
# from a batch (Chen and Jiang, 2019; with this ratio for one good policy: Rashidinejad et al.,
# 2021).
#
# ## What the student makes of it
#
# The student is a table that takes 3,000 minibatches of D and never plays. What should it think of
# actions that D does not hold? We try two opinions. The pessimistic student believes that
# everything unseen is worth -200. The optimistic one believes -5, which is better than most of the
# truth.

# %%
start = task.make_env().unwrapped.initial_state_distrib
best_policy = optimal_policy(task.transition_table)
wanted = occupancy(task.transition_table, start, best_policy, task.step_limit)  # d*, (S, A)


def student(data, initial_value=-200.0, seed=0):
    """Return the table learned from `data`, and the return of its greedy policy.

    Nothing is random in this game, so one episode is enough.
    """
    agent = minloro.TabularQ(
        48, 4, step_size=0.1, discount=0.99, epsilon=0.0, initial_value=initial_value
    )
    minloro.pretrain(agent, data, updates=3000, seed=seed)
    return agent.table, minloro.evaluate(agent, task.make_env(), seeds=[0])[0]


print("means of 10 seeds (concentrability: median); perfect: students with -13")
print(
    "skill  player's return   seen  concentrability  "
    "pessimistic student (perfect)  optimistic student"
)
for skill in (0.0, 0.1, 0.2, 0.3, 0.7, 1.0):
    sets = [collect(skill, seed) for seed in range(10)]
    player = np.mean([data.episode_returns.mean() for data in sets])
    covered = [coverage(wanted, visits(task, data)) for data in sets]
    seen = np.mean([c.seen for c in covered])
    ratio = np.median([c.concentrability for c in covered])
    pessimistic = [student(data, -200.0, seed)[1] for seed, data in enumerate(sets)]
    optimistic = [student(data, -5.0, seed)[1] for seed, data in enumerate(sets)]
    print(
        f"{skill:5.1f} {player:16.1f} {seen:6.2f} {ratio:16.1f} "
        f"{np.mean(pessimistic):20.1f} {pessimistic.count(-13):2}/10 {np.mean(optimistic):23.1f}"
    )

# %% [markdown]
# A player with skill 0.3 loses about 640 points per episode. From ten such episodes the pessimistic
# student learns to play perfectly in 9 of 10 cases. This is the paper's argument in small. Random
# steps see 72% of what is needed, but not the end of the way, and nothing can be learned. At skill
# 0.2, nine of the ten data sets hold all that is needed, but only 5 students are perfect: pairs
# that are rare in D (a large concentrability) are rarely drawn. The optimistic student fails
# everywhere, because it tries what D does not hold. It does worst after the perfect player, whose D
# holds nothing but the one way.
#
# The figure: shades are visits (on a logarithmic scale). Arrows are what the pessimistic student
# has learned.

# %%
figure, axes = plt.subplots(3, 1, figsize=(8, 8), layout="constrained")
for ax, skill in zip(axes, (0.0, 0.3), strict=False):
    data = collect(skill, seed=0)
    table, student_return = student(data)
    log_visits = np.log10(1 + np.bincount(data.observations, minlength=48))
    seen = coverage(wanted, visits(task, data)).seen
    player = f"D of skill {skill:g}: mean return {data.episode_returns.mean():,.0f}"
    title = f"{player}, sees {seen:.0%} of d*; its student: {student_return:.0f}"
    policy_map(ax, task.grid, table, log_visits, f"{title}. Shade: log10(1 + visits)")
    ax.images[0].set_clim(0, 2.8)  # one scale for both players
optimum = optimal_values(task.transition_table, discount=0.99)
title = "the optimal policy. Shade: d*, its visits as shares"
policy_map(axes[2], task.grid, optimum, wanted.sum(axis=1), title)
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "4_what_data_cover.png", dpi=80)

# %% [markdown]
# ## What could mislead you
#
# - **The player's return.** -640 or -13: the student cannot tell. What D covers decides, together
#   with the student's opinion of what D lacks.
# - **A large share.** 72% seen sounds good. But one missing pair can block the way (tutorial 5 asks
#   what happens online).
# - **Coverage of *the* optimal policy.** D may lack d* and cover another policy that is nearly as
#   good (exercise 2).
# - **A small world.** Here d* is exact and nothing is random. With real-valued states somebody has
#   to choose cells, and shares of different cells cannot be compared.
#
# ## Exercises
#
# 1. d* is (0.5, 0.5) on two actions. D took the first action once and the second three times. What
#    is the concentrability?
#    Check: `coverage(np.array([[0.5, 0.5]]), np.array([[1, 3]])).concentrability` gives 2.0.
# 2. D is a single episode at skill 0.3, seed 0. How much is seen, and what does the student reach?
#    How is that possible?
#    Check: `coverage(wanted, visits(task, collect(0.3, seed=0, episodes=1))).seen` gives 0.23.
#    Check: `student(collect(0.3, seed=0, episodes=1))[1]` gives -17.0.
# 3. Let the student learn from the shifted rows. Check: `student(shifted)[1]` gives -200.0.
