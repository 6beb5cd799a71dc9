"""Small ensembles, signals for them, and their expected predictions."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.corpora.tasks import TASKS
from jaxpara.features.waveform import Waveform
from jaxpara.inference.stream import MIN_DEVIATION, Ensemble
from jaxpara.models.cnn1d import CNN1DLSTM
from jaxpara.training.steps import forward

RATE_HZ = 16_000
FOUR = CNN1DLSTM(filters=(4, 4, 4, 4), lstm=(4, 4))
THREE = CNN1DLSTM(filters=(4, 4, 4), kernels=(8, 6, 6), pools=(10, 8, 8), last_pool="max", lstm=(4,), output="linear")
# Its lookahead is longer than a hop, so the end of a signal gives several values.
FAR = CNN1DLSTM(filters=(3, 3), kernels=(4, 41), pools=(2, 4), lstm=(4,))
HERE = CNN1DLSTM(filters=(3,), kernels=(1,), pools=(8,), lstm=(4,))


@cache
def _init(model):
    return jax.jit(model.init)


def ensemble(model=FOUR, scale="zscore", sample_rate_hz=RATE_HZ, networks=2, seed=0, precision="float32"):
    shape = jnp.zeros((1, model.samples_per_output, 1))
    trees = tuple(_init(model)(jax.random.key(seed + number), shape) for number in range(networks))
    # Weights of the size of a trained network's: the first outputs of a fresh one are near zero.
    trees = jax.tree.map(lambda leaf: 2 * leaf, trees)
    weights = np.arange(1, networks + 1) / np.arange(1, networks + 1).sum()
    return Ensemble(
        model, trees, weights, Waveform(scale=scale, sample_rate_hz=sample_rate_hz), TASKS["breathing"], precision
    )


def scaled(ensemble, waveform):
    """Scale each sample of a recording by the mean and deviation of all samples up to it."""
    if ensemble.feature.scale != "zscore":
        return ensemble.feature.extract(waveform)
    last = np.maximum(np.arange(len(waveform)), min(ensemble.warm_up, len(waveform)) - 1)
    count, signal = last + 1, waveform.astype(np.float64)
    mean, power = (np.append(0, np.cumsum(values))[count] / count for values in (signal, signal**2))
    return ((signal - mean) / np.sqrt(np.maximum(power - mean**2, MIN_DEVIATION**2))).astype(np.float32)[:, None]


def offline(ensemble, waveform):
    """Predict a whole recording at once, followed by as much silence as its last value depends on."""
    samples, values = scaled(ensemble, waveform), -(-len(waveform) // ensemble.hop)
    silence = values * ensemble.hop - len(samples) + -(-ensemble.model.lookahead // ensemble.hop) * ensemble.hop
    samples = np.pad(samples, ((0, silence), (0, 0)))[None]
    apply = jax.jit(forward(ensemble.model, ensemble.precision))
    outputs = [np.asarray(apply(variables, samples)[0, :values], np.float64) for variables in ensemble.networks]
    return np.average(outputs, axis=0, weights=ensemble.weights)


def speech(samples, seed=5):
    rng = np.random.default_rng(seed)
    knots = np.arange(samples // 4000 + 2) * 4000
    loudness = np.interp(np.arange(samples), knots, rng.uniform(0, 0.3, len(knots)))
    return np.rint((loudness * rng.standard_normal(samples)).clip(-1, 0.999) * 32768).astype(np.float32) / 32768
