"""The config of a run: check general fields, apply sizes and choices. configs/common.py explains the fields."""

import ast
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from jaxpara.errors import UserError
from jaxpara.registry import require_one_of, require_within_limits, suggest


def require_valid(config: Mapping[str, Any]) -> None:
    """Raise a UserError unless the general fields have valid values."""
    require_within_limits("", "seeds", config["seeds"])
    require_one_of("config.parallel", config["parallel"], ("data", "folds"))
    require_one_of("config.precision", config["precision"], ("float32", "tf32", "bfloat16"))
    require_one_of("config.sizes", config["sizes"], ("auto", "demo", "full"))
    for name in config["only"]:
        if name not in (known := sorted(config["members"])):
            raise UserError(f"config.only names {name!r}, expected some of {known}{suggest(str(name), known)}")


def as_run(config: ml_collections.ConfigDict, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config as it runs: `sizes` is `demo` or `full` and applied, and so is `only`.

    Args:
      overrides: values by dotted path, which win over `config.demo` and `only`.

    Raises:
      UserError: a general field has no valid value.
    """
    if "recipe" in overrides:
        recipe = overrides["recipe"]
        raise UserError(f"config.recipe is only the name of the recipe; choose one with --config=FILE:{recipe}")
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(dict(overrides))
    settings: dict[str, Any] = config.to_dict()
    # --config.only=cnn,svm arrives as one word.
    only = tuple(name.strip() for names in settings["only"] for name in str(names).split(",") if name.strip())
    require_valid(settings | {"only": only})
    sizes = settings["sizes"]
    if sizes == "auto":
        sizes = "full" if settings["corpus"]["root"] else "demo"
    if not settings["demo"]:
        sizes = "full"  # of a config that is quick anyway
    if sizes == "demo":
        settings = with_demo(config, overrides).to_dict()
    settings |= {"sizes": sizes, "only": only}
    return _with_only(settings, keep_fusion="fusion.members" in overrides) if only else settings


def with_demo(config: ml_collections.ConfigDict, overrides: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Return the config with its demo sizes, and the values of the command line, by dotted path, on top of them."""
    config = config.copy_and_resolve_references()
    config.update(config.to_dict()["demo"])
    config.update_from_flattened_dict(dict(overrides))
    return config


def _with_only(settings: dict[str, Any], *, keep_fusion: bool) -> dict[str, Any]:
    """Return the settings with the members in `only` and those whose embeddings they use, to any depth."""
    members, fusion = settings["members"], settings["fusion"]
    needed = list(settings["only"])
    for name in needed:  # which grows in the loop
        needed += [s for s in sources_of(members[name]) if s in members and s not in needed]
    if not keep_fusion and "members" in fusion:
        fusion = fusion | {"members": tuple(name for name in fusion["members"] if name in settings["only"])}
    return settings | {"members": {n: m for n, m in members.items() if n in needed}, "fusion": fusion}


def sources_of(member: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the members whose embeddings a member's config uses as features."""
    return tuple(member.get("features", {}).get("of", ()))


def grid_points(config: ml_collections.ConfigDict, axes: Sequence[str]) -> list[dict[str, Any]]:
    """Return all combinations of the values of some fields, each by dotted path.

    Args:
      axes: `FIELD=VALUE,VALUE...`; commas in brackets belong to a value.

    Raises:
      UserError: an axis is not of that form, its field is not one of the config, or a value does not fit the field.
    """
    known = [path for path in flat(config.to_dict()) if not path.startswith("demo.")]
    values: dict[str, list[Any]] = {}
    for axis in axes:
        path, equals, text = axis.partition("=")
        if not equals or not text:
            raise UserError(f"--grid={axis}: expected FIELD=VALUE,VALUE..., such as --grid=seed=1,2")
        if path not in known:
            raise UserError(
                f"--grid={axis}: {path!r} is not a field of this config{suggest(path.removeprefix('config.'), known)}"
            )
        if path in values:
            raise UserError(f"--grid={axis}: {path} is in the grid twice; give all its values at once")
        values[path] = [_parsed(config, path, value, axis) for value in _split(text)]
        if repeated := [value for n, value in enumerate(values[path]) if value in values[path][:n]]:
            raise UserError(f"--grid={axis}: {repeated[0]!r} is given twice; leave one out")
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def _split(text: str) -> list[str]:
    """Split a text at its commas outside brackets."""
    depth, parts = 0, [""]
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _parsed(config: ml_collections.ConfigDict, path: str, text: str, axis: str) -> Any:
    """Return a value of a field as the config holds it, from its text."""
    *parents, field = path.split(".")
    part: Any = config
    for parent in parents:
        part = part[parent]
    kind, value = part.get_type(field), text
    if kind is not str or text == "None":
        with contextlib.suppress(ValueError, SyntaxError):  # a word
            value = ast.literal_eval(text)
    changed = config.copy_and_resolve_references()
    try:
        changed.update_from_flattened_dict({path: value})
    except (TypeError, ValueError) as error:
        raise UserError(f"--grid={axis}: {text!r} does not fit {path}, which is of type {kind.__name__}") from error
    return flat(changed.to_dict())[path]


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries by their dotted paths."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return leaves
