"""The simulated recording of a voice: room, microphone, level and background noise.

Recordings differ more by these than by their labels, which makes the tasks hard.
"""

from dataclasses import dataclass

import numpy as np
from numpy import fft
from scipy import signal

from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ

LEVEL_WINDOW = 640  # 40 ms, the label step of the Breathing corpus


@dataclass(frozen=True)
class Room:
    """One recording situation."""

    decay_s: float  # time in which the reverberation falls by 60 dB
    reverberation_db: float  # energy of the reverberation relative to the direct sound
    low_cut_hz: float  # corner of the microphone's high-pass
    tilt_db: float  # gain of microphone and distance at 4 kHz relative to 500 Hz
    level_db: float  # the loud parts of the speech (95th percentile of 40-ms levels) relative to full scale
    noise_db: float  # the background relative to the same parts
    noise_tilt_db: float  # slope of the background per octave

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Room":
        """Draw a quiet room with a close microphone: an ordinary studio, office or clinic."""
        return cls(
            decay_s=rng.uniform(0.12, 0.4),
            reverberation_db=rng.uniform(-22, -10),
            low_cut_hz=rng.uniform(50, 130),
            tilt_db=rng.uniform(-3, 3),
            level_db=rng.uniform(-24, -14),
            noise_db=rng.uniform(-42, -34),
            noise_tilt_db=rng.uniform(-5, -1),
        )


def _shaped(white: np.ndarray, gain_db: np.ndarray) -> np.ndarray:
    """Apply a spectral gain to noise; the gain is `[2, knot]`: octaves relative to 1 kHz, dB."""
    spectrum = fft.rfft(white)
    octaves = np.log2(np.maximum(fft.rfftfreq(len(white), 1 / SAMPLE_RATE_HZ), 20) / 1000)
    return fft.irfft(spectrum * 10 ** (np.interp(octaves, *gain_db) / 20), len(white))


def record(sound: np.ndarray, room: Room, rng: np.random.Generator) -> np.ndarray:
    """Record a sound in a room.

    Args:
      sound: `[sample]` at 16 kHz, at least 40 ms.
      rng: draws the room's reflections and the noise.

    Returns:
      `[sample]` int16.
    """
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
    slope = np.array([[-4.0, 3.0], [-4 * room.noise_tilt_db, 3 * room.noise_tilt_db]])
    noise = _shaped(rng.standard_normal(len(recorded)), slope)
    noise *= 10 ** (room.noise_db / 20) / np.std(noise)
    scaled = (recorded / loud + noise) * 10 ** (room.level_db / 20)
    return np.round(np.clip(scaled, -1, 1) * 32767).astype(np.int16)
