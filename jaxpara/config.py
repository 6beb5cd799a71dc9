"""The config of a run: check general fields, apply demo sizes and overrides. configs/common.py explains the fields."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from jaxpara.registry import require_one_of, require_within_limits


def require_valid(config: Mapping[str, Any]) -> None:
    """Raise a UserError unless the general fields have valid values."""
    require_within_limits("", "seeds", config["seeds"])
    require_one_of("config.parallel", config["parallel"], ("data", "folds"))
    require_one_of("config.precision", config["precision"], ("float32", "bfloat16"))


def with_demo(config: ml_collections.ConfigDict, overrides: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Return the config with its demo sizes, and the values of the command line, by dotted path, on top of them."""
    config = config.copy_and_resolve_references()
    config.update(config.to_dict()["demo"])
    config.update_from_flattened_dict(dict(overrides))
    return config


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries by their dotted paths."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return leaves
