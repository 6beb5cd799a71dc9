"""All devices of all processes at once: the only file that knows how a step is spread over them.

Either the devices share every batch of one fit (`Shared`), or each has fits of its own (`Stacked`).

`jax.pmap` is in maintenance mode. The day it goes, `spread_by_shard_map` takes the place of `spread`; a test holds
it to the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxpara import processes

AXIS = "data"
FITS = "fits"


def devices() -> Sequence[Any]:
    """The devices that work together: all of them, process by process."""
    return jax.devices()


def own_devices() -> Sequence[Any]:
    """Those of them that are this process's."""
    return [device for device in devices() if device.process_index == jax.process_index()]


def device_count() -> int:
    return len(devices())


def on_cpu() -> bool:
    return devices()[0].platform == "cpu"


def mesh() -> Mesh:
    """The devices of this process."""
    return Mesh(np.array(own_devices()), (AXIS,))


def replicate(tree: Any) -> Any:
    """Puts a tree on every device of this process, without a leading axis."""
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec()))


def shard(batch: Any) -> Any:
    """`[row, ...]`, those of this process, -> `[device, row / devices, ...]`."""
    return jax.tree.map(lambda x: x.reshape(len(own_devices()), -1, *x.shape[1:]), batch)


def own(batch: Any) -> Any:
    """The rows of this process, of all `[row, ...]` that are to be spread over the devices."""
    return jax.tree.map(lambda x: np.split(x, processes.count())[processes.index()], batch)


def any_process(says: bool) -> bool:
    """Whether any process says so; all of them have to ask at the same time."""
    if processes.count() == 1:
        return says
    return bool(_highest()(np.full(len(own_devices()), says, np.int32)))


@cache
def _highest() -> Callable[[Any], Any]:
    return jax.pmap(lambda x: lax.pmax(x, AXIS), axis_name=AXIS, out_axes=None)


def spread(step: Callable[[Any, Any], Any], *, donate: bool = False) -> Callable[[Any, Any], Any]:
    """Runs `step(state, batch)` on every device, each with its own part of the batch.

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


class Placement(Protocol):
    """Where the states of fits and their batches lie while they are trained."""

    @property
    def devices(self) -> int:
        """Devices that share a batch."""
        ...

    def spread(self, step: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Makes one program of `step(state, batch)` that takes what `put` and `batch` give, and donates the states."""
        ...

    def put(self, trees: Sequence[Any]) -> Any:
        """Puts one tree a fit on the devices."""
        ...

    def batch(self, batches: Sequence[Any]) -> Any:
        """Arranges one batch a fit for a step, `[device * part, row, ...]` each, with as many devices as share it."""
        ...

    def views(self, trees: Any) -> Callable[[int], Any]:
        """What a step returned for a fit, by the fit's number; to be asked for before the next step."""
        ...


@dataclass(frozen=True)
class Shared:
    """One fit on all devices, each with its own part of the batch."""

    @property
    def devices(self) -> int:
        return device_count()

    def spread(self, step: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return spread(step, donate=True)

    def put(self, trees: Sequence[Any]) -> Any:
        (tree,) = trees
        return replicate(tree)

    def batch(self, batches: Sequence[Any]) -> Any:
        (batch,) = batches
        return shard(batch)

    def views(self, trees: Any) -> Callable[[int], Any]:
        return lambda fit: trees


@dataclass(frozen=True)
class Stacked:
    """Several fits at once, evenly over the devices; a device goes through its own as through one.

    Attributes:
      fits: how many. Where they do not divide, the last one is there more than once.
    """

    fits: int

    @property
    def devices(self) -> int:
        return 1

    @property
    def _grid(self) -> tuple[int, int]:
        """Devices in use, and fits on each."""
        each = -(-self.fits // device_count())
        return -(-self.fits // each), each

    def _stack(self, trees: Sequence[Any]) -> Any:
        """`[device, fit, ...]` NumPy arrays."""
        used, each = self._grid
        trees = [*trees, *[trees[-1]] * (used * each - self.fits)]
        return jax.tree.map(lambda *x: np.stack(x).reshape(used, each, *np.shape(x[0])), *trees)

    def spread(self, step: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def one(state: Any, batch: Any) -> Any:
            # The step reduces over AXIS, which has this one device.
            alone = jax.vmap(step, axis_name=AXIS, in_axes=(None, 0))
            return jax.tree.map(lambda x: x[0], alone(state, jax.tree.map(lambda x: x[None], batch)))

        used, each = self._grid

        def one_by_one(states: Any, batches: Any) -> Any:
            fits = [one(*jax.tree.map(lambda x, fit=fit: x[fit], (states, batches))) for fit in range(each)]
            return jax.tree.map(lambda *x: jnp.stack(x), *fits)

        # A CPU has no fast kernels for several networks in one; it overlaps those that stand beside each other.
        all_fits = one_by_one if each == 1 or on_cpu() else jax.vmap(one)
        return jax.pmap(all_fits, axis_name=FITS, donate_argnums=(0,), devices=devices()[:used])

    def put(self, trees: Sequence[Any]) -> Any:
        used = Mesh(np.array(devices()[: self._grid[0]]), (FITS,))
        return jax.device_put(self._stack(trees), NamedSharding(used, PartitionSpec(FITS)))

    def batch(self, batches: Sequence[Any]) -> Any:
        return self._stack(batches)

    def views(self, trees: Any) -> Callable[[int], Any]:
        whole = cache(lambda: jax.device_get(trees))  # once for all fits that ask
        return lambda fit: jax.tree.map(lambda x: x[divmod(fit, self._grid[1])], whole())
