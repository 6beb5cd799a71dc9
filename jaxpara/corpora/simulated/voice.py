"""A source-filter voice, glottal pulses and noise through moving formants, and its recording in a room.

It speaks no language, but has the properties that paralinguistics uses: pitch with intonation, jitter and shimmer,
vowels and consonants at a speaker's rate, the level contour of a phrase, spectral tilt and breathiness.

Reference: Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980); vowel formants of Peterson
and Barney, JASA 24 (1952), men, scaled by the length of the vocal tract.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy import fft
from scipy import ndimage, signal

SAMPLE_RATE_HZ = 16_000
CONTROL_HZ = 200  # the rate of all slow tracks
HOP = 128  # samples between two filters; the frames are two hops long and cross-faded
FFT_SIZE = 1024  # leaves 48 ms for a filter to ring
BLOCK = 1024  # frames filtered at a time: bounds the memory
OFF = -200.0  # dB: absent
LEVEL_WINDOW = 640  # 40 ms, the label step of the Breathing corpus


class Phrase(NamedTuple):
    """Speech without a pause: its time, the level at its start and how much the level falls until its end."""

    start_s: float
    end_s: float
    level_db: float = 0.0
    fall_db: float = 3.0


class Speaker(NamedTuple):
    """A speaker of a simulated corpus: its partition and number in it, the seconds to simulate, and their files."""

    key: tuple[int, int]
    seconds: float
    files: list[str]


class Voice:
    """The sound of one speaker, drawn at random: with equal probability a woman or a man."""

    def __init__(self, rng: np.random.Generator):
        woman = rng.random() < 0.5
        self.pitch_hz = (200 if woman else 115) * np.exp(0.12 * rng.standard_normal())  # the middle of the pitch
        self.pitch_span = rng.uniform(1.0, 2.5)  # standard deviation of the accents in semitones
        self.tract = (1.16 if woman else 1.0) * np.exp(0.04 * rng.standard_normal())  # formants relative to a man's
        self.syllables_hz = rng.uniform(4.0, 6.0)  # syllables per second of speech
        self.tilt_hz = rng.uniform(250, 900)  # corner of the glottal low-pass; more vocal effort has a higher one
        self.breathiness_db = rng.uniform(-34, -20)  # noise from the open glottis relative to the voiced sound
        self.friction_db = rng.uniform(-4, 4)  # consonant noise relative to the average speaker's
        self.jitter = rng.uniform(0.004, 0.015)  # standard deviation of a glottal period, relative
        self.shimmer_db = rng.uniform(0.2, 0.8)  # standard deviation of the pulse levels


# Levels in dB of voicing, aspiration (noise through the tract) and friction; three formants in Hz; centre and
# bandwidth of the friction in Hz; duration in seconds, of which only the ratios count.
SOUNDS = {
    "i": (5, 5, OFF, 270, 2290, 3010, 4000, 2000, 0.10),
    "I": (3, 3, OFF, 390, 1990, 2550, 4000, 2000, 0.08),
    "E": (0, 0, OFF, 530, 1840, 2480, 4000, 2000, 0.10),
    "ae": (-1, -1, OFF, 660, 1720, 2410, 4000, 2000, 0.12),
    "A": (-2, -2, OFF, 730, 1090, 2440, 4000, 2000, 0.13),
    "O": (0, 0, OFF, 570, 840, 2410, 4000, 2000, 0.12),
    "U": (4, 4, OFF, 440, 1020, 2240, 4000, 2000, 0.08),
    "u": (6, 6, OFF, 300, 870, 2240, 4000, 2000, 0.11),
    "V": (0, 0, OFF, 640, 1190, 2390, 4000, 2000, 0.09),
    "er": (0, 0, OFF, 490, 1350, 1690, 4000, 2000, 0.12),
    "@": (-2, 0, OFF, 500, 1500, 2500, 4000, 2000, 0.06),
    "m": (-9, -9, OFF, 250, 1000, 2200, 4000, 2000, 0.07),
    "n": (-9, -9, OFF, 250, 1600, 2500, 4000, 2000, 0.07),
    "l": (-5, -5, OFF, 360, 1100, 2600, 4000, 2000, 0.06),
    "r": (-5, -5, OFF, 400, 1200, 1650, 4000, 2000, 0.06),
    "w": (-5, -5, OFF, 300, 700, 2200, 4000, 2000, 0.06),
    "j": (-5, -5, OFF, 280, 2200, 3000, 4000, 2000, 0.06),
    "v": (-10, -6, -26, 300, 1100, 2200, 4500, 5000, 0.06),
    "z": (-12, -6, -15, 300, 1700, 2600, 5500, 2500, 0.07),
    "s": (OFF, OFF, -10, 300, 1700, 2600, 5500, 2500, 0.11),
    "sh": (OFF, OFF, -8, 300, 1900, 2600, 3000, 1500, 0.11),
    "f": (OFF, OFF, -22, 300, 1100, 2200, 4500, 5000, 0.09),
    "h": (OFF, 14, OFF, 500, 1500, 2500, 4000, 2000, 0.06),
    "gap": (OFF, OFF, OFF, 300, 1500, 2500, 4000, 2000, 0.06),
    "bar": (-22, OFF, OFF, 200, 1500, 2500, 4000, 2000, 0.05),
    "P": (OFF, OFF, -14, 300, 900, 2300, 900, 1500, 0.012),
    "T": (OFF, OFF, -8, 300, 1750, 2700, 4200, 2500, 0.015),
    "K": (OFF, OFF, -10, 300, 2000, 2300, 1900, 900, 0.022),
}
NAMES = list(SOUNDS)
TABLE = np.array(list(SOUNDS.values()))


def _spell(*words: str) -> list[list[int]]:
    return [[NAMES.index(sound) for sound in word.split()] for word in words]


VOWELS = _spell("i", "I", "E", "ae", "A", "O", "U", "u", "V", "er", "@", "@", "@", "I")
ONSETS = _spell(
    "m", "n", "l", "r", "w", "j", "v", "z", "s", "sh", "f", "h", "gap P h", "gap T h", "gap K h", "bar P", "bar T",
    "bar K", "s gap T", "gap T r", "",
)  # fmt: skip
CODAS = _spell("", "", "", "", "", "n", "n", "m", "l", "r", "s", "z", "gap T", "n gap T", "bar T", "gap K", "s gap T")


def _spoken(phrase: Phrase, voice: Voice, rng: np.random.Generator) -> tuple[list[int], np.ndarray]:
    """Draw the sounds of a phrase and their lengths, whose sum is that of the phrase."""
    syllables = max(1, round((phrase.end_s - phrase.start_s) * voice.syllables_hz))
    sounds, stretch = [], []
    for i in range(syllables):
        parts = [group[rng.integers(len(group))] for group in (ONSETS, VOWELS, CODAS)]
        sounds += [sound for part in parts for sound in part]
        # The last syllable of a phrase is drawn out; the others differ by stress.
        stretch += [1.6 if i == syllables - 1 else rng.uniform(0.7, 1.4)] * sum(map(len, parts))
    lengths = TABLE[sounds, 8] * stretch
    return sounds, lengths * (phrase.end_s - phrase.start_s) / lengths.sum()


def _smooth(track: np.ndarray, width_s: float) -> np.ndarray:
    window = np.hanning(2 + round(2 * width_s * CONTROL_HZ))
    return ndimage.convolve1d(track, window / window.sum(), axis=0, mode="nearest")


def _amplitude(level_db: np.ndarray) -> np.ndarray:
    return 10 ** (level_db / 20) * (level_db > OFF / 2)


def _resonance(hz: np.ndarray, centre: np.ndarray | float, bandwidth: np.ndarray | float) -> np.ndarray:
    """Return the response of a pair of poles with a gain of one at 0 Hz."""
    return centre**2 / (centre**2 - hz**2 + 1j * hz * bandwidth)


def _filter(sources: Sequence[np.ndarray], tracks: np.ndarray, voice: Voice) -> np.ndarray:
    """Filter pulses and aspiration by the tract, friction by its own resonance; overlap-add of short frames."""
    pulses, aspiration, friction = sources
    count = -(-len(pulses) // HOP) + 1
    hz = fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE_HZ)
    window = np.hanning(2 * HOP + 1)[:-1].astype(np.float32)
    # Two-pole glottal low-pass and the lips' high-pass, together one at 500 Hz.
    glottis = 1j * hz / (1 + 1j * hz / voice.tilt_hz) ** 2
    glottis = (glottis / abs(np.interp(500, hz, abs(glottis)))).astype(np.complex64)
    # The formants above the third do not move.
    upper = np.prod([_resonance(hz, f * voice.tract, 0.04 * f) for f in range(3500, 8000, 1000)], axis=0)
    out = np.zeros((count + FFT_SIZE // HOP) * HOP, np.float32)
    padded = [np.pad(s, (HOP, 2 * HOP)) for s in (pulses, aspiration, friction)]
    knots = np.arange(len(tracks)) / CONTROL_HZ
    for first in range(0, count, BLOCK):
        frames = np.arange(first, min(first + BLOCK, count))
        at = [np.interp(frames * HOP / SAMPLE_RATE_HZ, knots, track)[:, None].astype(np.float32) for track in tracks.T]
        tract = upper.astype(np.complex64)
        for formant, width in zip(at[:3], (0.12, 0.055, 0.06), strict=True):
            tract = tract * _resonance(hz.astype(np.float32), formant, 30 + width * formant)
        centre, bandwidth = at[3:]
        rub = 1j * hz.astype(np.float32) * bandwidth / centre**2 * _resonance(hz.astype(np.float32), centre, bandwidth)
        index = frames[:, None] * HOP + np.arange(2 * HOP)
        voiced, noise, hiss = (fft.rfft(p[index] * window, FFT_SIZE) for p in padded)
        pieces = fft.irfft((voiced * glottis + noise) * tract + hiss * rub * rub, FFT_SIZE).astype(np.float32)
        for i in range(FFT_SIZE // HOP):
            start = (first + i) * HOP
            out[start : start + len(frames) * HOP] += pieces[:, i * HOP : (i + 1) * HOP].ravel()
    return out[HOP : HOP + len(pulses)]


def speak(voice: Voice, phrases: Sequence[Phrase], seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate speech in the given phrases, in order and without overlap: `[sample]` float32 at 16 kHz.

    A stressed vowel at 0 dB has an RMS of about 1.
    """
    ends, sounds, levels = [], [], []
    for phrase in phrases:
        sounds_in, lengths = _spoken(phrase, voice, rng)
        sounds += [NAMES.index("gap"), *sounds_in]
        ends += [phrase.start_s, *(phrase.start_s + np.cumsum(lengths))]
        elapsed = (np.cumsum(lengths) - lengths / 2) / lengths.sum()
        levels += [OFF, *(phrase.level_db - phrase.fall_db * elapsed)]
    sounds += [NAMES.index("gap")]
    levels += [OFF]

    clock = np.arange(round(seconds * CONTROL_HZ) + 1) / CONTROL_HZ
    now = np.searchsorted(np.array(ends), clock, side="right")
    said, level = TABLE[sounds], np.array(levels)
    size = round(seconds * SAMPLE_RATE_HZ)
    sample_s = np.arange(size, dtype=np.float32) / SAMPLE_RATE_HZ

    # Pitch falls with the level over a phrase, has an accent per sound, and drifts slowly.
    accents = rng.standard_normal(len(sounds)) * voice.pitch_span
    contour = np.where(level > OFF, 0.4 * level, 0.0) + 2.5 * accents
    semitones = _smooth(contour[now], 0.1) + _smooth(4 * rng.standard_normal(len(clock)), 0.3)
    phase = np.cumsum(voice.pitch_hz * 2 ** (semitones / 12)) / CONTROL_HZ
    beat = np.arange(np.ceil(phase[0]), phase[-1])
    beat += voice.jitter * rng.standard_normal(len(beat))
    place = np.interp(beat, phase, clock) * SAMPLE_RATE_HZ
    voicing = np.interp(place / SAMPLE_RATE_HZ, clock, _smooth(_amplitude(said[:, 0] + level)[now], 0.015))
    # Equal power at every pitch.
    voicing *= 10 ** (voice.shimmer_db * rng.standard_normal(len(beat)) / 20)
    voicing *= np.sqrt(SAMPLE_RATE_HZ / voice.pitch_hz)
    whole = place.astype(int)
    part = place - whole
    pulses = np.bincount(whole, voicing * (1 - part), size + 2) + np.bincount(whole + 1, voicing * part, size + 2)

    noises = []
    for column, extra_db in ((1, voice.breathiness_db), (2, voice.friction_db)):
        envelope = _smooth(_amplitude(said[:, column] + level + extra_db)[now], 0.008)
        noises.append(np.interp(sample_s, clock, envelope) * rng.standard_normal(size, np.float32))
    tracks = said[now, 3:8] * ([voice.tract] * 4 + [1.0])
    sources = [s[:size].astype(np.float32) for s in (pulses, *noises)]
    return _filter(sources, _smooth(tracks, 0.025), voice)


class Room:
    """A random quiet room with a close microphone: an ordinary studio, office or clinic."""

    def __init__(self, rng: np.random.Generator):
        self.decay_s = rng.uniform(0.12, 0.4)  # time in which the reverberation falls by 60 dB
        self.reverberation_db = rng.uniform(-22, -10)  # its energy relative to the direct sound
        self.low_cut_hz = rng.uniform(50, 130)  # corner of the microphone's high-pass
        self.tilt_db = rng.uniform(-3, 3)  # gain of microphone and distance at 4 kHz relative to 500 Hz
        # The loud parts of the speech (95th percentile of 40-ms levels) relative to full scale.
        self.level_db = rng.uniform(-24, -14)
        self.noise_db = rng.uniform(-42, -34)  # the background relative to the same parts
        self.noise_tilt_db = rng.uniform(-5, -1)  # slope of the background per octave


def record(sound: np.ndarray, room: Room, rng: np.random.Generator) -> np.ndarray:
    """Record a sound, `[sample]` of at least 40 ms at 16 kHz, in a room; return `[sample]` int16."""
    # The room reverberation is decaying noise; the microphone's tilt is a short filter of the whole sound.
    delay = np.arange(round(1.2 * room.decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(delay)) * 10 ** (-3 * delay / room.decay_s) * (delay > 0.003)
    tail *= 10 ** (room.reverberation_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] += 1
    gain_db = np.interp([250, 500, 4000, 8000], [500, 4000], [0, room.tilt_db])
    gain = 10 ** (np.r_[gain_db[0], gain_db] / 20)
    colour = np.asarray(signal.firwin2(127, [0, 250, 500, 4000, 8000], gain, fs=SAMPLE_RATE_HZ))
    recorded = np.asarray(signal.oaconvolve(sound, np.convolve(tail, colour)))[: len(sound)]
    low_cut = signal.butter(2, room.low_cut_hz, "highpass", fs=SAMPLE_RATE_HZ, output="sos")
    recorded = np.asarray(signal.sosfilt(low_cut, recorded))

    frames = recorded[: len(recorded) // LEVEL_WINDOW * LEVEL_WINDOW].reshape(-1, LEVEL_WINDOW)
    loud = np.percentile(np.sqrt(np.mean(frames**2, axis=1)), 95)
    octaves = np.log2(np.maximum(fft.rfftfreq(len(recorded), 1 / SAMPLE_RATE_HZ), 20) / 1000)
    slope_db = np.interp(octaves, [-4, 3], [-4 * room.noise_tilt_db, 3 * room.noise_tilt_db])
    noise = fft.irfft(fft.rfft(rng.standard_normal(len(recorded))) * 10 ** (slope_db / 20), len(recorded))
    noise *= 10 ** (room.noise_db / 20) / np.std(noise)
    scaled = (recorded / loud + noise) * 10 ** (room.level_db / 20)
    return np.round(np.clip(scaled, -1, 1) * 32767).astype(np.int16)
