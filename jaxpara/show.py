"""`--mode=show`: list each field of the config with its value in a run, and where it was set."""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from jaxpara.config import flat, with_demo

RECIPES = ("recommended", "paper", "published")
VALUE_COLUMN = 60


def show(config: ml_collections.ConfigDict, *, overrides: Mapping[str, Any], file: Path) -> str:
    """Return a line per field: its path, its value, and where the value comes from.

    Args:
      config: from `get_config`, with the values of the command line in it.
      overrides: those values by their dotted path.
      file: of the config.
    """
    given: dict[str, Any] = config.to_dict()
    lines = [f"# {file}, recipe {given['recipe']}"]
    demo: Mapping[str, Any] = {}
    if not given["corpus"]["root"]:
        lines.append("# No corpus is given (--config.corpus.root): a simulated one, and the sizes of config.demo.")
        demo = flat(given["demo"])
        config = with_demo(config, overrides)
    recipes = _recipes(file)
    for path, value in flat(config.to_dict()).items():
        if not path.startswith("demo."):
            line = f"{path} = {value!r}".ljust(VALUE_COLUMN)
            lines.append(f"{line}  # {_origin(path, demo, overrides, recipes)}")
    return "\n".join(lines) + "\n"


def _recipes(file: Path) -> dict[str, dict[str, Any]]:
    """Return the fields by recipe, or the default ones of a file without these recipes."""
    get_config = runpy.run_path(str(file))["get_config"]
    try:
        return {recipe: flat(get_config(recipe).to_dict()) for recipe in RECIPES}
    except (TypeError, ValueError):
        return {"default": flat(get_config().to_dict())}


def _origin(
    path: str, demo: Mapping[str, Any], overrides: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return where a field was set, and its values in the recipes if these differ."""
    users: dict[str, list[str]] = {}
    for recipe, values in recipes.items():
        users.setdefault(repr(values[path]) if path in values else "absent", []).append(recipe)
    setter = "command line" if path in overrides else "demo" if path in demo else ""
    if len(users) > 1:
        return "; ".join([setter or "recipe", *(f"{' and '.join(names)}: {value}" for value, names in users.items())])
    return f"{setter}; default: {next(iter(users))}" if setter else "default"
