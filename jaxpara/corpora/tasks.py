"""Tasks: what is predicted, how it is labelled and measured. `TASKS` are the sub-challenges of ComParE."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["classes", "ordinal", "values", "sequence"]
# The measures of each kind of target; the first is the default.
MEASURES: dict[Kind, tuple[str, ...]] = {
    "classes": ("UAR", "F1", "accuracy", "AUC"),
    "ordinal": ("CCC", "PCC", "RMSE", "Spearman"),
    "values": ("CCC", "PCC", "RMSE", "Spearman"),
    "sequence": ("PCC", "CCC", "RMSE"),
}


@dataclass(frozen=True)
class Task:
    """What is predicted for a recording.

    Attributes:
      name: the organisers' name, also of the corpus folder, or that of the corpus folder.
      kind: one of a set of `classes` per recording, a level on an `ordinal` scale, a real number (`values`), or a
        `sequence` of numbers over time.
      target: the label column.
      measure: the official one, of `MEASURES`.
      classes: names of the classes, or of the levels of an ordinal scale, in the order of their indices; empty for
        numbers.
      limits: the smallest and the largest label of numbers, which learners scale to -1 and 1.
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
}
