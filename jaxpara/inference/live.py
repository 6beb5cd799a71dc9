"""`--mode=live`: read raw samples from standard input and write one value per line to standard output."""

import sys
import time
from collections import deque
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


class Output:
    """Standard output, with the number of samples and values, and the time spent on computing."""

    def __init__(self, ensemble: Ensemble, target: BinaryIO):
        self._target, self._rate_hz = target, ensemble.feature.sample_rate_hz
        self.hop_s = ensemble.hop / self._rate_hz
        # A value depends on the audio up to this time after the end of its hop.
        self.latency_ms = 1e3 * ensemble.model.lookahead / self._rate_hz
        self._times_s: deque[float] = deque(maxlen=MAX_TIMES)
        self._max_s, self._busy_s, self.samples, self._values = 0.0, 0.0, 0, 0

    def write(self, values: np.ndarray, samples: int, began: float) -> None:
        """Write values; count them, the samples that they came with, and the time since `began`."""
        first_s = self._values * self.hop_s
        lines = "".join(f"{first_s + i * self.hop_s:.3f} {value:.6f}\n" for i, value in enumerate(values)).encode()
        while lines:
            lines = lines[self._target.write(lines) :]  # a full pipe takes only a part
        seconds = time.perf_counter() - began
        self.samples += samples
        self._values += len(values)
        self._busy_s += seconds
        self._times_s.extend([seconds] * len(values))
        self._max_s = max(self._max_s, seconds if len(values) else 0.0)

    def summary(self) -> str:
        """Return a line with the length of the audio, the number of values and the speed."""
        audio_s = self.samples / self._rate_hz
        if not self._values:
            return f"live: {audio_s:.1f} s of audio, no value"
        median, slow = np.quantile(self._times_s, (0.5, 0.99)) * 1e3
        factor = self._busy_s / audio_s
        return (
            f"live: {audio_s:.1f} s of audio, {self._values} values; computing one took {median:.1f} ms (median),"
            f" {slow:.1f} (99 %), {self._max_s * 1e3:.1f} (maximum), added to a latency of"
            f" {self.latency_ms:.1f} ms; real-time factor {factor:.3f}{', slower than real time' if factor > 1 else ''}"
        )


def live(workdir: Path) -> None:
    """Predict the audio on standard input with a trained system, a workdir or an export.

    Raises:
      UserError: the system cannot run live, or the input is not raw audio.
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
    """

    def say(line: str) -> None:
        print(line, file=notes, flush=True)

    precompile(ensemble)
    output, stream = Output(ensemble, target), Stream(ensemble)
    first_s = ensemble.warm_up / ensemble.feature.sample_rate_hz
    say(
        f"live: ready; a value every {output.hop_s * 1e3:g} ms, with a latency of {output.latency_ms:.1f} ms"
        f" plus the computing time{f'; the first values after {first_s:g} s' if first_s else ''}"
    )
    odd, reported = b"", time.monotonic()  # `odd` is the first byte of a split sample
    try:
        while chunk := source.read(READ_BYTES):
            began = time.perf_counter()
            kind = next((kind for magic, kind in HEADERS.items() if chunk.startswith(magic)), "")
            if kind and not output.samples:
                raise UserError(
                    f"--mode=live: standard input begins like {kind} file, expected raw samples (16-bit, mono,"
                    " little-endian); decode it first: ffmpeg -i FILE -f s16le -ac 1 -ar 16000 - | ..."
                )
            chunk = odd + chunk
            chunk, odd = chunk[: len(chunk) & ~1], chunk[len(chunk) & ~1 :]
            waveform = np.frombuffer(chunk, "<i2").astype(np.float32) / 32768
            output.write(stream.push(waveform), len(waveform), began)
            if time.monotonic() - reported >= REPORT_EVERY_S:
                reported = time.monotonic()
                say(output.summary())
        if not output.samples:
            raise UserError("--mode=live: standard input ended before its first sample; pipe raw 16-bit samples in")
        if odd:
            say("live: the input ends in the middle of a sample; its last byte is ignored")
        if output.samples % ensemble.hop:
            say(f"live: the last {output.hop_s * 1e3:g} ms of the input are incomplete and padded with silence")
        began = time.perf_counter()
        output.write(stream.finish(), 0, began)
    except BrokenPipeError:
        say("live: the reader closed the output")
    finally:
        say(output.summary())
