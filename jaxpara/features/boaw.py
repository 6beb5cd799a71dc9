"""Bags of audio words: how often the frames of a recording lie near each word of a codebook, as openXBOW counts it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
from sklearn.cluster import kmeans_plusplus
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from jaxpara.errors import UserError
from jaxpara.registry import suggest
from jaxpara.seeds import derive

BLOCK = 4096  # frames that are assigned at once: more is not faster
SAME = 4  # decimals, in standard deviations, up to which two frames are the same word


class BagOfWords:
    """Codebooks of frames, and histograms of their words.

    The columns of a frame are split into equal parts, a codebook for each: descriptors and their deltas.

    Reference: openXBOW (Schmitt and Schuller, JMLR 18, 2017) as the challenge calls it, on train alone:
    `-attributes nt1[65]2[65] -standardizeInput -size 2000 -a 10 -log`. What differs:
      - the random numbers;
      - words are taken from a random sample of the frames, also by k-means++;
      - a constant descriptor becomes 0 and not NaN;
      - of words exactly equally near, any may count, and not the first;
      - means are means: the published source divides sums by frames times codebooks;
      - normalised bags are not multiplied by their number of words.
    """

    def __init__(
        self,
        size: int = 2000,
        nearest: int = 10,
        codebooks: int = 2,
        method: Literal["random", "kmeans++"] = "random",
        log: bool = True,
        normalise: Literal["none", "sum", "length"] = "none",
        candidates: int = 50_000,
        seed: int = 0,
    ):
        """Says how words are found and counted.

        Args:
          size: words per codebook.
          nearest: words that each frame counts for.
          codebooks: into how many equal parts the columns are split.
          method: words are frames, all equally likely (`random`), or the likelier the farther from the words so far:
            the seeding of k-means++ without its iterations (openXBOW's `random++`).
          log: log10(count + 1) instead of counts.
          normalise: a whole bag to the sum or the Euclidean length 1, after `log` (openXBOW's `-norm 2` and `3`).
          candidates: frames, drawn at random, that words are taken from.
          seed: of the draws.

        Raises:
          UserError: an impossible value.
        """
        for field, value, known in (
            ("method", method, ["random", "kmeans++"]),
            ("normalise", normalise, ["none", "sum", "length"]),
        ):
            if value not in known:
                raise UserError(f"BagOfWords.{field} is {value!r}, expected one of {known}{suggest(str(value), known)}")
        if not 1 <= nearest <= size <= candidates or codebooks < 1:
            raise UserError(
                f"BagOfWords has nearest {nearest}, size {size}, candidates {candidates} and codebooks {codebooks}:"
                " expected 1 <= nearest <= size <= candidates, and at least one codebook"
            )
        self._size, self._nearest, self._codebooks, self._candidates = size, nearest, codebooks, candidates
        self._method, self._log, self._normalise, self._seed = method, log, normalise, seed

    def fit(self, frames: Iterable[tuple[str, np.ndarray]]) -> "BagOfWords":
        """Finds the words, in one pass that keeps `candidates` frames.

        Args:
          frames: pairs of a recording's name and its `[time, descriptor]`.

        Raises:
          UserError: a value that is not finite, or fewer different frames than words.
        """
        scaler = StandardScaler()
        sample = _Sample(self._candidates, derive(self._seed, "candidates"))
        for name, array in frames:
            array = self._checked(array, name)
            scaler.partial_fit(array)
            sample.add(array)
        candidates = sample.rows()
        self._mean, self._scale = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
        words = [self._words(part, index) for index, part in enumerate(self._parts(candidates))]
        return self.restore({"words": np.stack(words), "mean": self._mean, "scale": self._scale})

    # `[codebook, word, descriptor]` float64, in standard deviations from the mean; after `fit`.
    words: np.ndarray

    @property
    def fitted(self) -> dict[str, np.ndarray]:
        """All that `fit` found; `restore` takes it."""
        return {"words": self.words, "mean": self._mean, "scale": self._scale}

    def restore(self, fitted: Mapping[str, np.ndarray]) -> "BagOfWords":
        """Takes the place of `fit`."""
        self.words, self._mean, self._scale = (fitted[name] for name in ("words", "mean", "scale"))
        self._searches = [NearestNeighbors(n_neighbors=self._nearest, algorithm="brute").fit(w) for w in self.words]
        return self

    def transform(self, frames: np.ndarray) -> np.ndarray:
        """The bag `[word]` float32 of one recording, `[time, descriptor]`; the codebooks' words follow each other."""
        return self._bags([self._checked(frames, "recording")])[0]

    def transform_all(self, frames: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`transform` of every recording, by name; many short ones at once."""
        bags: dict[str, np.ndarray] = {}
        for block in _blocks(frames):
            arrays = [self._checked(array, name) for name, array in block.items()]
            bags |= zip(block, self._bags(arrays), strict=True)
        return bags

    def _bags(self, arrays: list[np.ndarray]) -> np.ndarray:
        """`[recording, word]`."""
        of = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])[:, None]
        bags = np.empty((len(arrays), self._codebooks, self._size), np.float32)
        for index, part in enumerate(self._parts(np.concatenate(arrays))):
            cells = of * self._size + self._searches[index].kneighbors(part, return_distance=False)
            counts = np.bincount(cells.ravel(), minlength=len(arrays) * self._size)
            bags[:, index] = counts.reshape(-1, self._size)
        bags = bags.reshape(len(arrays), -1)
        if self._log:
            bags = np.log10(bags + 1)
        if self._normalise != "none":
            bags /= np.linalg.norm(bags, ord=1 if self._normalise == "sum" else 2, axis=1, keepdims=True)
        return bags

    def _parts(self, frames: np.ndarray) -> list[np.ndarray]:
        """`[time, descriptor]` float64, standardised, for each codebook."""
        return np.split((frames.astype(np.float64) - self._mean) / self._scale, self._codebooks, axis=1)

    def _words(self, frames: np.ndarray, codebook: int) -> np.ndarray:
        """`[word, descriptor]` among standardised frames in random order."""
        different = np.sort(np.unique(frames.round(SAME), axis=0, return_index=True)[1])
        if len(different) < self._size:
            raise UserError(
                f"BagOfWords.size is {self._size}, but only {len(different)} of the {len(frames)} frames that words"
                " are taken from are different; take fewer words, or fit on more"
            )
        if self._method == "random":
            return frames[different[: self._size]]
        # One trial a word, as openXBOW has it, and not the greedy best of several.
        seed = derive(self._seed, "words", codebook)
        return kmeans_plusplus(frames, self._size, n_local_trials=1, random_state=seed)[0]

    def _checked(self, frames: np.ndarray, name: str) -> np.ndarray:
        if frames.ndim != 2 or not len(frames) or frames.shape[1] % self._codebooks:
            raise UserError(
                f"{name}: descriptors are {list(frames.shape)}, expected [time, descriptor], at least one frame, and"
                f" {self._codebooks} equal parts of descriptors"
            )
        bad = np.argwhere(~np.isfinite(frames))
        if len(bad):
            raise UserError(f"{name}: descriptor {bad[0][1]} is {frames[tuple(bad[0])]} in frame {bad[0][0]}")
        return frames


class _Sample:
    """A random sample of a stream of rows: those with the smallest of random keys."""

    def __init__(self, size: int, seed: int):
        self._size, self._random = size, np.random.default_rng(seed)
        self._keys, self._rows = [], []
        self._count, self._limit = 0, 1.0

    def add(self, rows: np.ndarray) -> None:
        keys = self._random.random(len(rows))
        low = keys < self._limit
        self._keys.append(keys[low])
        self._rows.append(rows[low])
        self._count += int(low.sum())
        if self._count > 2 * self._size:
            self.rows()

    def rows(self) -> np.ndarray:
        """`[row, ...]`, in random order."""
        if not self._keys:
            raise UserError("BagOfWords.fit was given no recordings; it needs those that the fold is fitted on")
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        order = np.argsort(keys)[: self._size]
        self._keys, self._rows, self._count = [keys[order]], [rows[order]], len(order)
        if len(order) == self._size:
            self._limit = float(keys[order[-1]])
        return self._rows[0]


def _blocks(frames: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The recordings in groups of at least `BLOCK` frames; each is read when its group is asked for."""
    block, count = {}, 0
    for name, array in frames.items():
        block[name] = array
        count += len(array)
        if count >= BLOCK:
            yield block
            block, count = {}, 0
    if block:
        yield block
