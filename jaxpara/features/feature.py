"""The base class of features: arrays computed from a waveform, whose config fields are their key on disk."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np

from jaxpara.errors import UserError
from jaxpara.registry import require_one_of


@dataclass(frozen=True, kw_only=True)
class Feature:
    """An array computed from one recording alone; the dataclass fields are the config.

    A subclass defines `extract`. If the feature is much larger than the data it is made from, `extract` returns a
    compact form, which is stored on disk, and `expand` makes the feature from it at each access.

    Attributes:
      version: raise it when the same fields and audio result in other numbers, so that stored arrays are not reused.
    """

    version: ClassVar[int] = 1
    leak: ClassVar[str] = ""  # each recording is processed alone, so nothing of the validation set is known

    sample_rate_hz: int = 16_000

    def __post_init__(self):
        """Raise a UserError if a field of a Literal type has another value."""
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal:
                require_one_of(f"{type(self).__name__}.{name}", getattr(self, name), get_args(hint))

    @property
    def frame_rate_hz(self) -> float:
        """Steps of the first axis per second; 0 if the array describes a whole recording."""
        return 0.0

    def require(self) -> None:
        """Raise Unavailable if a package that the feature needs is not installed."""

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the stored form from a waveform, `[sample]` float32 in [-1, 1]; a UserError if it is too short."""
        raise NotImplementedError

    def expand(self, stored: np.ndarray) -> Any:
        """Make the feature, `[time, ...]` or a sequence of images `[height, width, channel]`, from its stored form."""
        return stored

    def __call__(self, waveform: np.ndarray) -> Any:
        """Compute the feature of a waveform."""
        return self.expand(self.extract(waveform))

    def description(self) -> dict[str, Any]:
        """Return everything but the audio that the numbers depend on, as JSON types."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        nested = {name: value.description() for name, value in values.items() if isinstance(value, Feature)}
        return {"feature": type(self).__name__, "version": self.version} | values | nested


def samples(seconds: float, sample_rate_hz: int, what: str) -> int:
    """Convert a duration to whole samples; raise a UserError that names the field `what` if there are none."""
    count = round(seconds * sample_rate_hz)
    if count < 1:
        raise UserError(f"{what} is {seconds:g} s, less than one sample at {sample_rate_hz} Hz; increase it")
    return count
