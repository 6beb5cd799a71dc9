"""Build objects from configs: the signature of a constructor is the schema of its config."""

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxpara.errors import UserError

# Fields of one name have the same limits everywhere: True for whole numbers, the limits in words, and the test of them.
_SIZES = (
    *("bands", "batch", "blocks", "chunk", "filters", "gru", "keep_best", "kernels", "layers", "lstm", "piece_frames"),
    *("pools", "seeds", "stages", "stem", "stem_kernel", "units", "validate_every", "width"),
)
_COUNTS = (
    "decay_steps",
    "epochs",
    "frames_per_output",
    "mirror_frames",
    "patience",
    "plateau_patience",
    "warmup_steps",
)
_AMOUNTS = (
    *("clip_norm", "clip_s", "eps", "frame_rate_hz", "hop_s", "pretrained_lr", "step_s", "weight_decay", "window_s"),
)
_FRACTIONS = ("dropout", "head_dropout", "layer_drop", "mask_channels", "mask_time", "momentum", "smoothing")
LIMITS: dict[str, tuple[bool, str, Callable[[float], bool]]] = {
    **dict.fromkeys(_SIZES, (True, "a whole number, at least 1", lambda value: value >= 1)),
    **dict.fromkeys(_COUNTS, (True, "a whole number, at least 0", lambda value: value >= 0)),
    **dict.fromkeys(_AMOUNTS, (False, "a finite number, at least 0", lambda value: value >= 0)),
    **dict.fromkeys(_FRACTIONS, (False, "a finite number, at least 0 and less than 1", lambda value: 0 <= value < 1)),
    **dict.fromkeys(("lr", "top_db"), (False, "a finite number, more than 0", lambda value: value > 0)),
    "plateau_factor": (False, "a finite number, more than 0 and less than 1", lambda value: 0 < value < 1),
}


def suggest(word: str, known: Iterable[Any]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or an empty string."""
    known = [name for name in known if isinstance(name, str)]  # numbers have no near ones
    same = [name for name in known if name.lower() == word.lower()]
    near = same or difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def require_one_of(what: str, value: Any, known: Iterable[str]) -> None:
    """Raise a UserError unless a value is one of the known ones; `what` is its path (`config.seed`)."""
    known = list(known)
    if value not in known:
        raise UserError(f"{what} is {value!r}, expected one of {known}{suggest(str(value), known)}")


def require_within_limits(where: str, field: str, value: Any) -> None:
    """Raise a UserError unless the numbers of a field are finite and within `LIMITS`.

    Args:
      where: the path of the part of the config that has the field; empty for the config itself.
      value: a number, or a tuple of which each element is checked; other types are errors only in a field with limits.
    """
    if isinstance(value, (tuple, list)):
        for each in value:
            require_within_limits(where, field, each)
        return
    whole, expected, allowed = LIMITS.get(field, (False, "a finite number", lambda _: True))
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number and field not in LIMITS:
        return
    if not (number and math.isfinite(value) and allowed(value)):
        path = ".".join(filter(None, ("config", where, field)))
        raise UserError(f"{path} is {value!r}, expected {expected}")


def build(registry: Mapping[str, Callable[..., Any]], spec: Mapping[str, Any], where: str, /, **context: Any) -> Any:
    """Call the entry of `registry` that `spec["name"]` names, with the rest of `spec` as keyword arguments.

    Args:
      registry: the known names, each with a constructor, whose signature is the schema of `spec`.
      spec: `{"name": ..., **arguments}`, usually a part of the config.
      where: the config path of `spec`, for error messages (`members.net.learner.model`).
      **context: other arguments, which come from the program; passed, as `where`, if the constructor has them.

    Raises:
      UserError: an unknown name, an unknown or missing argument, a number outside `LIMITS`, or an error from the
        constructor; always with the config path.
    """
    arguments, context = dict(spec), {"where": where} | context
    name = arguments.pop("name", None)
    require_one_of(f"config.{where}.name", name, sorted(registry))
    constructor = registry[name]
    # Flax adds `parent` and `name` to the constructors of modules; configs cannot set them.
    accepted = [p for p in inspect.signature(constructor).parameters.values() if p.name not in ("parent", "name")]
    fields = [p.name for p in accepted if p.name not in context]
    for key, value in arguments.items():
        if key not in fields:
            raise UserError(
                f"config.{where}.{key} is not a field of {name!r}, which has {fields}{suggest(key, fields)}"
            )
        require_within_limits(where, key, value)
    for p in accepted:
        if p.name in fields and p.name not in arguments and p.default is inspect.Parameter.empty:
            raise UserError(f"config.{where}.{p.name} is missing: {name!r} needs it")
    names = {p.name for p in accepted}
    try:
        return constructor(**arguments, **{k: v for k, v in context.items() if k in names})
    except UserError as error:
        if not str(error).startswith("config."):
            error.args = (f"config.{where}: {error}",)
        raise
