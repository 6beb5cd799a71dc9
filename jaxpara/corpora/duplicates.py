"""Audio that two recordings share, whole or in part, whatever their names: what is tested must not be fitted on.

Only samples that are exactly equal count. A copy that was made louder, resampled, filtered or compressed with loss
is not found, nor is the same speech at two microphones. Neither silence nor a tone is audio that is shared: what
repeats itself to the sample all the time has too few anchors of its own.

Every stretch of 128 samples has a hash, and those with a small hash are anchors: which they are depends on the
samples alone, so that two recordings of the same audio have the same anchors at whatever offset. Recordings with
anchors in common, a constant offset apart, are compared sample by sample.

Reference: Manber, Finding similar files in a large file system, USENIX Winter 1994.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
import soundfile

from jaxpara.corpora.check_audio import REFUSALS, reason
from jaxpara.corpora.corpus import Recording
from jaxpara.corpora.splits import Fold
from jaxpara.corpora.threads import in_threads
from jaxpara.errors import UserError
from jaxpara.files import write_json

SHORTEST_S = 0.5
# Odd numbers without a pattern; each doubles the samples behind a hash.
FACTORS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xD3A2646D, 0xFD7046C5], np.uint32)
WINDOW = 2 ** len(FACTORS)  # samples behind an anchor; so many equal ones in a row are silence
SPACING = 128  # samples from one anchor to the next, on average
# An anchor that many recordings have is compared between each and so many of those that follow it.
MOST_COMPARED = 20
_BLOCK = 2**16  # samples hashed at once, which stay in the processor's cache


@dataclass(frozen=True)
class SharedAudio:
    """Two recordings that hold the same samples.

    Attributes:
      one, other: their names, in the order of the corpus.
      seconds: how long the longest stretch is that both hold, without the silence in it.
    """

    one: str
    other: str
    seconds: float


@dataclass(frozen=True, eq=False)
class _Print:
    """One recording in short.

    Attributes:
      digest: of all samples; empty where they are all alike, since silence is nobody's.
      rate_hz: samples per second, all channels together.
      hashes, places: `[anchor]`; of equal hashes the first.
    """

    digest: bytes
    seconds: float
    rate_hz: int
    hashes: np.ndarray
    places: np.ndarray


def shared_audio(
    recordings: Sequence[Recording], progress: Callable[[int, int], None] | None = None
) -> list[SharedAudio]:
    """Finds every two recordings with the same samples, or with a stretch in common of 0.5 s or longer.

    Digital silence, a value that stays for 8 ms (128 samples) or longer, does not count, neither as a whole
    recording nor in a stretch. Of more than 20 different recordings with the same stretch each is compared with 40
    others at most.

    Args:
      recordings: of one partition or of several.
      progress: called with the recordings heard so far and their number.

    Raises:
      UserError: a file cannot be read.
    """
    prints = in_threads(_print_of, [recording.path for recording in recordings], progress)
    copies: dict[bytes, list[int]] = {}
    for index, each in enumerate(prints):
        if each.digest:
            copies.setdefault(each.digest, []).append(index)
    found = {pair: prints[pair[0]].seconds for group in copies.values() for pair in combinations(group, 2)}
    firsts = [group[0] for group in copies.values()]
    for (one, other), seconds in _overlaps(recordings, prints, firsts).items():
        pairs = product(copies[prints[one].digest], copies[prints[other].digest])
        found |= {(min(pair), max(pair)): seconds for pair in pairs}
    return [SharedAudio(recordings[a].name, recordings[b].name, seconds) for (a, b), seconds in sorted(found.items())]


def shared_audio_kept_in(
    path: Path, recordings: Sequence[Recording], progress: Callable[[int, int], None] | None = None
) -> list[SharedAudio]:
    """`shared_audio`, from a file if it is there, else written to it.

    Args:
      path: a file of its own for each content of the recordings.
    """
    try:
        return [SharedAudio(**pair) for pair in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):  # not there, or damaged
        pass
    found = shared_audio(recordings, progress)
    own = path.with_name(f"{os.getpid()}_{path.name}")  # as another run may be about to write the same
    write_json(own, [asdict(pair) for pair in found])
    own.replace(path)
    return found


def across(shared: Sequence[SharedAudio], some: Collection[str], others: Collection[str]) -> list[SharedAudio]:
    """The pairs with one recording on each side."""
    some, others = set(some), set(others)
    return [s for s in shared if (s.one in some and s.other in others) or (s.other in some and s.one in others)]


def across_fold(shared: Sequence[SharedAudio], fold: Fold) -> list[SharedAudio]:
    """The pairs of which a fold is fitted on one and tuned on the other."""
    return across(shared, fold.train_names, fold.val_names)


def _read(path: Path) -> tuple[np.ndarray, int]:
    """`[sample]` of all channels in turn, and how many there are in a second."""
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except REFUSALS as error:
        raise UserError(f"{path}: not readable as audio ({reason(error)}); put an intact recording there") from None
    samples += 0.0  # minus zero, which float files may hold, has other bits
    return samples.ravel(), rate_hz * samples.shape[1]


def _print_of(path: Path) -> _Print:
    samples, rate_hz = _read(path)
    constant = not len(samples) or bool(samples.min() == samples.max())
    digest = b"" if constant else hashlib.sha256(samples.data).digest()
    return _Print(digest, len(samples) / rate_hz, rate_hz, *_anchors(samples))


def _anchors(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[anchor]` hashes, each once, and where they stand."""
    hashes, places = [np.empty(0, np.uint32)], [np.empty(0, np.int32)]
    changes = np.zeros(len(samples), bool)
    changes[1:] = samples[1:] != samples[:-1]
    for start in range(0, len(samples) - WINDOW + 1, _BLOCK):
        rolled = _rolling(samples[start : start + _BLOCK + WINDOW - 1])
        at = np.flatnonzero(rolled < 2**32 // SPACING)
        # The edges of silence are alike everywhere.
        windows = np.lib.stride_tricks.sliding_window_view(changes[start : start + _BLOCK + WINDOW - 1], WINDOW)
        at = at[np.count_nonzero(windows[at], axis=1) >= WINDOW // 4]
        hashes.append(rolled[at])
        places.append((start + at).astype(np.int32))
    unique, first = np.unique(np.concatenate(hashes), return_index=True)
    return unique, np.concatenate(places)[first]


def _rolling(samples: np.ndarray) -> np.ndarray:
    """`[sample - WINDOW + 1]` the hash of the WINDOW samples that start at each."""
    bits = samples.view(np.uint32)
    bits = bits ^ (bits >> 15)  # the low bits of a 16-bit sample's float are all zero
    step = 1
    for factor in FACTORS:
        bits = bits[:-step] * factor + bits[step:]
        step *= 2
    return bits


def _overlaps(
    recordings: Sequence[Recording], prints: Sequence[_Print], chosen: Sequence[int]
) -> dict[tuple[int, int], float]:
    """The seconds that each pair of the chosen recordings shares, where that is long enough."""

    @lru_cache(maxsize=4)
    def samples_of(index: int) -> np.ndarray:
        return _read(recordings[index].path)[0]

    found: dict[tuple[int, int], float] = {}
    for one, other, offset in _candidates(prints, chosen):
        rate_hz = prints[one].rate_hz
        seconds = _longest(samples_of(one), samples_of(other), offset) / rate_hz
        if seconds >= SHORTEST_S:
            found[one, other] = max(seconds, found.get((one, other), 0.0))
    return found


def _candidates(prints: Sequence[_Print], chosen: Sequence[int]) -> list[tuple[int, int, int]]:
    """(one, other, offset) of recordings whose equal anchors lie as far apart as those of 0.5 s do."""
    sizes = [len(prints[index].hashes) for index in chosen]
    if not sum(sizes):
        return []
    hashes = np.concatenate([prints[index].hashes for index in chosen])
    places = np.concatenate([prints[index].places for index in chosen])
    owners = np.repeat(np.array(chosen, np.int32), sizes)
    order = np.argsort(hashes, kind="stable")
    hashes, places, owners = hashes[order], places[order], owners[order]
    rows = []
    for lag in range(1, MOST_COMPARED + 1):
        one = np.flatnonzero(hashes[lag:] == hashes[:-lag])
        if not len(one):
            break
        other = one + lag
        rows.append(np.stack([owners[one], owners[other], places[one] - places[other], places[one]]))
    if not rows:
        return []
    # By pair and offset, and then by place.
    table = np.concatenate(rows, axis=1)
    table = table[:, np.lexsort(table[::-1])]
    starts = np.flatnonzero(np.append(True, (table[:3, 1:] != table[:3, :-1]).any(0)))
    ends = np.append(starts[1:], table.shape[1]) - 1
    shortest = np.array([each.rate_hz * SHORTEST_S for each in prints])[table[0, starts]]
    # That the outermost anchors of a stretch lie 24 spacings from its ends has a chance of one in a billion.
    far = table[3, ends] - table[3, starts] >= shortest - WINDOW - 24 * SPACING
    return list(zip(*table[:3, starts[far]].tolist(), strict=True))


def _longest(one: np.ndarray, other: np.ndarray, offset: int) -> int:
    """Samples that are not silence in the longest stretch of equal ones; `one` at i + offset is `other` at i."""
    one, other = one[max(offset, 0) :], other[max(-offset, 0) :]
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], one == other, [False]]).astype(np.int8)))
    counted = np.concatenate([[0], np.cumsum(_sounding(one))])
    return int(np.max(counted[edges[1::2]] - counted[edges[::2]], initial=0))


def _sounding(samples: np.ndarray) -> np.ndarray:
    """`[sample]` whether it is no part of WINDOW equal samples or more in a row."""
    starts = np.flatnonzero(np.concatenate([[True], samples[1:] != samples[:-1]]))
    lengths = np.diff(np.append(starts, len(samples)))
    return np.repeat(lengths < WINDOW, lengths)
