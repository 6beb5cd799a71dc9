"""Embeddings of the voice from a pretrained GE2E speaker encoder."""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import librosa
import numpy as np

from jaxpara.errors import Unavailable, UserError
from jaxpara.features.feature import Feature
from jaxpara.models import speaker

# Of resemblyzer/hparams.py and of `VoiceEncoder.embed_utterance`.
RATE_HZ = 16_000
WINDOW, HOP = 400, 160  # samples: 25 ms and 10 ms
TARGET_DBFS = -30.0  # quieter recordings are raised to this level
FRAMES = 160  # of a partial utterance: 1.6 s
STEP = round(RATE_HZ / 1.3 / HOP)  # frames from one partial utterance to the next: 1.3 per second
MIN_COVERAGE = 0.75  # of the last partial utterance; the rest is silence

# Partial utterances per call of the network: one compiled program for recordings of every length.
BATCH = 8
PACKAGE = "Resemblyzer==0.1.4"
PACKAGE_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"


@dataclass(frozen=True, kw_only=True)
class SpeakerEncoder(Feature):
    """The GE2E embedding of a recording, `[256]` float32 of length 1, which describes the voice of the speaker.

    Equal to `VoiceEncoder.embed_utterance` of the package Resemblyzer 0.1.4 (Apache-2.0) for the same samples. Pauses
    stay: `preprocess_wav` of the package also cuts them with webrtcvad. A recording shorter than a partial utterance of
    1.6 s ends in silence. The weights are in the package, whose code is not used.

    Reference: Wan et al., ICASSP 2018.

    Attributes:
      weights: path of the weights, a checkpoint of Resemblyzer or Real-Time-Voice-Cloning; empty: those in the
        installed package.
      sha256: SHA-256 of that file, or its first digits (8 at least); the default is that of the package.
    """

    weights: str = ""
    sha256: str = PACKAGE_SHA256

    def __post_init__(self):
        super().__post_init__()
        if self.sample_rate_hz != RATE_HZ:
            raise UserError(f"SpeakerEncoder.sample_rate_hz is {self.sample_rate_hz}, expected {RATE_HZ}; remove it")
        if not (isinstance(self.sha256, str) and 8 <= len(self.sha256) <= 64):
            raise UserError(f"SpeakerEncoder.sha256 is {self.sha256!r}, expected 8 to 64 hexadecimal digits")

    def require(self) -> None:
        _encoder(self.weights, self.sha256)

    def description(self) -> dict[str, Any]:
        # The file is known by its content; where it is makes no difference.
        return {key: value for key, value in super().description().items() if key != "weights"}

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        embed = _encoder(self.weights, self.sha256)
        starts = _partials(len(waveform))
        # Frame i is centred on sample i * HOP, with silence beyond the ends.
        missing = max(0, (starts[-1] + FRAMES) * HOP - len(waveform))
        padded = np.pad(_louder(waveform), (WINDOW // 2, WINDOW // 2 + missing))
        total = np.zeros((), np.float32)
        # In blocks, so that an hour of audio fits into memory.
        for block in (starts[i : i + BATCH] for i in range(0, len(starts), BATCH)):
            mel = _mel(padded[block[0] * HOP : (block[-1] + FRAMES - 1) * HOP + WINDOW])
            partials = np.zeros((BATCH, FRAMES, speaker.BANDS), np.float32)
            for i, start in enumerate(block):
                partials[i] = mel[start - block[0] :][:FRAMES]
            total = total + np.asarray(embed(partials))[: len(block)].sum(axis=0)
        if not np.linalg.norm(total) > 0:
            raise UserError("the speaker encoder finds no voice (all its outputs are 0); leave the recording out")
        return total / np.linalg.norm(total)


def _louder(waveform: np.ndarray) -> np.ndarray:
    """Raise a quiet recording to TARGET_DBFS; silence stays silence."""
    rms = np.sqrt(np.mean(waveform**2))
    gain = 10 ** (TARGET_DBFS / 20) / rms if rms > 0 else 1
    return waveform * np.float32(max(1, gain))


def _partials(samples: int) -> range:
    """Return the first frames of the partial utterances of a recording; the last one may reach beyond its end."""
    frames = (samples + HOP) // HOP
    starts = range(0, max(1, frames - FRAMES + STEP + 1), STEP)
    covered = (samples - starts[-1] * HOP) / (FRAMES * HOP)
    return starts[:-1] if covered < MIN_COVERAGE and len(starts) > 1 else starts


def _mel(waveform: np.ndarray) -> np.ndarray:
    """Return power in Mel bands, `[frame, band]` float32, not in decibels; the first frame starts the waveform."""
    power = librosa.feature.melspectrogram(
        y=waveform, sr=RATE_HZ, n_fft=WINDOW, hop_length=HOP, n_mels=speaker.BANDS, center=False
    )
    return power.T


@cache  # read once, for all recordings and threads
def _encoder(weights: str, sha256: str) -> Any:
    """Return the function of `[BATCH, frame, band]` that computes embeddings; raise a UserError for other weights."""
    path = Path(weights) if weights else _path_in_package()
    if not path.is_file():
        raise Unavailable(
            f"features.weights is {weights!r}: no such file; put it there, or leave the field empty for the weights of"
            f" the package Resemblyzer (pip install --no-deps {PACKAGE})"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256.lower()):
        fix = f"for other weights, set features.sha256 to {found[:16]!r}" if weights else f"install {PACKAGE} again"
        raise UserError(
            f"{path}: its SHA-256 starts with {found[:16]}, expected {sha256[:16]}: damaged, or other weights; {fix}"
        )
    network, variables = speaker.load(path)
    apply, variables = jax.jit(network.apply), jax.device_put(variables)

    def embed(mels: np.ndarray) -> jax.Array:
        with jax.default_matmul_precision("highest"):  # the default of some GPUs has 10 bits
            return apply(variables, mels)

    return embed


def _path_in_package() -> Path:
    """Return the path of the weights in the installed package, which is not imported."""
    spec = importlib.util.find_spec("resemblyzer")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            f"the weights of the speaker encoder are not installed: pip install --no-deps {PACKAGE} (17 MB; without"
            " --no-deps PyTorch too), or set features.weights to the path of its pretrained.pt"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "pretrained.pt"
