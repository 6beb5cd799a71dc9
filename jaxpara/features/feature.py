"""The base class of features: an array computed from the waveform, with the config's fields as its key on disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from jaxpara.errors import UserError
from jaxpara.registry import build, suggest


@dataclass(frozen=True, kw_only=True)
class Feature:
    """An array computed from one recording by itself; the dataclass fields are the config.

    A subclass defines `extract`. If the feature is much larger than the data it is made of, `extract` returns the
    compact form that is stored on disk, and `expand` makes the feature from it at each access.

    Attributes:
      version: raise it whenever the same fields and audio give other numbers, so that stored arrays are not reused.
      sample_rate_hz: of the waveforms.
    """

    version: ClassVar[int] = 1
    leak: ClassVar[str] = ""  # each recording is processed by itself, so nothing of the validation set is known

    sample_rate_hz: int = 16_000

    @property
    def frame_rate_hz(self) -> float:
        """Steps of the first axis per second; 0 if the array describes a whole recording."""
        raise NotImplementedError

    def require(self) -> None:
        """Raise a UserError if a package that the feature needs is not installed."""

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the stored form from a waveform, `[sample]` float32."""
        raise NotImplementedError

    def expand(self, stored: np.ndarray) -> Any:
        """Make the feature from its stored form."""
        return stored

    def __call__(self, waveform: np.ndarray) -> Any:
        """Compute the feature of a waveform.

        Args:
          waveform: `[sample]` float32 in [-1, 1].

        Returns:
          `[time, ...]`, or a sequence of images `[height, width, channel]`.

        Raises:
          UserError: the recording is too short for a single value.
        """
        return self.expand(self.extract(waveform))

    def description(self) -> dict[str, Any]:
        """Return everything besides the audio that the numbers depend on, as JSON types."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            "feature": type(self).__name__,
            "version": self.version,
            **{name: v.description() if isinstance(v, Feature) else v for name, v in values.items()},
        }

    def check(self, name: str, known: tuple[str, ...]) -> None:
        """Raise a UserError unless the field `name` has one of the known values."""
        value = getattr(self, name)
        if value not in known:
            hint = suggest(str(value), list(known))
            raise UserError(f"{type(self).__name__}.{name} is {value!r}, expected one of {list(known)}{hint}")

    def build_matrix(self, registry: Mapping[str, Callable[..., "Feature"]]) -> None:
        """Replace the field `matrix`, if it is a config, by the feature that the config describes.

        Raises:
          UserError: the matrix has another sample rate.
        """
        matrix: Any = vars(self)["matrix"]
        if isinstance(matrix, Mapping):
            matrix = build(registry, matrix, "features.matrix", sample_rate_hz=self.sample_rate_hz)
            object.__setattr__(self, "matrix", matrix)  # the dataclass is frozen
        if matrix.sample_rate_hz != self.sample_rate_hz:
            raise UserError(
                f"{type(self).__name__} is for {self.sample_rate_hz} Hz, its matrix for {matrix.sample_rate_hz} Hz;"
                " give both the same sample_rate_hz"
            )


def samples(seconds: float, sample_rate_hz: int, what: str) -> int:
    """Convert a duration to whole samples.

    Args:
      what: the name of the field, for the message.

    Raises:
      UserError: it is less than one sample.
    """
    count = round(seconds * sample_rate_hz)
    if count < 1:
        raise UserError(f"{what} is {seconds:g} s, less than one sample at {sample_rate_hz} Hz; give a longer time")
    return count
