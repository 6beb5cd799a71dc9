"""Sequence examples: windows of recordings whose labels go along in time (paper §3.2.1)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import jax
import numpy as np
import pandas as pd

from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features import windows
from jaxpara.predictions import predictions_of
from jaxpara.training.input import Arrays


class Windows:
    """Cuts recordings into windows."""

    supervised: ClassVar[bool] = True

    def __init__(self, where: str, window_s: float, step_s: float, keep_duplicates: bool = False):
        """Says how they are cut, see `jaxpara.features.windows.starts`.

        Args:
          where: from the program: this config's path for messages.
          window_s: seconds in a window.
          step_s: from the beginning of one window to that of the next.
          keep_duplicates: whether the window that ends with the recording counts twice where the regular ones end there
            too, as in the authors' published scripts.
        """
        self._where, self._window_s, self._step_s, self._keep_duplicates = where, window_s, step_s, keep_duplicates

    def examples(
        self,
        recordings: Sequence[Recording],
        features: Mapping[str, np.ndarray],
        *,
        frame_rate_hz: float,
        frames_per_output: int,
        context_frames: int = 0,
        overlapping: bool = True,
        fitting: bool,
    ) -> "WindowExamples":
        """The windows of these recordings, the same for fitting and for predicting; without overlap where asked for."""
        return WindowExamples(
            recordings,
            features,
            where=self._where,
            frame_rate_hz=frame_rate_hz,
            frames_per_output=frames_per_output,
            context_frames=context_frames,
            window_s=self._window_s,
            step_s=self._step_s if overlapping else self._window_s,
            keep_duplicates=self._keep_duplicates and overlapping,
        )

    def prepare(self, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        """Windows go into the network as they are."""
        return batch["inputs"]


class WindowExamples:
    """Windows of recordings with labels in time.

    The network has a time grid of its own, from 0 s. Labels at another rate are interpolated to the grid, and outputs
    back to the labels' times; at the same rate both are the identity.

    Attributes:
      window: outputs in a window.
      rate_hz: outputs per second.
      stride, context: frames from one output to the next, and those beyond them that a window needs.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        features: Mapping[str, np.ndarray],
        *,
        where: str,
        frame_rate_hz: float,
        frames_per_output: int,
        window_s: float,
        step_s: float,
        keep_duplicates: bool = False,
        context_frames: int = 0,
    ):
        """Cuts the windows.

        Args:
          features: `[frame, ...]` by recording name.
          where: the config path of `window_s` and `step_s`, for messages.
          frame_rate_hz: frames of a feature per second.
          frames_per_output: frames that become one output of the network.
          window_s, step_s, keep_duplicates: see `jaxpara.features.windows.starts`.
          context_frames: frames that a window needs beyond its outputs; the features have as many more.
        """
        self._recordings, self._features = recordings, features
        self.stride, self.context = frames_per_output, context_frames
        self.rate_hz = rate_hz = frame_rate_hz / frames_per_output
        self.window = round(window_s * rate_hz)
        step = round(step_s * rate_hz)
        if self.window < 1 or step < 1:
            raise UserError(
                f"config.{where} has window_s {window_s} and step_s {step_s}: shorter than one output of the network"
                f" ({1 / rate_hz:g} s); make them longer"
            )
        self._grids, self._targets, self._weights, self._starts = [], [], [], []
        for recording in recordings:
            frames = len(features[recording.name]) - context_frames
            outputs = max(-(-frames // frames_per_output), int(np.ceil(recording.times_s[-1] * rate_hz - 1e-6)) + 1)
            grid_s = np.arange(outputs) / rate_hz
            targets = np.interp(grid_s, recording.times_s, recording.labels, left=np.nan, right=np.nan)
            known = np.isfinite(targets)
            self._grids.append(grid_s)
            self._targets.append(np.where(known, targets, 0).astype(np.float32))
            self._weights.append(known.astype(np.float32))
            self._starts.append(windows.starts(outputs, self.window, step, keep_duplicates=keep_duplicates))
        self._windows = [(r, start) for r, all_starts in enumerate(self._starts) for start in all_starts]

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def length(self) -> int:
        """Outputs of the longest recording."""
        return max(len(grid_s) for grid_s in self._grids)

    def load(self, index: int) -> Arrays:
        """`inputs` `[frame, ...]`, `targets` and `weights` `[output]`; past the end of a recording all are 0."""
        recording, start = self._windows[index]
        feature = self._features[self._recordings[recording].name]
        targets, weights = self.labels(index)
        inputs = _slice(feature, start * self.stride, self.window * self.stride + self.context)
        return {"inputs": inputs, "targets": targets, "weights": weights}

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`targets` and `weights` `[output]` of a window."""
        recording, start = self._windows[index]
        return (
            _slice(self._targets[recording], start, self.window),
            _slice(self._weights[recording], start, self.window),
        )

    def by_recording(self, outputs: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Names, and `[output, value]` on the network's own grid, from `[window, output, value]` of all windows."""
        parts = np.split(outputs, np.cumsum([len(s) for s in self._starts])[:-1])
        for recording, grid_s, starts, part in zip(self._recordings, self._grids, self._starts, parts, strict=True):
            yield recording.name, windows.overlap_average(len(grid_s), starts, part)

    def merge(self, outputs: np.ndarray, fold: int, seed: int) -> pd.DataFrame:
        """Averages overlapping windows, so that every label has exactly one value.

        Args:
          outputs: `[window, output]`.
        """
        series = self.by_recording(outputs[..., None])
        scores = [
            np.interp(recording.times_s, grid_s, values[:, 0])
            for recording, grid_s, (_, values) in zip(self._recordings, self._grids, series, strict=True)
        ]
        return predictions_of(self._recordings, np.concatenate(scores)[:, None], fold, seed)


def _slice(array: np.ndarray, start: int, size: int) -> np.ndarray:
    part = np.asarray(array[start : start + size])
    if len(part) == size:
        return part
    return np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1))
