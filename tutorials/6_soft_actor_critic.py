# %% [markdown]
# # 6. Soft actor-critic by hand
#
# **Question.** What exactly does a soft actor-critic minimise, and how do we know that its hand-written gradients are right?
#
# The pendulum's action is a real number, a torque from -2 to 2: the best action can no longer be read off a list of values. A
# second network, the *policy*, learns where the first one, the *critic*, is large.

# %%
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded: several threads only slow small matrices down

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minloro

task = minloro.make_task("pendulum")

# %% [markdown]
# ## Three losses
#
# Haarnoja et al. (2018), "Soft Actor-Critic Algorithms and Applications", eqs. 5, 9 and 18. The policy is a Gaussian that is
# squashed into the bounds: u = mean(s) + std(s) · noise, a = tanh(u). With alpha the temperature, the weight of the entropy:
#
#     critics      J_Q  = sum over both of mean (Q_i(s, a) - y)² / 2,
#                  y    = r + discount · (min_i Q'_i(s', a') - alpha log pi(a'|s')),  a' ~ pi(s'), Q' the slow copies
#     policy       J_pi = mean (alpha log pi(a|s) - min_i Q_i(s, a)),  a ~ pi(s)
#     temperature  J_alpha = -alpha mean (log pi(a|s) + target entropy),  target entropy = -(number of actions)
#
#     log pi(a|s) = log of the Gaussian at u - log(1 - a²)     (the slope of tanh; appendix C)
#
# Each loss is differentiated with respect to its own parameters only. Written with forward passes alone:


# %%
def sample(agent, observations, noise, squash=True):
    """Return a = tanh(u), (B, 1), and log pi(a|s), (B,)."""
    mean, log_std = np.split(agent.policy(observations)[0], 2, axis=1)
    u = mean + np.exp(log_std) * noise
    log_prob = -(noise**2) / 2 - log_std - np.log(2 * np.pi) / 2 - squash * np.log(1 - np.tanh(u) ** 2)
    return np.tanh(u), log_prob.sum(axis=1)


def q(critics, observations, actions):
    return critics(np.concatenate((observations, actions), axis=1))[..., 0]  # (2, B)


def losses(agent, batch, next_noise, noise, squash=True):
    next_actions, next_log_prob = sample(agent, batch.next_observations, next_noise, squash)
    soft_value = q(agent.target_critics, batch.next_observations, next_actions).min(axis=0) - agent.temperature * next_log_prob
    y = batch.rewards + np.where(batch.terminated, 0, agent.discount * soft_value)  # no bootstrapping after the end
    actions, log_prob = sample(agent, batch.observations, noise, squash)
    return {
        "critics": ((q(agent.critics, batch.observations, batch.actions / 2) - y) ** 2).mean(axis=1).sum() / 2,
        "policy": (agent.temperature * log_prob - q(agent.critics, batch.observations, actions).min(axis=0)).mean(),
        "temperature": -agent.temperature * (log_prob.mean() - 1),
    }


# %% [markdown]
# ## Are the gradients right?
#
# minloro computes them by hand-written backward passes (minloro/agents/mlp.py and actor_critic.py). We check every parameter by
# central differences: move it by ±h, see how its loss changes. (`_fill_gradients` is `update` without the Adam step.)


# %%
def gradient_errors(squash=True):
    """Return {part: the largest difference of the two, relative to the largest gradient}."""
    rng, h = np.random.default_rng(0), 1e-6
    agent = minloro.ActorCritic(3, [-2.0], [2.0], rng, hidden=8, batch_size=16, dtype=np.float64)
    batch, noises = minloro.collect_random(task, 16, seed=0), rng.standard_normal((2, 16, 1))
    agent._fill_gradients(batch, *noises)
    backward, numeric = agent.gradients.copy(), np.zeros(len(agent.gradients))
    n_policy = sum(array.size for array in (*agent.policy.weights, *agent.policy.biases))
    parts = {"policy": slice(0, n_policy), "critics": slice(n_policy, -1), "temperature": slice(-1, None)}
    for part, where in parts.items():
        for i in range(len(backward))[where]:
            for sign in (1, -1):
                agent.parameters[i] += sign * h
                numeric[i] += sign * losses(agent, batch, *noises, squash)[part] / (2 * h)
                agent.parameters[i] -= sign * h
    return {part: float(abs(backward - numeric)[i].max() / abs(numeric)[i].max()) for part, i in parts.items()}


for part, error in gradient_errors().items():
    print(f"gradients of the {part} agree to one part in a million: {error < 1e-6}")

# %% [markdown]
# ## A short run
#
# 3,000 steps, one update a step. The greedy policy takes tanh(mean(s)).


# %%
def learn(seed, steps=3_000, **settings):
    """Return the agent, its evaluations, and the mean return of the greedy policy over 20 episodes, before and after."""
    chosen = {"discount": 0.95, "step_size": 0.002, "target_step_size": 0.02} | settings
    agent, env = minloro.ActorCritic(3, [-2.0], [2.0], np.random.default_rng(seed), **chosen), task.make_env()
    before = minloro.evaluate(agent, env, seeds=range(20))[0]
    curve = [row.episode_return for row in minloro.finetune(agent, task, steps, seed=seed) if row.phase == "eval"]
    return agent, curve, before, minloro.evaluate(agent, env, seeds=range(20))[0]


runs = [learn(seed) for seed in range(3)]
for seed, (agent, _, before, after) in enumerate(runs):
    print(f"seed {seed}: 20 episodes before {before:.0f}, after {after:.0f}; temperature {agent.temperature:.2f}")

# %% [markdown]
# The figure: the evaluations, one episode each (left), and what seed 0 has learned: the torque in the plane of angle (0 is
# upright) and angular velocity. Far from upright it pushes the way the pendulum turns, near it against the fall.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for seed, (_, curve, _, _) in enumerate(runs):
    left.plot(np.arange(len(curve)) * 200, curve, marker=".", label=f"seed {seed}")
left.set(xlabel="environment steps", ylabel="return of the greedy policy", title="learning")
left.legend(fontsize=8)
angle, speed = np.meshgrid(np.linspace(-np.pi, np.pi, 91), np.linspace(-8, 8, 91))
plane = np.stack([np.cos(angle), np.sin(angle), speed], axis=-1).reshape(-1, 3).astype(np.float32)
torque = 2 * np.tanh(runs[0][0].policy(plane)[0, :, 0]).reshape(angle.shape)
figure.colorbar(right.pcolormesh(angle, speed, torque, cmap="RdBu_r", vmin=-2, vmax=2), ax=right, label="torque, N m")
right.set(xlabel="angle, rad", ylabel="angular velocity, rad/s", title="policy, seed 0")
folder = Path(globals().get("__file__", "")).parent / "figures"  # beside this script, or beside its notebook
folder.mkdir(exist_ok=True)
figure.savefig(folder / "6_soft_actor_critic.png", dpi=80)

# %% [markdown]
# ## What could mislead you
#
# - **"It learns, so the gradients are right."** Many wrong gradients still learn, only worse. Check both.
# - **Starts differ.** Even a good policy gets anything from about 0 to about -350, by the start of the episode. Single
#   evaluations (left) mostly show that; the printed returns average 20 starts. And three seeds show that something works, not
#   which of two settings is better.
#
# ## Exercises
#
# 1. By hand: alpha = 0.2, the mean of log pi is 0.5, one action. J_alpha's derivative with respect to log alpha equals J_alpha.
#    Does the temperature rise or sink? Check: `-0.2 * (0.5 - 1)` gives 0.1: it sinks, the policy is random enough.
# 2. Forget the slope of tanh in log pi. Which parts does the check find wrong, and why also the critics?
#    Check: `min(gradient_errors(squash=False).values()) > 0.01` gives True.
# 3. With discount 0, what is left of the reward that an action can change? (It is -(angle² + 0.1 speed² + 0.001 torque²), angle
#    and speed *before* the step.) So what does the agent learn? Check: `learn(0, discount=0.0)[3] < -1000` gives True.
