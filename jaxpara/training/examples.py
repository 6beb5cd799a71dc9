"""Examples: the inputs and targets of a network, and the conversion of its outputs to one score per label.

`Windows` are parts of sequences (paper §3.2.1); those of whole recordings are in `jaxpara.training.clips`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import numpy as np

from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features import windows
from jaxpara.registry import require_one_of
from jaxpara.training.augment import Labels, built, require_fit, sequence_labels, sequences_of
from jaxpara.training.clips import (
    Arrays,
    Batch,
    ByRecording,
    ClipExamples,
    Clips,
    Features,
    Frames,
    Reconstruction,
    Vectors,
)

PREDICT = ("average", "crossfade", "whole")


@dataclass(frozen=True)
class Windows:
    """Windows of recordings whose labels form a sequence, see `jaxpara.features.windows.starts`.

    Attributes:
      window_s: seconds in a window.
      step_s: seconds from the start of one window to that of the next.
      keep_duplicates: count the window that ends with the recording twice where a regular one ends there too, as in the
        authors' published scripts.
      predict: how a recording is predicted: `average`, the plain mean of the outputs of overlapping windows;
        `crossfade`, their mean with the weights of `jaxpara.features.windows.crossfade`; or `whole`, by a network that
        is recurrent from left to right, which runs once over the recording and keeps its state from part to part.
      subtract_mean: give the outputs for each recording a mean of 0, where -1 and 1 are the limits of the labels. With
        a loss such as 1 - r, which ignores the mean, some networks learn no meaningful one.
      augment: random changes of training windows, see `Clips`.
    """

    where: str  # the path of this config, for messages; set by the program
    window_s: float
    step_s: float
    keep_duplicates: bool = False
    predict: str = "average"
    subtract_mean: bool = False
    augment: Sequence[Mapping[str, Any]] = ()
    steps: tuple[Any, ...] = field(init=False)  # of augmentation, built
    supervised: ClassVar[bool] = True

    def __post_init__(self):
        require_one_of(f"config.{self.where}.predict", self.predict, PREDICT)
        object.__setattr__(self, "steps", built(self.where, self.augment, "waveforms", "frames"))

    def examples(
        self,
        recordings: Sequence[Recording],
        features: Features,
        *,
        training: bool = False,
        classes: bool = False,
        **given: Any,
    ) -> "WindowExamples":
        return WindowExamples(self, recordings, features, augmented=training and bool(self.steps), **given)

    def prepare(self, batch: Batch, key: jax.Array) -> jax.Array:
        return sequences_of(self.steps, batch, key) if "number" in batch else batch["inputs"]

    def labels(self, batch: Batch, key: jax.Array) -> list[Labels]:
        return sequence_labels(self.steps, batch, key)


class WindowExamples:
    """Windows on the network's own time grid, which starts at 0 s.

    Labels at another rate are interpolated to the grid, and outputs back to the times of the labels.
    """

    paired: ClassVar[bool] = False

    def __init__(
        self,
        settings: Windows,
        recordings: Sequence[Recording],
        features: Features,
        *,
        frame_rate_hz: float,
        frames_per_output: int,
        context_frames: int = 0,
        margin: int = 0,
        overlapping: bool = True,
        augmented: bool = False,
    ):
        """Cut the windows.

        Args:
          features: `[frame, ...]` by recording name.
          frames_per_output: frames of a feature per output of the network.
          context_frames: frames that a window needs beyond those of its outputs; the features have as many more.
          margin: outputs at either end of a window before the recurrent layers that depend on inputs beyond it.
          overlapping: False for adjacent windows, so that there is one embedding per time.
          augmented: True if `Windows.prepare` changes them.
        """
        if augmented:
            shape = np.shape(features[recordings[0].name])
            kind = "waveforms" if shape[1:] == (1,) else "frames"
            require_fit(settings.where, [spec["name"] for spec in settings.augment], kind)
        self._augmented = augmented
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
        self.whole, self._margin = settings.predict == "whole" and overlapping, margin
        fade = settings.predict == "crossfade" and overlapping
        self._weights = windows.crossfade(self._window, step) if fade else None
        self._subtract_mean = settings.subtract_mean
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
        """Return `inputs` `[frame, ...]`, `targets` and `weights` `[output]`, zero past the end of the recording.

        If it is augmented, also its `number` and the `stride`, frames per output.
        """
        recording, start = self._windows[index]
        feature = self._features[self._recordings[recording].name]
        targets, weights = self.labels(index)
        inputs = _padded_slice(feature, start * self._stride, self._window * self._stride + self._context)
        loaded = {"inputs": inputs, "targets": targets, "weights": weights}
        if self._augmented:
            loaded |= {"number": np.asarray(index, np.uint32), "stride": np.asarray(self._stride, np.int32)}
        return loaded

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and weights of `load`, without reading the inputs."""
        recording, start = self._windows[index]
        targets, weights = _padded_slice(self._labels[recording], start, self._window).T
        return targets, weights

    @property
    def lengths(self) -> list[int]:
        """The outputs of each recording."""
        return [len(grid_s) for grid_s in self._grids]

    def parts(self, recording: int) -> range:
        """Return the first outputs of the parts in which a recording is predicted whole, each as long as a window."""
        return range(0, len(self._grids[recording]), self._window)

    def load_part(self, recording: int, first: int) -> Arrays:
        """Return what a recurrent network needs for its outputs from `first` on.

        A recording begins as a window does; after its end, a waveform is silent and a spectrogram keeps its last frame.

        Returns:
          `inputs` `[frame, ...]` of these outputs and those around them that they depend on, and `places` `[output]`:
          which ones of the outputs of the inputs they are.
        """
        start = max(0, first - self._margin)
        frames = start * self._stride + np.arange((self._window + 2 * self._margin) * self._stride + self._context)
        feature = self._features[self._recordings[recording].name]
        inputs = np.asarray(feature[np.minimum(frames, len(feature) - 1)])
        if inputs.shape[1:] == (1,):
            inputs[frames >= len(feature)] = 0
        return {"inputs": inputs, "places": first - start + np.arange(self._window, dtype=np.int32)}

    def cut(self, series: Sequence[np.ndarray]) -> np.ndarray:
        """Cut the outputs of each recording, `[output]`, into windows: `[window, output]`."""
        return np.stack([_padded_slice(series[recording], start, self._window) for recording, start in self._windows])

    def by_recording(self, outputs: np.ndarray) -> ByRecording:
        """Average overlapping windows: `[window, output, value]` to `[output, value]` on the grid of each recording."""
        parts = np.split(outputs, np.cumsum([len(s) for s in self._starts])[:-1])
        for recording, grid_s, starts, part in zip(self._recordings, self._grids, self._starts, parts, strict=True):
            yield recording.name, windows.overlap_average(len(grid_s), starts, part, self._weights)

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """Return `[row, 1]` at the times of the labels from `[window, output]`."""
        series = zip(self._recordings, self._grids, self.by_recording(outputs[..., None]), strict=True)
        scores = [np.interp(recording.times_s, grid_s, values[:, 0]) for recording, grid_s, (_, values) in series]
        if self._subtract_mean:
            scores = [values - values.mean() for values in scores]
        return np.concatenate(scores)[:, None]


def _padded_slice(array: np.ndarray, start: int, size: int) -> np.ndarray:
    part = np.asarray(array[start : start + size])
    if len(part) == size:
        return part
    return np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1))


EXAMPLES = {
    "windows": Windows,
    "clips": Clips,
    "vectors": Vectors,
    "frames": Frames,
    "reconstruction": Reconstruction,
}
Examples = WindowExamples | ClipExamples
