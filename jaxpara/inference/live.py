"""`--mode=live`: read raw samples from standard input and write one value per line to standard output."""

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from jaxpara.errors import UserError
from jaxpara.inference.stream import Ensemble, Stream, precompile
from jaxpara.inference.system import System

READ_BYTES = 1 << 16  # at most per read; the capacity of a pipe
REPORT_EVERY_S = 10.0
MAX_TIMES = 90_000  # computing times kept for the quantiles: one hour of values
HEADERS = {b"RIFF": "a WAV", b"fLaC": "a FLAC", b"OggS": "an Ogg", b"ID3": "an MP3"}


class Meter:
    """The number of samples and values, and the time spent on computing."""

    def __init__(self, ensemble: Ensemble):
        self._ensemble = ensemble
        self._times_s: deque[float] = deque(maxlen=MAX_TIMES)
        self._max_s, self._busy_s, self.samples, self.values = 0.0, 0.0, 0, 0

    def add(self, samples: int, values: int, seconds: float) -> None:
        """Add the numbers of new samples and values, and the time until the values were written."""
        self.samples += samples
        self.values += values
        self._busy_s += seconds
        self._times_s.extend([seconds] * values)
        self._max_s = max(self._max_s, seconds if values else 0.0)

    def summary(self) -> str:
        """Return a line with the length of the audio, the number of values and the speed."""
        audio_s = self.samples / self._ensemble.feature.sample_rate_hz
        if not self.values:
            return f"live: {audio_s:.1f} s of audio, no value"
        median, slow = np.quantile(self._times_s, (0.5, 0.99)) * 1e3
        factor = self._busy_s / audio_s
        return (
            f"live: {audio_s:.1f} s of audio, {self.values} values; computing one took {median:.1f} ms (median),"
            f" {slow:.1f} (99 %), {self._max_s * 1e3:.1f} (maximum), added to a latency of"
            f" {self._ensemble.latency_s * 1e3:.1f} ms; real-time factor {factor:.3f}"
            + (", slower than real time" if factor > 1 else "")
        )


def live(workdir: Path) -> None:
    """Predict the audio on standard input with a trained system, a workdir or an export.

    Raises:
      UserError: the system cannot run live, or the input is not raw audio.
      KeyboardInterrupt: the user stopped it.
    """
    system = System(workdir)
    ensemble = Ensemble.of(system)
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError(
            "--mode=live reads raw samples (16-bit, mono, little-endian) from standard input, which is a terminal; pipe"
            f" them in: arecord -t raw -f S16_LE -r {system.task.sample_rate_hz} -c 1 |"
            f" python launch.py --mode=live --workdir={workdir}"
        )
    with open(0, "rb", buffering=0, closefd=False) as source, open(1, "wb", buffering=0, closefd=False) as target:
        run(ensemble, source, target, sys.stderr)


def run(ensemble: Ensemble, source: BinaryIO, target: BinaryIO, notes: TextIO) -> None:
    """Predict until the input ends or the reader of the output closes it.

    Args:
      source: raw 16-bit mono little-endian samples at the feature's rate; unbuffered, so that none is delayed.
      target: receives `seconds value` lines, each as soon as the value is known; unbuffered.
      notes: receives all other messages.

    Raises:
      UserError: the input is empty, or not raw audio.
      KeyboardInterrupt: the user stopped it.
    """

    def say(line: str) -> None:
        print(line, file=notes, flush=True)

    precompile(ensemble)
    first_s = ensemble.warm_up / ensemble.feature.sample_rate_hz
    say(
        f"live: ready; a value every {ensemble.hop_s * 1e3:g} ms, with a latency of {ensemble.latency_s * 1e3:.1f} ms"
        f" plus the computing time{f'; the first values after {first_s:g} s' if first_s else ''}"
    )
    meter = Meter(ensemble)
    try:
        _predict(ensemble, source, target, meter, say)
    except BrokenPipeError:
        say("live: the reader closed the output")
    finally:
        say(meter.summary())


def _predict(ensemble: Ensemble, source: BinaryIO, target: BinaryIO, meter: Meter, say: Callable[[str], None]) -> None:
    stream, odd, reported = Stream(ensemble), b"", time.monotonic()  # `odd` is the first byte of a split sample
    while chunk := source.read(READ_BYTES):
        began = time.perf_counter()
        if not meter.samples:
            _require_raw(chunk)
        chunk = odd + chunk
        chunk, odd = chunk[: len(chunk) & ~1], chunk[len(chunk) & ~1 :]
        waveform = np.frombuffer(chunk, "<i2").astype(np.float32) / 32768
        values = stream.push(waveform)
        _write(target, values, meter.values * ensemble.hop_s, ensemble.hop_s)
        meter.add(len(waveform), len(values), time.perf_counter() - began)
        if time.monotonic() - reported >= REPORT_EVERY_S:
            reported = time.monotonic()
            say(meter.summary())
    if not meter.samples:
        raise UserError("--mode=live: standard input ended before its first sample; pipe raw 16-bit samples in")
    if odd:
        say("live: the input ends in the middle of a sample; its last byte is ignored")
    if meter.samples % ensemble.hop:
        say(f"live: the last {ensemble.hop_s * 1e3:g} ms of the input are incomplete and padded with silence")
    began = time.perf_counter()
    values = stream.finish()
    _write(target, values, meter.values * ensemble.hop_s, ensemble.hop_s)
    meter.add(0, len(values), time.perf_counter() - began)


def _require_raw(chunk: bytes) -> None:
    for magic, kind in HEADERS.items():
        if chunk.startswith(magic):
            raise UserError(
                f"--mode=live: standard input begins like {kind} file, expected raw samples (16-bit, mono,"
                " little-endian); decode it first: ffmpeg -i FILE -f s16le -ac 1 -ar 16000 - | ..."
            )


def _write(target: BinaryIO, values: np.ndarray, first_s: float, hop_s: float) -> None:
    lines = "".join(f"{first_s + i * hop_s:.3f} {value:.6f}\n" for i, value in enumerate(values)).encode()
    while lines:
        lines = lines[target.write(lines) :]  # a full pipe takes only a part
