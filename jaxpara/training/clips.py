"""Clip examples: pictures of recordings, and one class for the whole of each (paper §3.1)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import lax
from scipy.special import softmax

from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.models import crop
from jaxpara.models.pretrained import IMAGENET_MEAN, IMAGENET_STD
from jaxpara.predictions import predictions_of
from jaxpara.registry import require_one_of
from jaxpara.training.input import Arrays
from jaxpara.training.parallel import AXIS


class Clips:
    """Pictures of recordings, resized and normalised on the device."""

    supervised: ClassVar[bool] = True

    def __init__(
        self,
        where: str,
        size: tuple[int, int] = (224, 224),
        augment: Literal["role", "partition", "none"] = "role",
        normalise: Literal["imagenet", "batch", "none"] = "imagenet",
    ):
        """Says how pictures reach the network.

        Args:
          where: from the program: this config's path for messages.
          size: height and width that pictures are resized to.
          augment: which pictures are cropped at random, anew in every step: those that are fitted on (`role`), those of
            the train partition, also in validation (`partition`, as the authors' published scripts do), or none.
          normalise: with the mean and deviation of ImageNet, with those of the batch (z-score, paper §3.1.1), or not.
        """
        require_one_of(f"config.{where}.augment", augment, ("role", "partition", "none"))
        require_one_of(f"config.{where}.normalise", normalise, ("imagenet", "batch", "none"))
        if not (isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)):
            raise UserError(f"config.{where}.size is {size!r}, expected height and width in pixels, as (224, 224)")
        self._augment, self._normalise = augment, normalise
        self._size = (size[0], size[1])

    def examples(
        self, recordings: Sequence[Recording], features: Mapping[str, Any], *, fitting: bool, **_: Any
    ) -> "ClipExamples":
        """One example per picture, recording by recording."""
        if self._augment == "partition":
            cropped = np.array([recording.partition == "train" for recording in recordings])
        else:
            cropped = np.full(len(recordings), fitting and self._augment == "role")
        return ClipExamples(recordings, features, cropped)

    def prepare(self, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        """`[example, height, width, channel]` pictures to network inputs; every example and step has its own crop."""
        pictures = batch["inputs"].astype(jnp.float32)
        height, width = pictures.shape[1:3]
        if self._augment != "none":
            keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(batch["number"])
            drawn = jax.vmap(lambda k: crop.sample(k, 1, height, width)[0])(keys)
            whole = jnp.array([0, 0, height, width], drawn.dtype)
            boxes = jnp.where(batch["cropped"][:, None], drawn, whole)
            pictures = crop.crop_resize(pictures, boxes, self._size)
        elif (height, width) != self._size:
            pictures = crop.resize(pictures, self._size)
        if self._normalise == "imagenet":
            mean, std = jnp.array(IMAGENET_MEAN), jnp.array(IMAGENET_STD)
            if pictures.shape[-1] == 1:
                mean, std = mean.mean(), std.mean()
            return (pictures / 255 - mean) / std
        if self._normalise == "batch":
            # Rows that only fill the batch up have no say, unless a part of it has no others.
            real = jnp.where(lax.psum(batch["real"].sum(), AXIS) > 0, batch["real"], 1)
            weight = real[:, None, None, None] * jnp.ones_like(pictures)
            count = lax.psum(weight.sum((0, 1, 2)), AXIS)
            mean = lax.psum((weight * pictures).sum((0, 1, 2)), AXIS) / count
            variance = lax.psum((weight * (pictures - mean) ** 2).sum((0, 1, 2)), AXIS) / count
            return (pictures - mean) / jnp.sqrt(variance + 1e-8)
        return pictures


class ClipExamples:
    """See `jaxpara.training.input.Examples`."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        features: Mapping[str, Sequence[np.ndarray]],
        cropped: np.ndarray | None = None,
    ):
        self._recordings, self._features = recordings, features
        self._cropped = np.zeros(len(recordings), bool) if cropped is None else cropped
        counts = [len(features[recording.name]) for recording in recordings]
        # Of each example the recording, and which of its pictures it is.
        self._of = np.repeat(np.arange(len(recordings)), counts)
        self._picture = np.concatenate([np.arange(count) for count in counts])

    def __len__(self) -> int:
        return len(self._of)

    def load(self, index: int) -> Arrays:
        """`inputs`, `targets`, and 0-d `weights`, `real` (0 only where a batch is filled up), `number`, `cropped`."""
        targets, weights = self.labels(index)
        return {
            "inputs": self.inputs(index),
            "targets": targets,
            "weights": weights,
            "real": np.asarray(1, np.float32),
            "number": np.asarray(index, np.uint32),
            "cropped": np.asarray(self._cropped[self._of[index]]),
        }

    def inputs(self, index: int) -> np.ndarray:
        """A picture `[height, width, channel]`, or frames `[frame, band]`."""
        return self._features[self._recordings[self._of[index]].name][int(self._picture[index])]

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The class index and its weight: 0 where it is not known."""
        label = self._recordings[self._of[index]].labels[0]
        known = np.isfinite(label)
        return np.asarray(label if known else 0, np.float32), np.asarray(known, np.float32)

    def by_recording(self, outputs: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Names, and the `[value]` mean over the pictures of each recording, from `[example, value]`."""
        totals = np.add.reduceat(outputs, np.flatnonzero(self._picture == 0))
        names = (recording.name for recording in self._recordings)
        return zip(names, totals / np.bincount(self._of)[:, None], strict=True)

    def merge(self, outputs: np.ndarray, fold: int, seed: int) -> pd.DataFrame:
        """Probabilities from `[example, class]` logits, averaged over the pictures of a recording."""
        scores = np.stack([values for _, values in self.by_recording(softmax(outputs.astype(np.float64), axis=1))])
        return predictions_of(self._recordings, scores, fold, seed)
