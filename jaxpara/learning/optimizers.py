"""Optimizers and learning-rate schedules, all from optax."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optax

from jaxpara.registry import build

SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    "constant": lambda lr: optax.constant_schedule(lr),
    "cosine": lambda lr, decay_steps: optax.cosine_decay_schedule(lr, decay_steps),
    "warmup_cosine": lambda lr, warmup_steps, decay_steps: optax.warmup_cosine_decay_schedule(
        0.0, lr, warmup_steps, decay_steps
    ),
}


@dataclass(frozen=True)
class Optimizer:
    """Attributes:
    transform: turns a gradient into an update.
    lr: the learning rate at a step.
    """

    transform: optax.GradientTransformation
    lr: optax.Schedule


def _chain(
    scaler: optax.GradientTransformation, lr: float, schedule: Mapping[str, Any], weight_decay: float, clip_norm: float
) -> Optimizer:
    parts = []
    if clip_norm:
        parts.append(optax.clip_by_global_norm(clip_norm))
    if weight_decay:
        # Coupled, as in PyTorch's Adam and in an L2 term of the loss: added to the gradient before the moments.
        parts.append(optax.add_decayed_weights(weight_decay))
    rate = build(SCHEDULES, schedule, "learner.optimizer.schedule", lr=lr)
    return Optimizer(optax.chain(*parts, scaler, optax.scale_by_learning_rate(rate)), rate)


CONSTANT = {"name": "constant"}


def adam(
    lr: float,
    eps: float = 1e-7,
    b1: float = 0.9,
    b2: float = 0.999,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    schedule: Mapping[str, Any] = CONSTANT,
) -> Optimizer:
    """Adam with Keras's eps; `weight_decay` is PyTorch's coupled one."""
    return _chain(optax.scale_by_adam(b1, b2, eps), lr, schedule, weight_decay, clip_norm)


def nadam(
    lr: float,
    eps: float = 1e-7,
    b1: float = 0.9,
    b2: float = 0.999,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    schedule: Mapping[str, Any] = CONSTANT,
) -> Optimizer:
    """Adam with Nesterov momentum."""
    return _chain(optax.scale_by_adam(b1, b2, eps, nesterov=True), lr, schedule, weight_decay, clip_norm)


def sgd(
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    schedule: Mapping[str, Any] = CONSTANT,
) -> Optimizer:
    """Stochastic gradient descent with PyTorch's momentum."""
    return _chain(optax.trace(momentum), lr, schedule, weight_decay, clip_norm)


OPTIMIZERS = {"adam": adam, "nadam": nadam, "sgd": sgd}
