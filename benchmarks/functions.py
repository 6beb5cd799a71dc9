"""Our side of the cases that are no networks, and what goes into them."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.peers.side import Side

RATE_HZ = 16_000
SPEAKERS = 16


def sounds(count: int, seconds: float) -> list[np.ndarray]:
    """Noise that comes and goes, `[sample]` float32 each."""
    random = np.random.default_rng(0)
    size = int(seconds * RATE_HZ)
    swell = 0.1 + 0.05 * np.sin(np.arange(size) * 2 * np.pi / RATE_HZ)
    return [np.clip(swell * random.standard_normal(size), -1, 1).astype(np.float32) for _ in range(count)]


def series(rows: int, members: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A truth `[row]` and predictions of it `[member, row]`, float64."""
    random = np.random.default_rng(1)
    truth = random.standard_normal(rows)
    noise = np.array([1.0, 1.5, 2.0])[:members, None] * random.standard_normal((members, rows))
    return truth, truth + noise


def of_outputs(run: Callable[[], np.ndarray]) -> Side:
    return Side(run, lambda: {"outputs": run()})


def log_mel_files(files: Sequence[np.ndarray]) -> Side:
    from jaxpara.features.mel import LogMel

    feature = LogMel()
    return of_outputs(lambda: np.stack([feature(waveform) for waveform in files]))


def mfcc(clips: Sequence[np.ndarray]) -> Side:
    from jaxpara.features.mfcc import MFCC

    feature = MFCC(orders=(0, 1, 2))
    return of_outputs(lambda: np.stack([feature(waveform) for waveform in clips]))


def picture(matrices: Sequence[np.ndarray]) -> Side:
    from jaxpara.features.image import MelImage, color_indices

    feature = MelImage()
    return of_outputs(lambda: np.stack([feature.image(color_indices(matrix)) for matrix in matrices]))


def matrices(count: int) -> list[np.ndarray]:
    """What a second of sound may look like, `[97, 64]` float32 decibels each."""
    random = np.random.default_rng(2)
    return [random.uniform(-80, 0, (97, 64)).astype(np.float32) for _ in range(count)]


def dirichlet(truth: np.ndarray, scores: np.ndarray, draws: int) -> Side:
    from jaxpara.fusion.dirichlet import Dirichlet

    fusion = Dirichlet(draws, seed=0)

    def measure(truth: np.ndarray, scores: np.ndarray) -> float:
        raise AssertionError("a sequence needs no pass over the rows for every draw")

    return of_outputs(lambda: fusion.search(truth, scores[..., None], measure))


def bootstrap(truth: np.ndarray, scores: np.ndarray, resamples: int) -> Side:
    from jaxpara.evaluation.intervals import PCC, bootstrap, moments

    unit = np.arange(SPEAKERS).repeat(len(truth) // SPEAKERS)
    return of_outputs(lambda: bootstrap(moments(truth, scores, unit), PCC, seed=0, resamples=resamples))


def demo(config: str, changes: Sequence[str]) -> Side:
    def run() -> None:
        with tempfile.TemporaryDirectory() as workdir:
            command = [sys.executable, "launch.py", f"--config=configs/{config}.py", f"--workdir={workdir}", *changes]
            subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL)

    return Side(run, dict)
