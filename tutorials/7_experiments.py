# %% [markdown]
# # 7. Experiments that do not fool you
#
# **Question.** How many runs does a claim need, and what if the runs are not independent?
#
# One algorithm, linear Q-learning on CartPole; its figure is the mean of the evaluations over 2,000 steps. Everything below
# compares this algorithm *with itself*, so that every difference that we "find" is an error of ours.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro.report import difference, interval, t_quantile

task = minloro.make_task("cartpole")


def play(agent, seed):
    """Let `agent` learn for 2,000 steps; return its evaluations, the first one before any of them."""
    returns = minloro.finetune(agent, task, steps=2_000, seed=seed)
    return [row.episode_return for row in returns if row.phase == "eval"]


def figures(curves):
    """One number a run: the mean of its evaluations, the first one left out."""
    return np.array(curves)[:, 1:].mean(axis=1)


# %% [markdown]
# ## Forty independent runs
#
# A run is independent if it has an agent, a buffer, environments and random streams of its own. Forty of them tell the truth
# well enough for this tutorial.

# %%
curves = [play(task.make_agent(), seed) for seed in range(40)]
runs = figures(curves)
all_runs, truth = interval(runs), float(runs.mean())
print(f"40 runs: mean {truth:.1f} [{all_runs['low']:.1f}, {all_runs['high']:.1f}], from {runs.min():.1f} to {runs.max():.1f}")

# %% [markdown]
# ## How many?
#
# With a few runs a side, how often is the algorithm "better" than itself by more than 10? And how often does a band around the
# mean of five runs hold the truth? Two bands are in use: mean ± std / sqrt(5), as in many papers, and Student's 95% interval,
# mean ± 2.776 std / sqrt(5) with std's n - 1 in the denominator. Only the second does what readers think that a band does.


# %%
def apart(n, gap=10):
    """The share of 1,000 comparisons of n runs with n others whose means lie more than `gap` apart."""
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(runs)[: 2 * n] for _ in range(1000)]
    return float(np.mean([abs(both[:n].mean() - both[n:].mean()) > gap for both in drawn]))


def holds(width, ddof):
    """The share of 1,000 draws of five runs whose band, mean ± width · std / sqrt(5), holds the truth."""
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(runs)[:5] for _ in range(1000)]
    return float(np.mean([abs(five.mean() - truth) <= width * five.std(ddof=ddof) / 5**0.5 for five in drawn]))


print(f"more than 10 apart from itself: 1 run {apart(1):.0%}, 3 runs {apart(3):.0%}, 10 runs {apart(10):.0%} of the time")
print(f"the band holds the truth: one standard error {holds(1, 0):.0%}, Student's t {holds(t_quantile(4), 1):.0%} of the time")

# %% [markdown]
# ## Five "repeats" of one agent
#
# The paper's official code makes its agent once and fine-tunes the same object in all five "repeats". Its published sums on
# CliffWalking are -5393, -2470, -2470, -2470, -2470: the first is a run, the others go on from where it ended. Let us do that.


# %%
def repeats(n, group=0):
    """The curves of n "repeats" that share an agent."""
    agent = task.make_agent()
    return [play(agent, seed) for seed in range(5 * group, 5 * group + n)]


shared = [repeats(5, group) for group in range(8)]
own = [curves[5 * group : 5 * group + 5] for group in range(8)]
print("one experiment, an agent of its own each: " + ", ".join(f"{figure:.0f}" for figure in figures(own[0])))
print("one experiment, one agent for all:        " + ", ".join(f"{figure:.0f}" for figure in figures(shared[0])))
bands = {"own": [interval(figures(group)) for group in own], "shared": [interval(figures(group)) for group in shared]}
for name, found in bands.items():
    right = sum(band["low"] <= truth <= band["high"] for band in found)
    mean = np.mean([band["mean"] for band in found])
    print(f"{name} agents: mean {mean:.1f}; the 95% interval holds the truth in {right} of 8 experiments")
against_itself = difference(figures(repeats(10)), runs[:10])
print(f"ten shared - ten own: {against_itself['mean']:.1f}, {against_itself['verdict']}. It is the same algorithm")

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=(3, 3, 4))
for ax, group, title in ((left, own[0], "five runs, an agent each"), (middle, shared[0], 'five "repeats" of one agent')):
    for number, curve in enumerate(group, start=1):
        ax.plot(np.arange(11) * 200, curve, label=f"run {number}", color=plt.cm.viridis(number / 6), linewidth=6 - number)
    ax.set(xlabel="environment steps", ylabel="return of the greedy policy", title=title, ylim=(0, 208))
    ax.legend(loc="lower right", fontsize=8)
for name, colour, shift in (("own", "#0072B2", 0), ("shared", "#D55E00", 9)):
    for row, band in enumerate(bands[name]):
        error = [[band["mean"] - band["low"]], [band["high"] - band["mean"]]]
        right.errorbar(band["mean"], row + shift, xerr=error, fmt="o", color=colour, capsize=3)
right.axvline(truth, color="black", linestyle="--")
right.set(xlabel="mean and 95% interval; dashed: the truth", yticks=(3.5, 12.5), yticklabels=("own", "shared"), ylim=(17, -1))
right.set_title("eight experiments each")
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script, or beside its notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "7_experiments.png", dpi=80)

# %% [markdown]
# With a shared agent, four of five curves begin where the first one ended. The mean goes up, the curves look alike, and more
# "repeats" make the interval narrower around the wrong number. If the arm it is compared with starts afresh every time, the
# shared arm wins whatever it does.
#
# ## What could mislead you
#
# - **A small band.** It may mean many runs, equal runs, or one run five times. Ask what differs from run to run.
# - **One data set for all runs.** If all runs are pretrained on one D, the interval is about learning *given this D*.
# - **The best of several settings.** Whoever tries ten settings on three seeds and reports the best one reports luck.
# - **Forty runs are not the truth.** Their own interval is printed above.
#
# ## Exercises
#
# 1. Runs of 187.5, 200, 200, 200 and 200: mean and 95% interval? Is the truth in it?
#    Check: `interval([187.5, 200, 200, 200, 200])["low"]` gives 190.6.
# 2. Twenty "repeats" instead of five. Where does the interval begin, and where does the truth lie?
#    Check: `interval(figures(repeats(20)))["low"]` gives 199.9.
# 3. How often do five runs a side lie more than 10 apart? Check: `apart(5)` gives 0.329.
