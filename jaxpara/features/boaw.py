"""Bags of audio words: counts of the frames of a recording that are near each word of a codebook, as in openXBOW."""

from collections.abc import Iterator, Mapping, Sequence
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

    def arrays(self, corpus: Corpus, fold: Fold, read: Read, progress: Progress, folder: Path, *_: Any) -> Arrays:
        """Return the bags of all recordings; the arguments are those of `Embeddings.arrays`."""
        frames = read(self._frames, progress)

        def fit() -> dict[str, np.ndarray]:
            progress.say(f"fold {fold.index}: codebooks from {len(fold.train_names)} recordings")
            return codebooks(frames, fold.train_names, self._size, self._seed)

        return bags(frames, self._nearest, **fitted(folder, fold.train_names, fit))


def codebooks(frames: Arrays, names: Sequence[str], size: int, seed: int) -> dict[str, np.ndarray]:
    """Choose words at random among different frames, with a random number per frame and `CANDIDATES` frames in memory.

    Args:
      frames: `[time, descriptor]` by recording.
      names: of the recordings to choose from.
      size: words per codebook.

    Returns:
      The arguments of `bags`, float64: `words`, `[codebook, word, descriptor]`, standardised; `mean` and `scale`,
      `[descriptor]`. Each codebook has an equal part of the columns of a frame.

    Raises:
      UserError: a value is not finite, or there are fewer different frames than words.
    """
    scaler, lengths = StandardScaler(), []
    for name in names:
        array = _checked(frames[name], name)
        scaler.partial_fit(array)
        lengths.append(len(array))
    mean, scale = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
    # The frames with the smallest random keys. Recordings are read twice, because they may not fit into memory.
    keys = np.random.default_rng(derive(seed, "candidates")).random(sum(lengths))
    chosen = keys <= np.sort(keys)[:CANDIDATES][-1]
    rows = zip(names, np.split(chosen, np.cumsum(lengths)[:-1]), strict=True)
    sample = np.concatenate([frames[name][own] for name, own in rows])
    words = []
    for part in _standardised(sample[keys[chosen].argsort()], mean, scale):
        # The first different frames: `part` is in random order.
        different = np.sort(np.unique(part.round(DECIMALS), axis=0, return_index=True)[1])
        if len(different) < size:
            raise UserError(
                f"boaw.size is {size}, but only {len(different)} of the {len(part)} frames that words are chosen from"
                " are different; set a smaller size, or use more recordings for training"
            )
        words.append(part[different[:size]])
    return {"words": np.stack(words), "mean": mean, "scale": scale}


def bags(frames: Arrays, nearest: int, words: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> Arrays:
    """Return log10(count + 1) of each word, `[word]` float32 by recording; the codebooks' words follow each other.

    Args:
      frames: `[time, descriptor]` by recording.
      nearest: number of words that each frame counts for.
      words, mean, scale: from `codebooks`.
    """
    size = words.shape[1]
    searches = [NearestNeighbors(n_neighbors=nearest, algorithm="brute").fit(part) for part in words]
    result: dict[str, np.ndarray] = {}
    for block in _blocks(frames):
        recording = np.repeat(np.arange(len(block)), [len(array) for array in block.values()])[:, None]
        counts = np.empty((len(block), CODEBOOKS, size), np.float32)
        for index, part in enumerate(_standardised(np.concatenate(list(block.values())), mean, scale)):
            # One number per pair of recording and word, so that one bincount serves all recordings.
            cells = recording * size + searches[index].kneighbors(part, return_distance=False)
            counts[:, index] = np.bincount(cells.ravel(), minlength=len(block) * size).reshape(-1, size)
        result |= zip(block, np.log10(counts.reshape(len(block), -1) + 1), strict=True)
    return result


def _blocks(frames: Arrays) -> Iterator[dict[str, np.ndarray]]:
    """Yield groups of recordings with at least `BLOCK` frames."""
    block, count = {}, 0
    for name, array in frames.items():
        block[name] = _checked(array, name)
        count += len(array)
        if count >= BLOCK:
            yield block
            block, count = {}, 0
    if block:
        yield block


def _standardised(frames: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> list[np.ndarray]:
    """Return each codebook's part of the frames, `[time, descriptor]` float64."""
    return np.split((frames.astype(np.float64) - mean) / scale, CODEBOOKS, axis=1)


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
