"""The outputs of a network for any number of examples: batch by batch, or in one pass over each recording."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxpara import processes
from jaxpara.errors import UserError
from jaxpara.training import parallel, steps
from jaxpara.training.batches import batches
from jaxpara.training.examples import Arrays, Examples, WindowExamples, Windows


class Predictor:
    """A network in inference mode, on all devices. Each program is compiled once."""

    def __init__(self, model: nn.Module, settings: Any, precision: str, layer: str):
        """Take the network, and the settings of its examples, one of `jaxpara.training.examples.EXAMPLES`.

        Args:
          precision, layer: as in `jaxpara.training.steps.forward`.

        Raises:
          UserError: recordings are to be predicted whole by a network that has no recurrent layers.
        """
        if isinstance(settings, Windows) and settings.predict == "whole" and not hasattr(model, "recur"):
            raise UserError(
                f"config.{settings.where}.predict is 'whole', which needs a network that is recurrent from left to"
                " right; set it to crossfade or average"
            )
        self._model = model
        self._step = cache(
            lambda embed: parallel.spread(
                steps.predict_step(settings.prepare, steps.forward(model, precision, embed=embed, layer=layer))
            )
        )
        self._next_step = cache(lambda: parallel.spread(steps.next_step(model, precision), carries=True))

    @property
    def compiled(self) -> bool:
        """True once a program of outputs was asked for."""
        return bool(self._step.cache_info().currsize or self._next_step.cache_info().currsize)

    def outputs(self, state: Any, examples: Examples, rows: int, *, embed: bool = False) -> np.ndarray:
        """Return the network's outputs, or embeddings, of all examples in their order.

        If the examples are `whole`, the outputs of overlapping windows are equal: they are cut from the outputs of the
        recording.

        Args:
          rows: examples at once on each device.
        """
        state = parallel.replicate(state)
        if not embed and examples.whole:
            assert isinstance(examples, WindowExamples)
            return examples.cut(self._in_one_pass(state, examples, rows))
        step = self._step(embed)
        return np.concatenate([np.asarray(step(state, batch)) for batch in _in_order(examples, rows)])[: len(examples)]

    def compile(self, state: Any, examples: Examples, rows: int) -> None:
        """Compile the program of `outputs`, from the shapes of the state alone; a call meanwhile waits for it."""
        if examples.whole:
            assert isinstance(examples, WindowExamples)
            group = next(_groups(examples, rows))
            self._next_step().lower(state, self._first(group) | _parts(examples, group, 0)).compile()
        else:
            self._step(False).lower(state, next(_in_order(examples, rows))).compile()

    def _in_one_pass(self, state: Any, examples: WindowExamples, rows: int) -> list[np.ndarray]:
        """Return the outputs of each recording, `[output]`; a group of recordings is predicted at once."""
        series: dict[int, np.ndarray] = {}
        lengths = examples.lengths
        for group in _groups(examples, rows):
            carry, outputs = self._first(group), []
            for first in max((examples.parts(number) for number in group), key=len):
                values, carried = self._next_step()(state, carry | _parts(examples, group, first))
                carry = {"carry": carried}
                jax.block_until_ready(outputs[-1:])  # so that at most two parts are in memory
                outputs.append(values)
            joined = np.concatenate([np.asarray(values) for values in outputs], axis=1)
            series |= {number: joined[row, : lengths[number]] for row, number in enumerate(group)}
        return [series[number] for number in range(len(series))]

    def _first(self, group: Sequence[int]) -> dict[str, Any]:
        """Put the carry before the first part of this process's recordings on its devices, where the next ones are."""
        shapes = jax.eval_shape(lambda: self._model.carry(len(group) // processes.count()))
        # Not by JAX, which would compile programs for it.
        zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        return {"carry": parallel.Placement().batch([zeros])}


def _in_order(examples: Examples, rows: int) -> Iterator[Arrays]:
    """Return batches `[device, row, ...]` of all examples, all of the same size, so that one program serves all."""
    return map(parallel.shard, batches(examples, rows * len(parallel.devices())))


def _groups(examples: WindowExamples, rows: int) -> Iterator[list[int]]:
    """Yield the numbers of recordings that are predicted at once: none is more than twice as long as another.

    The last number repeats until the recordings of each device are `rows` or a power of two: few programs serve any
    number of recordings.
    """
    parts, devices = [len(examples.parts(number)) for number in range(len(examples.lengths))], len(parallel.devices())

    def filled(group: list[int]) -> list[int]:
        each = min(rows, 1 << (-(-len(group) // devices) - 1).bit_length())
        return [*group, *[group[-1]] * (devices * each - len(group))]

    group: list[int] = []
    for number in np.argsort(parts, kind="stable").tolist():
        if group and (len(group) == devices * rows or parts[number] > 2 * parts[group[0]]):
            yield filled(group)
            group = []
        group.append(number)
    yield filled(group)


def _parts(examples: WindowExamples, group: Sequence[int], first: int) -> Arrays:
    """Return the parts `[device, row, ...]` of this process's recordings."""
    each = len(group) // processes.count()
    mine = group[processes.index() * each :][:each]
    parts = [examples.load_part(number, first) for number in mine]
    return parallel.shard({name: np.stack([part[name] for part in parts]) for name in parts[0]})
