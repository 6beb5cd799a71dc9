"""The sub-challenges: the form of their label files and their measures."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Task:
    """One sub-challenge: a `sequence` has a number per time step, `classes` have one class per recording."""

    name: str  # the organisers' name, also of the corpus folder
    kind: Literal["sequence", "classes"]
    target: str  # the label column
    measure: Literal["PCC", "UAR"]  # the official one
    classes: tuple[str, ...] = ()  # names in the order of their indices; empty for a sequence
    sample_rate_hz: int = 16_000  # that every audio file must have
    speaker_per_file: bool = False  # True if every file has a speaker of its own


def _nominal(name: str, *classes: str) -> Task:
    return Task(name, "classes", target="label", measure="UAR", classes=classes)


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
