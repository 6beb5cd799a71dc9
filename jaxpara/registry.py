"""Builds an object from its config: the constructor's signature is the schema."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxpara import limits
from jaxpara.errors import UserError


def suggest(word: str, known: list[str]) -> str:
    """Returns ``; did you mean 'x'?`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def build(registry: Mapping[str, Callable[..., Any]], spec: Mapping[str, Any], where: str, /, **context: Any) -> Any:
    """Calls the entry of `registry` that `spec["name"]` names, with the rest of `spec` as keyword arguments.

    Args:
      registry: the known names, each with a constructor.
      spec: `{"name": ..., **arguments}`, usually a part of the config.
      where: the config path of `spec`, for error messages (`members.net.learner.model`).
      **context: arguments that come from the program and not from the config; passed where the constructor takes them.

    Raises:
      UserError: an unknown name, an unknown or a missing argument, or a number that cannot be (`jaxpara.limits`).
    """
    arguments = dict(spec)
    name = arguments.pop("name", None)
    if name not in registry:
        known = sorted(registry)
        raise UserError(f"config.{where}.name is {name!r}, expected one of {known}{suggest(str(name), known)}")
    constructor = registry[name]
    # Flax modules add fields of their own to every constructor; they are not the user's to set.
    accepted = [p for p in inspect.signature(constructor).parameters.values() if p.name not in ("parent", "name")]
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
    names = {p.name for p in accepted}
    return constructor(**arguments, **{k: v for k, v in context.items() if k in names})
