"""Optimizers and learning-rate schedules, all from optax."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxpara.errors import UserError
from jaxpara.registry import require_one_of

SCHEDULES = ("constant", "cosine", "warmup_cosine", "plateau")
PLATEAU_THRESHOLD = 1e-4  # relative improvement that counts as one, as in PyTorch


def kernels(params: Any) -> Any:
    """Return a mask of the kernels of convolutions and dense layers, without those of recurrent layers."""
    recurrent = "recurrent_kernel" in params
    return {
        name: kernels(value) if isinstance(value, Mapping) else name == "kernel" and not recurrent
        for name, value in params.items()
    }


DECAYS = {"all": None, "kernels": kernels}  # optax's masks of weight decay


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The fields of all optimizers: clipping, weight decay and the schedule of the learning rate.

    Attributes:
      lr: the learning rate; with a schedule the highest.
      weight_decay: PyTorch's coupled one, twice the factor of an L2 term of the loss.
      decay: the weights that it applies to: `all`, or `kernels` of convolutions and dense layers.
      clip_norm: the largest norm of a gradient, to which longer ones are shortened; 0 for no limit.
      pretrained_lr: the learning rate, in place of `lr`, of a network's pretrained part; 0 for the same.
      schedule: `constant`; `cosine`, which falls to 0; `warmup_cosine`, which rises from 0 first; or `plateau`, which
        falls whenever the validation loss stops improving (paper §3.1.2).
      warmup_steps: updates in which the rate rises from 0 to `lr`.
      decay_steps: updates after them in which it falls to 0, as half a cosine; 0: until the end of training.
      plateau_patience: validations without a lower loss that are tolerated; the next one lowers the rate.
      plateau_factor: the factor of the rate then.
    """

    where: str  # the path of this config, for messages; this and the next are set by the program
    part: str = ""  # the name of the network's pretrained part; empty if that is all of it
    lr: float
    weight_decay: float = 0.0
    decay: Literal["all", "kernels"] = "all"
    clip_norm: float = 0.0
    pretrained_lr: float = 0.0
    schedule: Literal["constant", "cosine", "warmup_cosine", "plateau"] = "constant"
    warmup_steps: int = 0
    decay_steps: int = 0
    plateau_patience: int = 2
    plateau_factor: float = 0.1

    def __post_init__(self):
        require_one_of(f"config.{self.where}.decay", self.decay, DECAYS)
        require_one_of(f"config.{self.where}.schedule", self.schedule, SCHEDULES)
        if self.pretrained_lr and not self.part:
            raise UserError(
                f"config.{self.where}.pretrained_lr is for networks of which a part is pretrained, such as"
                " 'tuned_encoder' and 'resnet_gru'; set it to 0"
            )

    def _scaler(self) -> optax.GradientTransformation:
        """Return the transformation of a gradient into a step of length 1."""
        raise NotImplementedError

    @cached_property
    def transform(self) -> optax.GradientTransformation:
        """The transformation of gradients into updates."""
        parts = [optax.clip_by_global_norm(self.clip_norm)] if self.clip_norm else []
        if self.weight_decay:
            # Coupled, as in PyTorch's Adam and in an L2 term of the loss: added to the gradient before the moments.
            parts.append(optax.add_decayed_weights(self.weight_decay, DECAYS[self.decay]))
        parts.append(self._scaler())
        if self.falls_to_end:
            # The length of the training is a field of the optimizer's state (`at_start`): it differs between folds,
            # which share the compiled step.
            parts.append(optax.inject_hyperparams(self._scale_by_rate)(updates=1.0))
        else:
            parts.append(self._scale_by_rate())
        if self.pretrained_lr:
            slower = optax.scale(self.pretrained_lr / self.lr)
            parts.append(optax.masked(slower, self._is_pretrained))
        if self.schedule == "plateau":
            # Its factor is a field of the optimizer's state (`with_lr_scale`), so lowering the rate compiles nothing.
            parts.append(optax.inject_hyperparams(optax.scale)(step_size=1.0))
        return optax.chain(*parts)

    def _is_pretrained(self, params: Any) -> dict[str, bool]:
        return {name: name == self.part for name in params}

    @property
    def falls_to_end(self) -> bool:
        """True if the learning rate falls to 0 at the end of the training, whose length the state has to know."""
        return "cosine" in self.schedule and not self.decay_steps

    def at_start(self, opt_state: Any, updates: int) -> tuple[Any, list[str]]:
        """Return the first state for a training of so many updates, and a note if they are too few for the warm-up."""
        if self.falls_to_end:
            opt_state = optax.tree_utils.tree_set(opt_state, updates=np.float32(updates))
        short = self.schedule == "warmup_cosine" and 0 < updates <= self.warmup_steps
        note = f"warmup_steps is {self.warmup_steps}, so its {updates} updates end before the learning rate reaches lr"
        return opt_state, [note] * short

    def _scale_by_rate(self, updates: jax.typing.ArrayLike = 1) -> optax.GradientTransformation:
        return optax.scale_by_learning_rate(self._schedule(updates))

    def _schedule(self, updates: jax.typing.ArrayLike) -> optax.Schedule:
        """Return the learning rate by step in a training of so many updates, without the factor of the plateau rule."""
        if "cosine" not in self.schedule:
            return optax.constant_schedule(self.lr)
        warmup = self.warmup_steps if self.schedule == "warmup_cosine" else 0
        if not self.decay_steps:
            # optax takes no array as a length, so the fall has length 1, and its steps are fractions.
            rise, fall = optax.linear_schedule(0.0, self.lr, warmup), optax.cosine_decay_schedule(self.lr, 1)
            rest = jnp.maximum(updates - warmup, 1)  # a short training may end within the warm-up
            return lambda step: jnp.where(jnp.less(step, warmup), rise(step), fall(jnp.subtract(step, warmup) / rest))
        if warmup:  # optax counts it as a part of the decay
            return optax.warmup_cosine_decay_schedule(0.0, self.lr, warmup, warmup + self.decay_steps)
        return optax.cosine_decay_schedule(self.lr, self.decay_steps)

    def lr_scale(self, validation_losses: Sequence[float]) -> float:
        """Return the factor of the learning rate after the losses of all validations so far.

        Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau` with its defaults (paper §3.1.2).
        `optax.contrib.reduce_on_plateau` counts differently (its patience is PyTorch's plus 1) and compares in float32.
        """
        best, waited, scale = float("inf"), 0, 1.0
        for loss in validation_losses if self.schedule == "plateau" else ():
            if loss < best * (1 - PLATEAU_THRESHOLD):
                best, waited = loss, 0
            else:
                waited += 1
            if waited > self.plateau_patience:
                scale, waited = scale * self.plateau_factor, 0
        return scale

    def lr_at(self, step: int, validation_losses: Sequence[float], updates: int) -> float:
        """Return the learning rate of an update, counted from 0, of a training of so many updates."""
        return float(np.asarray(self._schedule(updates)(step))) * self.lr_scale(validation_losses)


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam, or with `nesterov` Nadam."""

    eps: float = 1e-7  # added to the root of the second moment; 1e-7 in Keras, 1e-8 in PyTorch
    nesterov: bool = False

    def _scaler(self) -> optax.GradientTransformation:
        return optax.scale_by_adam(eps=self.eps, nesterov=self.nesterov)


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with PyTorch's momentum."""

    momentum: float = 0.9

    def _scaler(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum)


OPTIMIZERS = {"adam": Adam, "nadam": partial(Adam, nesterov=True), "sgd": SGD}


def with_lr_scale(opt_state: Any, scale: jax.typing.ArrayLike) -> Any:
    """Return the state of an optimizer that has the plateau rule with another factor of the learning rate."""
    return optax.tree_utils.tree_set(opt_state, step_size=scale)
