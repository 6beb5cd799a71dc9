"""Test sounds of a second or less at 16 kHz, quiet enough never to clip."""

import numpy as np

RATE_HZ = 16_000


def signals(count: int = RATE_HZ) -> dict[str, np.ndarray]:
    """`[sample]` float32 by name: what speech is made of, and what log-Mel code gets wrong."""
    rng = np.random.default_rng(0)
    t = np.arange(count) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 120 * k * t) / k**2 for k in range(1, 40)) / 4
    sounds = {
        "noise": 0.1 * rng.standard_normal(count),
        "faint": 1e-5 * rng.standard_normal(count),
        "tone": np.sin(2 * np.pi * 440 * t),
        "sweep": np.sin(2 * np.pi * 4000 * t**2),
        "voice": voice + 1e-4 * rng.standard_normal(count),
        "decay": 0.2 * rng.standard_normal(count) * np.exp(-6 * t),
        "click": np.eye(1, count, count // 2)[0],
        "silence": np.zeros(count),
    }
    return {name: np.clip(sound, -1, 1).astype(np.float32) for name, sound in sounds.items()}


SIGNALS = signals()

# By name, for the speaker encoder: shorter than a partial utterance; one; a second one that is dropped, and one that is
# padded; a recording of ten; one below and one above the level of the volume normalisation.
SPEAKER_SIGNALS = {
    "short": signals(23_001)["voice"],
    "one": signals(25_000)["sweep"],
    "dropped": signals(31_000)["noise"],
    "padded": signals(34_567)["voice"] + 0.3 * signals(34_567)["noise"],
    "long": signals(160_123)["sweep"],
    "faint": signals(40_000)["faint"],
    "loud": signals(40_000)["noise"],
}
