"""BatchNorm with the running statistics of PyTorch or of Keras; its gradient goes over what it normalised twice."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax


class Running(NamedTuple):
    """Mean and variance `[channel]` that follow those of the batches, and stand for them in prediction."""

    mean: nn.Variable
    var: nn.Variable

    @classmethod
    def of(cls, module: nn.Module, features: int) -> "Running":
        """Those of a module."""
        mean = module.variable("batch_stats", "mean", jnp.zeros, features)
        return cls(mean, module.variable("batch_stats", "var", jnp.ones, features))

    def follow(self, mean: Array, var: Array, momentum: float) -> None:
        """Takes those of a batch in; the share `momentum` of the old ones stays."""
        for kept, now in ((self.mean, mean), (self.var, var)):
            kept.value = momentum * kept.value + (1 - momentum) * now


class BatchNorm(nn.Module):
    """Normalises every channel by its mean and variance over all other axes.

    `flax.linen.BatchNorm` keeps the biased variance as running variance; PyTorch keeps the unbiased one. With small
    maps and batches the two differ by several per cent, so the difference would show in every prediction.

    Attributes:
      axis_name: device axis over which the statistics of a batch are taken together, None for each device its own.
      momentum: share of the old running statistics that stays (0.9 is PyTorch's momentum of 0.1).
      epsilon: added to the variance.
      use_scale: whether channels are multiplied by a learned factor.
      unbiased: whether the running variance is the unbiased one.

    Reference: torch.nn.BatchNorm2d, torch.nn.SyncBatchNorm; keras.layers.BatchNormalization, whose running variance is
    unbiased in its fused form, for pictures, and biased along time.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    unbiased: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns `x`, `[..., channel]`, normalised by the batch (`train`) or by the running statistics."""
        features = x.shape[-1]
        running = Running.of(self, features)
        scale = self.param("scale", nn.initializers.ones, (features,)) if self.use_scale else jnp.ones(features)
        bias = self.param("bias", nn.initializers.zeros, (features,))
        if not train:
            return _affine(x, running.mean.value, running.var.value, scale, bias, self.epsilon)
        axis_name = None if self.is_initializing() else self.axis_name
        found: tuple[Array, Array, Array] = normalised(x, scale, bias, self.epsilon, axis_name)
        y, mean, var = found
        if not self.is_initializing():
            count = _count(x, axis_name)
            running.follow(mean, var * (count / max(count - 1, 1)) if self.unbiased else var, self.momentum)
        return y


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalised(x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None) -> tuple[Array, ...]:
    """Normalises `x`, `[..., channel]`, by its own statistics; also returns mean and biased variance `[channel]`.

    The statistics are in float32 at least, as half of the digits of bfloat16 would be lost in a sum over a batch; no
    gradient flows back through those that are returned. What JAX derives by itself goes over `x` twice as often.

    Args:
      x: what is normalised.
      scale, bias: `[channel]`, of the result.
      epsilon: added to the variance.
      axis_name: device axis over which the statistics are taken together.

    Reference: Ioffe and Szegedy 2015, section 3.
    """
    return _normalised_forward(x, scale, bias, epsilon, axis_name)[0]


def _normalised_forward(x, scale, bias, epsilon, axis_name):
    axes = tuple(range(x.ndim - 1))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = _over(lax.pmean, jnp.mean(wide, axes), axis_name)
    # In two passes: signals come unscaled, and a mean may be large beside the deviation.
    var = _over(lax.pmean, jnp.mean(jnp.square(wide - mean), axes), axis_name)
    return (_affine(x, mean, var, scale, bias, epsilon), mean, var), (x, mean, var, scale, bias)


def _normalised_backward(epsilon, axis_name, saved, gradients):
    x, mean, var, scale, bias = saved
    axes = tuple(range(x.ndim - 1))
    gradient = gradients[0].astype(mean.dtype)
    deviation = x.astype(mean.dtype) - mean
    rate = lax.rsqrt(var + epsilon)
    of_bias = gradient.sum(axes)
    of_scale = (gradient * deviation).sum(axes) * rate
    mean_gradient, slope = (_over(lax.psum, s, axis_name) / _count(x, axis_name) for s in (of_bias, of_scale))
    to_x = (scale * rate) * (gradient - mean_gradient - deviation * (slope * rate))
    return to_x.astype(x.dtype), of_scale.astype(scale.dtype), of_bias.astype(bias.dtype)


normalised.defvjp(_normalised_forward, _normalised_backward)


def _affine(x: Array, mean: Array, var: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    factor = scale * lax.rsqrt(var + epsilon)
    return (x * factor + (bias - mean * factor)).astype(x.dtype)


def _over(reduce: Any, value: Array, axis_name: str | None) -> Array:
    return value if axis_name is None else reduce(value, axis_name)


def _count(x: Array, axis_name: str | None) -> int:
    """Over how many values the statistics of a channel are taken."""
    return x.size // x.shape[-1] * (1 if axis_name is None else lax.axis_size(axis_name))
