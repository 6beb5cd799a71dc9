"""Examples: the inputs and targets of a network, and the conversion of its outputs to one score per label.

`Windows` are parts of sequences (paper §3.2.1), `Clips` are images with one class for the whole recording (paper §3.1),
`Reconstruction` are spectrograms that an autoencoder copies (auDeep).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.special import softmax

from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features import windows
from jaxpara.models import crop
from jaxpara.models.pretrained import IMAGENET_MEAN, IMAGENET_STD
from jaxpara.registry import require_one_of
from jaxpara.training.parallel import AXIS

Arrays = dict[str, np.ndarray]
Features = Mapping[str, Any]  # by recording name
ByRecording = Iterator[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Windows:
    """Windows of recordings whose labels form a sequence, see `jaxpara.features.windows.starts`.

    Attributes:
      window_s: seconds in a window.
      step_s: seconds from the start of one window to that of the next.
      keep_duplicates: count the window that ends with the recording twice where a regular one ends there too, as in the
        authors' published scripts.
    """

    where: str  # the path of this config, for messages; set by the program
    window_s: float
    step_s: float
    keep_duplicates: bool = False
    supervised: ClassVar[bool] = True

    def examples(
        self,
        recordings: Sequence[Recording],
        features: Features,
        *,
        training: bool = False,
        classes: bool = False,
        **given: Any,
    ) -> "WindowExamples":
        return WindowExamples(self, recordings, features, **given)

    def prepare(self, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        return batch["inputs"]


class WindowExamples:
    """Windows on the network's own time grid, which starts at 0 s.

    Labels at another rate are interpolated to the grid, and outputs back to the times of the labels.
    """

    def __init__(
        self,
        settings: Windows,
        recordings: Sequence[Recording],
        features: Features,
        *,
        frame_rate_hz: float,
        frames_per_output: int,
        context_frames: int = 0,
        overlapping: bool = True,
    ):
        """Cut the windows.

        Args:
          features: `[frame, ...]` by recording name.
          frames_per_output: frames of a feature per output of the network.
          context_frames: frames that a window needs beyond those of its outputs; the features have as many more.
          overlapping: False for adjacent windows, so that there is one embedding per time.
        """
        self._recordings, self._features = recordings, features
        self._stride, self._context = frames_per_output, context_frames
        window_s, step_s = settings.window_s, settings.step_s if overlapping else settings.window_s
        twice = settings.keep_duplicates and overlapping
        rate_hz = frame_rate_hz / frames_per_output
        self._window, step = round(window_s * rate_hz), round(step_s * rate_hz)
        if self._window < 1 or step < 1:
            raise UserError(
                f"config.{settings.where} has window_s {window_s} and step_s {step_s}: shorter than one output of the"
                f" network ({1 / rate_hz:g} s); make them longer"
            )
        self._grids, self._labels, self._starts = [], [], []
        for recording in recordings:
            frames = len(features[recording.name]) - context_frames
            # The grid covers the audio and the last label, whichever ends later.
            outputs = max(-(-frames // frames_per_output), int(np.ceil(recording.times_s[-1] * rate_hz - 1e-6)) + 1)
            grid_s = np.arange(outputs) / rate_hz
            targets = np.interp(grid_s, recording.times_s, recording.labels, left=np.nan, right=np.nan)
            known = np.isfinite(targets)
            self._grids.append(grid_s)
            self._labels.append(np.stack([np.where(known, targets, 0), known], axis=1).astype(np.float32))
            self._starts.append(windows.starts(outputs, self._window, step, keep_duplicates=twice))
        self._windows = [(r, start) for r, all_starts in enumerate(self._starts) for start in all_starts]

    def __len__(self) -> int:
        return len(self._windows)

    def load(self, index: int) -> Arrays:
        """Return `inputs` `[frame, ...]`, `targets` and `weights` `[output]`, zero past the end of the recording."""
        recording, start = self._windows[index]
        feature = self._features[self._recordings[recording].name]
        targets, weights = self.labels(index)
        inputs = _padded_slice(feature, start * self._stride, self._window * self._stride + self._context)
        return {"inputs": inputs, "targets": targets, "weights": weights}

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and weights of `load`, without reading the inputs."""
        recording, start = self._windows[index]
        targets, weights = _padded_slice(self._labels[recording], start, self._window).T
        return targets, weights

    def by_recording(self, outputs: np.ndarray) -> ByRecording:
        """Average overlapping windows: `[window, output, value]` to `[output, value]` on the grid of each recording."""
        parts = np.split(outputs, np.cumsum([len(s) for s in self._starts])[:-1])
        for recording, grid_s, starts, part in zip(self._recordings, self._grids, self._starts, parts, strict=True):
            yield recording.name, windows.overlap_average(len(grid_s), starts, part)

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """Return `[row, 1]` at the times of the labels from `[window, output]`."""
        series = zip(self._recordings, self._grids, self.by_recording(outputs[..., None]), strict=True)
        scores = [np.interp(recording.times_s, grid_s, values[:, 0]) for recording, grid_s, (_, values) in series]
        return np.concatenate(scores)[:, None]


def _padded_slice(array: np.ndarray, start: int, size: int) -> np.ndarray:
    part = np.asarray(array[start : start + size])
    if len(part) == size:
        return part
    return np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1))


@dataclass(frozen=True)
class Clips:
    """Images of recordings, cropped, resized and normalised on the device.

    Attributes:
      size: height and width that images are resized to.
      augment: the images that are cropped at random, differently in every step: those of the training set (`role`);
        those of the train partition, also when they serve as validation data (`partition`, as in the authors' published
        scripts); or `none`.
      normalise: by the mean and deviation of ImageNet, by those of the batch (z-score, paper §3.1.1), or not at all.
    """

    where: str  # the path of this config, for messages; set by the program
    size: tuple[int, int] = (224, 224)
    augment: Literal["role", "partition", "none"] = "role"
    normalise: Literal["imagenet", "batch", "none"] = "imagenet"
    supervised: ClassVar[bool] = True

    def __post_init__(self):
        require_one_of(f"config.{self.where}.augment", self.augment, ("role", "partition", "none"))
        require_one_of(f"config.{self.where}.normalise", self.normalise, ("imagenet", "batch", "none"))
        size = self.size
        if not (isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)):
            raise UserError(f"config.{self.where}.size is {size!r}, expected height and width in pixels, as (224, 224)")

    def examples(
        self,
        recordings: Sequence[Recording],
        features: Features,
        *,
        training: bool = False,
        classes: bool = True,
        **_: Any,
    ) -> "ClipExamples":
        cropped = [training and self.augment == "role"] * len(recordings)
        if self.augment == "partition":
            cropped = [recording.partition == "train" for recording in recordings]
        return ClipExamples(recordings, features, cropped, classes=classes)

    def prepare(self, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        """Turn images `[example, height, width, channel]` into network inputs."""
        images = batch["inputs"].astype(jnp.float32)
        (height, width), size = images.shape[1:3], (self.size[0], self.size[1])
        if self.augment != "none":
            # A key per example and step, which depends neither on the device nor on the part of the batch.
            keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(batch["number"])
            drawn = jax.vmap(lambda k: crop.sample(k, 1, height, width)[0])(keys)
            whole = jnp.array([0, 0, height, width], drawn.dtype)
            boxes = jnp.where(batch["cropped"][:, None], drawn, whole)
            images = crop.crop_resize(images, boxes, size)
        elif (height, width) != size:
            images = crop.resize(images, size)
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

    def __init__(
        self, recordings: Sequence[Recording], features: Features, cropped: Sequence[bool], *, classes: bool = True
    ):
        self._recordings, self._features, self._cropped, self._classes = recordings, features, cropped, classes
        counts = [len(features[recording.name]) for recording in recordings]
        self._of = np.repeat(np.arange(len(recordings)), counts)  # the recording of each example
        self._image = np.concatenate([np.arange(count) for count in counts])  # its number within the recording

    def __len__(self) -> int:
        return len(self._of)

    def load(self, index: int) -> Arrays:
        """Return `inputs`, `targets`, and 0-d `weights`, `real` (0 in padding alone), `number`, `cropped`."""
        targets, weights = self.labels(index)
        return {
            "inputs": self._inputs(index),
            "targets": targets,
            "weights": weights,
            "real": np.asarray(1, np.float32),
            "number": np.asarray(index, np.uint32),
            "cropped": np.asarray(self._cropped[self._of[index]]),
        }

    def _inputs(self, index: int) -> np.ndarray:
        return self._features[self._recordings[self._of[index]].name][int(self._image[index])]

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the class index or the number, and its weight: 0 if it is unknown; without reading the image."""
        label = self._recordings[self._of[index]].labels[0]
        known = np.isfinite(label)
        return np.asarray(label if known else 0, np.float32), np.asarray(known, np.float32)

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


class Reconstruction:
    """Spectrograms `[frame, band]` of one length, as inputs and as targets: examples without labels."""

    supervised: ClassVar[bool] = False

    def examples(self, recordings: Sequence[Recording], features: Features, **_: Any) -> "ReconstructionExamples":
        return ReconstructionExamples(recordings, features, [False] * len(recordings))

    def prepare(self, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        return batch["inputs"]


class ReconstructionExamples(ClipExamples):
    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._inputs(index), np.asarray(1, np.float32)


EXAMPLES = {"windows": Windows, "clips": Clips, "reconstruction": Reconstruction}
Examples = WindowExamples | ClipExamples
