"""Optimizers and learning-rate schedules, all from optax."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import optax

from jaxpara.registry import require_one_of


def kernels(params: Any) -> Any:
    """Marks the kernels of convolutions and dense layers, and nothing of a recurrent layer."""
    recurrent = "recurrent_kernel" in params
    return {
        name: kernels(value) if isinstance(value, Mapping) else name == "kernel" and not recurrent
        for name, value in params.items()
    }


# What weight decay pulls on, as optax's mask.
DECAYS = {"all": None, "kernels": kernels}
Decay = Literal["all", "kernels"]


@dataclass(frozen=True)
class Optimizer:
    """Attributes:
    transform: turns a gradient into an update.
    lr: the learning rate at a step.
    """

    transform: optax.GradientTransformation
    lr: optax.Schedule


def _chain(
    where: str,
    scaler: optax.GradientTransformation,
    lr: float,
    warmup_steps: int,
    decay_steps: int,
    weight_decay: float,
    decay: Decay,
    clip_norm: float,
) -> Optimizer:
    require_one_of(f"config.{where}.decay", decay, DECAYS)
    parts = []
    if clip_norm:
        parts.append(optax.clip_by_global_norm(clip_norm))
    if weight_decay:
        # Coupled, as in PyTorch's Adam and in an L2 term of the loss: added to the gradient before the moments.
        parts.append(optax.add_decayed_weights(weight_decay, DECAYS[decay]))
    rate = optax.cosine_decay_schedule(lr, decay_steps) if decay_steps else optax.constant_schedule(lr)
    if warmup_steps:
        rate = optax.join_schedules([optax.linear_schedule(0.0, lr, warmup_steps), rate], [warmup_steps])
    return Optimizer(optax.chain(*parts, scaler, optax.scale_by_learning_rate(rate)), rate)


def adam(
    where: str,
    lr: float,
    eps: float = 1e-7,
    b1: float = 0.9,
    b2: float = 0.999,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay: Decay = "all",
    clip_norm: float = 0.0,
    warmup_steps: int = 0,
    decay_steps: int = 0,
) -> Optimizer:
    """Adam, or with `nesterov` Nadam, with Keras's eps.

    Args:
      where: from the program: this config's path for messages.
      lr: the learning rate, or the highest where it rises and falls.
      eps: added to the root of the second moment; 1e-7 in Keras, 1e-8 in PyTorch.
      b1, b2: how much of the first and of the second moment a step keeps.
      nesterov: whether the momentum looks ahead.
      weight_decay: PyTorch's coupled one, twice the factor of an L2 term of the loss.
      decay: what it pulls on: `all`, or `kernels` of convolutions and dense layers.
      clip_norm: a gradient longer than this is shortened to it; 0 leaves it as it is.
      warmup_steps: updates in which the rate rises from 0 to `lr`; 0: it begins there.
      decay_steps: updates after them in which it falls to 0, as half a cosine; 0: it stays.
    """
    scaler = optax.scale_by_adam(b1, b2, eps, nesterov=nesterov)
    return _chain(where, scaler, lr, warmup_steps, decay_steps, weight_decay, decay, clip_norm)


def sgd(
    where: str,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    decay: Decay = "all",
    clip_norm: float = 0.0,
    warmup_steps: int = 0,
    decay_steps: int = 0,
) -> Optimizer:
    """Stochastic gradient descent with PyTorch's momentum.

    Args:
      where: from the program: this config's path for messages.
      lr: the learning rate, or the highest where it rises and falls.
      momentum: how much of the last update a step keeps.
      weight_decay: PyTorch's coupled one, twice the factor of an L2 term of the loss.
      decay: what it pulls on: `all`, or `kernels` of convolutions and dense layers.
      clip_norm: a gradient longer than this is shortened to it; 0 leaves it as it is.
      warmup_steps: updates in which the rate rises from 0 to `lr`; 0: it begins there.
      decay_steps: updates after them in which it falls to 0, as half a cosine; 0: it stays.
    """
    return _chain(where, optax.trace(momentum), lr, warmup_steps, decay_steps, weight_decay, decay, clip_norm)


OPTIMIZERS = {"adam": adam, "nadam": partial(adam, nesterov=True), "sgd": sgd}
