"""Soft actor-critic: a stochastic policy that earns as much as it can while staying as random as it can.

Sources: Haarnoja, Zhou, Abbeel and Levine (2018), "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning
with a Stochastic Actor"; Haarnoja et al. (2018), "Soft Actor-Critic Algorithms and Applications" (the learned temperature);
two critics and their minimum: Fujimoto, van Hoof and Meger (2018).

Here all three gradients, of the critics, the policy and the temperature, are taken at the same parameters and applied by one
Adam step. (The papers step one after the other; the difference is of the order of one step.)

Left out on purpose: image observations, n-step returns, prioritised replay, several updates a step.

Shapes: B batch, S observation, A action, H hidden units; the two critics are a stack of 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minloro.agents.checkpoint import Checkpoint
from minloro.agents.mlp import MLP, n_parameters
from minloro.errors import UserError
from minloro.transitions import Minibatch

LOG_STD_LOW, LOG_STD_HIGH = -5.0, 2.0  # of the Gaussian before squashing
LOG_2, LOG_SQRT_2PI = float(np.log(2)), float(np.log(2 * np.pi) / 2)


class ActorCritic(Checkpoint):
    """An agent for continuous actions: a squashed Gaussian policy, two critics, their slow copies, a temperature.

    observation_size: S. low, high: (A,) bounds of the actions; inside, actions are rescaled to [-1, 1]. rng: draws the
    initial weights. step_size: Adam's. target_step_size: how far the target critics move at each update,
    and pretraining_target_step_size: while it is pretrained, where that differs. The target entropy is -A, as in the paper.
    """

    STATE = ("parameters", "target_parameters", "mean_gradient", "mean_square", "n_updates")

    def __init__(
        self, observation_size: int, low, high, rng: np.random.Generator, *, hidden: int = 64, step_size: float = 1e-3,
        discount: float = 0.99, target_step_size: float = 0.005, pretraining_target_step_size: float | None = None,
        batch_size: int = 128, dtype=np.float32,
    ):  # fmt: skip
        self.low, self.high = np.asarray(low, dtype), np.asarray(high, dtype)
        if self.low.ndim != 1:
            raise UserError("the actor-critic needs a Box of actions with one dimension; for Discrete actions use LinearQ")
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all() and (self.low < self.high).all()):
            raise UserError("the actor-critic needs a Box of actions with finite bounds, low below high")
        self.step_size, self.discount, self.target_step_size = step_size, discount, target_step_size
        self.pretraining_target_step_size = pretraining_target_step_size or target_step_size
        self.observation_size, self.batch_size, self.dtype = observation_size, batch_size, dtype
        n_actions = len(self.low)
        policy_sizes = (observation_size, hidden, hidden, 2 * n_actions)
        critic_sizes = (observation_size + n_actions, hidden, hidden, 1)
        n_policy, n_critics = n_parameters(policy_sizes, 1), n_parameters(critic_sizes, 2)
        # One vector: the policy, the critics, the logarithm of the temperature.
        self.parameters = np.zeros(n_policy + n_critics + 1, dtype)
        self.gradients, self.mean_gradient, self.mean_square, self._scratch = np.zeros((4, len(self.parameters)), dtype)
        self.target_parameters = np.zeros(n_critics, dtype)
        self.n_updates = 0
        of_policy, of_critics = slice(0, n_policy), slice(n_policy, n_policy + n_critics)
        self._critic_parameters = self.parameters[of_critics]
        self._log_temperature, self._log_temperature_gradient = self.parameters[-1:], self.gradients[-1:]
        self.policy = MLP(policy_sizes, 1, batch_size, self.parameters[of_policy], self.gradients[of_policy])
        self.critics = MLP(critic_sizes, 2, batch_size, self._critic_parameters, self.gradients[of_critics])
        nothing = np.zeros(n_critics, dtype)  # target critics are never differentiated
        self.target_critics = MLP(critic_sizes, 2, batch_size, self.target_parameters, nothing)
        self.policy.initialize(rng)
        self.critics.initialize(rng)
        self.target_parameters[:] = self._critic_parameters
        self._pairs = np.zeros((batch_size, observation_size + n_actions), dtype)  # [B, S + A]

    @property
    def temperature(self) -> float:
        """alpha, the weight of the entropy."""
        return float(np.exp(self._log_temperature[0]))

    @contextmanager
    def pretraining(self) -> Iterator[None]:
        """Let the target critics follow at their pretraining pace inside the block.

        Online, fast targets learn faster, and playing corrects what they overestimate. On a fixed data set nothing does.
        (Paper: the official code updates the targets of its discrete agent five times as often while pretraining.)
        """
        online = self.target_step_size
        self.target_step_size = self.pretraining_target_step_size
        try:
            yield
        finally:
            self.target_step_size = online

    def encode(self, observations) -> np.ndarray:
        """Return one observation, (S,), or many, (…, S), in the learner's precision."""
        encoded = np.array(observations, self.dtype)  # a copy: an environment may reuse the array
        if encoded.shape[-1:] != (self.observation_size,):
            raise UserError(f"observations have the shape {encoded.shape[-1:]}, the learner's is ({self.observation_size},)")
        return encoded

    def act(self, observation: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return the policy's mode, squashed, as an action, (A,); with a generator, a sample of the policy."""
        mean, log_std = self.policy(observation[None])[0, 0].reshape(2, -1)  # [A]
        if rng is not None:
            std = np.exp(np.clip(log_std, LOG_STD_LOW, LOG_STD_HIGH))
            mean = mean + std * rng.standard_normal(len(mean), self.dtype)
        action = self.low + (np.tanh(mean) + 1) / 2 * (self.high - self.low)
        return np.minimum(np.maximum(action, self.low), self.high)  # rounding may step over a bound

    def update(self, batch: Minibatch, rng: np.random.Generator) -> np.ndarray:
        """Take one Adam step on the critics, the policy and the temperature; return the critics' td_error, (2, B)."""
        if batch.actions.shape[1:] != self.low.shape:
            raise UserError(f"actions have the shape {batch.actions.shape[1:]}, the actor-critic was made for {self.low.shape}")
        noise = rng.standard_normal((2, self.batch_size, len(self.low)), self.dtype)  # for s' and for s
        td_error = self._fill_gradients(batch, *noise)
        self._adam_step()
        self.target_parameters += self.target_step_size * (self._critic_parameters - self.target_parameters)
        return td_error

    def _fill_gradients(self, batch: Minibatch, next_noise: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Compute the gradients of the three losses below; noise: (B, A) standard normal, the policy's own randomness."""
        next_action, next_log_prob, _ = self._sample(batch.next_observations, next_noise)
        next_q = self.target_critics.forward(self._join(batch.next_observations, next_action))[..., 0]  # [2, B]
        soft_value = next_q.min(axis=0) - self.temperature * next_log_prob  # [B]
        # A truncated episode was cut off, not over: its last state keeps its value.
        target = batch.rewards + np.where(batch.terminated, 0, self.discount * soft_value)
        taken = (batch.actions - self.low) * (2 / (self.high - self.low)) - 1  # to [-1, 1]
        td_error = self._critic_gradients(batch.observations, taken, target)
        log_prob = self._policy_gradients(batch.observations, noise)
        # J(log alpha) = -alpha mean(log pi + target entropy), as in "Algorithms and Applications".
        self._log_temperature_gradient[:] = -self.temperature * (log_prob.mean() - len(self.low))
        return td_error

    def _critic_gradients(self, observations: np.ndarray, actions: np.ndarray, target: np.ndarray) -> np.ndarray:
        """J_Q = sum over the critics of mean((Q(s, a) - target)²) / 2; so dJ_Q/dQ = (Q - target) / B.

        Return td_error = target - Q, (2, B).
        """
        td_error = target - self.critics.forward(self._join(observations, actions))[..., 0]  # [2, B]
        self.critics.backward((td_error / -len(target))[..., None])
        return td_error

    def _policy_gradients(self, observations: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """J_pi = mean(alpha log pi(a|s) - min Q(s, a)), a = tanh(u), u = mean + std * noise; return log pi, (B,).

        dJ/da = -dQ/da / B                              of the critic that is the smaller one
        da/du = 1 - a²
        d log pi/du = 2 a                               from the last term of log pi in `_sample`, as tanh(u) = a
        dJ/du = (2 alpha a - dQ/da (1 - a²)) / B
        dJ/d mean = dJ/du
        dJ/d log std = dJ/du * std * noise - alpha / B  u moves by std * noise, and log pi holds -log std itself
        and 0 for a log std that was clipped.
        """
        n = len(observations)
        action, log_prob, std = self._sample(observations, noise)
        q = self.critics.forward(self._join(observations, action))[..., 0]  # [2, B]
        smaller = np.stack((q[0] <= q[1], q[0] > q[1])).astype(self.dtype)  # [2, B]
        dq = self.critics.backward(smaller[..., None], parameters=False, inputs=True).sum(axis=0)  # [B, S + A]
        dq_da = dq[:, observations.shape[1] :]  # [B, A]
        du = (2 * self.temperature * action - dq_da * (1 - action * action)) / n  # [B, A]
        dlog_std = (du * std * noise - self.temperature / n) * self._unclipped
        self.policy.backward(np.concatenate((du, dlog_std), axis=1)[None])
        return log_prob

    def _sample(self, observations: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a = tanh(mean + std * noise), (B, A), log pi(a|s), (B,), and std, (B, A).

        log pi(a|s) = sum over A of [-noise²/2 - log std - log(2 pi)/2 - log(1 - tanh(u)²)]: the Gaussian's density
        over the slope of tanh. log(1 - tanh(u)²) = 2 (log 2 - u - log(1 + exp(-2u))), which does not cancel for large u.
        """
        mean, log_std = self.policy.forward(observations)[0].reshape(len(noise), 2, -1).swapaxes(0, 1)  # [B, A]
        self._unclipped = (log_std > LOG_STD_LOW) & (log_std < LOG_STD_HIGH)
        log_std = np.minimum(np.maximum(log_std, LOG_STD_LOW), LOG_STD_HIGH)
        std = np.exp(log_std)
        u = mean + std * noise
        log_slope = 2 * (LOG_2 - u - np.logaddexp(0, -2 * u))
        log_prob = (-0.5 * noise * noise - log_std - LOG_SQRT_2PI - log_slope).sum(axis=1)
        return np.tanh(u), log_prob, std

    def _join(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return what the critics see, (B, S + A); overwritten by the next call."""
        self._pairs[:, : observations.shape[1]] = observations
        self._pairs[:, observations.shape[1] :] = actions
        return self._pairs

    def _adam_step(self, beta1: float = 0.9, beta2: float = 0.999) -> None:
        """Kingma and Ba (2015), in place on the flat vectors."""
        self.n_updates += 1
        scratch, gradients = self._scratch, self.gradients
        self.mean_gradient *= beta1
        self.mean_gradient += np.multiply(gradients, 1 - beta1, out=scratch)
        np.multiply(gradients, gradients, out=scratch)
        scratch *= 1 - beta2
        self.mean_square *= beta2
        self.mean_square += scratch
        np.sqrt(self.mean_square, out=scratch)
        correction = np.sqrt(1 - beta2**self.n_updates)  # of the bias of mean_square; that of mean_gradient is below
        scratch += 1e-8 * correction
        np.divide(self.mean_gradient, scratch, out=scratch)
        scratch *= self.step_size * correction / (1 - beta1**self.n_updates)
        self.parameters -= scratch
