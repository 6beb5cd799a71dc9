"""Standardisation per speaker: each feature gets mean 0 and deviation 1 over all recordings of the speaker."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from jaxpara.corpora.corpus import Corpus
from jaxpara.errors import UserError
from jaxpara.features.cache import LazyArrays

# The end of a sentence about these features, for readers of the scores.
NOTE = (
    "are standardised per speaker by the mean and deviation of all recordings of the speaker, those of the validation"
    " and test sets too (without labels); its scores hold where several recordings of a speaker are predicted together,"
    " not for a single recording of a new speaker"
)


def require(corpus: Corpus, where: str, value: Any, *, frames: bool) -> None:
    """Raise a UserError if features cannot be standardised per speaker.

    Args:
      where: the config path of the features, for messages.
      value: of their field `per_speaker`.
      frames: True if the features are `[frame, ...]`, False for one vector per recording.
    """
    if value is not True:
        raise UserError(f"{where}.per_speaker is {value!r}, expected True or False")
    for recording in corpus.recordings:
        if not recording.speaker:
            raise UserError(
                f"{where}.per_speaker is True, but the speaker of {recording.name!r} ({recording.partition}) is not"
                f" known; add a speaker for every row of {corpus.label_file}, or set it to False"
            )
    for speaker, names in _recordings_of(corpus).items():
        if len(names) < 2 and not frames:
            raise UserError(
                f"{where}.per_speaker is True, but speaker {speaker!r} has one recording, {names[0]!r}, whose features"
                " would all become 0; expected two or more: leave the recording out, or set it to False"
            )


def standardised(features: Mapping[str, np.ndarray], corpus: Corpus, *, frames: bool) -> LazyArrays:
    """Return features standardised per speaker, at access; constant ones of a speaker become 0.

    Args:
      features: `[frame]` or `[frame, feature]` by recording if `frames`, otherwise `[feature]`.

    Raises:
      UserError: at access, for other features, such as images.
    """
    recordings = _recordings_of(corpus)

    def rows(name: str) -> np.ndarray:
        array = features[name]
        if not isinstance(array, np.ndarray) or array.ndim > 1 + frames or array.dtype.kind != "f":
            raise UserError(f"{name}: these features cannot be standardised per speaker; set per_speaker to False")
        return array.reshape(len(array), -1) if frames else array[None]

    @cache
    def scaler(speaker: str) -> StandardScaler:
        result = StandardScaler()
        for name in recordings[speaker]:  # one after the other: their frames may not fit into memory
            result.partial_fit(rows(name).astype(np.float64))
        return result

    def load(name: str) -> np.ndarray:
        scaled = scaler(corpus.by_name[name].speaker).transform(rows(name).astype(np.float64))
        return np.asarray(scaled, np.float32).reshape(features[name].shape)

    return LazyArrays(features, load)


def _recordings_of(corpus: Corpus) -> dict[str, list[str]]:
    """Return the names of the recordings of each speaker."""
    names = defaultdict(list)
    for recording in corpus.recordings:
        names[recording.speaker].append(recording.name)
    return names
