"""What the numbers of a config can be, by the name of the field, whatever it belongs to."""

import math
from typing import Any

from jaxpara.errors import UserError

_SIZES = (
    "batch",
    "blocks",
    "chunk",
    "filters",
    "gru",
    "keep_best",
    "kernels",
    "layers",
    "lstm",
    "piece_frames",
    "pools",
    "stages",
    "stem",
    "stem_kernel",
    "units",
    "validate_every",
)
_COUNTS = ("decay_steps", "epochs", "microbatch", "plateau_patience", "warmup_steps")
_WHOLE = {*_SIZES, *_COUNTS}
# The least that a field can be, and whether that itself is allowed; what it has to stay below.
LIMITS: dict[str, tuple[float, bool, float]] = {
    **dict.fromkeys(_SIZES, (1, True, math.inf)),
    **dict.fromkeys((*_COUNTS, "clip_norm", "weight_decay", "eps"), (0, True, math.inf)),
    **dict.fromkeys(("clip_s", "window_s", "step_s", "hop_s"), (0, True, math.inf)),
    "lr": (0, False, math.inf),
    "plateau_factor": (0, False, 1),
    **dict.fromkeys(("dropout", "head_dropout", "momentum"), (0, True, 1)),
}


def require(where: str, field: str, value: Any) -> None:
    """Raises a UserError unless a field's numbers are finite and within their limits.

    Args:
      where: the path of what the field belongs to, for the message.
      value: also a tuple, whose elements are looked at one by one; where there are no limits, what is no number passes.
    """
    if isinstance(value, (tuple, list)):
        for each in value:
            require(where, field, each)
        return
    least, included, below = LIMITS.get(field, (-math.inf, True, math.inf))
    number = isinstance(value, int if field in _WHOLE else (int, float)) and not isinstance(value, bool)
    if not number and field not in LIMITS:
        return
    if not (number and math.isfinite(value) and (value >= least if included else value > least) and value < below):
        bounds = f", {'at least' if included else 'more than'} {least:g}" if field in LIMITS else ""
        bounds += f" and less than {below:g}" if math.isfinite(below) else ""
        kind = "a whole number" if field in _WHOLE else "a finite number"
        raise UserError(f"config.{where}.{field} is {value!r}, expected {kind}{bounds}")
