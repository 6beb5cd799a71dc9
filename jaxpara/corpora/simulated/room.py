"""The simulated recording of a voice: room, microphone, level and background noise.

Recordings differ more by these than by their labels, which makes the tasks hard.
"""

import numpy as np
from numpy import fft
from scipy import signal

from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ

LEVEL_WINDOW = 640  # 40 ms, the label step of the Breathing corpus


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
