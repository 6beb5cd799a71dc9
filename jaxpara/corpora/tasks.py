"""Tasks: what is predicted, how it is labelled and measured. `TASKS` are the sub-challenges of ComParE."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxpara.errors import UserError
from jaxpara.registry import require_one_of

Kind = Literal["classes", "ordinal", "values", "sequence"]
# The measures of each kind of target; the first is the default.
MEASURES: dict[Kind, tuple[str, ...]] = {
    "classes": ("UAR", "F1", "accuracy", "AUC"),
    "ordinal": ("CCC", "PCC", "RMSE", "Spearman"),
    "values": ("CCC", "PCC", "RMSE", "Spearman"),
    "sequence": ("PCC", "CCC", "RMSE"),
}
NO_LIMITS = (-inf, inf)  # of numbers whose limits are inferred from the labels


@dataclass(frozen=True)
class Task:
    """A target to predict: its kind, labels and measure.

    Attributes:
      name: the organisers' name, also of the corpus folder, or that of the corpus folder.
      kind: one of a set of `classes` per recording, a level on an `ordinal` scale, a real number (`values`), or a
        `sequence` of numbers over time.
      target: the label column.
      measure: the official one, of `MEASURES`.
      classes: names of the classes, or of the levels of an ordinal scale, in the order of their indices; empty for
        numbers, and in `TASKS` for classes that are inferred from the labels.
      limits: the smallest and the largest label of numbers, which learners scale to -1 and 1; `NO_LIMITS` until they
        are inferred from the labels.
      sample_rate_hz: of the audio that features are computed from; other rates are resampled.
      speaker_per_file: True if every file has a speaker of its own.
    """

    name: str
    kind: Kind
    target: str
    measure: str
    classes: tuple[str, ...] = ()
    limits: tuple[float, float] = (-1.0, 1.0)
    sample_rate_hz: int = 16_000
    speaker_per_file: bool = False

    @property
    def breathing(self) -> bool:
        """True for the signal of a breathing belt, of which breathing rates are computed."""
        words = f"{self.name} {self.target}".lower()
        return self.kind == "sequence" and any(word in words for word in ("breath", "belt", "respirat"))

    @property
    def outputs(self) -> int:
        """The number of scores per label: one per class, or one number."""
        return len(self.classes) if self.kind == "classes" else 1

    def scaled(self, labels: np.ndarray) -> np.ndarray:
        """Scale labels from `limits` to -1 and 1, as learners see them; class indices stay as they are."""
        centre, reach = self._centre_and_reach
        return labels if self.kind == "classes" else (labels - centre) / reach

    def unscaled(self, outputs: np.ndarray) -> np.ndarray:
        """Scale the outputs of a learner back to the unit of the labels."""
        centre, reach = self._centre_and_reach
        return outputs if self.kind == "classes" else outputs * reach + centre

    @property
    def _centre_and_reach(self) -> tuple[float, float]:
        low, high = self.limits
        return (low + high) / 2, (high - low) / 2 or 1.0


def task_of(wanted: Mapping[str, Any]) -> Task:
    """Return the task of `config.corpus`; reading the corpus infers the classes and limits that are not given.

    Raises:
      UserError: an unknown task or measure, or classes that do not fit the kind of target.
    """
    name, given = wanted["task"], {key: wanted[key] for key in ("target", "measure") if wanted.get(key)}
    require_one_of("config.corpus.task", name, [*TASKS, *MEASURES])
    if name in TASKS:
        task = TASKS[name]
    else:
        corpus = Path(wanted.get("root") or "").resolve().name
        limits = (-1.0, 1.0) if name == "classes" else NO_LIMITS
        task = Task(corpus, name, target="", measure=MEASURES[name][0], limits=limits)
    if wanted.get("classes"):
        classes = tuple(str(each) for each in wanted["classes"])
        if task.kind not in ("classes", "ordinal") or len(set(classes)) < max(2, len(classes)):
            expected = "two or more different names, as ('low','high'), and none for values and sequences"
            raise UserError(f"config.corpus.classes is {classes} for {task.kind}, expected {expected}")
        given["classes"] = classes
        if task.kind == "ordinal":
            given["limits"] = (0.0, len(classes) - 1.0)
    task = replace(task, **given)
    require_one_of("config.corpus.measure", task.measure, MEASURES[task.kind])
    return task


def _nominal(name: str, *classes: str, target: str = "label") -> Task:
    return Task(name, "classes", target=target, measure="UAR", classes=classes)


# Class names as the organisers' baselines and auDeep's parsers spell them.
TASKS: dict[str, Task] = {
    "breathing": Task("ComParE2020_Breathing", "sequence", target="upper_belt", measure="PCC", speaker_per_file=True),
    "mask": _nominal("ComParE2020_Mask", "clear", "mask"),
    "baby_sounds": _nominal("ComParE2019_BabySounds", "Canonical", "Crying", "Junk", "Laughing", "Non-canonical"),
    "styrian_dialects": _nominal("ComParE2019_StyrianDialects", "EasternS", "NorthernS", "UrbanS"),
    "covid_cough": _nominal("ComParE2021_CCS", "negative", "positive"),
    "covid_speech": _nominal("ComParE2021_CSS", "negative", "positive"),
    "escalation": _nominal("ComParE2021_ESS", "0", "1", "2"),
    "primates": _nominal("ComParE2021_PRS", "background", "chimpanze", "geunon", "mandrille", "redcap"),
    "stuttering": _nominal(
        "ComParE2022_KSF",
        *("Block", "Fillers", "Garbage", "Modified", "Prolongation", "SoundRepetition", "WordRepetition"),
        "no_disfluencies",
    ),
    "self_assessed_affect": _nominal("ComParE2018_SelfAssessedAffect", target="Valence"),
    "atypical_affect": _nominal("ComParE2018_AtypicalAffect", target="emotion"),
    "sleepiness": Task("ComParE2019_ContinuousSleepiness", "ordinal", "label", "Spearman", limits=(1.0, 9.0)),
    "elderly_arousal": _nominal("ComParE2020_Elderly_arousal", "L", "M", "H", target="A_cat"),
    "elderly_valence": _nominal("ComParE2020_Elderly_valence", "L", "M", "H", target="V_cat"),
    "vocalisations": _nominal("ComParE2022_VOC"),
    "complaint": _nominal("ComParE2023_HC_complaint", target="complaint"),
    "request": _nominal("ComParE2023_HC_request", target="request"),
    # One of nine emotions at a time: config.corpus.target names another column.
    "emotion_share": Task("ComParE2023_HP", "values", "Anger", "Spearman", limits=NO_LIMITS),
}
