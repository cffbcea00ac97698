"""Soft actor-critic: a stochastic policy that earns much and stays as random as it can.

Sources: Haarnoja, Zhou, Abbeel and Levine (2018), "Soft Actor-Critic: Off-Policy Maximum Entropy
Deep Reinforcement Learning with a Stochastic Actor"; Haarnoja et al. (2018), "Soft Actor-Critic
Algorithms and Applications" (the learned temperature); Fujimoto, van Hoof and Meger (2018): two
critics and their minimum.

Here the gradients of the critics, the policy and the temperature are all taken at the same
parameters, and one Adam step applies them. The papers make one step after the other. The difference
is of the order of one step.

Left out on purpose: image observations, n-step returns, prioritised replay, several updates per
step.

Shapes: B batch, S observation, A action. The two critics are a stack of 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from minloro.agents.checkpoint import Checkpoint
from minloro.agents.mlp import MLP, n_parameters
from minloro.errors import UserError
from minloro.transitions import Minibatch

LOG_STD_LOW = -5.0  # limits of log std, of the Gaussian before squashing
LOG_STD_HIGH = 2.0
LOG_2 = float(np.log(2))
LOG_SQRT_2PI = float(np.log(2 * np.pi) / 2)


class ActorCritic(Checkpoint):
    """An agent for continuous actions.

    It has a squashed Gaussian policy, two critics, their target critics, which follow slowly, and a
    temperature. The target entropy is -A, as in the paper.

    observation_size: S. low, high: bounds of the actions, (A,). Inside the agent, actions are
    rescaled to [-1, 1]. rng: draws the initial weights. step_size: Adam's. target_step_size: the
    share of the way to the critics that the target critics move at each update.
    pretraining_target_step_size: the same during pretraining, if it differs.
    """

    STATE = ("parameters", "target_parameters", "mean_gradient", "mean_square", "n_updates")

    def __init__(
        self,
        observation_size: int,
        low: ArrayLike,
        high: ArrayLike,
        rng: np.random.Generator,
        *,
        hidden: int = 64,
        step_size: float = 1e-3,
        discount: float = 0.99,
        target_step_size: float = 0.005,
        pretraining_target_step_size: float | None = None,
        batch_size: int = 128,
        dtype: type[np.floating] = np.float32,
    ):
        self.dtype = dtype
        self.low = np.asarray(low, dtype)  # [A]
        self.high = np.asarray(high, dtype)  # [A]
        _check_bounds(self.low, self.high)
        self.observation_size = observation_size
        self.step_size = step_size
        self.discount = discount
        self.target_step_size = target_step_size
        self.pretraining_target_step_size = pretraining_target_step_size or target_step_size
        self.batch_size = batch_size
        self._build_networks(hidden)
        self._build_optimiser()
        self.policy.initialize(rng)
        self.critics.initialize(rng)
        self.target_parameters[:] = self._critic_parameters

    def _build_networks(self, hidden: int) -> None:
        """Make the flat vectors, and the networks as views of them."""
        n_actions = len(self.low)
        n_inputs = self.observation_size + n_actions
        policy_sizes = (self.observation_size, hidden, hidden, 2 * n_actions)
        critic_sizes = (n_inputs, hidden, hidden, 1)
        n_policy = n_parameters(policy_sizes, copies=1)
        n_critics = n_parameters(critic_sizes, copies=2)
        # One vector: the policy, then the critics, then the logarithm of the temperature.
        self.parameters = np.zeros(n_policy + n_critics + 1, self.dtype)
        self.gradients = np.zeros_like(self.parameters)
        self._critic_parameters = self.parameters[n_policy:-1]
        self._log_temperature = self.parameters[-1:]
        self._log_temperature_gradient = self.gradients[-1:]
        self.target_parameters = np.zeros(n_critics, self.dtype)
        self.policy = MLP(
            policy_sizes,
            copies=1,
            batch_size=self.batch_size,
            parameters=self.parameters[:n_policy],
            gradients=self.gradients[:n_policy],
        )
        self.critics = MLP(
            critic_sizes,
            copies=2,
            batch_size=self.batch_size,
            parameters=self._critic_parameters,
            gradients=self.gradients[n_policy:-1],
        )
        self.target_critics = MLP(
            critic_sizes,
            copies=2,
            batch_size=self.batch_size,
            parameters=self.target_parameters,
            gradients=np.zeros(n_critics, self.dtype),  # never filled
        )
        self._pairs = np.zeros((self.batch_size, n_inputs), self.dtype)  # [B, S + A]

    def _build_optimiser(self) -> None:
        """Make the state of Adam."""
        self.mean_gradient = np.zeros_like(self.parameters)  # Adam's m
        self.mean_square = np.zeros_like(self.parameters)  # Adam's v
        self._scratch = np.zeros_like(self.parameters)
        self.n_updates = 0

    @property
    def temperature(self) -> float:
        """alpha, the weight of the entropy."""
        return float(np.exp(self._log_temperature[0]))

    @contextmanager
    def pretraining(self) -> Iterator[None]:
        """Let the target critics follow at their pretraining pace inside the block.

        Online, fast target critics learn faster, and playing corrects what they overestimate. On a
        fixed data set nothing corrects it. (Paper: during pretraining, the official code updates
        the targets of its discrete agent five times as often.)
        """
        online = self.target_step_size
        self.target_step_size = self.pretraining_target_step_size
        try:
            yield
        finally:
            self.target_step_size = online

    def encode(self, observations: ArrayLike) -> np.ndarray:
        """Return one observation, (S,), or many, (…, S), in the agent's precision."""
        encoded = np.array(observations, self.dtype)  # a copy: an environment may reuse its array
        if encoded.shape[-1:] != (self.observation_size,):
            raise UserError(
                f"observations have the shape {encoded.shape[-1:]}, "
                f"the learner's is ({self.observation_size},)"
            )
        return encoded

    def act(self, observation: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return the greedy action, (A,): the policy's mean, squashed.

        With a generator, return a sample of the policy.
        """
        mean, log_std = self.policy(observation[None])[0, 0].reshape(2, -1)  # [A]
        if rng is not None:
            std = np.exp(np.clip(log_std, LOG_STD_LOW, LOG_STD_HIGH))
            mean = mean + std * rng.standard_normal(len(mean), self.dtype)
        action = self.low + (np.tanh(mean) + 1) / 2 * (self.high - self.low)
        return np.minimum(np.maximum(action, self.low), self.high)  # rounding may step over a bound

    def update(self, batch: Minibatch, rng: np.random.Generator) -> np.ndarray:
        """Take one Adam step on critics, policy and temperature; return td_error, (2, B)."""
        if batch.actions.shape[1:] != self.low.shape:
            raise UserError(
                f"actions have the shape {batch.actions.shape[1:]}, "
                f"the actor-critic was made for {self.low.shape}"
            )
        noise_shape = (2, self.batch_size, len(self.low))
        next_noise, noise = rng.standard_normal(noise_shape, self.dtype)  # [B, A]
        td_error = self._fill_gradients(batch, next_noise, noise)
        self._adam_step()
        self.target_parameters += self.target_step_size * (
            self._critic_parameters - self.target_parameters
        )
        return td_error

    def _fill_gradients(
        self, batch: Minibatch, next_noise: np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        """Compute the gradients of the three losses below; return td_error, (2, B).

        next_noise, noise: standard normal, (B, A), the randomness of the policy at s' and at s.
        """
        next_action, next_log_prob, _ = self._sample(batch.next_observations, next_noise)
        next_pairs = self._join(batch.next_observations, next_action)
        next_q = self.target_critics.forward(next_pairs)[..., 0]  # [2, B]
        soft_value = next_q.min(axis=0) - self.temperature * next_log_prob  # [B]
        # A truncated episode was cut off and is not over: its last state keeps its value.
        target = batch.rewards + np.where(batch.terminated, 0, self.discount * soft_value)
        taken = (batch.actions - self.low) * (2 / (self.high - self.low)) - 1  # to [-1, 1]
        td_error = self._critic_gradients(batch.observations, taken, target)
        log_prob = self._policy_gradients(batch.observations, noise)
        # J(log alpha) = -alpha mean(log pi + target entropy), as in "Algorithms and Applications".
        self._log_temperature_gradient[:] = -self.temperature * (log_prob.mean() - len(self.low))
        return td_error

    def _critic_gradients(
        self, observations: np.ndarray, actions: np.ndarray, target: np.ndarray
    ) -> np.ndarray:
        """Fill the gradients of the critics' loss; return td_error = target - Q, (2, B).

        J_Q = sum over the critics of mean((Q(s, a) - target)²) / 2
        dJ_Q/dQ = (Q - target) / B
        """
        q = self.critics.forward(self._join(observations, actions))[..., 0]  # [2, B]
        td_error = target - q
        self.critics.backward((td_error / -len(target))[..., None])
        return td_error

    def _policy_gradients(self, observations: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Fill the gradients of the policy's loss; return log pi, (B,).

        J_pi = mean(alpha log pi(a|s) - min Q(s, a)), with a = tanh(u), u = mean + std * noise

        dJ/da = -dQ/da / B                              of the smaller critic
        da/du = 1 - a²
        d log pi/du = 2 a                               from the last term of log pi in `_sample`
        dJ/du = (2 alpha a - dQ/da (1 - a²)) / B
        dJ/d mean = dJ/du
        dJ/d log std = dJ/du * std * noise - alpha / B  because d u/d log std is std * noise, and
                                                        log pi has the term -log std
        dJ/d log std = 0                                if log std was clipped
        """
        n = len(observations)
        action, log_prob, std = self._sample(observations, noise)
        q = self.critics.forward(self._join(observations, action))[..., 0]  # [2, B]
        smaller = np.stack((q[0] <= q[1], q[0] > q[1])).astype(self.dtype)  # [2, B]
        of_both = self.critics.backward(smaller[..., None], parameters=False, inputs=True)
        assert of_both is not None  # because of inputs=True
        dq = of_both.sum(axis=0)  # [B, S + A]
        dq_da = dq[:, observations.shape[1] :]  # [B, A]
        du = (2 * self.temperature * action - dq_da * (1 - action * action)) / n  # [B, A]
        dlog_std = (du * std * noise - self.temperature / n) * self._unclipped  # [B, A]
        self.policy.backward(np.concatenate((du, dlog_std), axis=1)[None])
        return log_prob

    def _sample(
        self, observations: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a = tanh(u), (B, A), log pi(a|s), (B,), and std, (B, A); u = mean + std * noise.

        log pi(a|s) is the density of the Gaussian divided by the slope of tanh, as a logarithm:
            sum over A of [-noise²/2 - log std - log(2 pi)/2 - log(1 - tanh(u)²)]
        It is computed with
            log(1 - tanh(u)²) = 2 (log 2 - u - log(1 + exp(-2u)))
        because 1 - tanh(u)² is rounded to 0 for large u.
        """
        outputs = self.policy.forward(observations)[0].reshape(len(noise), 2, -1)  # [B, 2, A]
        mean, log_std = outputs.swapaxes(0, 1)  # [B, A]
        self._unclipped = (log_std > LOG_STD_LOW) & (log_std < LOG_STD_HIGH)
        log_std = np.minimum(np.maximum(log_std, LOG_STD_LOW), LOG_STD_HIGH)
        std = np.exp(log_std)
        u = mean + std * noise
        log_slope = 2 * (LOG_2 - u - np.logaddexp(0, -2 * u))
        log_prob = (-0.5 * noise * noise - log_std - LOG_SQRT_2PI - log_slope).sum(axis=1)  # [B]
        return np.tanh(u), log_prob, std

    def _join(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return what the critics see, (B, S + A). The next call overwrites it."""
        self._pairs[:, : observations.shape[1]] = observations
        self._pairs[:, observations.shape[1] :] = actions
        return self._pairs

    def _adam_step(self, beta1: float = 0.9, beta2: float = 0.999) -> None:
        """Take the step of Kingma and Ba (2015), in place on the flat vectors."""
        self.n_updates += 1
        scratch = self._scratch
        self.mean_gradient *= beta1
        self.mean_gradient += np.multiply(self.gradients, 1 - beta1, out=scratch)
        np.multiply(self.gradients, self.gradients, out=scratch)
        scratch *= 1 - beta2
        self.mean_square *= beta2
        self.mean_square += scratch
        np.sqrt(self.mean_square, out=scratch)
        # The bias correction of mean_square. That of mean_gradient is in the last factor.
        correction = np.sqrt(1 - beta2**self.n_updates)
        scratch += 1e-8 * correction
        np.divide(self.mean_gradient, scratch, out=scratch)
        scratch *= self.step_size * correction / (1 - beta1**self.n_updates)
        self.parameters -= scratch


def _check_bounds(low: np.ndarray, high: np.ndarray) -> None:
    """Raise UserError if these are no bounds of continuous actions."""
    if low.ndim != 1:
        raise UserError(
            "the actor-critic needs a Box of actions with one dimension; "
            "for Discrete actions use LinearQ"
        )
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise UserError(
            "the actor-critic needs a Box of actions with finite bounds, low below high"
        )
