"""What a network computes on the devices: its steps, compiled once and shared by all folds."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import optax
from flax import linen as nn

from jaxpara import processes
from jaxpara.training import parallel, steps
from jaxpara.training.input import Arrays, Examples, batches
from jaxpara.training.state import TrainState

Step = Callable[[TrainState, Any], Any]


def _own(examples: Examples, size: int, **which: Any) -> Iterator[Arrays]:
    """This process's part of every batch."""
    return batches(examples, size, process=processes.index(), processes=processes.count(), **which)


class Programs:
    """The steps of a network, and how batches are arranged for them."""

    def __init__(
        self,
        model: nn.Module,
        prepare: steps.Prepare,
        loss: Any,
        optimizer: optax.GradientTransformation,
        *,
        layer: str,
        batch: int,
        microbatch: int,
        precision: str,
    ):
        """Nothing is compiled yet.

        Args:
          model, prepare, loss, optimizer: see `jaxpara.training.steps.train_step`.
          layer: whose outputs are the embeddings, see `jaxpara.training.steps.embed_step`.
          batch, microbatch: examples per update, and those that a device goes through at once; 0 for all.
          precision: one of `jaxpara.training.steps.PRECISIONS`.
        """
        self._model, self._prepare, self._loss, self._optimizer = model, prepare, loss, optimizer
        self._layer, self._batch, self._microbatch = layer, batch, microbatch
        self._precision = precision
        self._trained: dict[parallel.Placement, Step] = {}

    def train_step(self, placement: parallel.Placement) -> Step:
        """One update of the fits that a placement puts on the devices."""
        if placement not in self._trained:
            step = steps.train_step(self._model, self._prepare, self._loss, self._optimizer, self._precision)
            self._trained[placement] = placement.spread(step)
        return self._trained[placement]

    def parts(self, devices: int) -> tuple[int, int]:
        """How many parts each of the devices that share a batch goes through, and rows in each."""
        on_device = -(-self._batch // devices)
        parts = -(-on_device // self._microbatch) if self._microbatch else 1
        return parts, -(-on_device // parts)

    def batches(self, examples: Examples, placement: parallel.Placement, **which: Any) -> Iterator[Arrays]:
        """Batches to train on, `[device * part, row, ...]`; `which` as in `jaxpara.training.input.batches`."""
        parts, rows = self.parts(placement.devices)
        for batch in _own(examples, self._batch, rows=parts * rows * placement.devices, **which):
            yield {name: value.reshape(-1, rows, *value.shape[1:]) for name, value in batch.items()}

    def forward(self, *, embed: bool = False) -> Callable[[Any, Any], Any]:
        """The network, or its embeddings, as `outputs` computes them."""
        return steps.forward(self._model, self._precision, embed=embed, layer=self._layer)

    @cached_property
    def _predict_step(self) -> Step:
        return parallel.spread(steps.predict_step(self._model, self._prepare, self._precision))

    @cached_property
    def _embed_step(self) -> Step:
        return parallel.spread(steps.embed_step(self._model, self._prepare, self._layer, self._precision))

    @cached_property
    def frozen_step(self) -> Step:
        """What the frozen stages make of a batch."""
        return parallel.spread(steps.frozen_step(self._model, self._prepare, self._precision))

    def outputs(self, state: TrainState, examples: Examples, *, embed: bool = False) -> np.ndarray:
        """The network's outputs for all examples, in their order; or its embeddings of them."""
        step = self._embed_step if embed else self._predict_step
        devices = parallel.device_count()
        rows = self.parts(devices)[1] * devices
        state = parallel.replicate(state)
        parts = [np.asarray(step(state, parallel.shard(batch))) for batch in _own(examples, rows)]
        return np.concatenate(parts)[: len(examples)]
