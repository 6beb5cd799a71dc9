"""results.json: the scores of a run. This docstring is the reference of its keys, of schema 2.

Top level
  schema: number of this format; it changes when a key changes its name or meaning.
  jaxpara, experiment, recipe: version of the program, name of the config, recipe of the config.
  simulated, demo: true if jaxpara made the corpus; true if the sizes are those of the demonstration.
  task, measure: name of the task; its official measure, a key of `jaxpara.evaluation.measures.MEASURE`.
  corpus: `root` and, under `partitions`, per partition `recordings`, `seconds` (null where a file is not readable),
    `labels`, `unlabelled`, `speakers` (null where unknown), and `classes` {name: labels} or, of numbers, `label_mean`,
    `label_std`.
  findings: numbers of `errors` and `warnings` of the corpus check.
  shared_audio.train_and_validation, .train_and_test: `pairs`, the number of pairs of recordings with the same audio on
    these two sides; `examples`, up to five {`one`, `other`}.
  members.<name>: `parameters`; `leak`, the information about the validation sets in its features, or empty; `notes`,
    other sentences about its features; `folds`, a list of {`fold`, `seed`, `best_epoch`, `last_epoch`, `best_step`,
    `seconds`, `validation`: score, `test`: score}, one per trained model, with epochs counted from 0;
    `cv`: cross-validation; `test`: score of the mean of its models; `mean_of_folds_test`: the mean of the models' own
    pooled test scores; `seeds`, where there are several, {seed: {`cv`: mean of its folds, `test`: the measure of the
    mean of its folds}}, null where there is none; else empty.
  left_out: {member: reason} of optional members that could not be run.
  fusion: `name`; `members`, those that were fused; `searched_weights` {member: [weight per model]}, in the order of
    `cv.per_fold`, null where none are searched; `cv`; `cv_cross_fitted`, the same with weights that were found on other
    folds, or null; `test`.
  also_scored: other fusions of the same members, each as `fusion`, in the order of the config.
  baselines.<name>: score, of the test partition or, where that has no truth, of the validation sets; `description`, a
    phrase; `part`, which of the two, `test` or `cv`; and `paired`, the comparison of the fusion with it on the `labels`
    that both predict: `difference` (fusion minus baseline), `interval_95` of it, `p` of a paired permutation test over
    `units` of the kind `over`, `speakers` or `samples`, and `undefined`; see `jaxpara.evaluation.paired`.
  seconds: of training all models.
  compiled: `programs` that JAX compiled in the command that wrote this file; `from_cache`, how many of them it found in
    $JAXPARA_CACHE; `seconds`, for all of them, where those of programs that were compiled at the same time add up.
  devices, versions: of the hardware and the libraries.

A score
  measure: the official one of the task. All are larger where predictions are better, except RMSE.
  pooled: the measure over all rows together, the challenge's official figure.
  chance: the best `pooled` that is possible without looking at the recordings: 1/classes (UAR; F1, by guessing classes
    as often as they occur), the share of the largest class (accuracy), 0.5 (AUC), 0 (correlations), the standard
    deviation of the labels (RMSE).
  interval_95: of `pooled`, over speakers, by the jackknife; valid with few speakers too.
  interval_95_bootstrap: of `pooled`, over speakers, percentile bootstrap.
  interval_95_over_samples: of `pooled`, over rows (sequences: blocks of 10 s), percentile bootstrap; it ignores that
    rows of one speaker are alike.
  per_speaker, mean_per_speaker: the measure of each speaker, and the mean of these.
  per_speaker_interval_95: over the rows or blocks of the speaker.
  per_partition: the measure of each partition's rows.
  labels, without_truth, speakers: rows scored, rows left out, speakers (null where unknown).
  ccc, pcc, rmse (numbers only), spearman (numbers per recording only).
  rmse_scaled (sequences only): `rmse` after each recording's prediction got the best scale (not below 0) and offset.
  breathing_rate_mae (breathing only): error of the rate in breaths per minute, mean over recordings.
  onset_f1 (breathing only): F1 of the inhalation onsets, within 0.5 s, counts of all recordings; for this and the rate,
    `jaxpara.evaluation.breaths` finds the onsets in the true and the predicted belt in the same way.
  reliability (classes only): `counts`, `confidence`, `accuracy` by bin of confidence, without empty bins.
  classes, confusion [true][predicted], recalls {class: share}, accuracy, f1 (mean over classes), auc, ece (classes
    only): `auc` is that of the second of two classes, or the mean of those of several against the others.
  eer (two classes only): with the second as the positive one.
  undefined: {field or field.key: reason} for every value that is null because it does not exist; the reason for
    `pooled` is also that for its intervals.

A cross-validation is the score of all validation sets together, and also has
  per_fold, per_fold_interval_95: {model: value}, {model: interval over speakers}. A model is named by its fold (`2`),
    and by its seed as well where that is not the first (`2, seed 1`).
  mean_of_folds: the mean of `per_fold`. Some papers report this, others `pooled`; the two differ.
  speakers_in_train_and_validation: {model: number of speakers in both sets}; empty where speakers are unknown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from jaxpara.evaluation.metrics import defined
from jaxpara.evaluation.paired import difference
from jaxpara.evaluation.scores import CorpusData, cross_validation, join, mean_of, score
from jaxpara.fusion import Fused, average
from jaxpara.predictions import KEYS, FoldSeed, concatenate, one_per_label

SCHEMA = 2
MAX_EXAMPLES = 5  # of recordings with the same audio


@dataclass(frozen=True)
class FoldOutcome:
    """The predictions of one trained model, and how it was trained.

    Attributes:
      best_epoch, best_step: of the checkpoint in use; None for learners without epochs.
      last_epoch: that was trained and validated, counted from 0 as the best one.
      shared_speakers: number of speakers in both its training and its validation set; None where speakers are unknown.
    """

    fold: int
    validation: pd.DataFrame
    test: pd.DataFrame
    seconds: float
    best_epoch: int | None = None
    best_step: int | None = None
    last_epoch: int | None = None
    shared_speakers: int | None = None
    seed: int = 0

    @property
    def key(self) -> FoldSeed:
        return self.fold, self.seed


@dataclass(frozen=True)
class MemberOutcome:
    """The trained models of a member and the mean of their test predictions.

    Attributes:
      parameters: of the network; None for other learners.
      leak: the information about the validation sets that its features contain; empty where there is none.
      notes: other sentences about its features that a reader of its scores has to know.
    """

    folds: Sequence[FoldOutcome]
    test: pd.DataFrame
    parameters: int | None = None
    leak: str = ""
    notes: Sequence[str] = ()

    @cached_property
    def validation(self) -> pd.DataFrame:
        """The predictions of all folds' validation sets."""
        return concatenate([fold.validation for fold in self.folds])


def summarise(
    *,
    about: Mapping[str, Any],
    data: CorpusData,
    shared_audio: Mapping[str, Sequence[tuple[str, str]]],
    members: Mapping[str, MemberOutcome],
    fused: Fused,
    fusion: str,
    also_scored: Mapping[str, Fused],
    fusing: Sequence[str],
    baselines: Mapping[str, tuple[str, pd.DataFrame]],
    seed: int = 0,
) -> dict[str, Any]:
    """Score everything that a run has predicted; the module's docstring describes the result.

    Args:
      about: `jaxpara`, `experiment`, `recipe`, `demo`, `findings`, `left_out`, `devices` and `versions`, copied.
      shared_audio: `train_and_validation` and `train_and_test`: the names of each two recordings with the same audio
        on both sides.
      fused, fusion: the fusion's predictions and name.
      also_scored: other fusions of the same members, by name.
      fusing: the members that were fused.
      baselines: by name, a description, and the predictions of the test partition or of the validation sets.

    Raises:
      UserError: predictions that do not belong to the corpus.
    """

    shared = _shared_speakers(members[name] for name in fusing)
    validate = partial(cross_validation, data=data, seed=seed, shared=shared)

    def fusion_of(name: str, fused: Fused) -> dict[str, Any]:
        return {
            "name": name,
            "members": list(fusing),
            "searched_weights": fused.searched_weights,
            "cv": validate(fused.validation),
            "cv_cross_fitted": None if fused.cross_fitted is None else validate(fused.cross_fitted),
            "test": score(fused.test, data, seed),
        }

    return {
        "schema": SCHEMA,
        **about,
        "simulated": data.simulated,
        "task": data.task,
        "measure": data.measure,
        "corpus": {"root": data.root, "partitions": partitions_of(data)},
        "shared_audio": {where: _shared_audio(pairs) for where, pairs in shared_audio.items()},
        "members": {name: _member(member, data, seed) for name, member in members.items()},
        "fusion": fusion_of(fusion, fused),
        "also_scored": [fusion_of(name, other) for name, other in also_scored.items()],
        "baselines": {
            name: _baseline(name, description, table, fused, data, seed)
            for name, (description, table) in baselines.items()
        },
        "seconds": float(sum(fold.seconds for member in members.values() for fold in member.folds)),
    }


def _baseline(
    name: str, description: str, table: pd.DataFrame, fused: Fused, data: CorpusData, seed: int
) -> dict[str, Any]:
    """Score a baseline, and compare the fusion with it on the labels that both predict."""
    part = "test" if (table["partition"] == "test").all() else "cv"
    systems = [one_per_label(fused.test if part == "test" else fused.validation), one_per_label(table)]
    shared = systems[0][KEYS].merge(systems[1][KEYS])
    first, second = (join(shared.merge(system, on=KEYS), data) for system in systems)
    figures = difference(("the system", name), first, second)
    return score(table, data, seed) | {
        "description": description,
        "part": part,
        "paired": {
            "difference": figures.value,
            "interval_95": figures.interval_95,
            "p": figures.p,
            "over": "samples" if first.speakers is None else "speakers",
            "units": len(first.units()) if len(first) else 0,
            "labels": len(first),
            "undefined": figures.undefined,
        },
    }


def partitions_of(data: CorpusData) -> dict[str, dict[str, Any]]:
    """Count recordings, labels, speakers and classes of each partition that the corpus has.

    Confidential labels count too, as they can be scored.
    """
    partitions = {}
    for name in data.seconds:
        labels = data.of_partition(name)
        if not len(labels):
            continue
        truth = labels["truth"].dropna()
        row: dict[str, Any] = {
            "recordings": labels["recording"].nunique(),
            "seconds": data.seconds[name],
            "labels": len(truth),
            "unlabelled": len(labels) - len(truth),
            "speakers": None if (labels["speaker"] == "").any() else labels["speaker"].nunique(),
        }
        if data.classes:
            row["classes"] = {c: int((truth == index).sum()) for index, c in enumerate(data.classes)}
        else:
            row["label_mean"] = float(truth.mean()) if len(truth) else None
            row["label_std"] = float(truth.std(ddof=0)) if len(truth) else None
        partitions[name] = row
    return partitions


def keep_others(workdir: Path, name: str) -> None:
    """Rename the results of another experiment in the same workdir after it, so that they are not overwritten."""
    try:
        other = json.loads((workdir / "results.json").read_text(encoding="utf-8"))["experiment"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if other != name and isinstance(other, str) and Path(other).name == other:
        # results.json comes last, as it names the experiment: a killed run continues with the rest.
        predictions = ("predictions/validation.npz", "predictions/test.npz")
        for file in ("report.html", "system.json", *predictions, "predictions.csv", "split.csv", "results.json"):
            if (workdir / file).exists():
                (workdir / file).replace((workdir / file).with_name(f"{other}.{Path(file).name}"))


def _shared_audio(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    distinct = list(dict.fromkeys(pairs))
    return {"pairs": len(distinct), "examples": [{"one": a, "other": b} for a, b in distinct[:MAX_EXAMPLES]]}


def _shared_speakers(members: Iterable[MemberOutcome]) -> dict[FoldSeed, int]:
    """By model, the speakers on both sides in any of the members; models without known speakers are left out."""
    shared: dict[FoldSeed, int] = {}
    for fold in (fold for member in members for fold in member.folds):
        if fold.shared_speakers is not None:
            shared[fold.key] = max(shared.get(fold.key, 0), fold.shared_speakers)
    return shared


def _member(member: MemberOutcome, data: CorpusData, seed: int) -> dict[str, Any]:
    copied = ("fold", "seed", "best_epoch", "last_epoch", "best_step")
    folds = [
        {
            **{field: getattr(fold, field) for field in copied},
            "seconds": float(fold.seconds),
            "validation": score(fold.validation, data, seed),
            "test": score(fold.test, data, seed),
        }
        for fold in member.folds
    ]
    seeds, by_seed = sorted({fold.seed for fold in member.folds}), {}
    for own in seeds if len(seeds) > 1 else ():
        test = join(average([fold.test for fold in member.folds if fold.seed == own]), data)
        by_seed[str(own)] = {
            "cv": defined({}, "cv", mean_of, [f["validation"]["pooled"] for f in folds if f["seed"] == own]),
            "test": defined({}, "test", test.value) if len(test) else None,
        }
    return {
        "parameters": member.parameters,
        "leak": member.leak,
        "notes": list(member.notes),
        "folds": folds,
        "cv": cross_validation(member.validation, data, seed, _shared_speakers([member])),
        "test": score(member.test, data, seed),
        "mean_of_folds_test": defined({}, "mean", mean_of, [fold["test"]["pooled"] for fold in folds]),
        "seeds": by_seed,
    }
