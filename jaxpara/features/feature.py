"""What every feature has: fields that are its schema, and a picture of itself that tells two settings apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from jaxpara.errors import UserError
from jaxpara.registry import build, suggest


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A recording in, an array out; the fields are the config.

    A subclass defines `extract`. One whose result is much larger than what it is made of stores the small form and
    makes the rest in `expand`, each time it is asked for.

    Attributes:
      version: raised whenever the same fields and audio would give other numbers, so that no cache gives old ones.
      sample_rate_hz: of the waveforms that come in.
    """

    version: ClassVar[int] = 1
    leak: ClassVar[str] = ""  # each recording is by itself

    sample_rate_hz: int = 16_000

    @property
    def frame_rate_hz(self) -> float:
        """Steps of the first axis per second; 0 where the array stands for a whole recording."""
        raise NotImplementedError

    def require(self) -> None:
        """Raises a UserError where something is missing that has to be installed."""

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """`[sample]` float32 to the form that the cache stores."""
        raise NotImplementedError

    def expand(self, stored: np.ndarray) -> Any:
        """The stored form to the feature itself."""
        return stored

    def __call__(self, waveform: np.ndarray) -> Any:
        """`[sample]` float32 in [-1, 1] to `[time, ...]`, or to a sequence of `[height, width, channel]` pictures.

        Raises:
          UserError: the recording is too short for one value.
        """
        return self.expand(self.extract(waveform))

    def description(self) -> dict[str, Any]:
        """Everything that the numbers depend on besides the audio, in types that JSON knows."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            "feature": type(self).__name__,
            "version": self.version,
            **{name: v.description() if isinstance(v, Feature) else v for name, v in values.items()},
        }

    def check(self, name: str, known: tuple[str, ...]) -> None:
        """Raises a UserError unless the field `name` has one of the known values."""
        value = getattr(self, name)
        if value not in known:
            hint = suggest(str(value), list(known))
            raise UserError(f"{type(self).__name__}.{name} is {value!r}, expected one of {list(known)}{hint}")

    def _build_matrix(self, registry: Mapping[str, Callable[..., "Feature"]]) -> None:
        """Makes the field `matrix` from its config, where it is one.

        Raises:
          UserError: it is for another sample rate.
        """
        matrix: Any = vars(self)["matrix"]
        if isinstance(matrix, Mapping):
            matrix = build(registry, matrix, "features.matrix", sample_rate_hz=self.sample_rate_hz)
            object.__setattr__(self, "matrix", matrix)
        if matrix.sample_rate_hz != self.sample_rate_hz:
            raise UserError(
                f"{type(self).__name__} is for {self.sample_rate_hz} Hz, its matrix for {matrix.sample_rate_hz} Hz;"
                " give both the same sample_rate_hz"
            )


def samples(seconds: float, sample_rate_hz: int, what: str) -> int:
    """A time in whole samples.

    Raises:
      UserError: it is less than one sample.
    """
    count = round(seconds * sample_rate_hz)
    if count < 1:
        raise UserError(f"{what} is {seconds:g} s, less than one sample at {sample_rate_hz} Hz; give a longer time")
    return count
