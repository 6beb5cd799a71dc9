"""BatchNorm with the running statistics of PyTorch (and of Keras' fused one)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax


class BatchNorm(nn.Module):
    """Normalises every channel by its mean and variance over all other axes.

    `flax.linen.BatchNorm` keeps the biased variance as running variance; PyTorch keeps the unbiased one. With small
    maps and batches the two differ by several per cent, so the difference would show in every prediction.

    Attributes:
      axis_name: device axis over which the statistics of a batch are taken together, None for each device its own.
      momentum: share of the old running statistics that stays (0.9 is PyTorch's momentum of 0.1).
      epsilon: added to the variance.
      use_scale: whether channels are multiplied by a learned factor.

    Reference: torch.nn.BatchNorm2d, torch.nn.SyncBatchNorm.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns `x`, `[..., channel]`, normalised by the batch (`train`) or by the running statistics."""
        features = x.shape[-1]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features)
        running_var = self.variable("batch_stats", "var", jnp.ones, features)
        scale = self.param("scale", nn.initializers.ones, (features,)) if self.use_scale else 1.0
        bias = self.param("bias", nn.initializers.zeros, (features,))
        if not train:
            mean, var = running_mean.value, running_var.value
        else:
            axis_name = None if self.is_initializing() else self.axis_name
            mean, var, count = batch_statistics(x, axis_name)
            if not self.is_initializing():
                keep = self.momentum
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        factor = scale * lax.rsqrt(var + self.epsilon)
        return (x * factor + (bias - mean * factor)).astype(x.dtype)


def batch_statistics(x: Array, axis_name: str | None = None) -> tuple[Array, Array, int]:
    """Mean and biased variance `[channel]` of `x`, `[..., channel]`, and over how many values each was taken.

    In float32 at least: half of the digits of bfloat16 would be lost in a sum over a batch.
    """
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(x, axes)
    if axis_name is not None:
        count *= jax.lax.axis_size(axis_name)
        mean = lax.pmean(mean, axis_name)
    var = jnp.mean(jnp.square(x - mean), axes)
    if axis_name is not None:
        var = lax.pmean(var, axis_name)
    return mean, var, count
