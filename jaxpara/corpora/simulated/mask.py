"""A simulated Mask corpus: people who speak with and without a surgical mask, in clips of a second.

The mask attenuates 2 to 7 kHz by a few decibels, depending on its fit, and some sound leaks past it. The speaker
compensates with a little more effort. Every speaker records both classes in each of several sessions, so that a
session does not reveal the class. Between sessions the room, the microphone and its position change the spectrum far
more than the mask does, and between clips the head moves.

A linear SVM on means and percentiles of Mel bands classifies about seven of ten clips of new speakers correctly, as
such systems do on the real corpus.

Reference: Corey, Jones and Singer, "Acoustic effects of medical, cloth, and transparent face masks on speech signals",
JASA 148 (2020): the surgical mask on a mannequin.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from scipy import signal

from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ, Phrase, Room, Speaker, Voice, record, speak
from jaxpara.errors import UserError

HEADER = ["file_name", "label"]
VERSION = 1  # of the generator: raise it when the same seed gives other files
SESSIONS = 4  # per speaker
MASKED = 0.53  # of the clips of each speaker, as in the real corpus

# Readings of the plot differ by a factor of two; these are the smaller ones.
MASK_HZ = (0, 1600, 2000, 2500, 2800, 3200, 3500, 4000, 5000, 6000, 7000)
MASK_DB = (0, 0, -0.3, -0.9, -2.8, -1.0, -2.5, -3.0, -3.8, -2.0, -1.5)

TAPS = 513  # of the filter of a clip: resolves 60 Hz
THIRDS_HZ = 1000 * 2.0 ** (np.arange(-10, 10) / 3)  # where the gain of a session or a clip is drawn
COLOUR_DB = 1.2  # its standard deviation between sessions
MOVED_DB = 0.5  # and between clips
LEVEL_DB = 2.0  # between clips, at all frequencies


# Speakers and clips in train, devel and test, and the standard deviation of the logarithm of a speaker's clips.
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {"speakers": (12, 10, 10), "clips": (720, 600, 600), "spread": 0.0},
    "full": {"speakers": (12, 10, 10), "clips": (10895, 14647, 11012), "spread": 0.6},
}


class MaskFit(NamedTuple):
    """The fit of a mask on a face."""

    strength: float = 1.0  # the attenuation in dB relative to the measured one
    leak: float = 0.0  # fraction of the amplitude that passes around the mask
    shift: float = 1.0  # frequencies relative to the measured ones

    def gain_db(self, hz: np.ndarray) -> np.ndarray:
        """Return the gain of the mask at the given frequencies."""
        through = self.strength * np.interp(hz / self.shift, MASK_HZ, MASK_DB)
        return 20 * np.log10(self.leak + (1 - self.leak) * 10 ** (through / 20))

    def moved(self, rng: np.random.Generator) -> "MaskFit":
        """Draw the fit of the same mask in another clip."""
        strength = self.strength * np.exp(0.1 * rng.standard_normal())
        return MaskFit(strength, self.leak * rng.uniform(0.5, 1.5), self.shift * np.exp(0.02 * rng.standard_normal()))


class Wearer:
    """A speaker, and the effect of the mask on the speech, drawn at random."""

    def __init__(self, rng: np.random.Generator):
        self.voice = Voice(rng)  # without a mask
        # The fit of the mask, on average.
        self.fit = MaskFit(rng.uniform(1.0, 1.5), rng.uniform(0.0, 0.1), float(np.exp(0.04 * rng.standard_normal())))
        self.effort_db = rng.uniform(0.0, 1.5)  # gain of loudness with the mask
        self.slowing = rng.uniform(0.92, 1.0)  # syllables per second with the mask relative to without

    def spoken(self, masked: bool, rng: np.random.Generator) -> Voice:
        """Draw the voice in one take: every take differs, and the mask requires effort."""
        effort_db = 1.0 * rng.standard_normal() + masked * self.effort_db
        voice = copy(self.voice)
        voice.pitch_hz *= np.exp(0.01 * effort_db + 0.02 * rng.standard_normal())
        voice.tilt_hz *= np.exp(0.03 * effort_db)
        voice.friction_db += 1.0 * rng.standard_normal()
        voice.syllables_hz = voice.syllables_hz * np.exp(0.06 * rng.standard_normal()) * self.slowing**masked
        return voice


class Session:
    """The room and the microphone of some takes of a speaker, drawn at random."""

    def __init__(self, rng: np.random.Generator):
        self.room = Room(rng)
        self.room.reverberation_db = rng.uniform(-20, -5)
        self.room.tilt_db = rng.uniform(-6, 6)
        self.room.level_db = rng.uniform(-36, -22)
        self.room.noise_db = rng.uniform(-50, -34)
        # `[third]` further gain of the microphone and its position, by third of an octave.
        self.colour_db = COLOUR_DB * rng.standard_normal(len(THIRDS_HZ))


def take(wearer: Wearer, session: Session, masked: bool, clips: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate running speech, cut into clips of a second: `[clip, sample]` int16 at 16 kHz."""
    phrases, clock = [], -rng.uniform(0.0, 2.0)
    while clock < clips:
        length = rng.uniform(1.0, 3.5)
        phrases.append(Phrase(clock, clock + length, 2 * rng.standard_normal(), rng.uniform(1.0, 2.0) * length))
        clock += length + rng.uniform(0.12, 0.5)  # so that no clip is without speech
    sound = speak(wearer.spoken(masked, rng), phrases, clips, rng)

    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, TAPS // 2 + 1)
    thirds_db = MOVED_DB * rng.standard_normal((clips, len(THIRDS_HZ))) + LEVEL_DB * rng.standard_normal((clips, 1))
    octaves, knots = np.log2(np.maximum(hz, 20)), np.log2(THIRDS_HZ)
    gain_db = np.array([np.interp(octaves, knots, session.colour_db + clip) for clip in thirds_db])
    room = copy(session.room)
    if masked:
        gain_db += [wearer.fit.moved(rng).gain_db(hz) for _ in range(clips)]
        room.level_db += wearer.effort_db
        room.noise_db -= wearer.effort_db
    return record(_filtered(sound, gain_db), room, rng).reshape(clips, SAMPLE_RATE_HZ)


def _filtered(sound: np.ndarray, gain_db: np.ndarray) -> np.ndarray:
    """Filter each second by its own linear-phase filter with the gains `[second, frequency]` from 0 Hz to 8 kHz."""
    taps = np.fft.fftshift(np.fft.irfft(10 ** (gain_db / 20)), axes=1)
    taps = np.pad(taps, ((0, 0), (0, 1))) * np.hanning(TAPS)
    padded = np.pad(sound, TAPS // 2)
    seconds = np.lib.stride_tricks.sliding_window_view(padded, SAMPLE_RATE_HZ + TAPS - 1)[::SAMPLE_RATE_HZ]
    return signal.oaconvolve(seconds, taps, mode="valid", axes=1).ravel()


def simulate(speaker: Speaker, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Simulate a speaker: `[clip, sample]` int16 audio at 16 kHz, and the rows of the label file."""
    wearer, clips = Wearer(rng), len(speaker.files)
    masked = round(MASKED * clips)
    audio, labels = [], []
    for i in range(SESSIONS):
        session = Session(rng)
        for label, total in (("clear", clips - masked), ("mask", masked)):
            count = (i + 1) * total // SESSIONS - i * total // SESSIONS
            audio.append(take(wearer, session, label == "mask", count, rng))
            labels += [label] * count
    return np.concatenate(audio), list(zip(speaker.files, labels, strict=True))


def plan_corpus(size: dict[str, Any], counts: Sequence[int], seconds: float | None, seed: int) -> list[Speaker]:
    """Return the speakers of a corpus of a size from `PRESETS`; see `writing.write`."""
    if seconds is not None and not (8 <= seconds <= 5000 and seconds == int(seconds)):
        raise UserError(f"simulated Mask corpus: seconds is {seconds}, expected a whole number from 8 to 5000")
    people = []
    for part, count in enumerate(counts):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(part,)))
        if seconds is None:
            weights = np.exp(size["spread"] * rng.standard_normal(count))
            total = round(size["clips"][part] * count / size["speakers"][part])
            ends = np.round(total * np.cumsum(weights) / weights.sum()).astype(int)
        else:
            ends = int(seconds) * np.arange(1, count + 1)
        # Neither the order of the files nor their names reveal speaker or class.
        for i, own in enumerate(np.split(1 + rng.permutation(ends[-1]), ends[:-1])):
            people.append(Speaker((part, i), len(own), [f"{PARTITIONS[part]}_{number:05d}.wav" for number in own]))
    return people
