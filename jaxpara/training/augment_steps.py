"""The random changes of training examples that `jaxpara.training.augment` applies, each drawn from a key.

An example is an image, `[time, frequency, channel]`; the frames of a sequence, `[frame, channel]`; or its waveform,
`[sample, 1]`.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxpara.errors import UserError
from jaxpara.models import crop

SINC_ZEROS = 8  # zero crossings of the resampling kernel on each side


@dataclass(frozen=True)
class RandomCrop:
    """A random part of the image, resized to the size of the network's inputs.

    Attributes:
      keep_frequency: cut in time only, so that every row keeps its frequency. A network that starts from random weights
        needs that: to it, another frequency is another sound. If not, the crop is torchvision's RandomResizedCrop.
      area: the smallest and the largest fraction of the image.
    """

    keep_frequency: bool = False
    area: tuple[float, float] = crop.AREA

    def __post_init__(self):
        _require_range("area", self.area, 0.01, 1)

    def resized(self, images: Array, keys: Array, chosen: Array, size: tuple[int, int]) -> Array:
        """Crop the chosen images of `[example, height, width, channel]`; resize all to this height and width."""
        height, width = images.shape[1:3]
        area = self.area[0], self.area[1]
        if self.keep_frequency:

            def box(key: Array) -> Array:
                key_width, key_left = jax.random.split(key)
                part = jax.random.uniform(key_width, minval=area[0], maxval=area[1])
                cut = jnp.maximum(jnp.round(part * width), 1).astype(jnp.int32)
                left = jax.random.randint(key_left, (), 0, width - cut + 1)
                return jnp.stack([jnp.zeros_like(left), left, jnp.full_like(left, height), cut])
        else:

            def box(key: Array) -> Array:
                return crop.sample(key, 1, height, width, area)[0]

        drawn = jax.vmap(box)(keys)
        whole = jnp.array([0, 0, height, width], drawn.dtype)
        return crop.crop_resize(images, jnp.where(chosen[:, None], drawn, whole), size)


@dataclass(frozen=True)
class SpecAugment:
    """Masks of random position and width in time and in frequency, filled with the mean of the example.

    Reference: SpecAugment (Park et al., Interspeech 2019) without time warping. Widths are uniform, from 0.

    Attributes:
      time_masks, frequency_masks: their numbers.
      time_fraction, frequency_fraction: the largest width of one mask, as a fraction of the axis.
    """

    time_masks: int = 2
    time_fraction: float = 0.1
    frequency_masks: int = 2
    frequency_fraction: float = 0.15

    def __post_init__(self):
        for field in ("time_masks", "frequency_masks"):
            if not (type(value := getattr(self, field)) is int and value >= 0):
                raise UserError(f"{field} is {value!r}, expected a whole number, at least 0")
        for field in ("time_fraction", "frequency_fraction"):
            _require_number(field, getattr(self, field), 0, 1)

    def __call__(self, example: Array, key: Array) -> Array:
        key_time, key_frequency = jax.random.split(key)
        in_time = _masked(key_time, self.time_masks, self.time_fraction, example.shape[0])
        in_frequency = _masked(key_frequency, self.frequency_masks, self.frequency_fraction, example.shape[1])
        masked = (in_time[:, None] | in_frequency).reshape(*example.shape[:2], *[1] * (example.ndim - 2))
        return jnp.where(masked, example.mean((0, 1)), example)


def _masked(key: Array, masks: int, fraction: float, size: int) -> Array:
    """Return True at the positions of an axis that one or more masks cover, `[size]`."""
    key_width, key_start = jax.random.split(key)
    widths = jax.random.randint(key_width, (masks, 1), 0, int(fraction * size) + 1)
    starts = jax.random.randint(key_start, (masks, 1), 0, size - widths + 1)
    at = jnp.arange(size)
    return ((at >= starts) & (at < starts + widths)).any(0)


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise at a random signal-to-noise ratio.

    The power of the signal is the variance of the example's values. Thus the noise of an image is in units of its
    pixels, and so is its ratio: it is not the noise of a recording at that ratio.

    Attributes:
      snr_db: the lowest and the highest ratio in dB; uniform between them.
    """

    snr_db: tuple[float, float] = (10.0, 40.0)

    def __post_init__(self):
        _require_range("snr_db", self.snr_db)

    def __call__(self, example: Array, key: Array) -> Array:
        key_ratio, key_noise = jax.random.split(key)
        deviation = example.std() * 10 ** (-_uniform(key_ratio, self.snr_db) / 20)
        return example + deviation * jax.random.normal(key_noise, example.shape)


@dataclass(frozen=True)
class Gain:
    """A random gain of the whole example.

    Attributes:
      gain_db: the lowest and the highest gain in dB; uniform between them.
    """

    gain_db: tuple[float, float] = (-6.0, 6.0)

    def __post_init__(self):
        _require_range("gain_db", self.gain_db)

    def __call__(self, example: Array, key: Array) -> Array:
        return example * 10 ** (_uniform(key, self.gain_db) / 20)


class InTime:
    """A change of the time axis. In sequences the labels follow, and have no weight where there is no audio."""

    def drawn(self, key: Array, size: int) -> tuple[Array, Array]:
        """Return factor and offset: time `t` of the result, of so many, shows time `factor * t + offset`."""
        raise NotImplementedError

    def inputs(self, example: Array, key: Array, outputs: int, stride: Array) -> Array:
        """Return the changed inputs of a sequence, `[frame, channel]`, of so many outputs with `stride` frames each."""
        raise NotImplementedError

    def labels(self, targets: Array, weights: Array, key: Array) -> tuple[Array, Array]:
        """Return the targets and weights of a sequence, `[output]`, at the times that its inputs now show."""
        factor, offset = self.drawn(key, len(targets))
        at = factor * jnp.arange(len(targets)) + offset
        within = (at >= 0) & (at <= len(targets) - 1)
        known = within & (interpolated(weights, at) > 1 - 1e-6)  # both neighbours have a label
        return jnp.where(known, interpolated(targets, at), 0), known.astype(weights.dtype)


@dataclass(frozen=True)
class TimeShift(InTime):
    """A shift in time by a random amount, in either direction.

    In an image, what leaves it at one end returns at the other. In a sequence the labels move with the audio, by a
    whole number of labels; the empty end repeats the outer frame, and has no weight.

    Attributes:
      fraction: the largest shift, as a fraction of the length.
    """

    fraction: float = 0.1

    def __post_init__(self):
        _require_number("fraction", self.fraction, 0, 1)

    def drawn(self, key: Array, size: int) -> tuple[Array, Array]:
        most = int(self.fraction * size)
        return jnp.ones((), jnp.int32), jax.random.randint(key, (), -most, most + 1)

    def __call__(self, example: Array, key: Array) -> Array:
        return jnp.roll(example, self.drawn(key, len(example))[1], axis=0)

    def inputs(self, example: Array, key: Array, outputs: int, stride: Array) -> Array:
        source = jnp.arange(len(example)) + self.drawn(key, outputs)[1] * stride
        return example[jnp.clip(source, 0, len(example) - 1)]


@dataclass(frozen=True)
class Speed(InTime):
    """A random speed: a factor of 1.1 makes the example 10 % shorter.

    A waveform is resampled from its start, which also multiplies all frequencies by the factor, and the labels with it.
    An image is resampled in time about its middle, and its frequencies stay; ends without audio repeat the outer
    column.

    Attributes:
      factors: the lowest and the highest factor; uniform between them.
      keep_frequency: True for images, whose rows are not proportional to frequencies, and False for waveforms.
    """

    factors: tuple[float, float] = (0.9, 1.1)
    keep_frequency: bool = True

    def __post_init__(self):
        _require_range("factors", self.factors, 0.5, 2)

    def drawn(self, key: Array, size: int) -> tuple[Array, Array]:
        return _uniform(key, self.factors), jnp.zeros(())

    def __call__(self, example: Array, key: Array) -> Array:
        middle = (len(example) - 1) / 2
        return interpolated(example, middle + _uniform(key, self.factors) * (jnp.arange(len(example)) - middle))

    def inputs(self, example: Array, key: Array, outputs: int, stride: Array) -> Array:
        factor = _uniform(key, self.factors)
        # A windowed sinc (Hann), as in torchaudio; it widens with the factor, so that nothing is aliased.
        wide, reach = jnp.maximum(factor, 1), ceil(SINC_ZEROS * max(self.factors[1], 1))
        at = factor * jnp.arange(len(example))
        left = jnp.floor(at).astype(jnp.int32)

        def add(tap: Array, total: Array) -> Array:
            source = left + tap - reach + 1
            distance = jnp.clip((at - source) / wide, -SINC_ZEROS, SINC_ZEROS)
            weight = jnp.sinc(distance) * jnp.cos(jnp.pi * distance / SINC_ZEROS / 2) ** 2 / wide
            value = example[jnp.clip(source, 0, len(example) - 1)]
            return total + jnp.where(_within(source, len(example)), weight, 0)[:, None] * value

        return jax.lax.fori_loop(0, 2 * reach, add, jnp.zeros_like(example))


@dataclass(frozen=True)
class Mixup:
    """The weighted mean of each example and the next one of its batch; the loss is that of both labels, weighted alike.

    For numbers, the gradient of the squared error is that of the mean label.

    Reference: mixup (Zhang et al., ICLR 2018), with a weight per example: Beta(alpha, alpha).

    Attributes:
      alpha: near 0, examples stay nearly whole; 1 is uniform.
    """

    alpha: float = 0.2

    def __post_init__(self):
        _require_number("alpha", self.alpha, 1e-3, 1e3)

    def __call__(self, key: Array) -> Array:
        """Return the weight of an example; that of the next one is 1 minus it."""
        return jax.random.beta(key, self.alpha, self.alpha)


STEPS = {
    "random_crop": RandomCrop,
    "spec_augment": SpecAugment,
    "mixup": Mixup,
    "noise": Noise,
    "gain": Gain,
    "time_shift": TimeShift,
    "speed": Speed,
}


def _uniform(key: Array, bounds: tuple[float, float]) -> Array:
    return jax.random.uniform(key, minval=bounds[0], maxval=bounds[1])


def _within(index: Array, size: int) -> Array:
    return (index >= 0) & (index < size)


def interpolated(values: Array, at: Array) -> Array:
    """Interpolate `[time, ...]` linearly at these positions; constant past the ends."""
    at = jnp.clip(at, 0, len(values) - 1)
    left = jnp.minimum(at.astype(jnp.int32), len(values) - 2)
    part = (at - left).reshape(-1, *[1] * (values.ndim - 1))
    return (1 - part) * values[left] + part * values[left + 1]


def _require_number(field: str, value: Any, low: float, high: float) -> None:
    if not (isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high):
        raise UserError(f"{field} is {value!r}, expected a number from {low:g} to {high:g}")


def _require_range(field: str, value: Any, low: float = -200, high: float = 200) -> None:
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    numbers = pair and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    if not (numbers and low <= value[0] <= value[1] <= high):
        raise UserError(f"{field} is {value!r}, expected the lowest and the highest value, from {low:g} to {high:g}")
