"""The log-Mel spectrogram as a JAX function, for where the waveform is already on the device."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.features.mel import AMIN, LogMel, hann


@partial(jax.jit, static_argnums=0)
def log_mel(feature: LogMel, waveforms: jax.Array) -> jax.Array:
    """The same numbers as `feature` itself, for a batch of recordings of one length.

    Args:
      feature: with `levels="db"`.
      waveforms: `[batch, sample]` float32 in [-1, 1].

    Returns:
      `[batch, frame, band]` float32 decibels; `ref` and `top_db` hold for each recording by itself.

    Raises:
      UserError: one window does not fit into the recordings.
    """
    if feature.levels != "db":
        raise ValueError(f"log_mel gives decibels, not {feature.levels!r}")
    feature.require_window(waveforms.shape[-1])
    if feature.center:
        half = feature.window // 2
        waveforms = jnp.pad(waveforms, ((0, 0), (half, half)), mode="reflect")
    starts = np.arange(0, waveforms.shape[-1] - feature.window + 1, feature.hop)
    frames = waveforms[:, starts[:, None] + np.arange(feature.window)]
    # In float64 for the reason that LogMel gives; the rest needs no more than float32.
    with jax.enable_x64(True):
        spectrum = jnp.fft.rfft(frames.astype(jnp.float64) * hann(feature.window))
        power = (spectrum.real**2 + spectrum.imag**2).astype(jnp.float32)
    mel = jnp.matmul(power, feature.filters.toarray().T, precision="highest")
    decibels = 10 * jnp.log10(jnp.maximum(mel, AMIN))
    if feature.high_first:
        decibels = decibels[..., ::-1]
    loudest = decibels.max((1, 2), keepdims=True)
    if feature.ref == "max":
        decibels, loudest = decibels - loudest, jnp.zeros_like(loudest)
    return jnp.maximum(decibels, loudest - feature.top_db)
