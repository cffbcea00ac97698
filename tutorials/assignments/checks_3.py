"""The checks of assignment 3: the actor-critic's backward pass. All numbers are 64-bit."""

from types import SimpleNamespace

import numpy as np
from checking import Check, Mistake

B = 6  # rows
S = 3  # observation
A = 2  # action
H = 5  # hidden units


def _network(module, rng, sizes=(3, 5, 5, 2), copies: int = 2, rows: int = 4):
    """Return a network with random parameters after a forward pass, a delta, and its gradients."""
    n = module.n_parameters(sizes, copies)
    gradients = rng.normal(size=n)  # whatever was there before
    network = module.MLP(sizes, copies, rows, rng.normal(size=n), gradients)
    x = rng.normal(size=(rows, sizes[0]))
    delta = rng.normal(size=(copies, rows, sizes[-1]))
    network.forward(x)
    return network, delta, gradients


def one_layer(module, rng):
    network, delta, gradients = _network(module, rng, sizes=(3, 2))
    network.backward(delta)
    return {"dL/dW": gradients[:12], "dL/db": gradients[12:]}


def three_layers(module, rng):
    network, delta, gradients = _network(module, rng)
    network.backward(delta)
    values = {}
    start = 0
    for layer, (n_in, n_out) in enumerate(((3, 5), (5, 5), (5, 2)), start=1):
        n_weights = 2 * n_in * n_out
        n_biases = 2 * n_out
        for name, size in (("W", n_weights), ("b", n_biases)):
            values[f"dL/d{name} of layer {layer}"] = gradients[start : start + size]
            start += size
    return values


def inputs_of_a_network(module, rng):
    network, delta, gradients = _network(module, rng)
    before = gradients.copy()
    values = {"dL/d(input)": network.backward(delta, parameters=False, inputs=True)}
    values["the gradients with parameters=False"] = gradients - before
    delta_before = delta.copy()
    values["dL/d(input), asked for with the gradients"] = network.backward(delta, inputs=True)
    values["delta, which belongs to the caller"] = delta - delta_before
    return values


def _agent(module, rng):
    agent = module.ActorCritic(
        S,
        [-2.0, 0.0],
        [2.0, 1.0],
        rng,
        hidden=H,
        batch_size=B,
        discount=0.9,
        dtype=np.float64,
    )
    agent.parameters[-1] = -0.7  # a temperature that is not 1
    agent.gradients[:] = 0
    return agent


def _sample_by_loop(agent):
    """Replace the student's own _sample: a mistake there must not cost points elsewhere."""

    def sample(observations, noise):
        mean, log_std = np.split(agent.policy.forward(observations)[0], 2, axis=1)
        agent._unclipped = (log_std > -5) & (log_std < 2)
        log_std = np.clip(log_std, -5, 2)
        u = mean + np.exp(log_std) * noise
        slope = 2 * np.log(2) - 2 * u - 2 * np.logaddexp(0, -2 * u)
        log_prob = (-(noise**2) / 2 - log_std - np.log(2 * np.pi) / 2 - slope).sum(axis=1)
        return np.tanh(u), log_prob, np.exp(log_std)

    return sample


def _n_of_policy(agent) -> int:
    """Return how many parameters the policy has."""
    return sum(array.size for array in (*agent.policy.weights, *agent.policy.biases))


def critic_gradients(module, rng):
    agent = _agent(module, rng)
    n_policy = _n_of_policy(agent)
    observations = rng.normal(size=(B, S))
    actions = rng.uniform(-1, 1, size=(B, A))
    td_error = agent._critic_gradients(observations, actions, rng.normal(size=B))
    return {
        "td_error": td_error,
        "the critics' gradients": agent.gradients[n_policy:-1],
        "the policy's gradients, which have nothing to do with it": agent.gradients[:n_policy],
    }


def squashed_sample(module, rng):
    values = {}
    for name, scale, spread in (
        ("", 1.0, 1.0),
        (" if log std is clipped", 5.0, 1.0),
        (" far out", 1.0, 60.0),
    ):
        agent = _agent(module, rng)
        agent.policy.weights[-1][...] *= scale
        observations = scale * rng.normal(size=(B, S))
        noise = spread * rng.normal(size=(B, A))
        action, log_prob, std = agent._sample(observations, noise)
        values[f"actions{name}"] = action
        values[f"log pi{name}"] = log_prob
        values[f"std{name}"] = std
    return values


def policy_gradients(module, rng):
    values = {}
    for name, scale in (("", 1.0), (" if log std is clipped", 5.0)):
        agent = _agent(module, rng)
        agent._sample = _sample_by_loop(agent)
        agent.policy.weights[-1][...] *= scale
        observations = scale * rng.normal(size=(B, S))
        log_prob = agent._policy_gradients(observations, rng.normal(size=(B, A)))
        n_policy = _n_of_policy(agent)
        n_last = (H + 1) * 2 * A  # weights (H, 2A) and biases (2A) of the last layer
        last_layer = agent.gradients[n_policy - n_last : n_policy].reshape(H + 1, 2 * A)
        below = agent.gradients[: n_policy - n_last]
        values[f"log pi{name}"] = log_prob
        values[f"the gradient of the means{name}"] = last_layer[:, :A]
        values[f"the gradient of the log stds{name}"] = last_layer[:, A:]
        values[f"the policy's gradients below the last layer{name}"] = below
        critics = agent.gradients[n_policy:-1]
        values[f"the critics' gradients, which stay as they were{name}"] = critics
    return values


def temperature_gradient(module, rng):
    agent = _agent(module, rng)
    log_prob = rng.normal(size=B) - 1
    agent._sample = _sample_by_loop(agent)
    agent._critic_gradients = lambda *arguments: np.zeros((2, B))
    agent._policy_gradients = lambda *arguments: log_prob
    batch = SimpleNamespace(
        observations=rng.normal(size=(B, S)),
        next_observations=rng.normal(size=(B, S)),
        actions=rng.uniform(0, 1, (B, A)),
        rewards=rng.normal(size=B),
        terminated=np.zeros(B, bool),
    )
    agent._fill_gradients(batch, *rng.normal(size=(2, B, A)))
    first = agent.gradients[-1]
    agent.parameters[-1] = 0.3
    agent._fill_gradients(batch, *rng.normal(size=(2, B, A)))
    return {
        "dJ/d log alpha": [first, agent.gradients[-1]],
        "log alpha, which is moved later": agent.parameters[-1],
    }


CHECKS = (
    Check("mlp.py", "MLP.backward, one layer", 15, one_layer),
    Check("mlp.py", "MLP.backward, three layers", 15, three_layers),
    Check("mlp.py", "MLP.backward, dL/d(input)", 10, inputs_of_a_network),
    Check("actor_critic.py", "_critic_gradients", 15, critic_gradients),
    Check("actor_critic.py", "_sample", 15, squashed_sample),
    Check("actor_critic.py", "_policy_gradients", 25, policy_gradients),
    Check("actor_critic.py", "_fill_gradients, the temperature", 5, temperature_gradient),
)

# Places in the package's source.
_DW = "np.matmul(x.swapaxes(-1, -2), delta, out=self.weight_gradients[layer])"
_DB = "np.matmul(self._ones, delta, out=self.bias_gradients[layer])"
_DX = "product(delta, transposed, out=self._deltas[layer])"
_MASK = "if layer > 0:\n                delta *= x > 0"
_CRITIC = "self.critics.backward((td_error / -len(target))[..., None])"
_LOG_SLOPE = "log_slope = 2 * (LOG_2 - u - np.logaddexp(0, -2 * u))"
_U = "u = mean + std * noise\n        log_slope"
_LOG_PROB = "log_prob = (-0.5 * noise * noise - log_std - LOG_SQRT_2PI - log_slope).sum(axis=1)"
_DU = "du = (2 * self.temperature * action - dq_da * (1 - action * action)) / n"
_DSTD = "dlog_std = (du * std * noise - self.temperature / n) * self._unclipped"
_SMALLER = "smaller = np.stack((q[0] <= q[1], q[0] > q[1])).astype(self.dtype)"
_LARGER = "smaller = np.stack((q[0] > q[1], q[0] <= q[1])).astype(self.dtype)"
_ALPHA = "-self.temperature * (log_prob.mean() - len(self.low))"

# Messages that several mistakes have.
_TRANSPOSE = (
    "a transpose is missing or too many. Write the shape of every factor beside it: "
    "which product has the shape of {}?"
)
_VIEWS = (
    "the network's vector of gradients has not changed. "
    "The entries of weight_gradients and bias_gradients are views of it: "
    "what is the difference between `a[i] = b` and `a[i][...] = b`?"
)
_BATCH_TWICE = (
    "delta = dL/d(output) already holds the 1/B of the loss, if it has one: "
    "the parts of the rows are added."
)
_SLOPE = "the slope of tanh does not count, or not as it should: how much does a move when u moves?"
_SUM_OF_ROWS = "the loss is a mean over B rows, the gradient is not."
_CORRECTION = (
    "the action is tanh(u), but this is the density of u. "
    "What becomes of a density when its variable is squashed?"
)

_MLP = [
    (_DW, "self.weight_gradients[layer] = x.swapaxes(-1, -2) @ delta", _VIEWS),
    (_DB, "self.bias_gradients[layer] = delta.sum(axis=1, keepdims=True)", _VIEWS),
    (
        _DW,
        "self.weight_gradients[layer][...] = x.swapaxes(-1, -2) @ delta / delta.shape[1]",
        _BATCH_TWICE,
    ),
    (
        _DB,
        "self.bias_gradients[layer][...] = delta.mean(axis=1, keepdims=True)",
        _BATCH_TWICE,
    ),
    (
        _DW,
        "self.weight_gradients[layer] += x.swapaxes(-1, -2) @ delta",
        "the new gradient is added to that of the last call. What is in the vector before?",
    ),
    (
        _DW,
        "np.matmul(x, delta, out=self.weight_gradients[layer])",
        _TRANSPOSE.format("W"),
    ),
    (
        _DX,
        "np.matmul(delta, self.weights[layer], out=self._deltas[layer])",
        _TRANSPOSE.format("the layer's input"),
    ),
    (
        _MASK,
        "",
        "the gradient passes where relu was 0. What is the slope of relu there?",
    ),
    (
        _MASK,
        "delta *= x > 0",
        "the network's own input is no relu: nothing is cut off there.",
    ),
    (
        _MASK,
        _MASK.replace("x > 0", "delta > 0"),
        "the slope of relu depends on what went in, not on the gradient that comes back.",
    ),
    (_MASK, _MASK.replace("x > 0", "x"), "the slope of relu is 0 or 1."),
    (
        "if parameters:",
        "if True:",
        "with parameters=False the gradients are to stay as they are.",
    ),
    (
        "for layer in reversed(range(len(self.weights))):",
        "for layer in (len(self.weights) - 1,):",
        "only the last layer has been done.",
    ),
    (
        "if layer == 0 and not inputs:\n                return None",
        "if layer == 0:\n                return delta",
        "what is returned belongs to the output of the first layer: one step is left.",
    ),
]
_AC = [
    (
        _CRITIC,
        _CRITIC.replace("/ -len", "/ len"),
        "the critics would move away from the target: which sign has dJ/dQ?",
    ),
    (_CRITIC, "self.critics.backward((-td_error)[..., None])", _SUM_OF_ROWS),
    (
        _CRITIC,
        _CRITIC.replace("-len(target)", "-td_error.size"),
        "each critic has its own mean: B rows, not 2B.",
    ),
    (
        _CRITIC,
        _CRITIC.replace("td_error / -", "2 * td_error / -"),
        "J has a 1/2: what is left of the square's 2?",
    ),
    (
        "td_error = target - q\n",
        "td_error = q\n",
        "this is Q where target - Q was asked for.",
    ),
    (
        f"        {_CRITIC}\n        return td_error",
        f"        {_CRITIC}\n        return -td_error",
        "td_error has the wrong sign: it is target - Q, as the docstring says.",
    ),
    (_LOG_PROB, _LOG_PROB.replace(" - log_slope", ""), _CORRECTION),
    (
        _LOG_PROB,
        _LOG_PROB.replace("- log_slope", "+ log_slope"),
        "where tanh is flat, many u give nearly the same action: "
        "is its density larger or smaller there?",
    ),
    (
        _LOG_PROB,
        _LOG_PROB.replace("- log_std", "- std"),
        "the Gaussian's density is divided by std. What is the logarithm of that?",
    ),
    (
        _LOG_PROB,
        _LOG_PROB.replace(" - log_std", ""),
        "the Gaussian's density depends on std as well.",
    ),
    (
        _LOG_PROB,
        _LOG_PROB.replace(" - LOG_SQRT_2PI", ""),
        "a constant of the Gaussian's density is missing.",
    ),
    (
        _LOG_PROB,
        _LOG_PROB.replace("axis=1", "axis=0"),
        "the sum runs over the rows. Over what should it?",
    ),
    (
        _LOG_PROB,
        _LOG_PROB.replace(".sum(axis=1)", ""),
        "there is one log pi per row: what becomes of the A dimensions of an action?",
    ),
    (
        _LOG_PROB,
        _LOG_PROB.replace(".sum(axis=1)", ".mean(axis=1)"),
        "the densities of the A dimensions are multiplied.",
    ),
    (
        _LOG_SLOPE,
        "log_slope = np.log(1 - np.tanh(u) ** 2)",
        "right on paper, but for large u the computer makes 1 - 1 of it. "
        "The docstring has another form.",
    ),
    (
        _LOG_SLOPE,
        "log_slope = np.log(1 - np.tanh(u) ** 2 + 1e-6)",
        "the small number in the logarithm keeps it finite, and wrong. "
        "The docstring has another form.",
    ),
    (_U, _U.replace("std *", "log_std *"), "the noise is scaled by log std."),
    (_U, _U.replace("std *", ""), "the noise is not scaled."),
    (
        "log_std = np.minimum(np.maximum(log_std, LOG_STD_LOW), LOG_STD_HIGH)",
        "pass",
        "log std is not clipped.",
    ),
    (_DU, _DU.replace(" / n", ""), _SUM_OF_ROWS),
    (_DU, _DU.replace(" * (1 - action * action)", ""), _SLOPE),
    (_DU, _DU.replace("1 - action * action", "1 - action"), _SLOPE),
    (
        _DU,
        _DU.replace("2 * self.temperature * action - ", "-"),
        "log pi changes with u, too, by its last term: see d log pi/du in the docstring.",
    ),
    (
        _DU,
        _DU.replace("2 * self.temperature", "2"),
        "the entropy has a weight in J.",
    ),
    (
        _DU,
        _DU.replace("action - dq", "action + dq"),
        "the policy would move towards actions of lower value: which sign has Q in J?",
    ),
    (
        _DSTD,
        _DSTD.replace(" - self.temperature / n", ""),
        "log pi holds -log std itself, besides what it gets through u.",
    ),
    (_DSTD, _DSTD.replace("temperature / n", "temperature"), _SUM_OF_ROWS),
    (
        _DSTD,
        _DSTD.replace("- self", "+ self"),
        "a larger std means a larger entropy: does J rise or fall with it?",
    ),
    (
        _DSTD,
        _DSTD.replace(" * noise", ""),
        "how far does u move when log std does?",
    ),
    (
        _DSTD,
        _DSTD.replace("du * std * noise", "du * noise"),
        "it is the logarithm of std that the network gives: how far does u move with it?",
    ),
    (
        _DSTD,
        _DSTD.replace(" * self._unclipped", ""),
        "a log std that was clipped does not move when the network's output does.",
    ),
    (
        _SMALLER,
        "smaller = np.ones_like(q)",
        "both critics push the policy. Which one stands in J?",
    ),
    (
        _SMALLER,
        _LARGER,
        "the larger critic pushes the policy. Which one stands in J?",
    ),
    (
        "parameters=False, inputs=True",
        "parameters=True, inputs=True",
        "the policy's loss changes the critics' gradients. Look at the arguments of `backward`.",
    ),
    (
        "dq = of_both.sum(axis=0)",
        "dq = of_both.mean(axis=0)",
        "of the two critics one has the gradient 0 on each row: adding them halves nothing.",
    ),
    (
        "dq_da = dq[:, observations.shape[1] :]",
        "dq_da = dq[:, : len(self.low)]",
        "these are the first columns of what the critics see. Where do the actions stand?",
    ),
    (
        _ALPHA,
        _ALPHA.replace("-self.temperature", "self.temperature"),
        "which way should alpha move when the policy is too random?",
    ),
    (
        _ALPHA,
        _ALPHA.replace("- len", "+ len"),
        "the target entropy is -A: what stands in the brackets then?",
    ),
    (
        _ALPHA,
        _ALPHA.replace("-self.temperature * ", "-"),
        "the parameter is log alpha: what is d alpha/d log alpha?",
    ),
    (_ALPHA, _ALPHA.replace(".mean()", ".sum()"), _SUM_OF_ROWS),
]
MISTAKES = [
    *(Mistake("mlp.py", *row) for row in _MLP),
    *(Mistake("actor_critic.py", *row) for row in _AC),
]
