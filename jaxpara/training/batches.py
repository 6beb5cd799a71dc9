"""Batches of examples: a stream that is a pure function of the seed and the step, so that training resumes anywhere."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import grain
import numpy as np

Arrays = dict[str, np.ndarray]
ByRecording = Iterator[tuple[str, np.ndarray]]


class Examples(Protocol):
    """The examples of some recordings, by index."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Arrays:
        """Return `{"inputs", "targets", "weights"}` of one example, and whatever else `prepare` needs."""
        ...

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets and weights of one example, without reading its inputs."""
        ...

    def by_recording(self, outputs: np.ndarray) -> ByRecording:
        """Combine the outputs of all examples, in their order, into one array per recording."""
        ...

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """Return `[row, score]`, a row per label of each recording, from the outputs of all examples."""
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
    """Return batches of `size` examples, each padded with copies of its own examples whose `weights` and `real` are 0.

    Padding is not zeros, because BatchNorm takes its statistics over all rows.

    Args:
      examples: what `load` gives is stacked.
      size: examples in a batch; the last batch of an epoch may have fewer.
      rows: rows in a batch, a multiple of the number of devices; `size` by default.
      first: the first batch wanted, counted from the start of training.
      epochs: passes over the examples; each is shuffled anew.
      shuffle_seed: None keeps the order.
      process, processes: which part of every batch this process loads, and of how many.

    Returns:
      An iterator of arrays with `rows / processes` rows each.
    """
    if not epochs:
        return iter(())
    rows = rows or size

    def load(indices: Sequence[int]) -> Arrays:
        mine = range(process * rows // processes, (process + 1) * rows // processes)
        loaded = [examples.load(int(indices[i % len(indices)])) for i in mine]
        batch = {name: np.stack([row[name] for row in loaded]) for name in loaded[0]}
        padding = [i >= len(indices) for i in mine]
        for name in batch.keys() & {"weights", "real"}:
            batch[name][padding] = 0
        return batch

    order: Any = grain.MapDataset.range(len(examples))
    if shuffle_seed is not None:
        order = order.shuffle(shuffle_seed)
    stream = order.batch(size, batch_fn=list).repeat(epochs)[first:].map(load)
    # Two batches ahead are enough to hide the reading; more only costs memory.
    return iter(stream.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)))


class Timed(Iterator[Any]):
    """An iterator that measures how long its reader waits for items.

    Attributes:
      waited_s: seconds so far; the reader may reset it.
    """

    def __init__(self, items: Iterator[Any]):
        self._items, self.waited_s = items, 0.0

    def __next__(self) -> Any:
        began = time.monotonic()
        try:
            return next(self._items)
        finally:
            self.waited_s += time.monotonic() - began
