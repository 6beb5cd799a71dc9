"""Builds an object from its config: the constructor's signature is the schema."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxpara import limits
from jaxpara.errors import UserError


def suggest(word: str, known: list[str]) -> str:
    """Returns ``; did you mean 'x'?`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def require_one_of(what: str, value: Any, known: Iterable[str]) -> None:
    """Raises a UserError unless a value is one of the known ones.

    Args:
      what: the path of the value, for the message (`config.seed`).
    """
    known = list(known)
    if value not in known:
        raise UserError(f"{what} is {value!r}, expected one of {known}{suggest(str(value), known)}")


def build(registry: Mapping[str, Callable[..., Any]], spec: Mapping[str, Any], where: str, /, **context: Any) -> Any:
    """Calls the entry of `registry` that `spec["name"]` names, with the rest of `spec` as keyword arguments.

    Args:
      registry: the known names, each with a constructor, whose signature is the schema of `spec`. One with many
        fields has a dataclass of them as its attribute `Config`, and takes an instance of that first.
      spec: `{"name": ..., **arguments}`, usually a part of the config.
      where: the config path of `spec`, for error messages (`members.net.learner.model`).
      **context: arguments that come from the program and not from the config, as `where` does; passed where the
        constructor takes them.

    Returns:
      What the constructor makes.

    Raises:
      UserError: an unknown name, an unknown or a missing argument, or a number that cannot be (`jaxpara.limits`).
    """
    arguments, context = dict(spec), {"where": where} | context
    name = arguments.pop("name", None)
    require_one_of(f"config.{where}.name", name, sorted(registry))
    constructor = registry[name]
    schema = getattr(constructor, "Config", constructor)
    # Flax modules add fields of their own to every constructor; they are not the user's to set.
    accepted = [p for p in inspect.signature(schema).parameters.values() if p.name not in ("parent", "name")]
    fields = [p.name for p in accepted if p.name not in context]
    for key, value in arguments.items():
        if key not in fields:
            raise UserError(
                f"config.{where}.{key} is not a field of {name!r}, which has {fields}{suggest(key, fields)}"
            )
        limits.require(where, key, value)
    for p in accepted:
        if p.name in fields and p.name not in arguments and p.default is inspect.Parameter.empty:
            raise UserError(f"config.{where}.{p.name} is missing: {name!r} needs it")
    if schema is not constructor:
        return constructor(schema(**arguments), **context)
    names = {p.name for p in accepted}
    return constructor(**arguments, **{k: v for k, v in context.items() if k in names})
