# %% [markdown]
# # 6. Soft actor-critic by hand
#
# **Question.** What exactly does a soft actor-critic minimise, and how do we know that its
# hand-written gradients are right?
#
# The pendulum's action is a real number: a torque from -2 to 2. So the best action can no longer be
# read off a list of values. A second network, the *policy*, learns where the first one, the
# *critic*, is large.

# %%
import os

# It is set before NumPy is loaded. Several threads only slow small matrices down.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro

task = minloro.make_task("pendulum")

# %% [markdown]
# ## Three losses
#
# Haarnoja et al. (2018), "Soft Actor-Critic Algorithms and Applications", eqs. 5, 9 and 18. The
# policy is a Gaussian that is squashed into the bounds: u = mean(s) + std(s) · noise, a = tanh(u).
# The temperature alpha is the weight of the entropy:
#
#     critics      J_Q  = sum over both of mean (Q_i(s, a) - y)² / 2,
#                  y    = r + discount · (min_i Q'_i(s', a') - alpha log pi(a'|s')),
#                  with a' ~ pi(s') and Q' the slow copies of the critics
#     policy       J_pi = mean (alpha log pi(a|s) - min_i Q_i(s, a)),  a ~ pi(s)
#     temperature  J_alpha = -alpha mean (log pi(a|s) + target entropy),
#                  with target entropy = -(number of actions)
#
#     log pi(a|s) = log of the Gaussian at u - log(1 - a²)     (the slope of tanh; appendix C)
#
# Each loss is differentiated with respect to its own parameters only. Here are the losses, written
# with forward passes alone:


# %%
def sample(agent, observations, noise, squash=True):
    """Return a = tanh(u), (B, 1), and log pi(a|s), (B,)."""
    mean, log_std = np.split(agent.policy(observations)[0], 2, axis=1)
    u = mean + np.exp(log_std) * noise
    log_prob = -(noise**2) / 2 - log_std - np.log(2 * np.pi) / 2
    if squash:
        log_prob = log_prob - np.log(1 - np.tanh(u) ** 2)
    return np.tanh(u), log_prob.sum(axis=1)


def q(critics, observations, actions):
    """Return the values of both critics, (2, B)."""
    return critics(np.concatenate((observations, actions), axis=1))[..., 0]


def losses(agent, batch, next_noise, noise, squash=True):
    """Return the three losses by name."""
    next_actions, next_log_prob = sample(agent, batch.next_observations, next_noise, squash)
    next_q = q(agent.target_critics, batch.next_observations, next_actions).min(axis=0)
    soft_value = next_q - agent.temperature * next_log_prob
    # No bootstrapping after the end.
    y = batch.rewards + np.where(batch.terminated, 0, agent.discount * soft_value)
    critic_errors = q(agent.critics, batch.observations, batch.actions / 2) - y  # (2, B)
    actions, log_prob = sample(agent, batch.observations, noise, squash)
    smaller_q = q(agent.critics, batch.observations, actions).min(axis=0)
    return {
        "critics": (critic_errors**2).mean(axis=1).sum() / 2,
        "policy": (agent.temperature * log_prob - smaller_q).mean(),
        "temperature": -agent.temperature * (log_prob.mean() - 1),
    }


# %% [markdown]
# ## Are the gradients right?
#
# minloro computes the gradients by hand-written backward passes (minloro/agents/mlp.py and
# actor_critic.py). We check every parameter by central differences: move it by ±h and see how its
# loss changes. (`_fill_gradients` is `update` without the Adam step.)


# %%
def gradient_errors(squash=True):
    """Return {part: the largest difference of the two, relative to the largest gradient}."""
    rng = np.random.default_rng(0)
    agent = minloro.ActorCritic(3, [-2.0], [2.0], rng, hidden=8, batch_size=16, dtype=np.float64)
    batch = minloro.collect_random(task, 16, seed=0)
    noises = rng.standard_normal((2, 16, 1))
    agent._fill_gradients(batch, *noises)
    backward = agent.gradients.copy()
    n_policy = sum(array.size for array in (*agent.policy.weights, *agent.policy.biases))
    parts = {
        "policy": slice(0, n_policy),
        "critics": slice(n_policy, -1),
        "temperature": slice(-1, None),
    }
    h = 1e-6
    numeric = np.zeros_like(backward)
    for part, place in parts.items():
        for i in np.arange(len(backward))[place]:
            for sign in (1, -1):
                agent.parameters[i] += sign * h
                numeric[i] += sign * losses(agent, batch, *noises, squash)[part] / (2 * h)
                agent.parameters[i] -= sign * h
    errors = {}
    for part, place in parts.items():
        largest_error = abs(backward - numeric)[place].max()
        errors[part] = float(largest_error / abs(numeric)[place].max())
    return errors


for part, error in gradient_errors().items():
    print(f"gradients of the {part} agree to one part in a million: {error < 1e-6}")

# %% [markdown]
# ## A short run
#
# 3,000 steps, one update per step. The greedy policy takes tanh(mean(s)).


# %%
def learn(seed, steps=3_000, **settings):
    """Return the agent, its evaluations, and its mean return over 20 episodes, before and after."""
    chosen = {"discount": 0.95, "step_size": 0.002, "target_step_size": 0.02} | settings
    agent = minloro.ActorCritic(3, [-2.0], [2.0], np.random.default_rng(seed), **chosen)
    env = task.make_env()
    before, _ = minloro.evaluate(agent, env, seeds=range(20))
    returns = minloro.finetune(agent, task, steps, seed=seed)
    curve = [row.episode_return for row in returns if row.phase == "eval"]
    after, _ = minloro.evaluate(agent, env, seeds=range(20))
    return agent, curve, before, after


runs = [learn(seed) for seed in range(3)]
for seed, (agent, _, before, after) in enumerate(runs):
    means = f"20 episodes before {before:.0f}, after {after:.0f}"
    print(f"seed {seed}: {means}; temperature {agent.temperature:.2f}")

# %% [markdown]
# The figure: the evaluations, one episode each, are on the left. On the right is what seed 0 has
# learned: the torque in the plane of angle (0 is upright) and angular velocity. Far from upright it
# pushes the way that the pendulum turns. Near upright it pushes against the fall.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for seed, (_, curve, _, _) in enumerate(runs):
    left.plot(np.arange(len(curve)) * 200, curve, marker=".", label=f"seed {seed}")
left.set(xlabel="environment steps", ylabel="return of the greedy policy", title="learning")
left.legend(fontsize=8)
angle, speed = np.meshgrid(np.linspace(-np.pi, np.pi, 91), np.linspace(-8, 8, 91))
plane = np.stack([np.cos(angle), np.sin(angle), speed], axis=-1)
observations = plane.reshape(-1, 3).astype(np.float32)
mean = runs[0][0].policy(observations)[0, :, 0]
torque = 2 * np.tanh(mean).reshape(angle.shape)
image = right.pcolormesh(angle, speed, torque, cmap="RdBu_r", vmin=-2, vmax=2)
figure.colorbar(image, ax=right, label="torque, N m")
right.set(xlabel="angle, rad", ylabel="angular velocity, rad/s", title="policy, seed 0")
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script or notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "6_soft_actor_critic.png", dpi=80)

# %% [markdown]
# ## What could mislead you
#
# - **"It learns, so the gradients are right."** Many wrong gradients still learn, only worse. Check
#   both.
# - **Starts differ.** Even a good policy gets anything from about 0 to about -350, because the
#   start of the episode decides. Single evaluations (left) mostly show this. The printed returns
#   average 20 starts. And three seeds show that something works, not which of two settings is
#   better.
#
# ## Exercises
#
# 1. By hand: alpha = 0.2, the mean of log pi is 0.5, one action. The derivative of J_alpha with
#    respect to log alpha equals J_alpha. Does the temperature rise or fall?
#    Check: `-0.2 * (0.5 - 1)` gives 0.1: it falls, because the policy is random enough.
# 2. Forget the slope of tanh in log pi. Which parts does the check find wrong, and why also the
#    critics? Check: `min(gradient_errors(squash=False).values()) > 0.01` gives True.
# 3. With discount 0, which part of the reward can an action change? (The reward is -(angle² + 0.1
#    speed² + 0.001 torque²), with angle and speed *before* the step.) So what does the agent learn?
#    Check: `learn(0, discount=0.0)[3] < -1000` gives True.
