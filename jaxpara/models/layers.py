"""Layers of several networks: dropout and BatchNorm; and the output of any layer by its name."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax import Array, lax

from jaxpara.errors import UserError
from jaxpara.registry import suggest


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

    The mask is a function of seed and position only, so a backward pass can draw any part of it again instead of
    storing it. The hash is a handful of operations per element, which XLA fuses with their surroundings.

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
        axis_name = None if self.is_initializing() else self.axis_name
        y, mean, var = normalised(x, scale, bias, self.epsilon, axis_name)
        if not self.is_initializing():
            count = _count(x, axis_name)
            follow(running_mean, mean, self.momentum)
            follow(running_var, var * (count / max(count - 1, 1)) if self.unbiased else var, self.momentum)
        return y


def with_gradient(forward: Callable[..., Any], backward: Callable[..., Any], *static: int) -> Callable[..., Any]:
    """Return the first result of `forward` as a function; `backward` computes its gradient from the second result.

    `static` are the positions of the arguments that are constants; `backward` gets them first. See `jax.custom_vjp`.
    """
    function = jax.custom_vjp(lambda *arguments: forward(*arguments)[0], nondiff_argnums=static)
    function.defvjp(forward, backward)
    return function


def _normalised_forward(x, scale, bias, epsilon, axis_name):
    """Normalise `x`, `[..., channel]`, by its own statistics; also return their mean and biased variance `[channel]`.

    The statistics are in float32 at least, because a sum over a batch would lose half of bfloat16's digits. The
    returned statistics have no gradient.

    Why not JAX's own gradient: a bottleneck of Breathing 3, forward and backward, takes 484 ms of CPU time with it and
    168 ms with this one on JAX 0.10.2, the last for Python 3.11. On 0.12 both take about 170 ms, and this one 188
    instead of 175 MiB, so it can go with Python 3.11 (November 2026; `python -m benchmarks.forms breathing3 mask`).

    Reference: Ioffe and Szegedy 2015, section 3.
    """
    axes = tuple(range(x.ndim - 1))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = _over(lax.pmean, jnp.mean(wide, axes), axis_name)
    # In two passes, because E[x^2] - E[x]^2 loses all digits where the mean is much larger than the deviation.
    var = _over(lax.pmean, jnp.mean(jnp.square(wide - mean), axes), axis_name)
    return (_affine(x, mean, var, scale, bias, epsilon), mean, var), (x, mean, var, scale, bias)


def _normalised_backward(epsilon, axis_name, saved, gradients):
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
    mean_d_y, mean_d_y_z = (_over(lax.psum, total, axis_name) / _count(x, axis_name) for total in (d_bias, d_scale))
    d_x = (scale * rate) * (d_y - mean_d_y - deviation * (mean_d_y_z * rate))
    return d_x.astype(x.dtype), d_scale.astype(scale.dtype), d_bias.astype(bias.dtype)


normalised = with_gradient(_normalised_forward, _normalised_backward, 3, 4)


def _affine(x: Array, mean: Array, var: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    factor = scale * lax.rsqrt(var + epsilon)
    return (x * factor + (bias - mean * factor)).astype(x.dtype)


def _over(reduce: Any, value: Array, axis_name: str | None) -> Array:
    return value if axis_name is None else reduce(value, axis_name)


def _count(x: Array, axis_name: str | None) -> int:
    """Return the number of values per channel, on all devices."""
    return x.size // x.shape[-1] * (1 if axis_name is None else lax.axis_size(axis_name))


def output_of(model: nn.Module, variables: Any, inputs: Array, layer: str) -> Array:
    """Return the output `[batch, channel]` of a layer of a network, before the activation that follows it.

    Maps `[batch, height, width, channel]` are averaged over the image. The layer is given by its path in the
    parameters, with dots as in torchvision: `layer4.1.conv2`, `classifier.3`.

    Raises:
      UserError: the layer does not exist, or its output is neither a vector nor maps.
    """
    _, captured = model.apply(variables, inputs, train=False, capture_intermediates=True, mutable=["intermediates"])
    calls: dict[Any, Any] = flatten_dict(captured["intermediates"])
    outputs: dict[str, Any] = {".".join(path[:-1]): calls[path][-1] for path in calls if path[-1] == "__call__"}
    known = [name for name in outputs if name]
    if layer not in known:
        raise UserError(f"learner.layer is {layer!r}, expected one of {known}{suggest(layer, known)}")
    output = outputs[layer]
    if not isinstance(output, Array) or output.ndim not in (2, 4):
        raise UserError(
            f"learner.layer is {layer!r}, whose output is neither a vector nor an image; choose another layer"
        )
    return jnp.mean(output, (1, 2)) if output.ndim == 4 else output
