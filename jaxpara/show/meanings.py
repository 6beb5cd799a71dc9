"""What the fields of a config mean: read from the docstrings of what they construct."""

import inspect
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any

from jaxpara import config as settings
from jaxpara.corpora.splits import SPLITS
from jaxpara.features import FEATURES
from jaxpara.fusion import FUSIONS
from jaxpara.models import MODELS
from jaxpara.training import LEARNERS
from jaxpara.training.examples import EXAMPLES
from jaxpara.training.losses import LOSSES
from jaxpara.training.optimizers import OPTIMIZERS

# What the `name` in a part of a config is looked up in, by the name of the part.
REGISTRIES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "features": FEATURES,
    "matrix": FEATURES,
    "frames": FEATURES,
    "folds": SPLITS,
    "learner": LEARNERS,
    "examples": EXAMPLES,
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "fusion": FUSIONS,
}


def meaning(path: str, config: Mapping[str, Any]) -> str:
    """What a field means; empty where that is documented nowhere.

    Args:
      path: of the field, dotted.
      config: the whole config.
    """
    *groups, field = path.split(".")
    part = config
    for group in groups:
        part = part[group]
    made = REGISTRIES.get(groups[-1], {}).get(part.get("name", "")) if groups else None
    if made and field == "name":
        return (inspect.getdoc(_bare(made)) or "").split("\n\n")[0].replace("\n", " ")
    own = documented(made) if made else {}
    if field in own:
        return own[field]
    return next((text for known, text in entries(settings.__doc__ or "").items() if fnmatchcase(path, known)), "")


@cache
def documented(made: Callable[..., Any]) -> dict[str, str]:
    """What the arguments of a class or function mean, from its docstrings and those of its bases."""
    made = getattr(made, "Config", _bare(made))
    texts = [made.__doc__]
    if inspect.isclass(made):
        texts = [doc for base in reversed(made.__mro__[:-1]) for doc in (base.__doc__, base.__init__.__doc__)]
    return {name: text for doc in texts for name, text in entries(doc or "").items()}


def _bare(made: Callable[..., Any]) -> Callable[..., Any]:
    return made.func if isinstance(made, partial) else made


@cache
def entries(docstring: str) -> dict[str, str]:
    """The entries `name, other: text` of a docstring's sections `Args` and `Attributes`."""
    found: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in inspect.cleandoc(docstring).splitlines():
        if line and not line.startswith(" "):
            inside = bool(re.match(r"(Args|Attributes)\b.*:$", line))
        elif inside and (entry := re.match(r" {2}([\w.*]+(?:, [\w.*]+)*): (.*)", line)):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif inside and line:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
