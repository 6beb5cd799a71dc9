"""system.json, the description of a trained system. Its weights are in the folders of its members.

schema: version of this format.
jaxpara: version of the program.
experiment, recipe, demo, seed: name, recipe and seed of the experiment; `demo` is true at demonstration size.
corpus, simulated: fingerprint of the training corpus; `simulated` is true for a simulated corpus.
task: the fields of `jaxpara.corpora.tasks.Task`, with the classes in the order of their scores.
label_rate_hz: predictions per second; 0 where there is one per recording.
longest_s: length of the longest recording (of classes: outside test); longer audio is cut into blocks
  of this length, unless it is predicted in one pass.
members.<name>: the members that predict, each after those whose embeddings it uses:
  config: features, learner and folds.
  sources: members whose embeddings are its features.
  table: the organisers' feature set that it was trained on; empty for features computed from the audio.
  precision: of the network's computations, `float32`, `tf32` or `bfloat16`.
  models: list of its trained models: `fold`, `seed`, and the learner's choice (`epoch` and `step`, or `c`; `score`).
weights: list of `member`, `fold`, `seed` and the `weight` of that model in the system's predictions. They sum to 1.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jaxpara import __version__
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.files import write_json
from jaxpara.predictions import FoldSeed
from jaxpara.training.member import Member

FILE = "system.json"
SCHEMA = 3


def write(
    folder: Path,
    about: Mapping[str, Any],
    corpus: Corpus,
    members: Mapping[str, Member],
    weights: Mapping[str, Mapping[FoldSeed, float]],
) -> None:
    """Write the system.json of a run.

    Args:
      about: `experiment`, `recipe`, `demo`, `seed` and `corpus`.
      members: all members, each after its sources.
    """
    rows = [
        {"member": name, "fold": fold, "seed": seed, "weight": weight}
        for name, model_weights in weights.items()
        for (fold, seed), weight in model_weights.items()
        if weight
    ]
    needed = {row["member"] for row in rows}
    for name in reversed(list(members)):
        if name in needed:
            needed.update(members[name].sources)
    if corpus.label_rate_hz:
        longest_s = max(float(np.max(r.times_s)) for r in corpus.recordings) + 1 / corpus.label_rate_hz
    else:
        longest_s = max(recording.audio.seconds for recording in corpus.partition("train", "devel"))
    content = {
        "schema": SCHEMA,
        "jaxpara": __version__,
        **about,
        "simulated": corpus.simulated,
        "task": asdict(corpus.task),
        "label_rate_hz": corpus.label_rate_hz,
        "longest_s": longest_s,
        "members": {
            name: {
                "config": member.identity["member"],
                "sources": list(member.sources),
                "table": member.table,
                "precision": member.identity.get("precision", "float32"),
                "models": [{"fold": fold, "seed": seed} | choice for (fold, seed), choice in member.chosen().items()],
            }
            for name, member in members.items()
            if name in needed
        },
        "weights": rows,
    }
    write_json(folder / FILE, content)


def read(folder: Path) -> dict[str, Any]:
    """Read what `write` wrote.

    Returns:
      The content, with tuples for lists, `task` as a `Task`, `models` as {(fold, seed): choice} and `weights` as
      {member: {(fold, seed): weight}}.

    Raises:
      UserError: the file is missing, of another version, or damaged.
    """
    path = folder / FILE
    try:
        content = _with_tuples(json.loads(path.read_text(encoding="utf-8")))
        if content.get("schema") != SCHEMA:
            raise UserError(
                f"{path}: was written by another version of jaxpara (schema {content.get('schema', 1)!r}, expected"
                f" {SCHEMA}); run the training command again with --mode=evaluate, or export the system again"
            )
        return _by_model(content)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file, expected the workdir of a finished run or an export; run the training command to"
            " its end (in a workdir of an older version: again, with --mode=evaluate)"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not readable as a trained system ({type(error).__name__}: {error}); run the training command"
            " again with --mode=evaluate, which writes it"
        ) from error


def _by_model(content: dict[str, Any]) -> dict[str, Any]:
    """Key models and weights by (fold, seed); any error but a UserError means that the content is damaged."""
    content["task"] = Task(**content["task"])
    members: dict[str, Any] = {}
    for name, member in content["members"].items():
        _ = member["config"]["features"].items(), member["config"]["learner"].items()
        _ = member["table"], member["precision"]
        if not member["models"]:
            raise ValueError(f"member {name!r} has no models")
        for source in member["sources"]:
            if source not in members:
                raise ValueError(f"member {name!r} uses embeddings of {source!r}, which is not a member before it")
        members[name] = member | {"models": {_key(row): row for row in member["models"]}}
    if not content["weights"]:
        raise ValueError("no weights")
    weights: dict[str, dict[FoldSeed, float]] = {}
    for row in content["weights"]:
        name, key = row["member"], _key(row)
        if name not in members or key not in members[name]["models"]:
            raise ValueError(f"weights names fold {key[0]}, seed {key[1]} of {name!r}, which members does not have")
        weights.setdefault(name, {})[key] = float(row["weight"])
    rate_hz, longest_s = content["label_rate_hz"], content["longest_s"]
    if not (0 <= longest_s < float("inf") and (rate_hz == 0 or 0.01 <= rate_hz <= 1000)):
        raise ValueError(f"label_rate_hz is {rate_hz!r} and longest_s {longest_s!r}")
    _ = content["seed"], content["simulated"]
    return content | {"members": members, "weights": weights}


def _key(row: dict[str, Any]) -> FoldSeed:
    fold, seed = row.pop("fold"), row.pop("seed")
    if type(fold) is not int or type(seed) is not int:
        raise ValueError(f"fold is {fold!r} and seed {seed!r}")
    return fold, seed


def _with_tuples(tree: Any) -> Any:
    """Replace lists by tuples, which the constructors of networks expect."""
    if isinstance(tree, dict):
        return {key: _with_tuples(value) for key, value in tree.items()}
    return tuple(map(_with_tuples, tree)) if isinstance(tree, list) else tree
