"""wav2vec 2.0, HuBERT and WavLM: from a waveform to the hidden states of a transformer.

The three families share one network; WavLM adds a relative position bias to the attention. Layers and parameters are
named as on the Hugging Face Hub, so that a checkpoint maps by rule (see `checkpoint`).

References: Baevski et al. 2020 (wav2vec 2.0); Hsu et al. 2021 (HuBERT); Chen et al. 2022 (WavLM); the implementation
in `transformers`, which the tests compare with.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from jaxpara.models.layers import Dropout, Linear
from jaxpara.models.speech.architecture import SpeechConfig
from jaxpara.models.speech.transformer import ACTIVATIONS, Transformer, kernel_init, layer_norm

BLOCK = 1 << 20  # inputs of the first convolution whose moments are computed at once


def whole_moments(config: SpeechConfig, params: Any, waveform: np.ndarray) -> dict[str, Any]:
    """Return what the group norm has to know of a whole recording `[sample]`, if parts of it are encoded.

    `SpeechEncoder(config).apply({"params": params, **whole_moments(config, params, waveform)}, part)` then gives the
    convolutional frames of the whole recording. The mean and variance of the first convolution's outputs follow from
    those of its inputs, in float64, without computing the outputs. Empty for networks without a group norm.
    """
    if config.feat_extract_norm != "group":
        return {}
    conv = params["feature_extractor"]["conv_layers.0"]["conv"]
    kernel = np.asarray(conv["kernel"], np.float64)[:, 0]  # [tap, channel]
    inputs = np.lib.stride_tricks.sliding_window_view(waveform, len(kernel))[:: config.conv_stride[0]]
    total, products = 0.0, 0.0
    for block in np.split(inputs, range(BLOCK, len(inputs), BLOCK)):  # an hour in float64 would be large
        block = block.astype(np.float64)
        total, products = total + block.sum(0), products + block.T @ block
    mean = total / len(inputs)
    covariance = products / len(inputs) - np.outer(mean, mean)
    var = np.einsum("tc,tu,uc->c", kernel, covariance, kernel)
    moments = {"mean": mean @ kernel + np.asarray(conv.get("bias", 0.0)), "var": np.maximum(var, 0)}
    moments = {name: value.astype(np.float32) for name, value in moments.items()}
    return {"moments": {"feature_extractor": {"conv_layers.0": {"layer_norm": moments}}}}


def normalise(waveform: np.ndarray) -> np.ndarray:
    """Return a waveform `[sample]` with mean 0 and variance 1, as `transformers`' feature extractor does, in float32.

    Checkpoints with `do_normalize` expect it of each whole recording.
    """
    mean, var = waveform.mean(dtype=np.float64), waveform.var(dtype=np.float64)
    return ((waveform - mean) / np.sqrt(var + 1e-7)).astype(np.float32)


class SpeechEncoder(nn.Module):
    """The network: convolutions, a projection, and a transformer with all its hidden states.

    Padding does not change results: each recording of a batch gives what it gives alone. `transformers` does that only
    for checkpoints with layer norm in the convolutions; in the others, padding enters the group norm and the attention.
    """

    config: SpeechConfig

    @nn.compact
    def __call__(self, waveforms: Array, lengths: Array | None = None, train: bool = False) -> tuple[Array, Array]:
        """Map waveforms to the hidden states of all layers.

        Args:
          waveforms: `[batch, sample]` at `config.sampling_rate`, normalised if `config.do_normalize`, at least
            `config.receptive_field` samples; zero or anything else after the end of a recording.
          lengths: number of samples of each recording `[batch]`; None if none is padded.
          train: turn on dropout, layer drop and masking (rng "dropout").

        Returns:
          Hidden states `[layer, batch, frame, channel]`, and the number of frames of each recording `[batch]`. The
          first layer is the input of the transformer, the last one is normalised also in networks that normalise
          before each layer (`last_hidden_state` in `transformers`). Frames of padding have no meaning.
        """
        config = self.config
        x = FeatureEncoder(config, name="feature_extractor")(waveforms, lengths)
        x = FeatureProjection(config, name="feature_projection")(x, train)
        counts = jnp.full(len(x), x.shape[1]) if lengths is None else config.frames(lengths)
        masked: Any = 0
        if config.mask_time_prob > 0:
            masked = self.param("masked_spec_embed", nn.initializers.uniform(1.0), (config.hidden_size,))
        if train and config.apply_spec_augment:
            x = spec_augment(x, counts, masked, config, self.make_rng)
        valid = None if lengths is None else jnp.arange(x.shape[1]) < counts[:, None]
        return jnp.stack(Transformer(config, name="encoder")(x, valid, train)), counts


class FeatureEncoder(nn.Module):
    """Strided convolutions of the waveform, without padding."""

    config: SpeechConfig

    @nn.compact
    def __call__(self, waveforms: Array, lengths: Array | None) -> Array:
        """Map `[batch, sample]` to `[batch, frame, channel]`."""
        config, x = self.config, waveforms[..., None]
        for layer in range(len(config.conv_dim)):
            counts = None if lengths is None else config.frames(lengths, layer + 1)
            x = ConvBlock(config, layer, name=f"conv_layers.{layer}")(x, counts)
        return x


class ConvBlock(nn.Module):
    """One convolution of the feature encoder, with its normalisation and activation."""

    config: SpeechConfig
    index: int

    @nn.compact
    def __call__(self, x: Array, counts: Array | None) -> Array:
        config, index = self.config, self.index
        size, stride = config.conv_dim[index], config.conv_stride[index]
        kernel = (config.conv_kernel[index],)
        x = nn.Conv(size, kernel, (stride,), "VALID", use_bias=config.conv_bias, kernel_init=kernel_init, name="conv")(
            x
        )
        if config.feat_extract_norm == "layer":
            x = layer_norm(1e-5, "layer_norm")(x)
        elif index == 0:
            x = ChannelNorm(name="layer_norm")(x, counts)
        return ACTIVATIONS[config.feat_extract_activation](x)


class ChannelNorm(nn.Module):
    """Group norm with one channel in each group: every channel of every recording is normalised over its own frames."""

    @nn.compact
    def __call__(self, x: Array, counts: Array | None) -> Array:
        """Normalise `[batch, frame, channel]`; `counts` are the frames of each recording, None for all."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        valid = None if counts is None else (jnp.arange(x.shape[1]) < counts[:, None])[..., None]
        if self.has_variable("moments", "mean"):  # of the recording that x is a part of, see `whole_moments`
            mean, var = self.get_variable("moments", "mean"), self.get_variable("moments", "var")
        else:
            mean = wide.mean(1, keepdims=True, where=valid)
            var = jnp.square(wide - mean).mean(1, keepdims=True, where=valid)
        factor = scale * jax.lax.rsqrt(var + 1e-5)
        return (wide * factor + (bias - mean * factor)).astype(x.dtype)


class FeatureProjection(nn.Module):
    """Layer norm of the frames and a projection to the transformer's size."""

    config: SpeechConfig

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        config = self.config
        if config.feat_proj_layer_norm:
            x = layer_norm(config.layer_norm_eps, "layer_norm")(x)
        return Dropout(config.feat_proj_dropout)(Linear(config.hidden_size, name="projection")(x), train)


def spec_augment(x: Array, counts: Array, masked: Any, config: SpeechConfig, make_rng: Any) -> Array:
    """Hide spans of time and of channels in hidden states `[batch, frame, channel]` with `counts` frames each.

    Frames become `masked`, channels zero; the rates and lengths are those of the configuration.
    """
    if config.mask_time_prob > 0:
        spans = config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks
        hidden = draw_spans(make_rng("dropout"), counts, x.shape[1], *spans)
        x = jnp.where(hidden[..., None], jnp.asarray(masked, x.dtype), x)
    if config.mask_feature_prob > 0:
        spans = config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks
        hidden = draw_spans(make_rng("dropout"), jnp.full(len(x), x.shape[2]), x.shape[2], *spans)
        x = jnp.where(hidden[:, None], 0, x)
    return x


def draw_spans(key: Array, lengths: Array, size: int, rate: float, span: int, least: int) -> Array:
    """Draw spans to mask, True in a `[batch, size]`.

    As many spans start in each row as would mask a `rate` of its length without overlap, rounded at random up or down,
    at least `least`, and each at another place.

    Reference: Park et al. 2019 (SpecAugment); `_compute_mask_indices` in `transformers`.
    """
    rounding, places = jax.random.split(key)
    starts = jnp.maximum(lengths - span + 1, 0)  # places where a span fits
    counts = (rate * lengths / span + jax.random.uniform(rounding)).astype(int)
    counts = jnp.minimum(jnp.maximum(counts, least), starts)
    order = jnp.where(jnp.arange(size) < starts[:, None], jax.random.uniform(places, (len(lengths), size)), 2)
    start = jnp.argsort(jnp.argsort(order)) < counts[:, None]
    started = jnp.cumsum(start, 1)  # a place is masked if a span started within the last `span` places
    return started > jnp.pad(started, ((0, 0), (span, 0)))[:, :size]
