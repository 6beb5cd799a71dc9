"""Augmentation of training examples, on the device, inside the jitted training step.

Every change is drawn from a key of the example and the training step, so that it depends neither on the devices, nor on
the parts that a batch is computed in, nor on an interruption.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxpara.errors import UserError
from jaxpara.models import crop
from jaxpara.registry import build
from jaxpara.seeds import derive
from jaxpara.training.augment_steps import STEPS, InTime, Mixup, RandomCrop, Speed

# The inputs that each step can change: images, the frames `[frame, channel]` of a sequence, or its waveform.
FITS = {
    "random_crop": ("images",),
    "spec_augment": ("images", "frames"),
    "mixup": ("images",),
    "noise": ("images", "frames", "waveforms"),
    "gain": ("waveforms",),
    "time_shift": ("images", "frames", "waveforms"),
    "speed": ("images", "waveforms"),
}
REASONS = {
    "random_crop": "every label of a sequence belongs to a time of it",
    "spec_augment": "a waveform has no axis of frequencies",
    "mixup": "the sum of two sequences has no labels of its own",
    "gain": "a gain multiplies samples, and these are none",
    "speed": "frames at another speed are not those of faster speech",
}
Batch = Mapping[str, Array]
Labels = tuple[Array, Array]  # targets and weights


def built(where: str, specs: Any, *kinds: str) -> tuple[Any, ...]:
    """Return the steps of a config, in their order.

    Args:
      where: the path of the config of the examples.
      specs: its `augment`, `({"name": ..., **fields}, ...)`.
      kinds: of inputs, see `FITS`; each step has to fit one of them.
    """
    path = f"config.{where}.augment"
    if not (isinstance(specs, (tuple, list)) and all(isinstance(spec, Mapping) for spec in specs)):
        raise UserError(f"{path} is {specs!r}, expected a list of steps, as ({{'name': 'noise'}},), or () for none")
    steps = tuple(build(STEPS, spec, f"{where}.augment[{number}]") for number, spec in enumerate(specs))
    names = [spec["name"] for spec in specs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path} has {twice[0]!r} more than once; name each step once")
    require_fit(where, names, *kinds)
    for number, step in enumerate(steps):
        if isinstance(step, Speed) and step.keep_frequency != ("images" in kinds):
            reason = "resampling a waveform changes its frequencies too"
            if "images" in kinds:
                reason = "the rows of an image are not proportional to frequencies: only its time can change"
            raise UserError(f"{path}[{number}].keep_frequency is {step.keep_frequency}, but {reason}; change it")
    return steps


def require_fit(where: str, names: Sequence[str], *kinds: str) -> None:
    """Raise a UserError unless each step fits one of these kinds of inputs, see `FITS`."""
    for number, name in enumerate(names):
        if not set(FITS[name]) & set(kinds):
            fitting = ", ".join(known for known in FITS if set(FITS[known]) & set(kinds))
            raise UserError(
                f"config.{where}.augment[{number}].name is {name!r}, which does not fit {' or '.join(kinds)}, as"
                f" {REASONS[name]}; choose from {fitting}"
            )


def mixes(steps: Sequence[Any]) -> bool:
    return any(isinstance(step, Mixup) for step in steps)


def moves_frequencies(steps: Sequence[Any]) -> bool:
    """Return True if there are random crops that also cut frequencies."""
    return any(isinstance(step, RandomCrop) and not step.keep_frequency for step in steps)


def images_of(steps: Sequence[Any], batch: Batch, key: Array, size: tuple[int, int]) -> Array:
    """Return the augmented images of a batch, `[example, height, width, channel]`, in this height and width.

    They are resized by the random crop, or without one at the end.
    """
    # The examples to mix with are augmented too. Validation data come without them, and are not mixed.
    whose = [prefix for prefix in ("", "next_") if f"{prefix}inputs" in batch]
    images = {prefix: batch[f"{prefix}inputs"].astype(jnp.float32) for prefix in whose}
    for step in steps:
        if isinstance(step, Mixup):
            if len(images) > 1:
                fraction = _mixed(step, batch, key)[:, None, None, None]
                images = {"": fraction * images[""] + (1 - fraction) * images["next_"]}
            continue
        for prefix, before in images.items():
            keys, chosen = _keys(batch, key, prefix), batch[f"{prefix}augmented"]
            if isinstance(step, RandomCrop):
                images[prefix] = step.resized(before, keys, chosen, size)
            else:
                after = jax.vmap(step)(before.swapaxes(1, 2), _own(step, keys)).swapaxes(1, 2)
                images[prefix] = jnp.where(chosen[:, None, None, None], after, before)
    return images[""] if images[""].shape[1:3] == size else crop.resize(images[""], size)


def image_labels(steps: Sequence[Any], batch: Batch, key: Array) -> list[Labels]:
    """Return the targets and weights of a batch, `[example]`; of mixed images also those of the next ones."""
    targets, weights = batch["targets"], batch["weights"]
    if "next_inputs" not in batch:
        return [(targets, weights)]
    (mixup,) = (step for step in steps if isinstance(step, Mixup))
    fraction = _mixed(mixup, batch, key)
    others = jnp.where(weights > 0, batch["next_weights"], 0)  # padding has no label to mix with
    return [(targets, fraction * weights), (batch["next_targets"], (1 - fraction) * others)]


def sequences_of(steps: Sequence[Any], batch: Batch, key: Array) -> Array:
    """Return the augmented inputs of sequences, `[example, frame, channel]`."""
    inputs, keys, outputs = batch["inputs"].astype(jnp.float32), _keys(batch, key), batch["targets"].shape[1]
    for step in steps:
        if isinstance(step, InTime):
            inputs = jax.vmap(step.inputs, (0, 0, None, 0))(inputs, _own(step, keys), outputs, batch["stride"])
        else:
            inputs = jax.vmap(step)(inputs, _own(step, keys))
    return inputs


def sequence_labels(steps: Sequence[Any], batch: Batch, key: Array) -> list[Labels]:
    """Return the targets and weights `[example, output]` that belong to the inputs of `sequences_of`."""
    targets, weights = batch["targets"], batch["weights"]
    for step in steps:
        if isinstance(step, InTime):
            targets, weights = jax.vmap(step.labels)(targets, weights, _own(step, _keys(batch, key)))
    return [(targets, weights)]


def _keys(batch: Batch, key: Array, prefix: str = "") -> Array:
    """Return a key per example and training step, which depends neither on the device nor on the part of the batch."""
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(batch[f"{prefix}number"])


def _own(step: Any, keys: Array) -> Array:
    """Return the keys of one of the steps; random crops have those of the example."""
    return jax.vmap(lambda key: jax.random.fold_in(key, derive(0, type(step).__name__)))(keys)


def _mixed(step: Mixup, batch: Batch, key: Array) -> Array:
    """Return the weight of each image in its mixture, `[example]`; 1 where there is nothing to mix it with."""
    drawn = jax.vmap(step)(_own(step, _keys(batch, key)))
    return jnp.where(batch["augmented"] & (batch["next_weights"] > 0), drawn, 1)
