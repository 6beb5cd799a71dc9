"""Optimizers and learning-rate schedules, all from optax."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import optax

from jaxpara.errors import UserError
from jaxpara.registry import require_one_of

Decay = Literal["all", "kernels"]
Schedule = Literal["constant", "cosine", "warmup_cosine", "plateau"]
SCHEDULES = ("constant", "cosine", "warmup_cosine", "plateau")
PLATEAU_THRESHOLD = 1e-4  # relative improvement that counts as one, as in PyTorch


@dataclass(frozen=True)
class Optimizer:
    """An optax transformation and its learning rate.

    Attributes:
      transform: turns gradients into updates.
      schedule: the learning rate by step, without the factor of the plateau rule.
      plateau: patience and factor of the plateau rule, None without it.
    """

    transform: optax.GradientTransformation
    schedule: optax.Schedule
    plateau: tuple[int, float] | None = None

    def lr_scale(self, validation_losses: Sequence[float]) -> float:
        """Return the factor of the learning rate after these validation losses; 1 without the plateau rule."""
        return plateau_scale(validation_losses, *self.plateau) if self.plateau else 1.0

    def lr(self, step: int, validation_losses: Sequence[float]) -> float:
        """Return the learning rate of a step."""
        return float(self.schedule(step)) * self.lr_scale(validation_losses)


def with_lr_scale(opt_state: Any, scale: jax.typing.ArrayLike) -> Any:
    """Return the state of an optimizer with the plateau rule, with another factor of the learning rate in it."""
    return optax.tree_utils.tree_set(opt_state, step_size=scale)


def plateau_scale(losses: Sequence[float], patience: int, factor: float) -> float:
    """Return the factor of the learning rate after some validation losses.

    `optax.contrib.reduce_on_plateau` counts differently (its patience is PyTorch's plus 1) and compares in float32.

    Args:
      losses: of all validations so far, in order.
      patience: validations without a new best that are tolerated; the next one lowers the rate.
      factor: multiplies the rate then.

    Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau` with its defaults (paper §3.1.2).
    """
    best, waited, scale = float("inf"), 0, 1.0
    for loss in losses:
        if loss < best * (1 - PLATEAU_THRESHOLD):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            scale, waited = scale * factor, 0
    return scale


def kernels(params: Any) -> Any:
    """Return a mask of the kernels of convolutions and dense layers, without those of recurrent layers."""
    recurrent = "recurrent_kernel" in params
    return {
        name: kernels(value) if isinstance(value, Mapping) else name == "kernel" and not recurrent
        for name, value in params.items()
    }


DECAYS = {"all": None, "kernels": kernels}  # optax's masks of weight decay


def _optimizer(
    where: str,
    scaler: optax.GradientTransformation,
    *,
    lr: float,
    weight_decay: float,
    decay: Decay,
    clip_norm: float,
    schedule: Schedule,
    warmup_steps: int,
    decay_steps: int,
    plateau_patience: int,
    plateau_factor: float,
) -> Optimizer:
    require_one_of(f"config.{where}.decay", decay, DECAYS)
    require_one_of(f"config.{where}.schedule", schedule, SCHEDULES)
    if schedule in ("cosine", "warmup_cosine") and not decay_steps:
        raise UserError(f"config.{where}.decay_steps is 0, expected at least 1 with schedule {schedule!r}; set it")
    rate = {
        "cosine": lambda: optax.cosine_decay_schedule(lr, decay_steps),
        # optax counts the warm-up as a part of the decay.
        "warmup_cosine": lambda: optax.warmup_cosine_decay_schedule(0.0, lr, warmup_steps, warmup_steps + decay_steps),
    }.get(schedule, lambda: optax.constant_schedule(lr))()
    parts = []
    if clip_norm:
        parts.append(optax.clip_by_global_norm(clip_norm))
    if weight_decay:
        # Coupled, as in PyTorch's Adam and in an L2 term of the loss: added to the gradient before the moments.
        parts.append(optax.add_decayed_weights(weight_decay, DECAYS[decay]))
    parts += [scaler, optax.scale_by_learning_rate(rate)]
    if schedule == "plateau":
        # The factor is a field of the optimizer's state (`with_lr_scale`), so lowering the rate compiles nothing.
        parts.append(optax.inject_hyperparams(optax.scale)(step_size=1.0))
    plateau = (plateau_patience, plateau_factor) if schedule == "plateau" else None
    return Optimizer(optax.chain(*parts), rate, plateau)


def adam(
    where: str,
    lr: float,
    eps: float = 1e-7,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay: Decay = "all",
    clip_norm: float = 0.0,
    schedule: Schedule = "constant",
    warmup_steps: int = 0,
    decay_steps: int = 0,
    plateau_patience: int = 2,
    plateau_factor: float = 0.1,
) -> Optimizer:
    """Adam, or with `nesterov` Nadam, with Keras's eps.

    Args:
      where: this config's path, for messages; set by the program.
      lr: the learning rate; with a schedule the highest.
      eps: added to the root of the second moment; 1e-7 in Keras, 1e-8 in PyTorch.
      nesterov: Nesterov momentum.
      weight_decay: PyTorch's coupled one, twice the factor of an L2 term of the loss.
      decay: what it applies to: `all`, or `kernels` of convolutions and dense layers.
      clip_norm: gradients are shortened to at most this norm; 0 leaves them as they are.
      schedule: of the learning rate: `constant`; `cosine` falls to 0 within `decay_steps`; `warmup_cosine` rises from 0
        for `warmup_steps` first; `plateau` is multiplied by `plateau_factor` whenever the validation loss has not
        improved for more than `plateau_patience` validations.
      warmup_steps: updates in which the rate rises from 0 to `lr`.
      decay_steps: updates after them in which it falls to 0, as half a cosine.
      plateau_patience: validations without a lower loss that are tolerated.
      plateau_factor: multiplies the learning rate then.
    """
    return _optimizer(
        where,
        optax.scale_by_adam(eps=eps, nesterov=nesterov),
        lr=lr,
        weight_decay=weight_decay,
        decay=decay,
        clip_norm=clip_norm,
        schedule=schedule,
        warmup_steps=warmup_steps,
        decay_steps=decay_steps,
        plateau_patience=plateau_patience,
        plateau_factor=plateau_factor,
    )


def sgd(
    where: str,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    decay: Decay = "all",
    clip_norm: float = 0.0,
    schedule: Schedule = "constant",
    warmup_steps: int = 0,
    decay_steps: int = 0,
    plateau_patience: int = 2,
    plateau_factor: float = 0.1,
) -> Optimizer:
    """Stochastic gradient descent with PyTorch's momentum.

    Args:
      where: this config's path, for messages; set by the program.
      lr: the learning rate; with a schedule the highest.
      momentum: how much of the last update a step keeps.
      weight_decay, decay, clip_norm, schedule, warmup_steps, decay_steps, plateau_patience, plateau_factor: see `adam`.
    """
    return _optimizer(
        where,
        optax.trace(momentum),
        lr=lr,
        weight_decay=weight_decay,
        decay=decay,
        clip_norm=clip_norm,
        schedule=schedule,
        warmup_steps=warmup_steps,
        decay_steps=decay_steps,
        plateau_patience=plateau_patience,
        plateau_factor=plateau_factor,
    )


OPTIMIZERS = {"adam": adam, "nadam": partial(adam, nesterov=True), "sgd": sgd}
