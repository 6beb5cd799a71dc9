"""Bags of audio words: counts of the frames of a recording that are near each word of a codebook, as in openXBOW."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features.cache import fitted
from jaxpara.features.embeddings import Arrays, Read
from jaxpara.features.feature import Feature
from jaxpara.features.opensmile import OpenSmile
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.seeds import derive

CODEBOOKS = 2  # one for the descriptors, one for their deltas
CANDIDATES = 50_000  # random frames from which the words are chosen
DECIMALS = 4  # in standard deviations; frames that are equal after rounding are the same word
BLOCK = 4096  # frames assigned at once: more is not faster


class Bags:
    """Bags of a recording's low-level descriptors, `[word]` float32: words of the descriptors, then of their deltas.

    Each fold has its own codebooks, made from its training set.

    Reference: openXBOW (Schmitt and Schuller, JMLR 18, 2017) as the challenge calls it, on train alone:
    `-attributes nt1[65]2[65] -standardizeInput -size 2000 -a 10 -log`. Differences:
      - the random numbers;
      - words are chosen from a random sample of the frames;
      - a constant descriptor becomes 0 instead of NaN;
      - of words at exactly the same distance, any may count instead of the first;
      - the published source divides sums by frames times codebooks to get means; here they are means.
    """

    frame_rate_hz = 0.0
    leak = ""  # codebooks depend on the training set only

    def __init__(self, frames: Mapping[str, Any], where: str, seed: int, size: int = 2000, nearest: int = 10):
        """Build the frames' feature.

        Args:
          frames: `{"name": "opensmile", "level": "lld", ...}`.
          where, seed: not in the config: the config path for messages, and the seed of the words.
          size: words in each of the two codebooks.
          nearest: number of words that each frame counts for.

        Raises:
          UserError: impossible sizes.
        """
        if not 1 <= nearest <= size <= CANDIDATES:
            raise UserError(
                f"config.{where} has nearest {nearest} and size {size}, expected 1 <= nearest <= size <= {CANDIDATES}"
            )
        self._frames: Feature = build({"opensmile": OpenSmile}, frames, f"{where}.frames")
        self._size, self._nearest, self._seed = size, nearest, seed

    def require(self) -> None:
        """Raise a UserError if openSMILE is not installed."""
        self._frames.require()

    def arrays(
        self,
        corpus: Corpus,
        fold: Fold,
        read: Read,
        progress: Progress,
        folder: Path,
        sources: Mapping[str, Arrays] | None = None,
    ) -> Arrays:
        """Return the bags of all recordings.

        Args:
          fold: its training set determines the codebooks.
          read: returns a feature of all recordings.
          folder: of the fold, for the codebooks.
          corpus, sources: not used, but by embeddings.
        """
        frames = read(self._frames, progress)

        def fit() -> dict[str, np.ndarray]:
            progress.say(f"fold {fold.index}: codebooks from {len(fold.train_names)} recordings")
            return asdict(Codebooks.fit(((name, frames[name]) for name in fold.train_names), self._size, self._seed))

        return Codebooks(**fitted(folder, fold.train_names, fit)).bags(frames, self._nearest)


@dataclass(frozen=True, eq=False)
class Codebooks:
    """The words, and the standardisation of the frames.

    Attributes:
      words: `[codebook, word, descriptor]` float64, standardised. The columns of a frame are split into equal parts,
        one per codebook.
      mean, scale: `[descriptor]` float64, of all parts.
    """

    words: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, frames: Iterable[tuple[str, np.ndarray]], size: int, seed: int) -> "Codebooks":
        """Choose words at random among different frames, in one pass with `CANDIDATES` frames in memory.

        Args:
          frames: recording names and their `[time, descriptor]`.
          size: words per codebook.

        Raises:
          UserError: a value is not finite, or there are fewer different frames than words.
        """
        scaler, random = StandardScaler(), np.random.default_rng(derive(seed, "candidates"))
        # The random sample of a stream: the frames with the smallest random keys.
        keys, sample, count = [], [], 0
        for name, array in frames:
            scaler.partial_fit(_checked(array, name))
            keys.append(random.random(len(array)))
            sample.append(array)
            count += len(array)
            if count > 2 * CANDIDATES:  # not after every recording, because sorting is slow
                (keys, sample), count = _sample(keys, sample), CANDIDATES
        if not keys:
            raise UserError("the fold has no training recordings, so boaw has no frames to choose words from")
        _, (candidates,) = _sample(keys, sample)
        mean, scale = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
        words = [_words(part, size) for part in _parts(candidates, mean, scale)]
        return cls(np.stack(words), mean, scale)

    def bags(self, frames: Mapping[str, np.ndarray], nearest: int) -> dict[str, np.ndarray]:
        """Count the words of every recording.

        Args:
          frames: `[time, descriptor]` by recording.
          nearest: number of words that each frame counts for.

        Returns:
          log10(count + 1) by recording, `[word]` float32; the codebooks' words follow each other.
        """
        searches = [NearestNeighbors(n_neighbors=nearest, algorithm="brute").fit(words) for words in self.words]
        bags: dict[str, np.ndarray] = {}
        for block in _blocks(frames):
            counts = self._counts([_checked(array, name) for name, array in block.items()], searches)
            bags |= zip(block, np.log10(counts + 1), strict=True)
        return bags

    def _counts(self, arrays: list[np.ndarray], searches: list[NearestNeighbors]) -> np.ndarray:
        """Return `[recording, word]` float32."""
        size = self.words.shape[1]
        recording = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])[:, None]
        counts = np.empty((len(arrays), CODEBOOKS, size), np.float32)
        for index, part in enumerate(_parts(np.concatenate(arrays), self.mean, self.scale)):
            # One number per pair of recording and word, so that one bincount serves all recordings.
            cells = recording * size + searches[index].kneighbors(part, return_distance=False)
            counts[:, index] = np.bincount(cells.ravel(), minlength=len(arrays) * size).reshape(-1, size)
        return counts.reshape(len(arrays), -1)


def _parts(frames: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> list[np.ndarray]:
    """Return the standardised frames, `[time, descriptor]` float64, for each codebook."""
    return np.split((frames.astype(np.float64) - mean) / scale, CODEBOOKS, axis=1)


def _words(candidates: np.ndarray, size: int) -> np.ndarray:
    """Return the first different frames, `[word, descriptor]`; the candidates are in random order."""
    different = np.sort(np.unique(candidates.round(DECIMALS), axis=0, return_index=True)[1])
    if len(different) < size:
        raise UserError(
            f"boaw.size is {size}, but only {len(different)} of the {len(candidates)} frames that words are chosen from"
            " are different; set a smaller size, or use more recordings for training"
        )
    return candidates[different[:size]]


def _checked(frames: np.ndarray, name: str) -> np.ndarray:
    if frames.ndim != 2 or not len(frames) or frames.shape[1] % CODEBOOKS:
        raise UserError(
            f"{name}: descriptors are {list(frames.shape)}, expected [time, descriptor], at least one frame, and"
            f" {CODEBOOKS} equal parts of descriptors"
        )
    bad = np.argwhere(~np.isfinite(frames))
    if len(bad):
        raise UserError(f"{name}: descriptor {bad[0][1]} is {frames[tuple(bad[0])]} in frame {bad[0][0]}")
    return frames


def _sample(keys: list[np.ndarray], frames: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the `CANDIDATES` smallest keys, sorted, and their frames."""
    all_keys, all_frames = np.concatenate(keys), np.concatenate(frames)
    order = np.argsort(all_keys)[:CANDIDATES]
    return [all_keys[order]], [all_frames[order]]


def _blocks(frames: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yield groups of recordings with at least `BLOCK` frames."""
    block, count = {}, 0
    for name, array in frames.items():
        block[name] = array
        count += len(array)
        if count >= BLOCK:
            yield block
            block, count = {}, 0
    if block:
        yield block
