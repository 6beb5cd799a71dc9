"""results.json: what a run reached, under keys that stay.

Top level
  jaxpara, experiment, recipe: version of the program, name of the config, recipe of the config.
  simulated, demo: whether the corpus was made by this program; whether the sizes are the demonstration's.
  task, measure: name of the task; its measure, `PCC` or `UAR`.
  corpus: `root` and, under `partitions`, per partition `recordings`, `seconds` (null where a file is not
    readable), `labels`, `unlabelled`, `speakers` (null where unknown), and `classes` {name: labels} or
    `label_mean` and `label_std`.
  findings: counts of `errors` and `warnings` of the corpus check.
  shared_audio.train_and_validation, .train_and_test: `pairs`, the number of pairs of recordings that hold the same
    audio and are on these two sides in a fold; `examples`, up to five {`one`, `other`, `seconds`}.
  members.<name>: `parameters`; `leak`, what its features knew of the tuned on recordings, or empty; `folds`, a
    list of {`fold`, `seed`, `best_epoch`, `best_step`, `seconds`, `validation`: score, `test`: score}; `cv`:
    cross-validation; `test`: score of the mean of its folds; `mean_of_folds_test`: the mean of the folds' own pooled
    test scores; `seeds`, where every fold was fitted several times, {seed: {`cv`: mean of its folds' measures,
    `test`: the measure of the mean of its folds}}, null where there is none; else empty.
  left_out: {member: reason} of optional members that could not be run.
  fusion: `name`; `members`, those that were fused; `weights` {member: [weight per fold]}, null where none are
    searched; `cv`; `cv_cross_fitted`, the same with each fold's weights found on the other folds, or null; `test`.
  beside: other fusions of the same members, each as `fusion`, in the order of the config.
  baselines.<name>: score.
  seconds: of all fits together.
  devices, versions: what it ran on.

A score
  measure: `PCC` or `UAR`.
  pooled: the measure over all rows together, the challenge's official figure.
  interval_95: of `pooled`, over speakers; holds with few of them too (`intervals.jackknife_interval`).
  interval_95_bootstrap: of `pooled`, over speakers, percentile bootstrap.
  interval_95_over_samples: of `pooled`, over rows (sequences: blocks of 10 s), percentile bootstrap; as if
    it did not matter who speaks.
  per_speaker, mean_per_speaker: the measure speaker by speaker, and the mean of these.
  per_speaker_interval_95: over the rows or blocks of the speaker.
  per_partition: the measure of each partition's rows.
  labels, without_truth, speakers: rows scored, rows left out, speakers (null where unknown).
  ccc, rmse (sequences only).
  rmse_scaled (sequences only): `rmse` after each recording's prediction got the scale (not below 0) and the offset
    that suit it best.
  breathing_rate_mae (sequences only): by how many breaths a minute the rate is off, mean over recordings.
  onset_f1 (sequences only): F1 of the beginnings of inhalations, within 0.5 s, counts of all recordings; for this
    and the rate `jaxpara.evaluation.breaths` finds them in the true and the predicted belt alike.
  reliability (classes only): `counts`, `confidence`, `accuracy` by bin of confidence, bins without rows left out.
  classes, confusion [true][predicted], recalls {class: share}, accuracy, ece (classes only) and, for two
    classes, auc and eer with the second class as the positive one.
  undefined: {field or field.key: reason} for every value that is null because it does not exist; without `pooled`
    its reason stands for its intervals.

A cross-validation is the score of the tune rows of all folds, and beside it
  per_fold, per_fold_interval_95: {fold: value}, {fold: interval over speakers}.
  mean_of_folds: the mean of `per_fold`; `pooled` is another number, and papers quote now one, now the other.
  speakers_in_train_and_validation: {fold: number of speakers on both sides}; empty where speakers are unknown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxpara.corpora.corpus import PARTITIONS, Corpus, Recording
from jaxpara.evaluation.metrics import defined
from jaxpara.evaluation.rows import rows_of
from jaxpara.evaluation.scores import cross_validation, score
from jaxpara.fusion.fused import Fused
from jaxpara.fusion.mean import mean
from jaxpara.predictions import Predictions, concatenate


@dataclass(frozen=True)
class FoldOutcome:
    """What one fit came to.

    Attributes:
      seed: tells it from fits of the same fold.
      best_epoch, best_step: None for learners without epochs.
      shared_speakers: whom it is both fitted and tuned on; None where speakers are unknown.
    """

    fold: int
    validation: Predictions
    test: Predictions
    seconds: float
    best_epoch: int | None = None
    best_step: int | None = None
    shared_speakers: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class MemberOutcome:
    """The fits of a member and the mean of their test predictions.

    Attributes:
      leak: what of the tuned on recordings its features knew in fitting; empty where nothing.
    """

    folds: Sequence[FoldOutcome]
    test: Predictions
    parameters: int | None = None
    leak: str = ""


def summarise(
    *,
    experiment: str,
    recipe: str,
    demo: bool,
    corpus: Corpus,
    findings: Mapping[str, int],
    shared_audio: Mapping[str, Sequence[tuple[str, str]]],
    members: Mapping[str, MemberOutcome],
    left_out: Mapping[str, str],
    fused: Fused,
    fusion: str,
    beside: Mapping[str, Fused],
    fusing: Sequence[str],
    baselines: Mapping[str, Predictions],
    about: Mapping[str, Any],
    seed: int = 0,
) -> dict[str, Any]:
    """Scores everything a run has predicted; the module's docstring describes what comes out.

    Args:
      experiment, recipe: as the user named them.
      demo: whether the sizes are the demonstration's.
      corpus: what all predictions are about.
      findings: of the corpus check, how many `errors` and `warnings`.
      shared_audio: pairs of recordings with identical samples, `train_and_validation` and `train_and_test`.
      members: by name.
      left_out: the members that could not be run, with the reason.
      fused: what the members came to together.
      fusion: the name of the way there.
      beside: other ways, by name.
      fusing: the members that were fused.
      baselines: by name, predictions to compare with.
      about: `jaxpara`, `devices` and `versions`, handed on as they are.
      seed: of the bootstrap.

    Raises:
      UserError: predictions that do not belong to the corpus.
    """

    def validate(tune: Predictions) -> dict[str, Any]:
        return cross_validation(tune, corpus, seed, _shared(members[name] for name in fusing))

    def fusion_of(name: str, fused: Fused) -> dict[str, Any]:
        return {
            "name": name,
            "members": list(fusing),
            "weights": fused.weights,
            "cv": validate(fused.validation),
            "cv_cross_fitted": None if fused.cross_fitted is None else validate(fused.cross_fitted),
            "test": score(fused.test, corpus, seed),
        }

    return {
        "experiment": experiment,
        "recipe": recipe,
        "simulated": corpus.simulated,
        "demo": demo,
        "task": corpus.task.name,
        "measure": corpus.task.measure,
        "corpus": {"root": str(corpus.root), "partitions": describe(corpus)},
        "findings": dict(findings),
        "shared_audio": {
            where: {
                "pairs": len(set(pairs)),
                "examples": [_shared_by(pair, corpus) for pair in dict.fromkeys(pairs)][:5],
            }
            for where, pairs in shared_audio.items()
        },
        "members": {name: _member(member, corpus, seed) for name, member in members.items()},
        "left_out": dict(left_out),
        "fusion": fusion_of(fusion, fused),
        "beside": [fusion_of(name, other) for name, other in beside.items()],
        "baselines": {name: score(part, corpus, seed) for name, part in baselines.items()},
        "seconds": float(sum(fold.seconds for member in members.values() for fold in member.folds)),
        **about,
    }


def keep_others(workdir: Path, name: str) -> None:
    """Puts what another experiment left in a workdir that it shares under its own name, so that none is lost."""
    try:
        other = json.loads((workdir / "results.json").read_text(encoding="utf-8"))["experiment"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if other != name and isinstance(other, str) and Path(other).name == other:
        # Last, as it says whose the others are.
        for file in (
            "report.html",
            "system.json",
            "predictions/validation.npz",
            "predictions/test.npz",
            "results.json",
        ):
            kept = (workdir / file).with_name(f"{other}.{Path(file).name}")
            if (workdir / file).exists():
                (workdir / file).replace(kept)


def describe(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Counts of recordings, labels, speakers and classes for each partition that the corpus has.

    Truth counts as a label here: the table says what can be scored.
    """
    table = {}
    for name in PARTITIONS:
        recordings = corpus.partition(name)
        if not recordings:
            continue
        truth = np.concatenate([recording.truth for recording in recordings])
        known = truth[np.isfinite(truth)]
        speakers = {recording.speaker for recording in recordings}
        row: dict[str, Any] = {
            "recordings": len(recordings),
            "seconds": _seconds(recordings),
            "labels": len(known),
            "unlabelled": len(truth) - len(known),
            "speakers": None if "" in speakers else len(speakers),
        }
        if corpus.task.kind == "classes":
            row["classes"] = {c: int((known == index).sum()) for index, c in enumerate(corpus.task.classes)}
        else:
            row["label_mean"] = float(known.mean()) if len(known) else None
            row["label_std"] = float(known.std()) if len(known) else None
        table[name] = row
    return table


def _seconds(recordings: Sequence[Recording]) -> float | None:
    known = [recording.audio.seconds for recording in recordings if recording.audio]
    return float(sum(known)) if len(known) == len(recordings) else None


def _shared_by(pair: tuple[str, str], corpus: Corpus) -> dict[str, Any]:
    return {"one": pair[0], "other": pair[1], "seconds": corpus.by_name[pair[0]].seconds}


def _shared(members: Iterable[MemberOutcome]) -> dict[int, int]:
    """By fold, the speakers on both sides in any of the members; folds without known speakers are left out."""
    folds = [fold for member in members for fold in member.folds if fold.shared_speakers is not None]
    return {f.fold: max(o.shared_speakers or 0 for o in folds if o.fold == f.fold) for f in folds}


def _member(member: MemberOutcome, corpus: Corpus, seed: int) -> dict[str, Any]:
    folds = [
        {
            "fold": fold.fold,
            "seed": fold.seed,
            "best_epoch": fold.best_epoch,
            "best_step": fold.best_step,
            "seconds": float(fold.seconds),
            "validation": score(fold.validation, corpus, seed),
            "test": score(fold.test, corpus, seed),
        }
        for fold in member.folds
    ]
    of_test = [fold["test"]["pooled"] for fold in folds]
    seeds = sorted({fold.seed for fold in member.folds})
    return {
        "parameters": member.parameters,
        "leak": member.leak,
        "folds": folds,
        "cv": cross_validation(
            concatenate([fold.validation for fold in member.folds]), corpus, seed, _shared([member])
        ),
        "test": score(member.test, corpus, seed),
        "mean_of_folds_test": _mean_of(of_test),
        "seeds": {str(seed): _of_seed(member, folds, seed, corpus) for seed in seeds} if len(seeds) > 1 else {},
    }


def _of_seed(member: MemberOutcome, folds: Sequence[Mapping[str, Any]], seed: int, corpus: Corpus) -> dict[str, Any]:
    """What the folds of one seed come to without the others."""
    tuned = [fold["validation"]["pooled"] for fold in folds if fold["seed"] == seed]
    test = rows_of(mean([fold.test for fold in member.folds if fold.seed == seed]), corpus)
    return {
        "cv": _mean_of(tuned),
        "test": defined(test.value, "test", {}) if len(test) else None,
    }


def _mean_of(values: Sequence[float | None]) -> float | None:
    """None where one of them is."""
    return None if None in values else float(np.mean(np.array(values, float)))
