"""The soft actor-critic: gradients, densities and updates against slow and independent oracles."""

import gymnasium as gym
import numpy as np
import pytest

import minloro
from minloro.agents.actor_critic import LOG_STD_HIGH, LOG_STD_LOW, ActorCritic
from minloro.agents.mlp import MLP, n_parameters
from minloro.errors import UserError
from minloro.tasks.task import Task
from minloro.transitions import Transitions


def agent(s=3, low=(-2.0, 0.0), high=(2.0, 1.0), seed=0, dtype=np.float64, **settings):
    defaults = {"hidden": 7, "batch_size": 6, "discount": 0.9, "step_size": 0.01}
    learner = ActorCritic(
        s, low, high, np.random.default_rng(seed), dtype=dtype, **defaults | settings
    )
    learner.parameters[-1] = -0.7  # a temperature that is not 1
    noise = np.random.default_rng(9).normal(size=learner.target_parameters.shape)
    learner.target_parameters[:] += 0.1 * noise
    return learner


def rows(learner, n=6, s=3, seed=1, scale=1.0):
    rng = np.random.default_rng(seed)
    return Transitions(
        observations=scale * rng.normal(size=(n, s)),
        actions=rng.uniform(learner.low, learner.high, (n, len(learner.low))),
        rewards=rng.normal(size=n),
        next_observations=scale * rng.normal(size=(n, s)),
        terminated=rng.random(n) < 0.4,
        truncated=rng.random(n) < 0.4,
        episode=np.zeros(n, int),
    )


def policy_of(learner, observations, noise):
    """The policy written out without buffers: squashed actions and their log-probabilities."""
    mean, log_std = np.split(learner.policy(observations)[0], 2, axis=1)
    log_std = np.clip(log_std, LOG_STD_LOW, LOG_STD_HIGH)
    u = mean + np.exp(log_std) * noise
    gaussian = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi)
    return np.tanh(u), (gaussian - np.log(1 - np.tanh(u) ** 2)).sum(axis=1)


def losses(learner, batch, next_noise, noise, fixed):
    """J_Q + J_pi + J_alpha as a function of all parameters; `fixed` holds their constants."""
    taken = 2 * (batch.actions - learner.low) / (learner.high - learner.low) - 1
    q = learner.critics(np.concatenate((batch.observations, taken), axis=1))[..., 0]
    critic_loss = ((q - fixed["target"]) ** 2).mean(axis=1).sum() / 2
    action, log_prob = policy_of(learner, batch.observations, noise)
    q_both = fixed["critics"](np.concatenate((batch.observations, action), axis=1))[..., 0]
    q_new = q_both.min(axis=0)
    policy_loss = (fixed["temperature"] * log_prob - q_new).mean()
    temperature_loss = -learner.temperature * (fixed["log_prob"] - len(learner.low)).mean()
    return critic_loss + policy_loss + temperature_loss


def frozen(learner, batch, next_noise, noise):
    """The constants of the losses: the target, the critics that judge the policy, alpha, log pi."""
    settings = {"hidden": 7, "batch_size": 6, "dtype": np.float64}
    copy = ActorCritic(3, learner.low, learner.high, np.random.default_rng(0), **settings)
    copy.parameters[:] = learner.parameters
    next_action, next_log_prob = policy_of(copy, batch.next_observations, next_noise)
    pairs = np.concatenate((batch.next_observations, next_action), axis=1)
    next_q = learner.target_critics(pairs)[..., 0].min(axis=0)
    bootstrap = 0.9 * (next_q - copy.temperature * next_log_prob)
    target = [
        r if end else r + b
        for r, b, end in zip(batch.rewards, bootstrap, batch.terminated, strict=True)
    ]
    log_prob = policy_of(copy, batch.observations, noise)[1]
    return {
        "target": np.array(target),
        "critics": copy.critics,
        "temperature": copy.temperature,
        "log_prob": log_prob,
    }


@pytest.mark.parametrize("scale", [1.0, 12.0])  # 12: some log standard deviations are clipped
def test_every_gradient_by_central_differences(scale):
    learner = agent()
    batch = rows(learner, scale=scale)
    rng = np.random.default_rng(2)
    next_noise, noise = rng.normal(size=(2, 6, 2))
    fixed = frozen(learner, batch, next_noise, noise)
    learner._fill_gradients(batch, next_noise, noise)
    if scale > 1:
        assert not learner._unclipped.all() and learner._unclipped.any()
    gradients = learner.gradients.copy()
    h = 1e-6
    worst = 0.0
    for i in range(len(learner.parameters)):
        kept = learner.parameters[i]
        values = []
        for sign in (1, -1):
            learner.parameters[i] = kept + sign * h
            values.append(losses(learner, batch, next_noise, noise, fixed))
        learner.parameters[i] = kept
        numeric = (values[0] - values[1]) / (2 * h)
        worst = max(worst, abs(numeric - gradients[i]) / max(abs(numeric), abs(gradients[i]), 1e-2))
    assert worst < 1e-6
    assert np.count_nonzero(gradients) > 0.6 * len(gradients)


def test_the_td_error_of_an_update():
    learner = agent()
    batch = rows(learner)
    next_noise, noise = np.random.default_rng(2).normal(size=(2, 6, 2))
    fixed = frozen(learner, batch, next_noise, noise)
    taken = 2 * (batch.actions - learner.low) / (learner.high - learner.low) - 1
    q = learner.critics(np.concatenate((batch.observations, taken), axis=1))[..., 0]
    td_error = learner._fill_gradients(batch, next_noise, noise)
    np.testing.assert_allclose(td_error, fixed["target"] - q, rtol=1e-12)


def test_only_termination_ends_bootstrapping():
    learner = agent()
    noise = np.random.default_rng(2).normal(size=(2, 6, 2))
    batch = rows(learner)

    def td_error(terminated, truncated):
        ends = {"terminated": np.full(6, terminated), "truncated": np.full(6, truncated)}
        return learner._fill_gradients(Transitions(**vars(batch) | ends), *noise)

    going_on = td_error(False, False)
    np.testing.assert_array_equal(td_error(False, True), going_on)
    over = td_error(True, False)
    assert (over != going_on).all()
    np.testing.assert_array_equal(td_error(True, True), over)


def test_the_density_of_the_policy_integrates_to_one():
    """log pi against the numerical integral of exp(log pi) over the actions, in one dimension."""
    learner = agent(low=(-1.0,), high=(1.0,))
    observation = np.array([[0.3, -1.0, 0.5]])
    mean, log_std = learner.policy(observation)[0, 0]
    before_squashing = np.linspace(-12, 12, 200_001)
    actions = np.tanh(before_squashing)  # a grid that is fine near the bounds
    noise = (before_squashing - mean) / np.exp(log_std)
    n = len(actions)
    sizes = (3, 7, 7, 2)
    own_parameters = learner.parameters[: n_parameters(sizes, 1)]
    learner.policy = MLP(sizes, 1, n, own_parameters, np.zeros(n))
    sampled, log_prob, _ = learner._sample(np.repeat(observation, n, axis=0), noise[:, None])
    np.testing.assert_allclose(sampled[:, 0], actions, atol=1e-9)
    density = np.exp(log_prob)
    distribution = np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(actions))
    assert distribution[-1] == pytest.approx(1, abs=1e-6)
    middle = np.searchsorted(actions, np.tanh(mean))
    # Half of the samples lie below the squashed mean.
    assert distribution[middle] == pytest.approx(0.5, abs=1e-3)


def test_log_probabilities_stay_finite_far_out():
    learner = agent(low=(-1.0,), high=(1.0,), dtype=np.float32)
    noise = np.array([[-50], [-9], [0], [9], [30], [80]], np.float32)
    _, log_prob, _ = learner._sample(np.zeros((6, 3), np.float32), noise)
    assert np.isfinite(log_prob).all()


def test_adam_against_a_textbook_loop():
    learner = agent()
    theta = learner.parameters.copy()
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    for t in range(1, 6):
        gradient = np.random.default_rng(t).normal(size=theta.shape)
        learner.gradients[:] = gradient
        learner._adam_step()
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        theta = theta - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(learner.parameters, theta, rtol=1e-12)


def test_target_critics_follow_slowly_and_nothing_else_does():
    learner = agent()
    rng = np.random.default_rng(0)
    before = learner.target_parameters.copy()
    learner.update(rows(learner), rng)
    moved = before + 0.005 * (learner._critic_parameters - before)
    np.testing.assert_allclose(learner.target_parameters, moved, rtol=1e-12)


def test_a_network_against_a_loop_over_rows():
    sizes = (3, 5, 4, 2)
    copies = 2
    n = 9
    flat = np.zeros(n_parameters(sizes, copies))
    network = MLP(sizes, copies, n, flat, np.zeros_like(flat))
    network.initialize(np.random.default_rng(0))
    assert len(flat) == 2 * (4 * 5 + 6 * 4 + 5 * 2) and np.abs(flat).max() <= 1 / np.sqrt(3)
    x = np.random.default_rng(1).normal(size=(n, 3))
    output = network.forward(x)
    layers = list(zip(network.weights, network.biases, strict=True))
    for k in range(copies):
        for b in range(n):
            h = x[b]
            for layer, (weight, bias) in enumerate(layers):
                h = h @ weight[k] + bias[k, 0]
                h = np.maximum(h, 0) if layer < 2 else h
            np.testing.assert_allclose(output[k, b], h)
    np.testing.assert_allclose(network(x), output)


def test_actions_lie_within_their_bounds():
    learner = agent(low=(-2.0, 0.0, 5.0), high=(2.0, 1.0, 9.0), dtype=np.float32)
    learner.parameters[:] *= 30
    rng = np.random.default_rng(0)
    for _ in range(300):
        observation = learner.encode(rng.normal(size=3) * 5)
        for action in (learner.act(observation), learner.act(observation, rng)):
            assert action.shape == (3,)
            assert (action >= learner.low).all() and (action <= learner.high).all()
    observation = learner.encode([0, 0, 0])
    np.testing.assert_array_equal(learner.act(observation), learner.act(observation))


def test_no_rounding_steps_over_a_bound():
    rng = np.random.default_rng(0)
    for low, high in [(-2.1957498, 1.178872), *np.sort(rng.normal(size=(200, 2)), axis=1)]:
        learner = ActorCritic(3, [low], [high], np.random.default_rng(0), hidden=4)
        for bias in (30, -30):
            learner.policy.biases[-1][...] = bias
            action = learner.act(learner.encode([0, 0, 0]))
            assert learner.low <= action <= learner.high


def test_exploration_is_the_policy_that_is_learned():
    """Before squashing, drawn actions have the mean and the spread that the policy puts out."""
    learner = agent(low=(-1.0,), high=(1.0,))
    observation = learner.encode([0.3, -1.0, 0.5])
    rng = np.random.default_rng(0)
    mean, log_std = learner.policy(observation[None])[0, 0]
    drawn = np.arctanh([learner.act(observation, rng)[0] for _ in range(20_000)])
    assert drawn.mean() == pytest.approx(mean, abs=0.03)
    assert drawn.std() == pytest.approx(np.exp(log_std), rel=0.03)


def test_a_fresh_agent():
    learner = ActorCritic(3, [-1], [1], np.random.default_rng(0), hidden=8)
    np.testing.assert_array_equal(learner.target_parameters, learner._critic_parameters)
    assert learner.temperature == 1.0
    assert not np.shares_memory(learner.target_parameters, learner.parameters)


def test_the_noise_for_the_next_state_is_other_noise(monkeypatch):
    learner = agent()
    seen = []
    monkeypatch.setattr(learner, "_fill_gradients", lambda batch, *noise: seen.extend(noise))
    learner.update(rows(learner), np.random.default_rng(0))
    assert seen[0].shape == seen[1].shape == (6, 2) and (seen[0] != seen[1]).all()


def test_targets_are_slow_while_pretraining():
    learner = agent(target_step_size=0.5, pretraining_target_step_size=0.01)
    seen = []
    learner.update = lambda batch, rng: seen.append(learner.target_step_size)
    minloro.pretrain(learner, rows(learner), updates=3)
    assert seen == [0.01] * 3 and learner.target_step_size == 0.5


def test_discrete_actions_are_refused_with_advice():
    space = gym.spaces.Discrete(2)
    with pytest.raises(UserError, match="LinearQ"):
        ActorCritic(4, space.start, space.n, np.random.default_rng(0))
    for low, high in (([-np.inf], [np.inf]), ([1.0], [1.0])):
        with pytest.raises(UserError, match="finite bounds, low below high"):
            ActorCritic(4, low, high, np.random.default_rng(0))


def test_a_saved_agent_goes_on_bit_for_bit(tmp_path):
    def train(learner, seed):
        rng = np.random.default_rng(seed)
        for k in range(10):
            learner.update(rows(learner, seed=10 * seed + k), rng)

    first = agent(dtype=np.float32)
    second = agent(dtype=np.float32, seed=5)
    train(first, 0)
    first.save(tmp_path / "agent.npz")
    second.load(tmp_path / "agent.npz")
    for learner in (first, second):
        train(learner, 1)
    for name in first.STATE:
        one, other = (np.asarray(getattr(learner, name)) for learner in (first, second))
        assert one.tobytes() == other.tobytes(), name
    observation = first.encode([0.1, 0.2, 0.3])
    assert first.act(observation).tobytes() == second.act(observation).tobytes()
    with pytest.raises(UserError, match="parameters of shape"):
        agent(dtype=np.float32, hidden=8).load(tmp_path / "agent.npz")


def test_training_stays_in_single_precision():
    learner = agent(dtype=np.float32)
    learner.update(rows(learner), np.random.default_rng(0))
    for name in ("parameters", "target_parameters", "mean_gradient", "mean_square", "gradients"):
        assert getattr(learner, name).dtype == np.float32
    assert learner.act(learner.encode([0, 0, 0]), np.random.default_rng(0)).dtype == np.float32


class Drift(gym.Env):
    """An action pushes a point in the plane; the reward is minus its squared distance to (0, 0).

    The two coordinates of an action have different bounds.
    """

    observation_space = gym.spaces.Box(-2, 2, (2,), np.float32)
    action_space = gym.spaces.Box(
        np.array([-0.5, -0.1], np.float32), np.array([0.1, 0.5], np.float32)
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2)
        return self.place.astype(np.float32), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, np.float32))
        self.place = np.clip(self.place + action, -2, 2)
        return self.place.astype(np.float32), -float(self.place @ self.place), False, False, {}


def drift_agent(rng):
    bounds = (Drift.action_space.low, Drift.action_space.high)
    return ActorCritic(2, *bounds, rng, hidden=32, batch_size=64, discount=0.9)


def test_it_learns_a_second_environment():
    task = Task("drift", "Drift", 20, drift_agent, steps=2000, threshold=-2, env_factory=Drift)
    returns = minloro.finetune(task.make_agent(0), task, 2000, seed=0, evaluation_episodes=20)
    evaluations = [r.episode_return for r in returns if r.phase == "eval"]
    assert evaluations[0] < -10 and evaluations[-1] > -3


def test_two_seeds_start_differently_and_one_seed_does_not():
    task = minloro.make_task("pendulum")
    same, again, other = (task.make_agent(seed).parameters.tobytes() for seed in (0, 0, 1))
    assert same == again != other
