"""The devices of all processes: the only module that spreads steps over them, with `jax.pmap`.

Either the devices share every batch of one run (`Placement`), or each trains other runs (`Stacked`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxpara import processes

AXIS = "data"  # the devices that share a batch; steps reduce over it
RUNS = "runs"
Step = Callable[[Any, Any], Any]


# The same bits in every run on a GPU: no kernel that adds in the order in which its threads arrive, and no choice of
# kernels by their measured time; `xla_gpu_exclude_nondeterministic_ops` is a part of it (openxla/xla#12520).
DETERMINISTIC = {"xla_gpu_deterministic_ops": True}
_options: dict[str, Any] = {}


def set_deterministic(value: bool) -> None:
    """Compile the programs of later calls of `spread` with `DETERMINISTIC`, or not; a CPU needs no option for it."""
    _options.clear()
    if value and devices()[0].platform not in ("cpu", "tpu"):
        _options.update(DETERMINISTIC)


def devices() -> Sequence[Any]:
    """Return all devices, process by process."""
    return jax.devices()


def own_devices() -> Sequence[Any]:
    return [device for device in devices() if device.process_index == jax.process_index()]


def replicate(tree: Any) -> Any:
    """Put a tree on every device of this process, without a leading axis."""
    return jax.device_put(tree, NamedSharding(_own_mesh(), PartitionSpec()))


def shapes(tree: Any) -> Any:
    """Return what describes the result of `replicate` to the compiler."""
    whole = NamedSharding(_own_mesh(), PartitionSpec())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), tree)


def _own_mesh() -> Mesh:
    return Mesh(np.array(own_devices()), (AXIS,))


def shard(batch: Any) -> Any:
    """Reshape `[row, ...]`, the rows of this process, to `[device, row / devices, ...]`."""
    return jax.tree.map(lambda x: x.reshape(len(own_devices()), -1, *x.shape[1:]), batch)


def any_process(value: bool) -> bool:
    """Return True if the value is True in any process. All have to call this together; it waits for their devices."""
    if processes.count() == 1:
        return value
    return bool(_highest(np.full(len(own_devices()), value, np.int32)))


def smallest(value: int | None) -> int | None:
    """Return the smallest of the bytes of all processes, None if one of them is None; called as `any_process`."""
    if processes.count() == 1:
        return value
    megabytes = -1 if value is None else value >> 20  # JAX has no int64
    least = -int(_highest(np.full(len(own_devices()), -megabytes, np.int32)))
    return None if least < 0 else least << 20


# Not `multihost_utils.process_allgather`: it reduces over sets of devices that `processes.join` has not connected.
_highest = jax.pmap(lambda x: lax.pmax(x, AXIS), AXIS, out_axes=None)


def spread(step: Step, *, donate: bool = False, carries: bool = False) -> Step:
    """Run `step(state, batch)` on every device, each with its own part of the batch; it has to reduce over `AXIS`.

    The result is a function of a replicated state and a batch from `shard`, whose results have no device axis. If
    `donate` is True, it reuses the memory of the state. If `carries` is True, the step returns a second result, which
    remains on each device and can be a part of the next batch.
    """
    donated, out_axes = (0,) if donate else (), (None, 0) if carries else None
    return _with_options(
        jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=out_axes, donate_argnums=donated, devices=devices())
    )


def _with_options(program: Any) -> Any:
    """Return a result of `pmap`, which has no argument for options, as a function that is compiled with them."""
    if not _options:
        return program
    options, compiled = dict(_options), {}

    def lower(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        shapes = tree, tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)

        def compile_once() -> Any:
            if shapes not in compiled:
                compiled[shapes] = program.lower(*arguments).compile(compiler_options=options)
            return compiled[shapes]

        return SimpleNamespace(compile=compile_once)

    def call(*arguments: Any) -> Any:
        return lower(*arguments).compile()(*arguments)

    call.lower = lower
    return call


def _with_axes(shapes: Any, *axes: int) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((*axes, *x.shape), x.dtype), shapes)


@dataclass(frozen=True)
class Placement:
    """One run on all devices, which share every batch."""

    runs: int = 1

    @property
    def devices(self) -> int:
        """Devices that share a batch."""
        return len(devices())

    def spread(self, step: Step) -> Step:
        """Compile `step(state, batch)` into one program for all runs, called with the results of `put` and `batch`."""
        return spread(step, donate=True)

    def put(self, trees: Sequence[Any]) -> Any:
        """Put one tree per run on the devices."""
        return replicate(trees[0])

    def shapes(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """Return the shapes of a step's arguments from those of one run on one device, batches `[part, row, ...]`."""
        return state, _with_axes(batch, len(own_devices()))

    def batch(self, batches: Sequence[Any]) -> Any:
        """Put one batch per run on the devices, each `[device * part, row, ...]`; it does not wait for the copies."""
        return jax.device_put(shard(batches[0]), NamedSharding(_own_mesh(), PartitionSpec(AXIS)))

    def split(self, tree: Any) -> list[Any]:
        """Return one tree per run from the result of a step; call it before the next step reuses that memory."""
        return [tree]


@dataclass(frozen=True)
class Stacked(Placement):
    """Several runs at once, evenly over the devices; the last one is repeated where they do not divide."""

    @property
    def devices(self) -> int:
        return 1

    @property
    def _grid(self) -> tuple[int, int]:
        """Devices in use, and runs on each."""
        each = -(-self.runs // len(devices()))
        return -(-self.runs // each), each

    def spread(self, step: Step) -> Step:
        def one(state: Any, batch: Any) -> Any:
            # The step reduces over AXIS, which here has one device.
            alone = jax.vmap(step, axis_name=AXIS, in_axes=(None, 0))
            return jax.tree.map(lambda x: x[0], alone(state, jax.tree.map(lambda x: x[None], batch)))

        used, each = self._grid

        def side_by_side(states: Any, batches: Any) -> Any:
            runs = [one(*jax.tree.map(lambda x, run=run: x[run], (states, batches))) for run in range(each)]
            return jax.tree.map(lambda *x: jnp.stack(x), *runs)

        # A CPU has no fast kernels for a batch of networks, but overlaps independent operations of one program.
        unrolled = each == 1 or devices()[0].platform == "cpu"
        all_runs = side_by_side if unrolled else jax.vmap(one)
        return _with_options(jax.pmap(all_runs, axis_name=RUNS, donate_argnums=(0,), devices=devices()[:used]))

    def shapes(self, state: Any, batch: Any) -> tuple[Any, Any]:
        return _with_axes((state, batch), *self._grid)

    def put(self, trees: Sequence[Any]) -> Any:
        used, each = self._grid
        trees = [*trees, *[trees[-1]] * (used * each - self.runs)]
        stacked = jax.tree.map(lambda *x: np.stack(x).reshape(used, each, *np.shape(x[0])), *trees)
        return jax.device_put(stacked, NamedSharding(Mesh(np.array(devices()[:used]), (RUNS,)), PartitionSpec(RUNS)))

    def batch(self, batches: Sequence[Any]) -> Any:
        return self.put(batches)

    def split(self, tree: Any) -> list[Any]:
        whole, each = jax.device_get(tree), self._grid[1]
        return [jax.tree.map(lambda x, run=run: x[divmod(run, each)], whole) for run in range(self.runs)]
