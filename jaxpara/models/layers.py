"""Layers of several networks: dropout, BatchNorm, weights of an encoder's layers, heads; the output of any layer."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax import Array, lax

from jaxpara.errors import UserError
from jaxpara.registry import require_one_of, suggest

Initializer = nn.initializers.Initializer
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # uniform within 1 / sqrt(fan-in)


class Dropout(nn.Module):
    """Dropout with cheap masks (rng "dropout"), if `train`.

    Why not `nn.Dropout`: for 2 x 25 600 x 64 elements, forward and backward take 40 ms of CPU time and 38 MiB with
    JAX's default generator (32 to 58 ms with `rbg`), and 1 ms without extra memory with this one (JAX 0.10.2 and 0.12,
    November 2026; `python -m benchmarks.forms breathing2`).
    """

    rate: float

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        if not train or self.rate == 0:
            return inputs
        return dropout(inputs, dropout_seed(self.make_rng("dropout")), self.rate)


def dropout_seed(key):
    """Reduce a JAX PRNG key to the seed of a mask, uint32 `[2]`."""
    return jax.random.bits(key, (2,), jnp.uint32)


def dropout(inputs, seed, rate: float):
    """Set each element of `inputs` to zero with probability `rate` (see `is_kept`), and divide others by `1 - rate`."""
    position = jnp.arange(inputs.size, dtype=jnp.uint32).reshape(inputs.shape)
    return jnp.where(is_kept(seed, position, rate), inputs / (1 - rate), 0)


def is_kept(seed, position, rate: float):
    """Return a dropout mask: False with probability `rate`, True where the element at a position (uint32) is kept.

    A backward pass can draw any part of it again instead of storing it. The hash is a handful of operations per
    element, which XLA fuses with their surroundings.

    Reference: "lowbias32" (C. Wellons, *Prospecting for Hash Functions*) of an affine map that the seed sets.
    """
    x = position * (seed[1] | 1) + seed[0]
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    # Without the last shift of the hash: it changes only the lower half of the bits, which hardly matters for `>=`.
    return x >= jnp.uint32(round(rate * 2**32))


def running_statistics(module: nn.Module, features: int) -> tuple[nn.Variable, nn.Variable]:
    """Return running mean and variance `[channel]` of a module's batches, for prediction."""
    mean = module.variable("batch_stats", "mean", jnp.zeros, features)
    return mean, module.variable("batch_stats", "var", jnp.ones, features)


def follow(running: nn.Variable, batch: Array, momentum: float) -> None:
    """Average a running statistic with that of a batch; the old one gets the weight `momentum`."""
    running.value = momentum * running.value + (1 - momentum) * batch


class BatchNorm(nn.Module):
    """Normalisation of every channel by its mean and variance over all other axes.

    Why not `flax.linen.BatchNorm`: its running variance is the biased one, PyTorch's the unbiased one. With small maps
    and batches the two differ by several per cent, which would change every prediction.

    Reference: torch.nn.BatchNorm2d, torch.nn.SyncBatchNorm; keras.layers.BatchNormalization, whose running variance is
    unbiased in its fused form, for images, and biased along time.
    """

    axis_name: str | None = None  # device axis over which statistics are averaged; None for those of each device
    momentum: float = 0.9  # weight of the old running statistics (0.9 is PyTorch's momentum of 0.1)
    epsilon: float = 1e-5  # added to the variance
    use_scale: bool = True  # multiply channels by a learned factor
    unbiased: bool = True  # use the unbiased variance as running variance

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Normalise `x`, `[..., channel]`, by the statistics of the batch (`train`) or the running ones."""
        features = x.shape[-1]
        running_mean, running_var = running_statistics(self, features)
        scale = self.param("scale", nn.initializers.ones, (features,)) if self.use_scale else jnp.ones(features)
        bias = self.param("bias", nn.initializers.zeros, (features,))
        if not train:
            return _affine(x, running_mean.value, running_var.value, scale, bias, self.epsilon)
        devices = () if self.axis_name is None or self.is_initializing() else (self.axis_name,)
        y, mean, var = normalised(x, scale, bias, self.epsilon, devices)
        if not self.is_initializing():
            count = _count(x, devices)
            follow(running_mean, mean, self.momentum)
            follow(running_var, var * (count / max(count - 1, 1)) if self.unbiased else var, self.momentum)
        return y


def with_gradient(forward: Callable[..., Any], backward: Callable[..., Any], *static: int) -> Callable[..., Any]:
    """Return a `jax.custom_vjp`: the first result of `forward`, whose second result `backward` gets with the gradient.

    `static` are the positions of the arguments that are constants; `backward` gets them first.
    """
    function = jax.custom_vjp(lambda *arguments: forward(*arguments)[0], nondiff_argnums=static)
    function.defvjp(forward, backward)
    return function


def _normalised_forward(x, scale, bias, epsilon, devices):
    """Normalise `x`, `[..., channel]`, by its own mean and biased variance; also return these, without a gradient.

    Why not JAX's own gradient: a bottleneck of Breathing 3, forward and backward, takes 484 ms of CPU time with it and
    168 ms with this one on JAX 0.10.2, the last for Python 3.11. On 0.12 both take about 170 ms, and this one 188
    instead of 175 MiB, so it can go with Python 3.11 (November 2026; `python -m benchmarks.forms breathing3 mask`).

    Reference: Ioffe and Szegedy 2015, section 3.
    """
    axes = tuple(range(x.ndim - 1))
    # In float32 at least, because a sum over a batch would lose half of bfloat16's digits.
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = lax.pmean(jnp.mean(wide, axes), devices)
    # In two passes, because E[x^2] - E[x]^2 loses all digits where the mean is much larger than the deviation.
    var = lax.pmean(jnp.mean(jnp.square(wide - mean), axes), devices)
    return (_affine(x, mean, var, scale, bias, epsilon), mean, var), (x, mean, var, scale, bias)


def _normalised_backward(epsilon, devices, saved, gradients):
    """Compute the gradients of y = scale * z + bias, z = (x - mean) * rate, rate = 1 / sqrt(var + epsilon)."""
    x, mean, var, scale, bias = saved
    axes = tuple(range(x.ndim - 1))
    d_y = gradients[0].astype(mean.dtype)
    deviation = x.astype(mean.dtype) - mean
    rate = lax.rsqrt(var + epsilon)
    d_bias = d_y.sum(axes)
    d_scale = (d_y * deviation).sum(axes) * rate  # the sum of d_y * z
    # Mean and variance depend on every x of the channel, on all devices. The mean subtracts mean(d_y) from each d_y,
    # the variance z * mean(d_y * z). So d_x is d_y without its projections on 1 and on z:
    # scale * rate * (d_y - mean(d_y) - z * mean(d_y * z)).
    mean_d_y, mean_d_y_z = (lax.psum(total, devices) / _count(x, devices) for total in (d_bias, d_scale))
    d_x = (scale * rate) * (d_y - mean_d_y - deviation * (mean_d_y_z * rate))
    return d_x.astype(x.dtype), d_scale.astype(scale.dtype), d_bias.astype(bias.dtype)


normalised = with_gradient(_normalised_forward, _normalised_backward, 3, 4)


def _affine(x: Array, mean: Array, var: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    factor = scale * lax.rsqrt(var + epsilon)
    return (x * factor + (bias - mean * factor)).astype(x.dtype)


def _count(x: Array, devices: tuple[str, ...]) -> int:
    """Return the number of values per channel, on all devices."""
    return x.size // x.shape[-1] * lax.axis_size(devices)


class LayerWeights(nn.Module):
    """The weighted mean of an encoder's layers; the weights are the softmax of learned numbers, equal at the start.

    Reference: Yang et al., "SUPERB: Speech Processing Universal PERformance Benchmark", Interspeech 2021, section 2.2.
    """

    @nn.compact
    def __call__(self, states: Array) -> Array:
        """Map `[..., layer, channel]` to `[..., channel]`."""
        logits = self.param("logits", nn.initializers.zeros, (states.shape[-2],))
        return jnp.einsum("l,...lc->...c", nn.softmax(logits), states)


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


def output_of(model: nn.Module, variables: Any, inputs: Array, layer: str) -> Array:
    """Return the output of a layer before its activation, `[batch, channel]`; maps are averaged over the image.

    The layer is given by its path in the parameters, with dots as in torchvision: `layer4.1.conv2`, `classifier.3`.
    """
    _, captured = model.apply(variables, inputs, train=False, capture_intermediates=True, mutable=["intermediates"])
    calls: dict[Any, Any] = flatten_dict(captured["intermediates"])
    outputs: dict[str, Any] = {".".join(path[:-1]): calls[path][-1] for path in calls if path[-1] == "__call__"}
    known = [name for name in outputs if name]
    if layer not in known:
        raise UserError(f"learner.layer is {layer!r}, expected one of {known}{suggest(layer, known)}")
    output = outputs[layer]
    if not isinstance(output, Array) or output.ndim not in (2, 4):
        raise UserError(f"learner.layer is {layer!r}, whose output is neither a vector nor an image; choose another")
    return jnp.mean(output, (1, 2)) if output.ndim == 4 else output
