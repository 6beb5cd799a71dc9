"""Small builders that the configs share. What a field means is in the docstring of what it constructs."""

import ml_collections

RECIPES = ("recommended", "paper", "published")


def experiment(task: str, recipe: str) -> ml_collections.ConfigDict:
    """What every experiment has: its task, a placeholder for the corpus, and one seed.

    Args:
      task: `breathing` or `mask`.
      recipe: `recommended`; `paper`, the text to the letter; `published`, what the authors' scripts do.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is unknown, expected one of {', '.join(RECIPES)}")
    config = ml_collections.ConfigDict()
    config.recipe = recipe
    config.seed = 12
    config.corpus = ml_collections.ConfigDict()
    config.corpus.task = task
    # The corpus folder (wav/ and lab/). Empty: the simulated corpus, and the sizes of `config.demo`.
    config.corpus.root = ml_collections.config_dict.placeholder(str)
    # The simulated corpus: a preset, and what replaces its sizes (speakers in train, devel, test; seconds of each).
    config.corpus.preset = "demo"
    config.corpus.speakers = ml_collections.config_dict.placeholder(tuple)
    config.corpus.seconds = ml_collections.config_dict.placeholder(float)
    config.members = ml_collections.ConfigDict()
    config.fusion = ml_collections.ConfigDict({"name": "mean"})
    # What replaces the fields above when no corpus is given, so that a laptop sees the end of it.
    config.demo = ml_collections.ConfigDict()
    return config
