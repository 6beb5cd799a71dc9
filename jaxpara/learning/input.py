"""From features to batches: examples that a network takes, and a stream of them that is a pure function of the step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features import windows
from jaxpara.predictions import Predictions

Arrays = dict[str, np.ndarray]


class Examples(Protocol):
    """What a network learns from, by index; and the way back from its outputs to the recordings."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Arrays:
        """`{"inputs", "targets", "weights"}` of one example."""
        ...

    def merge(self, outputs: np.ndarray, fold: int) -> Predictions:
        """Predictions from the outputs of all examples, in their order."""
        ...


class WindowExamples:
    """Windows of recordings with labels in time.

    The network has a time grid of its own, `output_rate_hz`, from 0 s. Labels at another rate are interpolated to the grid,
    and outputs back to the labels' times; at the same rate both are the identity.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        features: Mapping[str, np.ndarray],
        *,
        frame_rate_hz: float,
        frames_per_output: int,
        window_s: float,
        step_s: float,
        keep_duplicates: bool = False,
    ):
        """Cuts the windows.

        Args:
          features: `[frame, ...]` by recording name.
          frame_rate_hz: frames of a feature per second.
          frames_per_output: frames that become one output of the network.
          window_s, step_s, keep_duplicates: see `jaxpara.features.windows.starts`.
        """
        self._recordings, self._features, self._stride = recordings, features, frames_per_output
        rate_hz = frame_rate_hz / frames_per_output
        self.window = round(window_s * rate_hz)
        step = round(step_s * rate_hz)
        if self.window < 1 or step < 1:
            raise UserError(
                f"config learner.window_s = {window_s}, step_s = {step_s}: shorter than one output of the network"
                f" ({1 / rate_hz:g} s); make them longer"
            )
        self._grids, self._targets, self._weights, self._starts = [], [], [], []
        for recording in recordings:
            frames = len(features[recording.name])
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

    def load(self, index: int) -> Arrays:
        """`inputs` `[frame, ...]`, `targets` and `weights` `[output]`; past the end of a recording all are 0."""
        recording, start = self._windows[index]
        feature = self._features[self._recordings[recording].name]
        return {
            "inputs": _slice(feature, start * self._stride, self.window * self._stride),
            "targets": _slice(self._targets[recording], start, self.window),
            "weights": _slice(self._weights[recording], start, self.window),
        }

    def merge(self, outputs: np.ndarray, fold: int) -> Predictions:
        """Averages overlapping windows, so that every label has exactly one value.

        Args:
          outputs: `[window, output]`.
        """
        parts = np.split(outputs[..., None], np.cumsum([len(s) for s in self._starts])[:-1])
        scores = []
        for recording, grid_s, starts, part in zip(self._recordings, self._grids, self._starts, parts, strict=True):
            on_grid = windows.overlap_average(len(grid_s), starts, part)
            scores.append(np.interp(recording.times_s, grid_s, on_grid[:, 0]))
        counts = [len(recording.times_s) for recording in self._recordings]
        return Predictions(
            recordings=np.repeat([recording.name for recording in self._recordings], counts),
            times_s=np.concatenate([recording.times_s for recording in self._recordings]),
            scores=np.concatenate(scores)[:, None],
            partitions=np.repeat([recording.partition for recording in self._recordings], counts),
            folds=np.full(sum(counts), fold),
        )


def _slice(array: np.ndarray, start: int, size: int) -> np.ndarray:
    part = np.asarray(array[start : start + size])
    if len(part) == size:
        return part
    return np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1))


def batches(
    examples: Examples,
    size: int,
    *,
    rows: int | None = None,
    first: int = 0,
    epochs: int = 1,
    shuffle_seed: int | None = None,
    process: int = 0,
    processes: int = 1,
) -> Iterator[Arrays]:
    """Batches of `size` examples, filled up with examples of weight 0.

    Batch n is a function of the arguments and of n alone, so a run goes on anywhere without a saved iterator.

    Args:
      size: examples in a batch; the last of an epoch may have fewer.
      rows: rows in a batch, so that it can be spread evenly over devices; `size` by default.
      first: the first batch wanted, counted from the very beginning.
      epochs: passes over the examples; each is shuffled anew.
      shuffle_seed: None keeps the order.
      process, processes: this host's part of every batch.

    Yields:
      `{"inputs", "targets", "weights"}` with `rows / processes` rows each.
    """

    rows = rows or size
    empty = {name: np.zeros_like(value) for name, value in examples.load(0).items()}

    def load(indices: Sequence[int]) -> Arrays:
        mine = range(process * rows // processes, (process + 1) * rows // processes)
        loaded = [examples.load(int(indices[i])) if i < len(indices) else empty for i in mine]
        return {name: np.stack([row[name] for row in loaded]) for name in empty}

    order: Any = grain.MapDataset.range(len(examples))
    if shuffle_seed is not None:
        order = order.shuffle(shuffle_seed)
    stream = order.batch(size, batch_fn=list).repeat(epochs)[first:].map(load)
    # Two batches ahead are enough to hide the reading; more only costs memory.
    return iter(stream.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)))
