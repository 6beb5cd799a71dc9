"""A speaker who records with and without a surgical mask: what the mask takes away, and what hides it.

The mask takes a few decibels between 2 and 7 kHz, more or less of it as it fits, and some sound leaks past it. The
speaker makes up for it with a little more effort. Between sessions the room, the microphone and its place change the
spectrum by far more than that, and between clips the head moves.

Reference: Corey, Jones and Singer, "Acoustic effects of medical, cloth, and transparent face masks on speech signals",
JASA 148 (2020): the surgical mask on a mannequin.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import signal

from jaxpara.corpora.simulated.room import Room, record
from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ, Phrase, Voice, speak

MASK_HZ = (0, 1600, 2000, 2500, 2800, 3200, 3500, 4000, 5000, 6000, 7000)
MASK_DB = (0, 0, -0.3, -0.9, -2.8, -1.0, -2.5, -3.0, -3.8, -2.0, -1.5)

TAPS = 513  # of the filter of a clip: resolves 60 Hz
THIRDS_HZ = 1000 * 2.0 ** (np.arange(-10, 10) / 3)  # where the colour of a session or a clip is drawn
COLOUR_DB = 1.2  # its standard deviation between sessions
MOVED_DB = 0.5  # and between clips
LEVEL_DB = 2.0  # between clips, at all frequencies


@dataclass(frozen=True)
class Fit:
    """How a mask sits.

    Attributes:
      strength: the mask's decibels relative to the measured ones. Readings of the plot differ by a factor of two; these
        are the smaller ones.
      leak: part of the amplitude that passes beside the mask.
      shift: frequencies relative to the measured ones.
    """

    strength: float = 1.0
    leak: float = 0.0
    shift: float = 1.0

    def gain_db(self, hz: np.ndarray) -> np.ndarray:
        """What the mask does at the given frequencies."""
        through = self.strength * np.interp(hz / self.shift, MASK_HZ, MASK_DB)
        return 20 * np.log10(self.leak + (1 - self.leak) * 10 ** (through / 20))

    def moved(self, rng: np.random.Generator) -> "Fit":
        """The same mask a moment later."""
        strength = self.strength * np.exp(0.1 * rng.standard_normal())
        return Fit(strength, self.leak * rng.uniform(0.5, 1.5), self.shift * np.exp(0.02 * rng.standard_normal()))


@dataclass(frozen=True)
class Wearer:
    """A speaker and how the mask changes what the speaker does.

    Attributes:
      voice: without a mask.
      fit: of the mask, on average.
      effort_db: louder with the mask by this much.
      slowing: syllables per second with the mask relative to without.
    """

    voice: Voice
    fit: Fit
    effort_db: float
    slowing: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Wearer":
        return cls(
            voice=Voice.draw(rng),
            fit=Fit(rng.uniform(1.0, 1.5), rng.uniform(0.0, 0.1), float(np.exp(0.04 * rng.standard_normal()))),
            effort_db=rng.uniform(0.0, 1.5),
            slowing=rng.uniform(0.92, 1.0),
        )

    def spoken(self, masked: bool, rng: np.random.Generator) -> Voice:
        """The voice in one take: no two takes are alike, and the mask asks for effort."""
        effort_db = 1.0 * rng.standard_normal() + masked * self.effort_db
        return replace(
            self.voice,
            pitch_hz=self.voice.pitch_hz * np.exp(0.01 * effort_db + 0.02 * rng.standard_normal()),
            tilt_hz=self.voice.tilt_hz * np.exp(0.03 * effort_db),
            friction_db=self.voice.friction_db + 1.0 * rng.standard_normal(),
            syllables_hz=self.voice.syllables_hz * np.exp(0.06 * rng.standard_normal()) * self.slowing**masked,
        )


@dataclass(frozen=True)
class Session:
    """Where and with what a speaker was recorded.

    Attributes:
      room: the room, and the microphone's tilt.
      colour_db: `[third]` what else the microphone and its place do.
    """

    room: Room
    colour_db: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Session":
        room = replace(
            Room.draw(rng),
            reverberation_db=rng.uniform(-20, -5),
            tilt_db=rng.uniform(-6, 6),
            level_db=rng.uniform(-36, -22),
            noise_db=rng.uniform(-50, -34),
        )
        return cls(room, COLOUR_DB * rng.standard_normal(len(THIRDS_HZ)))


def take(wearer: Wearer, session: Session, masked: bool, clips: int, rng: np.random.Generator) -> np.ndarray:
    """Running speech, cut into clips of a second.

    Args:
      wearer: who speaks.
      session: where.
      masked: whether with the mask.
      clips: how many.
      rng: what is said, and what changes from clip to clip.

    Returns:
      `[clip, sample]` int16 at 16 kHz.
    """
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
    room = session.room
    if masked:
        gain_db += [wearer.fit.moved(rng).gain_db(hz) for _ in range(clips)]
        room = replace(room, level_db=room.level_db + wearer.effort_db, noise_db=room.noise_db - wearer.effort_db)
    return record(_filtered(sound, gain_db), room, rng).reshape(clips, SAMPLE_RATE_HZ)


def _filtered(sound: np.ndarray, gain_db: np.ndarray) -> np.ndarray:
    """Each second of `[sample]` through its own linear-phase filter, `[second, frequency]` from 0 Hz to 8 kHz."""
    taps = np.fft.fftshift(np.fft.irfft(10 ** (gain_db / 20)), axes=1)
    taps = np.pad(taps, ((0, 0), (0, 1))) * np.hanning(TAPS)
    padded = np.pad(sound, TAPS // 2)
    seconds = np.lib.stride_tricks.sliding_window_view(padded, SAMPLE_RATE_HZ + TAPS - 1)[::SAMPLE_RATE_HZ]
    return signal.oaconvolve(seconds, taps, mode="valid", axes=1).ravel()
