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
      config: from `get_config` in `file`, with the values of the command line in it.
      overrides: those values by their dotted path.
    """
    lines = [f"# {file}, recipe {config.recipe}"]
    demo: Mapping[str, Any] = {}
    if not config.to_dict()["corpus"]["root"]:
        lines.append("# No corpus is given (--config.corpus.root): a simulated one, and the sizes of config.demo.")
        demo = flat(config.to_dict()["demo"])
        config = with_demo(config, overrides)
    get_config = runpy.run_path(str(file))["get_config"]
    try:
        recipes = {recipe: flat(get_config(recipe).to_dict()) for recipe in RECIPES}
    except (TypeError, ValueError):  # a file without these recipes
        recipes = {"default": flat(get_config().to_dict())}
    for path, value in flat(config.to_dict()).items():
        if not path.startswith("demo."):
            setter = "command line" if path in overrides else "demo" if path in demo else ""
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
