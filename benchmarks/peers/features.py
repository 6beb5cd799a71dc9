"""librosa and matplotlib, as one calls them."""

import io
from collections.abc import Sequence

import librosa
import librosa.display
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.peers.side import Side

RATE_HZ = 16_000


def log_mel(waveform: np.ndarray, bands: int = 64, ref=np.max) -> np.ndarray:
    """`[frame, band]` decibels: 32-ms windows every 10 ms, not centred."""
    power = librosa.feature.melspectrogram(
        y=waveform, sr=RATE_HZ, n_fft=512, hop_length=160, n_mels=bands, fmax=8000, center=False
    )
    return librosa.power_to_db(power, ref=ref).T


def mfcc(waveform: np.ndarray) -> np.ndarray:
    """`[frame, coefficient]`: 30, with deltas and delta-deltas."""
    first = librosa.feature.mfcc(S=log_mel(waveform, 128, 1.0).T, n_mfcc=30)
    return np.vstack([first, librosa.feature.delta(first), librosa.feature.delta(first, order=2)]).T


def picture(matrix: np.ndarray) -> np.ndarray:
    """The picture that the published scripts saved, `[288, 288, 3]`, from `[frame, band]`.

    librosa's specshow with the band edges of its version 0.7, and matplotlib's PNG.
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


def side(function, items: Sequence[np.ndarray]) -> Side:
    """One of the functions above on every item, one after the other."""

    def run() -> np.ndarray:
        return np.stack([function(item) for item in items])

    return Side(run, lambda: {"outputs": run()})
