"""Peers of our functions: librosa, matplotlib, and NumPy with a pass over the rows for every draw."""

import io
from collections.abc import Sequence

import librosa
import librosa.display
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.side import Side

RATE_HZ = 16_000


def log_mel(waveform: np.ndarray, bands: int = 64, ref=np.max) -> np.ndarray:
    """Return `[frame, band]` decibels: 32-ms windows every 10 ms, not centred."""
    power = librosa.feature.melspectrogram(
        y=waveform, sr=RATE_HZ, n_fft=512, hop_length=160, n_mels=bands, fmax=8000, center=False
    )
    return librosa.power_to_db(power, ref=ref).T


def mfcc(waveform: np.ndarray) -> np.ndarray:
    """Return `[frame, coefficient]`: 30, with deltas and delta-deltas."""
    first = librosa.feature.mfcc(S=log_mel(waveform, 128, 1.0).T, n_mfcc=30)
    return np.vstack([first, librosa.feature.delta(first), librosa.feature.delta(first, order=2)]).T


def image(matrix: np.ndarray) -> np.ndarray:
    """Draw the image that the published scripts saved, `[288, 288, 3]`, from `[frame, band]`.

    It is librosa's specshow with the band edges of version 0.7, as a PNG of matplotlib.
    """
    frames, bands = matrix.shape
    edges_hz = librosa.mel_frequencies(bands, fmin=0, fmax=11_025)
    edges_hz[1:] -= 0.5 * np.diff(edges_hz)
    edges_hz = np.append(np.maximum(0, edges_hz), 11_025)
    figure = Figure(figsize=(4, 4), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    librosa.display.specshow(
        matrix.T, x_coords=np.arange(frames + 1), y_coords=edges_hz, y_axis="mel", ax=axes, cmap="magma"
    )
    axes.set(xlim=(0, frames), ylim=(0, 11_025))
    axes.axis("off")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=72)
    return np.asarray(Image.open(png).convert("RGB"))


def each(function, items: Sequence[np.ndarray]) -> Side:
    """Time one of the functions above on every item, one after the other."""

    def run() -> np.ndarray:
        return np.stack([function(item) for item in items])

    return Side(run, lambda: {"outputs": run()})


def dirichlet(truth: np.ndarray, scores: np.ndarray, draws: int, *, at_once: bool) -> Side:
    """Time the search for the best of random mixes of `[member, row]`, one by one or a hundred as one product."""

    def run() -> np.ndarray:
        candidates = np.random.default_rng(0).dirichlet(np.ones(len(scores)), draws)
        if not at_once:
            return candidates[np.argmax([np.corrcoef(truth, mix @ scores)[0, 1] for mix in candidates])]
        centred = truth - truth.mean()
        values = []
        for part in np.array_split(candidates, max(1, draws // 100)):
            mixes = part @ scores
            mixes -= mixes.mean(1, keepdims=True)
            values.append(mixes @ centred / np.linalg.norm(mixes, axis=1))
        return candidates[np.argmax(np.concatenate(values))]

    return Side(run, lambda: {"outputs": run()})


def bootstrap(truth: np.ndarray, scores: np.ndarray, speakers: int, resamples: int) -> Side:
    """Time Pearson's r `[resample]` over speakers drawn with replacement; all have equally many rows."""

    def run() -> np.ndarray:
        counts = np.random.default_rng(0).multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
        x, y = truth.reshape(speakers, -1), scores.reshape(speakers, -1)
        drawn = [np.repeat(np.arange(speakers), count) for count in counts]
        return np.array([np.corrcoef(x[who].ravel(), y[who].ravel())[0, 1] for who in drawn])

    return Side(run, lambda: {"outputs": run()})
