"""One seed for a run; every stream of randomness is derived from it by name."""

import hashlib


def derive(seed: int, *names: object) -> int:
    """A 32-bit seed of the stream that `names` name: `derive(12, "cnn", 0, "shuffle")`."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
