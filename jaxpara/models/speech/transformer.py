"""The transformer of speech encoders: positional convolution, attention, and WavLM's relative position bias."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from jaxpara.models.layers import Dropout, Linear
from jaxpara.models.speech.architecture import SpeechConfig

ACTIVATIONS = {"gelu": lambda x: nn.gelu(x, approximate=False), "relu": nn.relu}
kernel_init = nn.initializers.he_normal()


def layer_norm(epsilon: float, name: str) -> nn.LayerNorm:
    """Return a layer norm with PyTorch's variance."""
    # Not the fast variance, because E[x^2] - E[x]^2 loses all digits where the mean is much larger than the deviation.
    return nn.LayerNorm(epsilon, use_fast_variance=False, name=name)


class Transformer(nn.Module):
    """Positional convolution and transformer layers."""

    config: SpeechConfig

    @nn.compact
    def __call__(self, x: Array, valid: Array | None, train: bool) -> list[Array]:
        """Map `[batch, frame, channel]` to the input of the first layer and the output of each."""
        config = self.config
        if valid is not None:
            x = jnp.where(valid[..., None], x, 0)  # the positional convolution reaches into the padding
        x = x + PositionalConv(config, name="pos_conv_embed")(x)
        if not config.do_stable_layer_norm:
            x = layer_norm(config.layer_norm_eps, "layer_norm")(x)
        x = Dropout(config.hidden_dropout)(x, train)
        return upper_layers(x, valid, train, config, 0, self.make_rng)


def upper_layers(
    x: Array, valid: Array | None, train: bool, config: SpeechConfig, first: int, make_rng: Any, remat: bool = False
) -> list[Array]:
    """Map `[batch, frame, channel]` to itself and the output of each transformer layer from `first` on.

    It is called in the module that the layers are parts of. `valid` `[batch, frame]` is False in padding; with `remat`,
    the backward pass computes each layer again, to save memory.
    """
    # Keys of padding get no attention. A finite number, because a recording without a frame has no other keys.
    mask = None if valid is None else jnp.where(valid, 0, jnp.finfo(jnp.float32).min)[:, None, None]
    layer = nn.remat(TransformerLayer, static_argnums=(4,)) if remat else TransformerLayer
    states, bias = [x], None
    for index in range(first, config.num_hidden_layers):
        y, bias = layer(config, name=f"layers.{index}")(x, mask, bias, train)
        if train and config.layerdrop and (index > first or bias is None):  # WavLM's first layer makes the bias of all
            y = jnp.where(jax.random.bernoulli(make_rng("dropout"), config.layerdrop), x, y)
        x = y
        states.append(x)
    if config.do_stable_layer_norm:
        states[-1] = layer_norm(config.layer_norm_eps, "layer_norm")(x)
    return states


class PositionalConv(nn.Module):
    """Positions as a grouped convolution over time, whose kernel is weight-normalised for each tap."""

    config: SpeechConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        taps, groups = self.config.num_conv_pos_embeddings, self.config.num_conv_pos_embedding_groups
        x = WeightNormConv(taps, groups, name="conv")(x)
        return ACTIVATIONS[self.config.feat_extract_activation](x)


class WeightNormConv(nn.Module):
    """A convolution over time that keeps the length, with the kernel `weight_g * weight_v / |weight_v|`.

    Reference: Salimans and Kingma 2016; `torch.nn.utils.weight_norm` with `dim=2`.
    """

    taps: int
    groups: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size = x.shape[-1]
        v = self.param("weight_v", kernel_init, (self.taps, size // self.groups, size))
        g = self.param("weight_g", lambda _: _norm(v))
        bias = self.param("bias", nn.initializers.zeros, (size,))
        kernel = (v * (g / _norm(v))).astype(x.dtype)
        # With an even number of taps, one more zero before than after (PyTorch cuts off the last frame).
        x = jnp.pad(x, ((0, 0), (self.taps // 2, (self.taps - 1) // 2), (0, 0)))
        return bias + grouped_conv(x, kernel, self.groups)


def grouped_conv(x: Array, kernel: Array, groups: int) -> Array:
    """Convolve `[batch, time, channel]` with `[tap, channel of a group, filter]`, without padding.

    Why one convolution for each group on the CPU: a forward and backward pass of the base size for 10 s of audio takes
    5.0 s of CPU time with XLA's grouped convolution (128 taps, 16 groups of 48 channels), and 2.3 s with these (JAX
    0.10.2, November 2026; `python -m benchmarks.forms speech`). Not measured on a GPU.
    """
    convolve = partial(jax.lax.conv_general_dilated, window_strides=(1,), padding="VALID")
    convolve = partial(convolve, dimension_numbers=("NWC", "WIO", "NWC"))
    if jax.default_backend() != "cpu":
        return convolve(x, kernel, feature_group_count=groups)
    parts = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([convolve(*part) for part in parts], axis=-1)


class TransformerLayer(nn.Module):
    """Attention and a feed-forward part, each added to its input and normalised before (large) or after (base)."""

    config: SpeechConfig

    @nn.compact
    def __call__(self, x: Array, mask: Array | None, bias: Array | None, train: bool) -> tuple[Array, Array | None]:
        """Map `[batch, frame, channel]`; returns WavLM's position bias too, for the next layer."""
        config, before = self.config, self.config.do_stable_layer_norm
        norm = layer_norm(config.layer_norm_eps, "layer_norm")
        final_norm = layer_norm(config.layer_norm_eps, "final_layer_norm")
        y, bias = Attention(config, name="attention")(norm(x) if before else x, mask, bias, train)
        x = x + Dropout(config.hidden_dropout)(y, train)
        x = x if before else norm(x)
        x = x + FeedForward(config, name="feed_forward")(final_norm(x) if before else x, train)
        return x if before else final_norm(x), bias


class Attention(nn.Module):
    """Self-attention with several heads; in WavLM with a gated bias for the distance between two frames."""

    config: SpeechConfig

    @nn.compact
    def __call__(self, x: Array, mask: Array | None, bias: Array | None, train: bool) -> tuple[Array, Array | None]:
        config, (batch, frames, size) = self.config, x.shape
        heads = config.num_attention_heads
        q, k, v = (
            Linear(size, name=name)(x).reshape(batch, frames, heads, -1) for name in ("q_proj", "k_proj", "v_proj")
        )
        scores = jnp.einsum("bqhc,bkhc->bhqk", q * q.shape[-1] ** -0.5, k)
        if config.model_type == "wavlm":
            if bias is None:
                bias = self._position_bias(frames)
            scores = scores + self._gate(x.reshape(q.shape)) * bias
        if mask is not None:
            scores = scores + mask
        weights = jax.nn.softmax(scores.astype(jnp.promote_types(x.dtype, jnp.float32))).astype(x.dtype)
        weights = Dropout(config.attention_dropout)(weights, train)
        y = jnp.einsum("bhqk,bkhc->bqhc", weights, v).reshape(x.shape)
        return Linear(size, name="out_proj")(y), bias

    def _position_bias(self, frames: int) -> Array:
        """Return a learned number for each head and distance, `[head, query, key]`."""
        config = self.config
        shape = (config.num_buckets, config.num_attention_heads)
        embedding = nn.Embed(*shape, name="rel_attn_embed").embedding
        distance = np.arange(frames)[None] - np.arange(frames)[:, None]
        return embedding[buckets(distance, config.num_buckets, config.max_bucket_distance)].transpose(2, 0, 1)

    def _gate(self, x: Array) -> Array:
        """Return how strongly the bias acts in each head and query, `[batch, head, query, 1]`, from their input."""
        constant = self.param("gru_rel_pos_const", nn.initializers.ones, (1, x.shape[2], 1, 1))
        gates = Linear(8, name="gru_rel_pos_linear")(x).reshape(*x.shape[:-1], 2, 4).sum(-1)
        a, b = jnp.split(nn.sigmoid(gates).transpose(0, 2, 1, 3), 2, axis=-1)
        return a * (b * constant - 1) + 2


class FeedForward(nn.Module):
    """Two dense layers."""

    config: SpeechConfig

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        config = self.config
        y = ACTIVATIONS[config.hidden_act](Linear(config.intermediate_size, name="intermediate_dense")(x))
        y = Linear(config.hidden_size, name="output_dense")(Dropout(config.activation_dropout)(y, train))
        return Dropout(config.hidden_dropout)(y, train)


def _norm(v: Array) -> Array:
    """Return the norm of each tap of a kernel, `[tap, 1, 1]`."""
    return jnp.sqrt(jnp.square(v).sum((1, 2), keepdims=True))


def buckets(distance: np.ndarray, count: int, longest: int) -> np.ndarray:
    """Return the bucket of each distance in frames: one each for short ones, then logarithmic ones.

    The second half of the buckets is for keys after the query. In float32, as the checkpoints were trained.

    Reference: WavLM §3.1, after T5.
    """
    half, far = count // 2, np.abs(distance)
    exact = half // 2
    log = np.log(np.maximum(far, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(longest / exact))
    logarithmic = np.minimum(exact + log * np.float32(half - exact), half - 1).astype(np.int64)
    return half * (distance > 0) + np.where(far < exact, far, logarithmic)
