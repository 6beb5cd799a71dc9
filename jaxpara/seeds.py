"""The seed of a run, from which every random stream is derived by name."""

import hashlib


def derive(seed: int, *names: object) -> int:
    """Return the 32-bit seed of a named random stream: `derive(12, "cnn", 0, "shuffle")`."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
