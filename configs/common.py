"""Small builders that the configs share. What a field means is in the docstring of what it constructs."""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

RECIPES = ("recommended", "paper", "published")


def experiment(
    task: str,
    recipe: str,
    *,
    members: dict[str, Any],
    fusion: dict[str, Any] | None = None,
    demo: dict[str, Any],
) -> ConfigDict:
    """An experiment: members and fusion.

    Args:
      task: `breathing` or `mask`.
      recipe: `recommended`; `paper`, the text to the letter; `published`, what the authors' scripts do.
      members: by name, `features`, `folds` and `learner`.
      fusion: how their scores meet; the mean by default.
      demo: what replaces the fields above when no corpus is given, so that a laptop sees the end of it.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is unknown, expected one of {', '.join(RECIPES)}")
    return ConfigDict(
        {
            "recipe": recipe,
            # Everything random follows from it.
            "seed": 12,
            "corpus": {
                "task": task,
                # The corpus folder (wav/ and lab/). Empty: a simulated corpus, and the sizes of `demo`.
                "root": placeholder(str),
                # The simulated corpus: a preset, and what replaces its sizes (speakers in train, devel and test;
                # seconds of each).
                "preset": "demo",
                "speakers": placeholder(tuple),
                "seconds": placeholder(float),
            },
            "members": members,
            "fusion": fusion or {"name": "mean"},
            "demo": demo,
        }
    )
