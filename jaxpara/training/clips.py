"""Examples with one class or number for the whole recording (paper §3.1), and those of autoencoders, without labels.

`Clips` are images, `Vectors` one vector per recording, `Frames` sequences of vectors, and `Reconstruction` are
spectrograms that an autoencoder copies (auDeep).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.special import softmax

from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.models.pretrained import IMAGENET_MEAN, IMAGENET_STD
from jaxpara.registry import require_one_of
from jaxpara.training.augment import Labels, built, image_labels, images_of, mixes
from jaxpara.training.parallel import AXIS

Arrays = dict[str, np.ndarray]
Batch = dict[str, jax.Array]
Features = Mapping[str, Any]  # by recording name
ByRecording = Iterator[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Clips:
    """Images of recordings, augmented, resized and normalised on the device.

    Attributes:
      size: height and width that images are resized to.
      augment: random changes, other ones for each image and step, in this order: `({"name": "random_crop"}, ...)`; see
        `jaxpara.training.augment_steps` for their fields, and `jaxpara.training.augment` for those that fit.
      augment_on: the images that are changed: those of the training set (`role`), or those of the train partition, also
        when they serve as validation data (`partition`, as in the authors' published scripts).
      normalise: by the mean and deviation of ImageNet, by those of the batch (z-score, paper §3.1.1), or not at all.
    """

    where: str  # the path of this config, for messages; set by the program
    size: tuple[int, int] = (224, 224)
    augment: Sequence[Mapping[str, Any]] = ()
    augment_on: Literal["role", "partition"] = "role"
    normalise: Literal["imagenet", "batch", "none"] = "imagenet"
    steps: tuple[Any, ...] = field(init=False)  # of augmentation, built
    supervised: ClassVar[bool] = True

    def __post_init__(self):
        require_one_of(f"config.{self.where}.augment_on", self.augment_on, ("role", "partition"))
        require_one_of(f"config.{self.where}.normalise", self.normalise, ("imagenet", "batch", "none"))
        size = self.size
        if not (isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)):
            raise UserError(f"config.{self.where}.size is {size!r}, expected height and width in pixels, as (224, 224)")
        object.__setattr__(self, "steps", built(self.where, self.augment, "images"))

    def examples(
        self,
        recordings: Sequence[Recording],
        features: Features,
        *,
        training: bool = False,
        classes: bool = True,
        **_: Any,
    ) -> "ClipExamples":
        augmented = [training] * len(recordings)
        if self.augment_on == "partition":
            augmented = [recording.partition == "train" for recording in recordings]
        paired = training and mixes(self.steps)
        return ClipExamples(recordings, features, augmented, paired=paired, classes=classes)

    def labels(self, batch: Batch, key: jax.Array) -> list[Labels]:
        return image_labels(self.steps, batch, key)

    def prepare(self, batch: Batch, key: jax.Array) -> jax.Array:
        """Turn images `[example, height, width, channel]` into network inputs."""
        images = images_of(self.steps, batch, key, (self.size[0], self.size[1]))
        if self.normalise == "imagenet":
            mean, std = jnp.array(IMAGENET_MEAN), jnp.array(IMAGENET_STD)
            if images.shape[-1] == 1:
                mean, std = mean.mean(), std.mean()
            return (images / 255 - mean) / std
        if self.normalise == "batch":
            # Padding does not count, unless a part of the batch consists of it alone (0 / 0).
            real = jnp.where(lax.psum(batch["real"].sum(), AXIS) > 0, batch["real"], 1)
            weight = real[:, None, None, None] * jnp.ones_like(images)
            count = lax.psum(weight.sum((0, 1, 2)), AXIS)
            mean = lax.psum((weight * images).sum((0, 1, 2)), AXIS) / count
            variance = lax.psum((weight * (images - mean) ** 2).sum((0, 1, 2)), AXIS) / count
            return (images - mean) / jnp.sqrt(variance + 1e-8)
        return images


class ClipExamples:
    """Images `[height, width, channel]`, one or more per recording, with the class or the number of the recording."""

    class_weights: np.ndarray | None = None  # of the examples of each class in the loss, `[class]`
    whole: ClassVar[bool] = False  # as in `WindowExamples`

    def __init__(
        self,
        recordings: Sequence[Recording],
        features: Features,
        augmented: Sequence[bool] = (),
        *,
        paired: bool = False,
        classes: bool = True,
    ):
        """Number the images.

        Args:
          augmented: True for each recording whose images `Clips.prepare` changes.
          paired: True if examples are mixed, see `jaxpara.training.batches.batches`.
          classes: False for numbers.
        """
        self._recordings, self._features, self._classes, self.paired = recordings, features, classes, paired
        self._augmented = augmented or [False] * len(recordings)
        counts = [len(self._images(recording.name)) for recording in recordings]
        self._of = np.repeat(np.arange(len(recordings)), counts)  # the recording of each example
        self._image = np.concatenate([np.arange(count) for count in counts])  # its number within the recording

    def __len__(self) -> int:
        return len(self._of)

    def load(self, index: int) -> Arrays:
        """Return `inputs`, `targets`, and 0-d `weights`, `real` (0 in padding alone), `number`, `augmented`."""
        targets, weights = self.labels(index)
        return {
            "inputs": self._inputs(index),
            "targets": targets,
            "weights": weights,
            "real": np.asarray(1, np.float32),
            "number": np.asarray(index, np.uint32),
            "augmented": np.asarray(self._augmented[self._of[index]]),
        }

    def _inputs(self, index: int) -> np.ndarray:
        return self._images(self._recordings[self._of[index]].name)[int(self._image[index])]

    def _images(self, name: str) -> Any:
        return self._features[name]

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the class index or the number, and its weight: 0 if it is unknown; without reading the image."""
        label = self._recordings[self._of[index]].labels[0]
        if not np.isfinite(label):
            return np.asarray(0, np.float32), np.asarray(0, np.float32)
        weight = 1 if self.class_weights is None else self.class_weights[int(label)]
        return np.asarray(label, np.float32), np.asarray(weight, np.float32)

    def balanced(self, classes: Sequence[str]) -> np.ndarray:
        """Return images / (classes * images of the class), `[class]`; raise a UserError if a class has none."""
        labels = np.array([recording.labels[0] for recording in self._recordings])[self._of]
        counts = np.bincount(labels[np.isfinite(labels)].astype(int), minlength=len(classes))
        if not counts.all():
            raise UserError(
                f"the training set has no example of class {classes[int(counts.argmin())]!r}, but loss.class_weight is"
                " 'balanced'; set it to 'none', or choose other folds"
            )
        return counts.sum() / (len(classes) * counts)

    def by_recording(self, outputs: np.ndarray) -> ByRecording:
        """Average over the images of each recording: `[example, value]` to `[value]`."""
        totals = np.add.reduceat(outputs, np.flatnonzero(self._image == 0))
        names = (recording.name for recording in self._recordings)
        return zip(names, totals / np.bincount(self._of)[:, None], strict=True)

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """Return `[recording, class]` probabilities from `[example, class]` logits, or `[recording, 1]` numbers."""
        outputs = outputs.astype(np.float64)
        averaged = self.by_recording(softmax(outputs, axis=1) if self._classes else outputs)
        return np.stack([values for _, values in averaged])


class Unchanged:
    """Examples whose inputs and labels the network gets as they are: nothing is augmented or prepared."""

    steps: ClassVar[tuple[Any, ...]] = ()

    def prepare(self, batch: Batch, key: jax.Array) -> jax.Array:
        return batch["inputs"]

    def labels(self, batch: Batch, key: jax.Array) -> list[Labels]:
        return [(batch["targets"], batch["weights"])]


@dataclass(frozen=True)
class Vectors(Unchanged):
    """One array per recording, of the same shape for all, as it is: a vector, or one for each layer of an encoder."""

    where: str  # the path of this config, for messages; set by the program
    supervised: ClassVar[bool] = True

    def examples(
        self, recordings: Sequence[Recording], features: Features, *, classes: bool = True, **given: Any
    ) -> "VectorExamples":
        if given["frame_rate_hz"]:
            raise UserError(
                f"config.{self.where}.name is 'vectors', which needs features with one vector per recording, but these"
                f" have {given['frame_rate_hz']:g} a second; pool them (features.pooling), or use other features"
            )
        return VectorExamples(recordings, features, classes=classes)


class VectorExamples(ClipExamples):
    def _images(self, name: str) -> Any:
        return self._features[name][None]


@dataclass(frozen=True)
class Frames(Unchanged):
    """Sequences `[frame, channel]` of different lengths, with one class or number per recording.

    Attributes:
      window_s: a longer recording is cut into equal parts not longer than this, over which predictions are averaged;
        zeros fill a shorter one.
    """

    where: str  # the path of this config, for messages; set by the program
    window_s: float
    supervised: ClassVar[bool] = True

    def examples(
        self, recordings: Sequence[Recording], features: Features, *, classes: bool = True, **given: Any
    ) -> "FrameExamples":
        if (frames := round(self.window_s * given["frame_rate_hz"])) < 1:
            raise UserError(
                f"config.{self.where}.window_s is {self.window_s:g} and the features have {given['frame_rate_hz']:g}"
                " frames per second: no frame is in a window; make it longer, or use features with frames"
            )
        return FrameExamples(recordings, features, frames, classes=classes)


class FrameExamples(ClipExamples):
    def __init__(self, recordings: Sequence[Recording], features: Features, frames: int, *, classes: bool):
        self._frames = frames
        super().__init__(recordings, features, classes=classes)

    def _images(self, name: str) -> Any:
        frames = self._features[name]
        parts = np.array_split(frames, max(1, -(-len(frames) // self._frames)))
        return np.stack([np.pad(part, ((0, self._frames - len(part)), (0, 0))) for part in parts])


class Reconstruction(Unchanged):
    """Spectrograms `[frame, band]` of one length, as inputs and as targets: examples without labels."""

    supervised: ClassVar[bool] = False

    def examples(self, recordings: Sequence[Recording], features: Features, **_: Any) -> "ReconstructionExamples":
        return ReconstructionExamples(recordings, features)


class ReconstructionExamples(ClipExamples):
    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._inputs(index), np.asarray(1, np.float32)
