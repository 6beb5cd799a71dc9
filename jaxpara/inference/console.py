"""Live on the command line: raw samples from standard input, a value a line on standard output, all else on stderr."""

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from jaxpara.errors import UserError
from jaxpara.features.causal import warm_up_samples
from jaxpara.inference.ensemble import Ensemble, of
from jaxpara.inference.stream import Stream, warm_up
from jaxpara.inference.system import load

READ_BYTES = 1 << 16  # at most at once, what a pipe holds
SAY_EVERY_S = 10.0
KEPT = 90_000  # latencies that the quantiles are of; an hour
HEADERS = {b"RIFF": "a WAV", b"fLaC": "a FLAC", b"OggS": "an Ogg", b"ID3": "an MP3"}


class Meter:
    """How long values took, and how much of the time was computing."""

    def __init__(self, ensemble: Ensemble):
        self._ensemble = ensemble
        self._latencies_s: deque[float] = deque(maxlen=KEPT)
        self._most_s, self._busy_s, self.samples, self.values = 0.0, 0.0, 0, 0

    def add(self, samples: int, values: int, seconds: float) -> None:
        """Samples that came, the values that they gave, and how long that took, writing included."""
        self.samples += samples
        self.values += values
        self._busy_s += seconds
        self._latencies_s.extend([seconds] * values)
        self._most_s = max(self._most_s, seconds if values else 0.0)

    def line(self) -> str:
        """What was heard so far, and how fast."""
        heard_s = self.samples / self._ensemble.feature.sample_rate_hz
        if not self.values:
            return f"live: {heard_s:.1f} s heard, no value"
        half, most = np.quantile(self._latencies_s, (0.5, 0.99)) * 1e3
        factor = self._busy_s / heard_s
        return (
            f"live: {heard_s:.1f} s heard, {self.values} values; a value took {half:.1f} ms (median), {most:.1f}"
            f" (99 %), {self._most_s * 1e3:.1f} (most) after {self._ensemble.lookahead_s * 1e3:.1f} ms of lookahead;"
            f" real-time factor {factor:.3f}" + (", slower than the sound" if factor > 1 else "")
        )


def main(workdir: Path) -> None:
    """Predicts what comes on standard input with the system in a workdir or in an export.

    Raises:
      UserError: the system cannot run live, or the input is no raw sound.
      KeyboardInterrupt: the user stopped it.
    """
    system = load(workdir)
    ensemble = of(system)
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError(
            "--mode=live reads raw samples (16-bit, mono, little-endian) from standard input, which is a terminal; pipe"
            f" them in, as: arecord -t raw -f S16_LE -r {system.task.sample_rate_hz} -c 1 |"
            f" python launch.py --mode=live --workdir={workdir}"
        )
    with open(0, "rb", buffering=0, closefd=False) as source, open(1, "wb", buffering=0, closefd=False) as target:
        run(ensemble, source, target, sys.stderr)


def run(ensemble: Ensemble, source: BinaryIO, target: BinaryIO, notes: TextIO) -> None:
    """Predicts until the input ends, or until nobody reads the values any more.

    Args:
      source: raw 16-bit mono little-endian samples at the feature's rate; not buffered, so that none of them waits.
      target: gets `seconds value` lines, each as soon as the value is known; not buffered either.
      notes: gets everything else.

    Raises:
      UserError: the input is no raw sound, or there is none.
      KeyboardInterrupt: the user stopped it.
    """

    def say(line: str) -> None:
        print(line, file=notes, flush=True)

    warm_up(ensemble)
    first_s = warm_up_samples(ensemble.feature) / ensemble.feature.sample_rate_hz
    say(
        f"live: ready; a value every {ensemble.hop_s * 1e3:g} ms, {ensemble.lookahead_s * 1e3:.1f} ms and the time to"
        " compute it after the end of its sound" + f"; the first ones after {first_s:g} s" * (first_s > 0)
    )
    meter = Meter(ensemble)
    try:
        _predict(ensemble, source, target, meter, say)
    except BrokenPipeError:
        say("live: nobody reads the values any more")
    finally:
        say(meter.line())


def _predict(ensemble: Ensemble, source: BinaryIO, target: BinaryIO, meter: Meter, say: Callable[[str], None]) -> None:
    stream, odd, said = Stream(ensemble), b"", time.monotonic()
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
        if time.monotonic() - said >= SAY_EVERY_S:
            said = time.monotonic()
            say(meter.line())
    if not meter.samples:
        raise UserError("--mode=live: standard input ended before its first sample; pipe raw 16-bit samples in")
    if odd:
        say("live: the input ends in the middle of a sample; its last byte is left out")
    if meter.samples % ensemble.hop:
        say(f"live: the input ends within its last {ensemble.hop_s * 1e3:g} ms; silence fills them up")
    began = time.perf_counter()
    values = stream.finish()
    _write(target, values, meter.values * ensemble.hop_s, ensemble.hop_s)
    meter.add(0, len(values), time.perf_counter() - began)


def _require_raw(chunk: bytes) -> None:
    for magic, kind in HEADERS.items():
        if chunk.startswith(magic):
            raise UserError(
                f"--mode=live: standard input begins like {kind} file, expected raw samples (16-bit, mono,"
                " little-endian); put a decoder in between, as: ffmpeg -i FILE -f s16le -ac 1 -ar 16000 - | ..."
            )


def _write(target: BinaryIO, values: np.ndarray, first_s: float, hop_s: float) -> None:
    lines = "".join(f"{first_s + i * hop_s:.3f} {value:.6f}\n" for i, value in enumerate(values)).encode()
    while lines:
        lines = lines[target.write(lines) :]
