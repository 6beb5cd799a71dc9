"""Heads of the image networks: the last layers, from pooled features to logits."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxpara.registry import require_one_of

Initializer = nn.initializers.Initializer
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # uniform within 1 / sqrt(fan-in)


def torch_bias(fan_in: int) -> Initializer:
    """Return PyTorch's initialiser of biases: uniform within 1 / sqrt(fan-in) of the layer."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


class Linear(nn.Module):
    """A dense layer with PyTorch's initialisation."""

    features: int
    kernel_init: Initializer = torch_kernel
    bias_init: Callable[[int], Initializer] = torch_bias  # from fan-in

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", self.bias_init(x.shape[-1]), (self.features,))
        return x @ kernel + bias


class Classifier(nn.Module):
    """Dense layers with ReLU and dropout, named by their index in torchvision's `torch.nn.Sequential`."""

    layers: Sequence[tuple[str, int]]  # index and features of every dense layer; ReLU follows all but the last
    dropout: float
    dropout_first: bool = False  # dropout before every dense layer but the last (AlexNet) instead of after each ReLU
    kernel_init: Initializer = torch_kernel
    bias_init: Callable[[int], Initializer] = torch_bias

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Map `[batch, feature]` to logits `[batch, class]`; `train` turns dropout on (rng "dropout")."""
        *hidden, last = (Linear(n, self.kernel_init, self.bias_init, name=name) for name, n in self.layers)
        for linear in hidden:
            if self.dropout_first:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = nn.relu(linear(x))
            if not self.dropout_first:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return last(x)


def make_head(kind: str, classes: int, own: Classifier | None = None, dropout: float = 0.6) -> nn.Module:
    """Return a head by its name in the config.

    It is "v1" (dense 256, 16 and `classes`, with ReLU and dropout between them), "v2" (one dense layer), or
    "torchvision" (the network's own classifier; None if that is one dense layer).

    Reference: paper §3.1.2 (ResNet18v1, ResNet18v2), sizes and dropout from the authors' published scripts.
    """
    require_one_of("model.head", kind, ("v1", "v2", "torchvision"))
    if kind == "v1":
        return Classifier((("0", 256), ("3", 16), ("6", classes)), dropout=dropout)
    return Linear(classes) if kind == "v2" or own is None else own
