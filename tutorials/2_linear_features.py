# %% [markdown]
# # 2. Linear features
#
# **Question.** CartPole's state is four real numbers, so there is no table. What can replace it,
# and when does it fail?
#
# A pole stands on a cart. The agent pushes the cart to the left or to the right. Every step earns 1
# until the pole leans more than 12 degrees, the cart leaves the track, or 200 steps are over. A
# uniformly random policy gets about 21.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro
from minloro.bench.statistics import interval

task = minloro.make_task("cartpole")
# Position, velocity, angle, angular velocity; to the right is positive.
edge = np.array([2.4, 3.0, 0.21, 3.5])

# %% [markdown]
# ## Features
#
# A fixed map phi turns the state s into a vector. Action values are linear in this vector:
#
#     q(s, a) = phi(s) · w_a.
#
# Here phi is the Fourier basis (Sutton and Barto, 2018, section 9.5.2). With x = s rescaled from
# [-edge, edge] to [0, 1],
#
#     phi_i(s) = cos(pi c_i · x),   c_i a vector of whole numbers from 0 to the order.
#
# With `interactions=1` only one number of each c_i may differ from 0: every quantity is looked at
# alone.

# %%
BASES = {
    "order 1, alone": minloro.FourierBasis(-edge, edge, order=1, interactions=1),
    "order 2, alone": minloro.FourierBasis(-edge, edge, order=2, interactions=1),
    "order 1": minloro.FourierBasis(-edge, edge, order=1),
    "order 2": minloro.FourierBasis(-edge, edge, order=2),
}
print("features: " + ", ".join(f"{name} has {basis.size}" for name, basis in BASES.items()))

# %% [markdown]
# ## Learning
#
# The update is the one for the table, with phi(s) in the place of a table's entry. The target is
# held constant: this is a *semi-gradient* (section 9.3). `LinearQ` takes the mean of such steps
# over a minibatch of past transitions and gives it to Adam. In the target, the current weights w
# choose the next action. A second set of weights w' follows slowly and gives the value of that
# action (double Q-learning; van Hasselt et al., 2016, eq. 4):
#
#     td_error = r + discount * phi(s') · w'_b - phi(s) · w_a,   b = argmax of phi(s') · w
#     gradient of mean(td_error²) / 2 with respect to w_a
#              = -mean(td_error * phi(s)) over the rows with action a
#
# `finetune` is the learning loop: act, store, one update per step. It plays one greedy episode
# every 200 steps.


# %%
def make_agent(basis, **settings):
    """Return an untrained agent with these features."""
    chosen = {"step_size": 0.003, "target_step_size": 0.02} | settings
    return minloro.LinearQ(basis, n_actions=2, **chosen)


def learn(basis, seed, steps=4_000, **settings):
    """Return the agent and its evaluations; the first one is before any learning."""
    agent = make_agent(basis, **settings)
    returns = minloro.finetune(agent, task, steps, seed=seed)
    return agent, [row.episode_return for row in returns if row.phase == "eval"]


def last_returns(name, **settings):
    """Return the mean of the last 10 evaluations, over 10 seeds."""
    curves = [learn(BASES[name], seed, **settings)[1] for seed in range(10)]
    return interval([np.mean(curve[-10:]) for curve in curves])["mean"]


curves = {}
agents = {}
for name, basis in BASES.items():
    runs = [learn(basis, seed) for seed in range(10)]
    agents[name] = runs[0][0]
    curves[name] = np.array([curve for _, curve in runs])  # (seeds, evaluations)
    last = interval(curves[name][:, -10:].mean(axis=1), bounds=task.return_range)
    last_interval = f"{last['mean']:.1f} [{last['low']:.1f}, {last['high']:.1f}]"
    print(f"{name}: last 10 evaluations {last_interval}, 10 seeds")

# %% [markdown]
# 81 features reach 200 in every seed and nearly always stay there. Five features end below a random
# policy. Are five features too few to balance a pole? No: we can set the weights of two of them by
# hand. The greedy policy is then "push to the right if angle plus turning speed points to the
# right", and it balances for all 200 steps.


# %%
def by_hand(angle, speed):
    """Return the mean return of 100 episodes with two weights of the action "left" set by hand.

    All other weights are 0.
    """
    agent = make_agent(BASES["order 1, alone"])
    for i, c in enumerate(agent.features.coefficients):
        # cos(pi x) is positive on the left half and negative on the right half.
        agent.weights[i, 0] = angle * c[2] + speed * c[3]
    return minloro.evaluate(agent, task.make_env(), seeds=range(100))[0]


print(f"order 1, alone, two weights set by hand: {by_hand(1, 1):.1f} (100 episodes)")

# %% [markdown]
# So the policy exists, but Q-learning does not search for policies. It fits *values*. The value of
# a state is high in the middle and low at both edges. A sum of cos(pi x) of single quantities
# cannot have this shape: it rises from one edge to the other. The fit fails, and the greedy policy
# of a bad fit is bad. Order 2 has cos(2 pi x), which is low in the middle and high at both edges.
# Products of quantities tell "leaning and turning back" from "leaning and falling".
#
# The figure: learning curves on the left. On the right is what the 81 features have learned:
# q(right) - q(left) in the plane of angle and angular velocity, with the cart in the middle and at
# rest. Along the black line both actions are worth the same.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
colours = ("#CC79A7", "#E69F00", "#56B4E9", "#0072B2")
for (name, curve), colour in zip(curves.items(), colours, strict=True):
    bands = [interval(values, bounds=task.return_range) for values in curve.T]
    steps = np.arange(len(bands)) * 200
    means = [band["mean"] for band in bands]
    low = [band["low"] for band in bands]
    high = [band["high"] for band in bands]
    left.plot(steps, means, color=colour, label=f"{name} ({BASES[name].size} features)")
    left.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
left.set(xlabel="environment steps", ylabel="return of the greedy policy", ylim=(0, 310))
left.set_title("mean of 10 seeds, 95% band")
left.legend(fontsize=8, loc="upper left")
angles, speeds = np.meshgrid(np.linspace(-0.21, 0.21, 81), np.linspace(-2, 2, 81))
plane = np.stack([0 * angles, 0 * angles, angles, speeds], axis=-1)  # (81, 81, 4)
q = agents["order 2"].encode(plane) @ agents["order 2"].weights  # (81, 81, 2)
preference = q[..., 1] - q[..., 0]
most = abs(preference).max()
image = right.pcolormesh(angles, speeds, preference, cmap="RdBu_r", vmin=-most, vmax=most)
right.contour(angles, speeds, preference, levels=[0], colors="black")
figure.colorbar(image, ax=right, label="q(right) - q(left)")
right.set(xlabel="pole angle, rad", ylabel="angular velocity, rad/s", title="order 2, seed 0")
right.set_xticks((-0.2, -0.1, 0, 0.1, 0.2))
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "2_linear_features.png", dpi=80)

# %% [markdown]
# ## What could mislead you
#
# - **"It cannot be learned."** A failure is about features, step size and update together. It says
#   little about the task.
# - **"It can be expressed."** These features can express a good policy. That does not mean that
#   this update finds it (see above).
# - **A perfect 200.** The step limit hides what happens after step 200, and evaluations start near
#   the upright position.
# - **Edges.** Outside [-edge, edge] the features have the same values as on the edge. The agent is
#   blind there.
#
# ## Exercises
#
# 1. How many features has a Fourier basis of order 2 over Acrobot's six observations, with all
#    interactions, and with at most two?
#    Check: `minloro.FourierBasis([0] * 6, [1] * 6, 2).size` gives 729.
#    Check: `minloro.FourierBasis([0] * 6, [1] * 6, 2, interactions=2).size` gives 73.
# 2. "Push towards the lean" looks at the angle only. How long does it balance? And what does a
#    policy do if all its weights are 0?
#    Check: `by_hand(1, 0)` gives 41.0. Check: `by_hand(0, 0)` gives 9.4.
# 3. A step size ten times as large still learns, but not in every seed.
#    Check: `last_returns("order 2", step_size=0.03)` gives 190.
