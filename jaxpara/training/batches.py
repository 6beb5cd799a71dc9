"""Batches of examples: a stream that is a pure function of the seed and the step, so that training resumes anywhere."""

from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from jaxpara import processes
from jaxpara.training.examples import Arrays, Examples


def batches(
    examples: Examples,
    size: int,
    *,
    rows: int | None = None,
    first: int = 0,
    epochs: int = 1,
    shuffle_seed: int | None = None,
) -> Iterator[Arrays]:
    """Return this process's part of every batch: the stacked results of `examples.load`.

    If the examples are `paired`, each comes with the next one of its batch, named `next_inputs` and so on; the first
    one follows the last.

    Padding consists of copies of the batch's own examples, with `weights` and `real` 0. It is not zeros, because
    BatchNorm takes its statistics over all rows.

    Args:
      size: examples in a batch; the last batch of an epoch may have fewer.
      rows: rows in a batch of all processes with its padding, a multiple of the number of devices; `size` by default.
      first: the first batch wanted, counted from the start of training.
      epochs: passes over the examples, each in another order.
      shuffle_seed: None keeps the order.
    """
    if not epochs:
        return iter(())
    rows = rows or size
    process, count = processes.index(), processes.count()
    mine = range(process * rows // count, (process + 1) * rows // count)

    def load(indices: Sequence[int]) -> Arrays:
        own = [i % len(indices) for i in mine]
        wanted = {"": own} | ({"next_": [(i + 1) % len(indices) for i in own]} if examples.paired else {})
        loaded = {i: examples.load(int(indices[i])) for i in sorted(set().union(*wanted.values()))}
        batch = {
            f"{prefix}{name}": np.stack([loaded[i][name] for i in rows])
            for prefix, rows in wanted.items()
            for name in loaded[own[0]]
        }
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


def parts_of(batch: int, devices: int, at_once: int) -> tuple[int, int]:
    """Return the number of parts in which each device computes its rows of a batch, and the rows of a part; 0: all."""
    on_device = -(-batch // devices)
    parts = -(-on_device // at_once) if at_once else 1
    return parts, -(-on_device // parts)


def example_of_batch(examples: Examples) -> Arrays:
    """Return the first example as it is in a batch, without the axis of the batch."""
    one = examples.load(0)
    return one | {f"next_{name}": value for name, value in one.items()} if examples.paired else one
