"""All local devices at once: the only file that knows how a step is spread over them.

`jax.pmap` is in maintenance mode. The day it goes, `spread_by_shard_map` takes the place of `spread`; a test holds
it to the same bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def devices() -> Sequence[Any]:
    """The devices of this host that work together: all of them."""
    return jax.local_devices()


def device_count() -> int:
    return len(devices())


def on_cpu() -> bool:
    return devices()[0].platform == "cpu"


def mesh() -> Mesh:
    return Mesh(np.array(devices()), (AXIS,))


def replicate(tree: Any) -> Any:
    """Puts a tree on every local device, without a leading axis."""
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec()))


def shard(batch: Any) -> Any:
    """`[row, ...]` -> `[device, row / devices, ...]`."""
    return jax.tree.map(lambda x: x.reshape(device_count(), -1, *x.shape[1:]), batch)


def spread(step: Callable[[Any, Any], Any], *, donate: bool = False) -> Callable[[Any, Any], Any]:
    """Runs `step(state, batch)` on every local device, each with its own part of the batch.

    Args:
      step: has to return the same on every device (reduce over `AXIS`); its collectives name the axis `AXIS`.
      donate: whether the state's memory may be used for the result.

    Returns:
      A function of a replicated state and of a batch from `shard`, whose result has no device axis.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=(0,) if donate else (),
        devices=devices(),
    )


def spread_by_shard_map(step: Callable[[Any, Any], Any], *, donate: bool = False) -> Callable[[Any, Any], Any]:
    """`spread` on `jax.shard_map`, for the day when `jax.pmap` is gone; the same bits on one host."""

    def inner(state, batch):
        return step(state, jax.tree.map(lambda x: x[0], batch))

    return jax.jit(
        jax.shard_map(
            inner,
            mesh=mesh(),
            in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
            out_specs=PartitionSpec(),
            check_vma=False,
        ),
        donate_argnums=(0,) if donate else (),
    )
