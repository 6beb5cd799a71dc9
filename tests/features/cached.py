"""A corpus of short noises and checks of its cached features."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import soundfile

from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Recording
from jaxpara.features import LogMel
from jaxpara.features.feature import Feature

FEATURE = LogMel(bands=8)
NONE = np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class Counted(Feature):
    """The waveform; `calls` are the lengths of those that were computed."""

    calls: ClassVar[list[int]] = []

    def extract(self, waveform):
        self.calls.append(len(waveform))
        return waveform


def corpus(folder: Path, count: int = 6) -> list[Recording]:
    """Return different recordings of 0.1 s and longer."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for i in range(count):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(1600 + 160 * i), 16_000)
    return recordings(folder)


def recordings(folder: Path) -> list[Recording]:
    return [Recording(p.name, p, "train", "", NONE, NONE, NONE) for p in sorted(folder.glob("*.wav"))]


def scanned(wavs: list[Recording]) -> list[Recording]:
    """Return the recordings with the scans, and so the digests, that a check of the corpus adds."""
    return [replace(wav, audio=audio.scan(wav.path)) for wav in wavs]


def assert_right(features, expected: list[Recording], feature: Feature = FEATURE):
    assert list(features) == [recording.name for recording in expected]
    for recording in expected:
        assert np.array_equal(features[recording.name], feature(audio.read(recording.path, 16_000)))


def home(folder: Path) -> Path:
    (only,) = folder.iterdir()
    return only


def files(folder: Path) -> list[Path]:
    return sorted(home(folder).glob("*.npy"))
