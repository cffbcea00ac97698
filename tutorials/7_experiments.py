# %% [markdown]
# # 7. Experiments that do not fool you
#
# **Question.** How many runs does a claim need, and what if the runs are not independent?
#
# There is one algorithm: linear Q-learning on CartPole. Its metric is the mean of the evaluations
# over 2,000 steps. Everything below compares this algorithm *with itself*. So every difference that
# we "find" is an error of ours.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro.bench.statistics import difference, interval, t_quantile

task = minloro.make_task("cartpole")


def play(agent, seed):
    """Let the agent learn for 2,000 steps; return its evaluations, one of them before any step."""
    returns = minloro.finetune(agent, task, steps=2_000, seed=seed)
    return [row.episode_return for row in returns if row.phase == "eval"]


def mean_returns(curves):
    """Return one number per run: the mean of its evaluations, without the first one."""
    return np.array(curves)[:, 1:].mean(axis=1)


# %% [markdown]
# ## Forty independent runs
#
# A run is independent if it has its own agent, buffer, environments and random streams. Forty of
# them tell the truth well enough for this tutorial.

# %%
curves = [play(task.make_agent(), seed) for seed in range(40)]
runs = mean_returns(curves)
all_runs = interval(runs)
truth = float(runs.mean())
shown = f"{truth:.1f} [{all_runs['low']:.1f}, {all_runs['high']:.1f}]"
print(f"40 runs: mean {shown}, from {runs.min():.1f} to {runs.max():.1f}")

# %% [markdown]
# ## How many?
#
# Compare a few runs with as many others. How often is the algorithm "better" than itself by more
# than 10? And how often does a band around the mean of five runs hold the truth? Two bands are in
# use. The first is mean ± std / sqrt(5), as in many papers. The second is Student's 95% interval,
# mean ± 2.776 std / sqrt(5), with n - 1 in the denominator of std. Only the second does what
# readers expect of a band.


# %%
def apart(n, gap=10):
    """Return how often the means of n runs and of n others lie more than `gap` apart."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        drawn = rng.permutation(runs)
        found.append(abs(drawn[:n].mean() - drawn[n : 2 * n].mean()) > gap)
    return float(np.mean(found))


def holds(width, ddof):
    """Return how often the band of five runs, mean ± width · std / sqrt(5), holds the truth."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        five = rng.permutation(runs)[:5]
        half = width * five.std(ddof=ddof) / 5**0.5
        found.append(abs(five.mean() - truth) <= half)
    return float(np.mean(found))


shares = ", ".join(f"{n} run{'s' if n > 1 else ''} {apart(n):.0%}" for n in (1, 3, 10))
print(f"more than 10 apart from itself: {shares} of the time")
standard_error = holds(width=1, ddof=0)
student = holds(width=t_quantile(4), ddof=1)
print(
    f"the band holds the truth: one standard error {standard_error:.0%}, "
    f"Student's t {student:.0%} of the time"
)

# %% [markdown]
# ## Five "repeats" of one agent
#
# The paper's official code makes its agent once and fine-tunes the same object in all five
# "repeats". Its published sums on CliffWalking are -5393, -2470, -2470, -2470, -2470: the first is
# a run, the others go on from where it ended. Let us do the same.


# %%
def repeats(n, group=0):
    """Return the curves of n "repeats" that share one agent."""
    agent = task.make_agent()
    return [play(agent, seed) for seed in range(5 * group, 5 * group + n)]


own = [curves[5 * group : 5 * group + 5] for group in range(8)]
shared = [repeats(5, group) for group in range(8)]
for name, group in (("own agents", own[0]), ("one shared agent", shared[0])):
    five = ", ".join(f"{run:.0f}" for run in mean_returns(group))
    print(f"one experiment, {name}: {five}")
bands = {}
for name, groups in (("own", own), ("shared", shared)):
    bands[name] = [interval(mean_returns(group), bounds=task.return_range) for group in groups]
    right = sum(band["low"] <= truth <= band["high"] for band in bands[name])
    mean = np.mean([band["mean"] for band in bands[name]])
    holding = f"the 95% interval holds the truth in {right} of 8 experiments"
    print(f"{name} agents: mean {mean:.1f}; {holding}")
against_itself = difference(mean_returns(repeats(10)), runs[:10])
print(
    f"ten shared - ten own: {against_itself['mean']:.1f}, {against_itself['verdict']}. "
    "It is the same algorithm"
)

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=(3, 3, 4))
groups = ((own[0], "five runs, own agents"), (shared[0], 'five "repeats" of one agent'))
for ax, (group, title) in zip(axes, groups, strict=False):
    for run, curve in enumerate(group, start=1):
        look = {"color": plt.cm.viridis(run / 6), "linewidth": 6 - run}
        ax.plot(np.arange(11) * 200, curve, label=f"run {run}", **look)
    ax.set(xlabel="environment steps", ylabel="return of the greedy policy", title=title)
    ax.set_ylim(0, 208)
    ax.legend(loc="lower right", fontsize=8)
right = axes[2]
for name, colour, shift in (("own", "#0072B2", 0), ("shared", "#D55E00", 9)):
    for row, band in enumerate(bands[name]):
        error = [[band["mean"] - band["low"]], [band["high"] - band["mean"]]]
        right.errorbar(band["mean"], row + shift, xerr=error, fmt="o", color=colour, capsize=3)
right.axvline(truth, color="black", linestyle="--")
right.set_yticks((3.5, 12.5), ("own", "shared"))
right.set(xlabel="mean and 95% interval; dashed: the truth", ylim=(17, -1))
right.set_title("eight experiments each")
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "7_experiments.png", dpi=80)

# %% [markdown]
# With a shared agent, four of five curves begin where the first one ended. The mean goes up, the
# curves look alike, and more "repeats" make the interval narrower around the wrong number. If the
# other arm of a comparison starts afresh every time, the shared arm wins, whatever it does.
#
# ## What could mislead you
#
# - **A small band.** It may mean many runs, equal runs, or one run five times. Ask what differs
#   from run to run.
# - **One data set for all runs.** If all runs are pretrained on one D, the interval is about
#   learning *given this D*.
# - **The best of several settings.** Whoever tries ten settings on three seeds and reports the best
#   one reports luck.
# - **Forty runs are not the truth.** Their own interval is printed above.
#
# ## Exercises
#
# 1. Runs of 187.5, 200, 200, 200 and 200: what are the mean and the 95% interval? Is the truth in
#    it? Check: `interval([187.5, 200, 200, 200, 200])["low"]` gives 190.6.
# 2. Twenty "repeats" instead of five. Where does the interval begin, and where does the truth lie?
#    Check: `interval(mean_returns(repeats(20)))["low"]` gives 199.9.
# 3. How often do five runs and five others lie more than 10 apart? Check: `apart(5)` gives 0.329.
