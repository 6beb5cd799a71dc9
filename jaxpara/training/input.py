"""From features to batches: examples that a network takes, and a stream of them that is a pure function of the step."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import grain
import numpy as np
import pandas as pd

Arrays = dict[str, np.ndarray]


class Examples(Protocol):
    """What a network learns from, by index; and the way back from its outputs to the recordings."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Arrays:
        """`{"inputs", "targets", "weights"}` of one example, and what else the device has to know of it."""
        ...

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`targets` and `weights` of one example, without reading its inputs."""
        ...

    def by_recording(self, outputs: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Names of recordings, and what all examples of each come to together."""
        ...

    def merge(self, outputs: np.ndarray, fold: int, seed: int) -> pd.DataFrame:
        """Predictions from the outputs of all examples, in their order."""
        ...


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
    """Batches of `size` examples, filled up with the same examples again, whose `weights` and `real` are 0.

    What fills up is not nothing, as BatchNorm takes its statistics of all rows.

    Batch n is a function of the arguments and of n alone, so a run goes on anywhere without a saved iterator.

    Args:
      size: examples in a batch; the last of an epoch may have fewer.
      rows: rows in a batch, so that it can be spread evenly over devices; `size` by default.
      first: the first batch wanted, counted from the very beginning.
      epochs: passes over the examples, none for 0; each is shuffled anew.
      shuffle_seed: None keeps the order.
      process, processes: this host's part of every batch.

    Yields:
      what `load` gives, with `rows / processes` rows each.
    """
    if not epochs:
        return iter(())
    rows = rows or size

    def load(indices: Sequence[int]) -> Arrays:
        mine = range(process * rows // processes, (process + 1) * rows // processes)
        loaded = [examples.load(int(indices[i % len(indices)])) for i in mine]
        batch = {name: np.stack([row[name] for row in loaded]) for name in loaded[0]}
        fills_up = [i >= len(indices) for i in mine]
        for name in batch.keys() & {"weights", "real"}:
            batch[name][fills_up] = 0
        return batch

    order: Any = grain.MapDataset.range(len(examples))
    if shuffle_seed is not None:
        order = order.shuffle(shuffle_seed)
    stream = order.batch(size, batch_fn=list).repeat(epochs)[first:].map(load)
    # Two batches ahead are enough to hide the reading; more only costs memory.
    return iter(stream.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)))


class Timed(Iterator[Any]):
    """Hands on what an iterator gives, and counts the seconds that were spent waiting for it.

    Attributes:
      waited_s: so far; the reader may set it back.
    """

    def __init__(self, items: Iterator[Any]):
        self._items, self.waited_s = items, 0.0

    def __next__(self) -> Any:
        began = time.monotonic()
        try:
            return next(self._items)
        finally:
            self.waited_s += time.monotonic() - began
