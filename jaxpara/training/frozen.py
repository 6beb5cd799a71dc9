"""What the frozen stages of a network make of all recordings: computed once and kept, so that epochs begin there."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxpara.errors import UserError
from jaxpara.features.embeddings import stored
from jaxpara.training import parallel
from jaxpara.training.fit import Fit
from jaxpara.training.sequences import WindowExamples
from jaxpara.training.state import TrainState

AT_ONCE = 100  # outputs


def has_frozen(model: Any) -> bool:
    """Whether some stages of a network are never trained."""
    return getattr(model, "frozen", ()) != ()


def kept(model: Any, wanted: str, decay: bool, where: str) -> bool:
    """Whether what the frozen stages make of the recordings is to be kept.

    Args:
      wanted: `never`, `always`, or `auto`: where it is known to be faster, on CPUs.
      decay: whether there is weight decay.

    Raises:
      UserError: there is nothing to keep, or weight decay would change what is frozen.
    """
    if has_frozen(model) and decay:
        raise UserError(f"config.{where}.optimizer.weight_decay would pull on the frozen stages too; set it to 0")
    can = has_frozen(model) and getattr(model, "trunk", "") == "pieces"
    if wanted not in ("never", "always", "auto") or (wanted == "always" and not can):
        raise UserError(
            f"config.{where}.keep_frozen is {wanted!r}, expected 'never' or 'auto', or 'always' for a model with frozen"
            " stages and trunk='pieces'"
        )
    return can and (wanted == "always" or (wanted == "auto" and parallel.on_cpu()))


def with_maps(
    fit: Fit,
    state: TrainState,
    step: Callable[[TrainState, Any], jax.Array],
    weights: Any,
    examples_of: Callable[[str], Any],
) -> Fit:
    """A fit whose features are what the frozen stages make of its own.

    They lie beside the folds, one folder for all folds whose frozen weights are the same. A recording shorter than a
    window is then filled up with zeros after the frozen stages, and not before them; all else is the same.

    Args:
      step: from `jaxpara.training.steps.frozen_step`.
      weights: of the frozen stages.
      examples_of: the `WindowExamples` of a recording, with the fit's own features.
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(weights):
        digest.update(np.asarray(leaf).tobytes())
    names = tuple(recording.name for recording in fit.corpus.recordings)
    rate_hz = examples_of(names[0]).rate_hz

    def compute() -> Iterator[tuple[str, np.ndarray]]:
        on_devices = parallel.replicate(state)
        for name in names:
            yield name, _maps(np.asarray(fit.features[name]), examples_of(name), on_devices, step)

    folder = fit.folder.parent / f"frozen_{digest.hexdigest()[:12]}"
    return replace(fit, features=stored(folder, names, compute), frame_rate_hz=rate_hz)


def _maps(
    frames: np.ndarray,
    examples: WindowExamples,
    state: TrainState,
    step: Callable[[TrainState, Mapping[str, np.ndarray]], jax.Array],
) -> np.ndarray:
    """`[output, height, width, channel]` of one recording."""
    count = examples.length
    devices = parallel.device_count()
    chunks = -(-count // (AT_ONCE * devices)) * devices
    stride, context = examples.stride, examples.context
    missing = chunks * AT_ONCE * stride + context - len(frames)
    frames = np.pad(frames, ((0, max(0, missing)), (0, 0)))
    starts = np.arange(chunks) * AT_ONCE * stride
    strips = np.stack([frames[start : start + AT_ONCE * stride + context] for start in starts])
    parts = [
        np.asarray(step(state, parallel.shard(parallel.own({"inputs": strips[first : first + devices]}))))
        for first in range(0, chunks, devices)
    ]
    outputs = np.concatenate(parts)
    return outputs.reshape(-1, *outputs.shape[2:])[:count]
