"""system.json: what a trained system is made of, beside the weights that lie in its members' folders.

jaxpara, experiment, recipe, demo, seed: version of the program, name, recipe and sizes of the config, seed of the run.
corpus, simulated: fingerprint of the corpus that it was trained on; whether this program made it.
task: key of `jaxpara.corpora.challenge.TASKS`.
label_rate_hz: predictions per second; 0 where there is one for a whole recording.
longest_s: of the corpus' recordings, of classes without those of test. What is longer is predicted in blocks of this
  length.
members.<name>: of those that predict or whose embeddings are taken: `config`; `sources` (whose embeddings it takes),
  `table` (the organisers' features that it was trained on, or empty), `precision` that it computes in, `folds` {fold:
  what was chosen to predict with}.
shares.<member>.<fold>: how much it counts in the system's predictions; the sum is 1.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from jaxpara import __version__
from jaxpara.corpora.challenge import TASKS
from jaxpara.corpora.corpus import Corpus
from jaxpara.errors import UserError
from jaxpara.files import write_json
from jaxpara.training.member import Member

FILE = "system.json"


def write(
    folder: Path,
    about: Mapping[str, Any],
    task: str,
    corpus: Corpus,
    members: Mapping[str, Member],
    shares: Mapping[str, Mapping[int, float]],
) -> None:
    """Writes the system.json of a run; the module's docstring describes it.

    Args:
      about: `experiment`, `recipe`, `demo`, `seed` and `corpus`.
      task: key of `jaxpara.corpora.challenge.TASKS`.
      corpus: that the run was on.
      members: all there are.
      shares: from the fusion.
    """
    counted = {name: {fold: share for fold, share in folds.items() if share} for name, folds in shares.items()}
    needed = {name for name, folds in counted.items() if folds}
    for name in reversed(list(members)):  # each stands after those whose embeddings it takes
        if name in needed:
            needed.update(members[name].sources)
    content = {
        "jaxpara": __version__,
        **about,
        "simulated": corpus.simulated,
        "task": task,
        "label_rate_hz": corpus.label_rate_hz,
        "longest_s": _longest_s(corpus),
        "members": {
            name: {
                "config": member.identity["member"],
                "sources": list(member.sources),
                "table": member.table,
                "precision": member.identity.get("precision", "float32"),
                "folds": {fold: {**choice, "seed": seed} for (fold, seed), choice in member.chosen().items()},
            }
            for name, member in members.items()
            if name in needed
        },
        "shares": {name: folds for name, folds in counted.items() if folds},
    }
    write_json(folder / FILE, content)


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote, with tuples where JSON has lists, and folds as numbers.

    Raises:
      UserError: it is not there, or not what `write` writes.
    """
    path = folder / FILE
    try:
        content = _with_tuples(json.loads(path.read_text(encoding="utf-8")))
        if content["task"] not in TASKS:
            raise ValueError(f"task {content['task']!r} is unknown")
        for name, folds in content["shares"].items():
            content["shares"][name] = {int(fold): float(share) for fold, share in folds.items()}
        for name, member in content["members"].items():
            folds = {int(fold): choice for fold, choice in member["folds"].items()}
            content["members"][name] = {**member, "folds": folds}
            _ = member["config"]["features"].items(), member["config"]["learner"].items(), member["table"]
        _require_whole(content["members"], content["shares"])
        rate_hz, longest_s = content["label_rate_hz"], content["longest_s"]
        if not (0 <= longest_s < float("inf") and (rate_hz == 0 or 0.01 <= rate_hz <= 1000)):
            raise ValueError(f"label_rate_hz is {rate_hz!r} and longest_s {longest_s!r}")
        _ = content["seed"], content["simulated"]
        return content
    except FileNotFoundError:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder, expected the workdir of a finished run") from None
        raise UserError(
            f"{path}: no such file; a finished run leaves it there: run the training command to its end (a workdir of"
            " an older version: once more, with --mode=evaluate)"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not readable as a trained system ({type(error).__name__}: {error}); run the training command once"
            " more with --mode=evaluate, which writes it"
        ) from error


def _require_whole(members: Mapping[str, Any], shares: Mapping[str, Any]) -> None:
    """Raises a ValueError where they name something that is not there, or nothing."""
    if not all([shares, *shares.values()]):
        raise ValueError("no shares")
    for name, folds in shares.items():
        for fold in folds:
            if name not in members or fold not in members[name]["folds"]:
                raise ValueError(f"shares has fold {fold} of {name!r}, which members has not")
    for name, member in members.items():
        if not member["folds"]:
            raise ValueError(f"member {name!r} has no folds")
        for source in member["sources"]:
            if source not in members:
                raise ValueError(f"member {name!r} takes embeddings of {source!r}, which is no member")


def _with_tuples(tree: Any) -> Any:
    """Networks keep their settings as tuples."""
    if isinstance(tree, dict):
        return {key: _with_tuples(value) for key, value in tree.items()}
    return tuple(map(_with_tuples, tree)) if isinstance(tree, list) else tree


def _longest_s(corpus: Corpus) -> float:
    """Of all recordings of sequences, whose lengths are those of their labels; else of those that are learned from."""
    if corpus.label_rate_hz:
        return max(float(np.max(r.times_s)) for r in corpus.recordings) + 1 / corpus.label_rate_hz
    return max(soundfile.info(recording.path).duration for recording in corpus.partition("train", "devel"))
