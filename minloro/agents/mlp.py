"""A multilayer perceptron with explicit forward and backward passes, several copies side by side.

Two critics have the same shape and the same inputs. So they are one stack of matrices, and every
product is computed for both at once. All parameters lie in one flat vector that the caller owns,
and so do all gradients. An optimiser sees two vectors; a layer sees its own part of them.

Left out on purpose: other activations, automatic differentiation.

Shapes: K copies, B batch, I inputs of a layer, O outputs of a layer.
"""

from itertools import pairwise

import numpy as np


def n_parameters(sizes: tuple[int, ...], copies: int) -> int:
    """Return how many numbers a stack of networks with these layer sizes holds."""
    return copies * sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))


class MLP:
    """`copies` networks, each a chain of layers h -> relu(h W + b), the last one without relu.

    parameters, gradients: flat vectors of n_parameters(sizes, copies) numbers. The network keeps
    views of them. batch_size: the number of rows that `forward` takes. Everything that it needs is
    allocated once.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        copies: int,
        batch_size: int,
        parameters: np.ndarray,
        gradients: np.ndarray,
    ):
        dtype = parameters.dtype
        self.weights, self.biases = _views(sizes, copies, parameters)
        self.weight_gradients, self.bias_gradients = _views(sizes, copies, gradients)
        self._inputs: list[np.ndarray] = []  # of each layer, in the last `forward`
        self._outputs = [np.empty((copies, batch_size, n), dtype) for n in sizes[1:]]
        # np.maximum(output, zeros) takes a quarter of the time of np.maximum(output, 0).
        self._zeros = [np.zeros_like(output) for output in self._outputs]
        # dL/d(input) of each layer.
        self._deltas = [np.empty((copies, batch_size, n), dtype) for n in sizes[:-1]]
        self._ones = np.ones((1, batch_size), dtype)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw every parameter uniformly from ±1 / sqrt(I), as PyTorch does in a linear layer."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / np.sqrt(weight.shape[1])
            weight[...] = rng.uniform(-bound, bound, weight.shape)
            bias[...] = rng.uniform(-bound, bound, bias.shape)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map any number of rows, (…, I), to (K, …, O). Nothing is kept for `backward`."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0)
        return x @ self.weights[-1] + self.biases[-1]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Map a batch, (B, I), to (K, B, O), and keep what `backward` needs.

        The next call overwrites the result.
        """
        self._inputs = [x, *self._outputs[:-1]]
        for layer, output in enumerate(self._outputs):
            np.matmul(self._inputs[layer], self.weights[layer], out=output)  # [K, B, O]
            output += self.biases[layer]
            if output is not self._outputs[-1]:
                np.maximum(output, self._zeros[layer], out=output)
        return output

    def backward(
        self, delta: np.ndarray, *, parameters: bool = True, inputs: bool = False
    ) -> np.ndarray | None:
        """Fill the gradients and return dL/d(input), (K, B, I), given delta = dL/d(output).

        delta: (K, B, O), for the output of the last `forward`. A layer computes y = x W + b, and
        then relu(y): y if y > 0, else 0. By the chain rule, with delta = dL/dy:
            dL/dW = xᵀ delta                     x is the input of the layer
            dL/db = the sum of delta over the batch
            dL/dx = delta Wᵀ                     this becomes the next delta:
            dL/d(y of the layer below) = dL/dx where x > 0, else 0, because x = relu(y).
        parameters, inputs: whether the gradients and dL/d(input) are wanted. What is not wanted is
        not computed; without `inputs`, None is returned.
        """
        for layer in reversed(range(len(self.weights))):
            x = self._inputs[layer]
            if parameters:
                np.matmul(x.swapaxes(-1, -2), delta, out=self.weight_gradients[layer])  # [K, I, O]
                # A sum over B, as a product: faster than np.sum.
                np.matmul(self._ones, delta, out=self.bias_gradients[layer])  # [K, 1, O]
            if layer == 0 and not inputs:
                return None
            # With one output both give the same numbers, np.multiply in a third of the time.
            product = np.matmul if delta.shape[-1] > 1 else np.multiply
            transposed = self.weights[layer].swapaxes(-1, -2)  # [K, O, I]
            delta = product(delta, transposed, out=self._deltas[layer])  # [K, B, I]
            if layer > 0:
                delta *= x > 0
        return delta


def _views(
    sizes: tuple[int, ...], copies: int, flat: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cut a flat vector into weights, (K, I, O), and biases, (K, 1, O), layer by layer."""
    weights = []
    biases = []
    start = 0
    for n_in, n_out in pairwise(sizes):
        biases_start = start + copies * n_in * n_out
        end = biases_start + copies * n_out
        weights.append(flat[start:biases_start].reshape(copies, n_in, n_out))
        biases.append(flat[biases_start:end].reshape(copies, 1, n_out))
        start = end
    return weights, biases
