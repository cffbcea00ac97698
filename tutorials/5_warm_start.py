# %% [markdown]
# # 5. The warm start
#
# **Question.** Does an agent that is pretrained on D learn faster online, and is that the merit of
# the player who made D?
#
# This is the experiment of the LORO paper (arXiv 2505.10861): a language model plays, an agent is
# pretrained on the transitions D (off-policy), and the same agent goes on learning online. Here a
# scripted stand-in plays the part of the model.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro import Job
from minloro.bench import report, sweep
from minloro.bench.plot import learning_curves
from minloro.bench.text import format_interval
from minloro.loro import CLONE

# %% [markdown]
# ## The method in four lines
#
# `pretrain` takes gradient steps on minibatches of D without playing. `finetune` counts the steps
# of D as spent: they were steps in the environment, too. Its first evaluation is the one of the
# pretrained agent before any online step, over 20 episodes.

# %%
task = minloro.make_task("taxi")
data = minloro.collect(task, minloro.StandInLLM(task, seed=0), episodes=10, seed=0)
agent = task.make_agent(seed=0)
minloro.pretrain(agent, data, updates=3000, seed=0)
returns = minloro.finetune(agent, task, steps=10_000, data=data, seed=0)
evaluations = [row.episode_return for row in returns if row.phase == "eval"]
print(f"D: {len(data)} transitions, mean return {data.episode_returns.mean():.1f}")
first = evaluations[0]
last = evaluations[-1]
print(f"one seed of loro: {first:.0f} before any online step, {last:.0f} at the end")

# %% [markdown]
# ## Three arms, ten seeds
#
# One curve says nothing. We need
#
# - `rl`, the same agent from scratch, with the same number of environment steps, D's included;
# - `random-data`, **the control**: everything as in `loro`, but D comes from a uniformly random
#   policy. If this arm is as good as `loro`, then pretraining has helped, but the player has not;
# - ten seeds, each with its own D, agent, buffer and environments. The differences are paired: all
#   arms of one seed have the same luck in the environment, and it cancels in the difference.
#
# In Taxi one picks up a passenger and drives to a destination (500 states). Random play almost
# never succeeds. In CartPole random play falls over after 21 steps, and falling over is
# instructive.


# %%
def compare(name, steps, seeds=10, skill=0.7):
    """Run the three arms; return the task, {(arm, seed): episodes} and the summary."""
    task = minloro.make_task(name)
    data = {}
    jobs = []
    for seed in range(seeds):
        player = minloro.StandInLLM(task, seed=seed, skill=skill)
        data[seed] = minloro.collect(task, player, episodes=10, seed=seed)
        for arm in ("rl", "loro", "random-data"):
            jobs.append(Job(task, arm, seed, steps, data=data[seed]))
    returns = {(job.arm, job.seed): episodes for job, (episodes, _) in sweep.run(jobs)}
    return task, returns, report.summarize(task, steps, returns, data)


def verdict(summary, other, metric):
    """Return the paired difference loro - other in words and numbers."""
    result = summary["difference"][f"loro-{other}"][metric]
    return f"{format_interval(result, 0)}, {result['verdict']}"


results = {name: compare(name, steps) for name, steps in (("taxi", 12_000), ("cartpole", 3_000))}
for name, (_, _, summary) in results.items():
    transitions = summary["data"]["transitions"]
    print(f"{name}, 10 seeds, {summary['steps']:,} steps, D's {transitions:.0f} included")
    for arm, metrics in summary["arms"].items():
        first = format_interval(metrics["first_return"], 10)
        mean = format_interval(metrics["mean_return"], 10)
        print(f"  {arm:<12} before online steps {first}, mean return {mean}")
    print(f"  loro - rl, equal environment steps: {verdict(summary, 'rl', 'mean_return')}")
    print(f"  loro - rl, equal online steps: {verdict(summary, 'rl', 'online_mean_return')}")
    control = verdict(summary, "random-data", "online_mean_return")
    print(f"  loro - random-data, equal online steps: {control}")

# %% [markdown]
# Taxi: a clear gain, and it is the merit of the player. As many random data do not help, because
# they never show how a passenger is delivered. CartPole: the pretrained agent balances for all 200
# steps without having played once. But the agent that was pretrained on random steps does so, too:
# this is not the merit of the player. Counted in equal environment steps, there is no clear
# difference to starting from scratch: D's 463 steps are spent at a mean return of 46.
#
# In the figure, bands are 95% intervals, and D's steps are shaded.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for ax, window, (name, result) in zip(axes, (5, 1), results.items(), strict=True):
    task, returns, summary = result
    data = summary["data"]
    learning_curves(
        ax, returns, data["transitions"], data["mean_return"], window, task.return_range
    )
    ax.set_title(f"{name}: D is the stand-in's", loc="left", fontsize=10)
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "5_warm_start.png", dpi=80)

# %% [markdown]
# ## What pretraining forgets, and a guide that keeps it
#
# A perfect player should be the best teacher. Here one walks along the cliff of CliffWalking on the
# shortest way, ten times. Then the agent is pretrained on these steps, and we look at what it
# believes about its first state, 36. The cliff is to the right of it.

# %%
cliff = minloro.make_task("cliffwalking")
perfect = minloro.collect(cliff, minloro.StandInLLM(cliff, skill=1.0), episodes=10)
agent = cliff.make_agent()
minloro.pretrain(agent, perfect, cliff.updates)
print(f"cliffwalking, D: mean return {perfect.episode_returns.mean():.1f}")
print("before D, every value is", f"{cliff.make_agent().table[36, 0]:.2f}")
for action, name in enumerate(("up", "right", "down", "left")):
    shown = np.sum((perfect.observations == 36) & (perfect.actions == action))
    print(f"  {name:<5} shown {shown} times, value {agent.table[36, action]:.2f}")

# %% [markdown]
# "Up" is what the player does, and the agent has learned that it costs a little. The three other
# actions are never shown. So nobody has told the agent that they are worse, and they keep the
# initial value. The agent therefore does anything but what it was shown: it steps to the right, off
# the cliff, again and again. The better the player, the fewer mistakes it shows, and the more such
# actions there are.
#
# Q-learning looks at the rewards of D. The policy that D shows is kept nowhere. The arm `guided`
# keeps it: beside the agent there is a **clone** of the player, which counts how often each action
# was taken in each state. The agent learns as before, from every step. But whoever of the two has
# earned more in its recent episodes is the one that is evaluated, and plays every second episode of
# training. The rule is the class `Guide` in [loro.py](../minloro/loro.py).

# %%
ten_evaluations = len(perfect) + 2000
guided = {}
for arm in ("loro", "guided"):
    jobs = [Job(cliff, arm, seed, ten_evaluations, perfect) for seed in range(10)]
    guided[arm] = [episodes for _, (episodes, _) in sweep.run(jobs)]
    runs = [[row for row in run if row.phase == "eval"] for run in guided[arm]]
    first = np.mean([run[0].episode_return for run in runs])
    online = np.mean([[row.episode_return for row in run[1:]] for run in runs])
    by_clone = np.mean([[row.behaviour == CLONE for row in run[1:]] for run in runs])
    print(
        f"  {arm:<6} before online steps {first:,.1f}, ten evaluations {online:.1f}, "
        f"{by_clone:.0%} of them by the clone"
    )

# %% [markdown]
# The guide does not prevent the mistakes of learning: in its own episodes, the agent still falls
# off the cliff. It prevents that they are all there is. A player that is worse than the agent loses
# after one episode of the agent, and then all is as in `loro`.

# %% [markdown]
# ## What could mislead you
#
# - **No control.** Without `random-data`, CartPole looks like a success of the player.
# - **The x-axis.** "Better" over equal online steps and "no clear difference" over equal
#   environment steps are both true. Say which one you mean.
# - **A weak baseline.** The larger the flaws of `rl`, the larger the gain. Tune `rl` at least as
#   carefully as `loro`.
# - **One seed.** The seed above has 4 at the end. Other seeds of the same ten are still at -200
#   there.
# - **This player is a rule that we wrote.** What a language model's D is worth is in [the
#   findings](studies/findings.md). Published rollouts exist for five tasks: on none of them does
#   the model's D beat random data.
#
# ## Exercises
#
# 1. On CartPole, D has 463 steps with a mean return of 46.3. From then on `loro` has 200 at every
#    evaluation. There are 15 evaluations, at steps 200, 400, ..., 3,000. While D is collected, its
#    mean return is counted. Why can the mean return not be higher than printed above?
#    Check: `(2 * 46.3 + 13 * 200) / 15` gives 179.5.
# 2. Is a perfect player a better teacher? (With skill 0.7, 6,000 steps give 168.0 [84.0, 252.1].)
#    Check: `verdict(compare("taxi", 6000, skill=1.0)[2], "rl", "online_mean_return")` gives
#    "147.5 [29.4, 265.6], better".
# 3. Compare CartPole over equal environment steps with three seeds. What do you conclude, and what
#    did ten seeds say?
#    Check: `verdict(compare("cartpole", 3000, seeds=3)[2], "rl", "mean_return")` gives
#    "-6.5 [-58.2, 45.2], indicative: no clear difference".
