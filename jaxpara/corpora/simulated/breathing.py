"""A simulated Breathing corpus: people who breathe and speak, with a belt around the chest.

A breath is a quick inhalation and an exhalation during which one or more phrases are spoken. The belt follows the
volume of the lungs with one of two kinds of sensor: a piezo belt, which leaks back after its steep rise, or an
inductance belt with round peaks and a nearly linear fall. Some pauses are without a breath, some breaths are deep,
shallow or inaudible, and the belt drifts slowly, which is inaudible.

All distributions were chosen so that the statistics of belt and audio are those measured on public recordings with
a belt; the tests contain these ranges. The layout is that of the ComParE 2020 Breathing corpus: one speaker per file.

Loudness alone (`jaxpara.training.baseline`) reaches a PCC of about .57 on the test speakers of `demo` (.61 and .54 with
seeds 0 and 12) and .49 on those of `full` (seed 0). The exact times of all breaths, without their depths, give .83 and
.76 (seed 12; `python -m benchmarks.breath_times`).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage, signal

from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ, Phrase, Room, Speaker, Voice, record, speak
from jaxpara.errors import UserError

VERSION = 1  # of the generator: raise it when the same seed gives other files
HEADER = ["filename", "timeFrame", "upper_belt"]
LABEL_RATE_HZ = 25
LEAD_S = 12.0  # simulated before the file begins and after it ends, so that it begins and ends in mid-breath


# Speakers in train, devel and test, and seconds of each recording.
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"speakers": (16, 16, 8), "seconds": 30.0},
    "full": {"speakers": (17, 16, 16), "seconds": 240.0},
}


class Breath(NamedTuple):
    """One breath: an inhalation from `start_s` to `peak_s`, an exhalation from there to `end_s`."""

    start_s: float
    peak_s: float
    end_s: float
    creep_s: float  # the belt begins to rise so long before the inhalation, while the speaker still speaks
    peak: float  # volume at the peak; 1 is an ordinary breath from 0
    phrases: tuple[Phrase, ...]


class Breather:
    """The breathing of one speaker, and the response of the belt, drawn at random."""

    def __init__(self, rng: np.random.Generator):
        piezo = rng.random() < 0.7
        self.inhale_s = rng.uniform(0.5, 0.73)  # an ordinary inhalation
        self.exhale_s = rng.uniform(3.05, 3.95)  # an ordinary exhalation
        self.spread = rng.uniform(0.34, 0.47)  # standard deviation of the logarithm of the exhalation's length
        self.pause_every_s = rng.uniform(2.8, 5.6)  # mean time between two pauses without breath
        self.hold = rng.uniform(0.02, 0.12)  # probability that the breath is held before the first word, and at the end
        self.audible = rng.uniform(0.6, 0.95)  # probability that an inhalation is audible
        self.breath_db = rng.uniform(-32, -22)  # level of an audible inhalation relative to a stressed vowel
        self.leak_s = rng.uniform(0.8, 1.5)  # time constant of a piezo belt after the peak
        # 1 is a pure piezo belt, 0 a pure inductance belt.
        self.leak = rng.uniform(0.85, 1.0) if piezo else rng.uniform(0.25, 0.55)
        self.smooth_s = rng.uniform(0.02, 0.05) if piezo else rng.uniform(0.05, 0.10)  # roundness of the belt's corners
        self.lag_s = rng.uniform(0.0, 0.06)  # delay of the belt
        # Standard deviation of the slow drift of the belt, relative to an ordinary breath.
        self.drift = rng.uniform(0.08, 0.17) if piezo else rng.uniform(0.12, 0.23)


def plan(breather: Breather, seconds: float, rng: np.random.Generator) -> list[Breath]:
    """Draw breaths from before the start of the file until after its end."""
    breaths, clock = [], -LEAD_S
    while clock < seconds + LEAD_S:
        kind = rng.choice(["speech", "catch", "slow"], p=[0.62, 0.04, 0.34])
        depth = {"speech": 1.0, "catch": 0.7, "slow": 0.9}[kind] * np.exp(0.21 * rng.standard_normal())
        if rng.random() < 0.009:
            depth = 2.2  # a sigh, about one in eight minutes
        # Deeper breaths take longer, and after a deep one people speak longer.
        inhale = breather.inhale_s * depth**0.6 * np.exp(0.3 * rng.standard_normal())
        exhale = breather.exhale_s * depth**0.6 * np.exp(breather.spread * rng.standard_normal())
        if kind == "catch":
            exhale *= 0.5
        creep = 0.0
        if kind == "slow":
            inhale, exhale, creep = inhale * rng.uniform(1.1, 2.2), exhale * 0.9, rng.uniform(0.2, 0.9)
        exhale = float(np.clip(exhale, 0.7, 9.0))
        peak_s = clock + inhale
        end_s = peak_s + exhale
        phrases = () if kind == "slow" and rng.random() < 0.06 else _phrases(breather, peak_s, end_s, depth, rng)
        breaths.append(Breath(clock, peak_s, end_s, creep, depth, phrases))
        clock = end_s
    return breaths


def _phrases(
    breather: Breather, peak_s: float, end_s: float, depth: float, rng: np.random.Generator
) -> tuple[Phrase, ...]:
    """Draw the phrases of one exhalation."""
    holds_s = [rng.uniform(0.2, 0.8) if rng.random() < breather.hold else 0.0 for _ in range(2)]
    start = peak_s - rng.uniform(0.0, 0.16) + holds_s[0]
    stop = end_s - rng.uniform(0.0, 0.2) - holds_s[1]
    if stop - start < 0.3:
        return ()
    room_s = max(stop - start - 1.0, 0.0)
    pauses = np.sort(start + 0.5 + room_s * rng.random(rng.poisson(room_s / breather.pause_every_s)))
    level, phrases = 1.5 * np.log2(depth) + 2.5 * rng.standard_normal(), []
    fall = rng.uniform(1.0, 2.0)  # dB per second: less air, less voice
    for pause in [*pauses, stop]:
        length = rng.uniform(0.2, 0.65)
        until = pause if pause == stop else pause - length / 2
        if until - start > 0.25:
            phrases.append(Phrase(start, until, level - fall * (start - peak_s), fall * (until - start)))
            start = until + length
    return tuple(phrases)


def belt(breaths: list[Breath], breather: Breather, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return the belt, `[label]` in [-1, 1] at 25 Hz, scaled to the range of the file."""
    step_s = 1 / LABEL_RATE_HZ
    clock = np.arange(-LEAD_S, seconds + 1, step_s)
    volume = np.zeros(len(clock))
    level = 0.0
    for breath, after in pairwise(breaths):
        total = breath.end_s - breath.peak_s
        turn_s = breath.end_s - min(after.creep_s, 0.4 * total)
        rising = (clock >= breath.start_s) & (clock < breath.peak_s)
        falling = (clock >= breath.peak_s) & (clock < turn_s)
        creeping = (clock >= turn_s) & (clock < breath.end_s)
        inhaled = (clock[rising] - breath.start_s) / (breath.peak_s - breath.start_s)
        volume[rising] = level + (breath.peak - level) * inhaled
        since = np.r_[clock[falling], turn_s] - breath.peak_s
        # The lungs end lower after a long exhalation; a piezo belt returns to rest in its own time.
        rest = 0.08 - 0.03 * total + 0.09 * rng.standard_normal()
        leak_s = breather.leak_s * np.exp(0.35 * rng.standard_normal())
        leaked = rest + (breath.peak - rest) * np.exp(-since / leak_s)
        spent = breath.peak + (rest - breath.peak) * since / total
        mixed = breather.leak * leaked + (1 - breather.leak) * spent
        volume[falling], level = mixed[:-1], mixed[-1]
        if creeping.any():
            risen = 0.25 * (after.peak - level)
            volume[creeping] = level + risen * (clock[creeping] - turn_s) / (breath.end_s - turn_s)
            level += risen
    volume += breather.drift * _wander(len(clock), 8.0, rng) + 0.03 * _wander(len(clock), 0.2, rng)
    volume = ndimage.gaussian_filter1d(volume, breather.smooth_s * LABEL_RATE_HZ)
    labels = np.interp(np.arange(round(seconds * LABEL_RATE_HZ)) * step_s - breather.lag_s, clock, volume)
    labels += 0.012 * rng.standard_normal(len(labels))
    low, high = labels.min(), labels.max()
    return np.clip(2 * (labels - low) / (high - low) - 1, -1, 1)


def _wander(size: int, time_s: float, rng: np.random.Generator) -> np.ndarray:
    """Return slow noise of standard deviation one."""
    wander = ndimage.gaussian_filter1d(rng.standard_normal(size), time_s * LABEL_RATE_HZ, mode="wrap")
    return wander * np.sqrt(2 * time_s * LABEL_RATE_HZ * np.sqrt(np.pi))


def breathe(
    breaths: list[Breath], breather: Breather, voice: Voice, seconds: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the sound of the inhalations: turbulence in the open mouth, `[sample]`."""
    size = round(seconds * SAMPLE_RATE_HZ)
    envelope = np.zeros(size, np.float32)
    for breath in breaths:
        if rng.random() > breather.audible:
            continue
        length = breath.peak_s - breath.start_s
        # A deeper and quicker breath is louder; its ends are inaudible.
        flow_db = 20 * np.log10(breath.peak * breather.inhale_s / length)
        gain = 10 ** ((breather.breath_db + flow_db + 3 * rng.standard_normal()) / 20)
        start = breath.start_s + rng.uniform(0.05, 0.3) * length
        audible_s = min(length * rng.uniform(0.5, 0.75), 0.8)
        first, last = (int(t * SAMPLE_RATE_HZ) for t in (start, start + audible_s))
        shape = gain * np.hanning(max(last - first, 3)).astype(np.float32) ** 0.5
        inside = slice(max(first, 0), min(first + len(shape), size))
        if inside.start < inside.stop:
            envelope[inside] = shape[inside.start - first : inside.stop - first]
    noise = rng.standard_normal(size, np.float32) * envelope
    sound = np.zeros(size)
    for centre, weight in ((550, 0.8), (1500, 1.0), (2600, 0.6), (4200, 0.3)):
        centre = centre * voice.tract
        band = signal.butter(1, [0.75 * centre, 1.3 * centre], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
        sound += weight * np.asarray(signal.sosfilt(band, noise))
    return sound * 2.2  # compensates for the bands, which pass a fifth of the noise


class Drawn(NamedTuple):
    """All that is drawn at random before any sound is made; `labels` `[label]` are those of the belt."""

    voice: Voice
    breather: Breather
    room: Room
    breaths: list[Breath]
    labels: np.ndarray


def draw(seconds: float, rng: np.random.Generator) -> Drawn:
    """Draw a speaker who breathes for some seconds."""
    voice, breather, room = Voice(rng), Breather(rng), Room(rng)
    breaths = plan(breather, seconds, rng)
    return Drawn(voice, breather, room, breaths, belt(breaths, breather, seconds, rng))


def simulate(speaker: Speaker, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, str, str]]]:
    """Simulate a speaker: `[1, sample]` int16 audio at 16 kHz, and the rows of the label file, 25 per second."""
    seconds, (file,) = speaker.seconds, speaker.files
    voice, breather, room, breaths, labels = draw(seconds, rng)
    sound = speak(voice, [phrase for breath in breaths for phrase in breath.phrases], seconds, rng)
    sound += breathe(breaths, breather, voice, seconds, rng)
    rows = [(file, f"{i / LABEL_RATE_HZ:.2f}", f"{value:.5f}") for i, value in enumerate(labels)]
    return record(sound, room, rng)[None], rows


def plan_corpus(_: dict[str, Any], counts: Sequence[int], seconds: float, seed: int) -> list[Speaker]:
    """Return the speakers of a corpus; see `writing.write`."""
    labels = seconds * LABEL_RATE_HZ
    if not 8 <= seconds < np.inf or abs(labels - round(labels)) > 1e-6:
        raise UserError(f"simulated Breathing corpus: seconds is {seconds}, expected 8 or more, a multiple of 0.04")
    return [
        Speaker((part, number), float(seconds), [f"{PARTITIONS[part]}_{number:02d}.wav"])
        for part, count in enumerate(counts)
        for number in range(count)
    ]
