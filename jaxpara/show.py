"""`--mode=show`: list each field of the config with its value in a run, and where it was set."""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from jaxpara.config import as_run, flat

RECIPES = ("recommended", "paper", "published")
VALUE_COLUMN = 60
DERIVED = {"sizes": "from corpus.root", "fusion.members": "from only"}  # fields that follow from others


def show(config: ml_collections.ConfigDict, *, overrides: Mapping[str, Any], file: Path) -> str:
    """Return a line per field: its path, its value, and where the value comes from.

    Args:
      config: from `get_config` in `file`, with the values of the command line in it.
      overrides: those values by their dotted path.
    """
    lines = [f"# {file}, recipe {config.recipe}"]
    given, settings = flat(config.to_dict()), as_run(config, overrides)
    if not settings["corpus"]["root"]:
        lines.append("# No corpus is given (--config.corpus.root): a simulated one.")
    demo = flat(settings["demo"]) if settings["sizes"] == "demo" else {}
    if demo:
        lines.append("# Sizes of config.demo (--config.sizes=full for the full recipe).")
    get_config = runpy.run_path(str(file))["get_config"]
    try:
        recipes = {recipe: flat(get_config(recipe).to_dict()) for recipe in RECIPES}
    except (TypeError, ValueError):  # a file without these recipes
        recipes = {"default": flat(get_config().to_dict())}
    for path, value in flat(settings).items():
        if not path.startswith("demo."):
            setter = "command line" if path in overrides else "demo" if path in demo else ""
            setter = setter or (DERIVED[path] if value != given[path] else "")
            lines.append(f"{path} = {value!r}".ljust(VALUE_COLUMN) + f"  # {_origin(path, setter, recipes)}")
    return "\n".join(lines) + "\n"


def _origin(path: str, setter: str, recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where a field was set, and its values in the recipes if these differ."""
    users: dict[str, list[str]] = {}
    for recipe, values in recipes.items():
        users.setdefault(repr(values[path]) if path in values else "absent", []).append(recipe)
    if len(users) > 1:
        return "; ".join([setter or "recipe", *(f"{' and '.join(names)}: {value}" for value, names in users.items())])
    return f"{setter}; default: {next(iter(users))}" if setter else "default"
