"""Batches of examples: a stream that is a pure function of the seed and the step, so that training resumes anywhere."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from jaxpara import processes

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
) -> Iterator[Arrays]:
    """Return this process's part of every batch.

    Padding consists of copies of the batch's own examples, with `weights` and `real` 0. It is not zeros, because
    BatchNorm takes its statistics over all rows.

    Args:
      examples: what `load` returns is stacked.
      size: examples in a batch; the last batch of an epoch may have fewer.
      rows: rows in a batch with its padding, a multiple of the number of devices; `size` by default.
      first: the first batch wanted, counted from the start of training.
      epochs: passes over the examples, each in another order.
      shuffle_seed: None keeps the order.

    Returns:
      An iterator of arrays with `rows / processes` rows each.
    """
    if not epochs:
        return iter(())
    rows = rows or size
    process, count = processes.index(), processes.count()
    mine = range(process * rows // count, (process + 1) * rows // count)

    def load(indices: Sequence[int]) -> Arrays:
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
