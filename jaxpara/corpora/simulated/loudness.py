"""What loudness alone tells of the breathing: the baseline that a network has to beat."""

import numpy as np
import pandas as pd
import soundfile
from sklearn.linear_model import Ridge

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.predictions import ENSEMBLE, predictions_of

CONTEXT_S = 4.0  # heard before and after each label
FLOOR_DB = -80.0  # digital silence
PENALTY = 1e3  # of the ridge; anything from 1e2 to 1e4 gives the same


def _context(recording: Recording, label_rate_hz: float) -> np.ndarray:
    """`[label, lag]` the level around each label in standard deviations of the file."""
    audio, rate = soundfile.read(recording.path, dtype="float32", always_2d=True)
    step = round(rate / label_rate_hz)
    count = len(recording.times_s)
    frames = np.resize(audio[: count * step, 0], count * step).reshape(count, step)
    level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 10 ** (FLOOR_DB / 10))
    level = ((level - level.mean()) / (level.std() + 1e-9)).astype(np.float32)  # 200 columns: half the memory
    reach = round(CONTEXT_S * label_rate_hz)
    return np.lib.stride_tricks.sliding_window_view(np.pad(level, reach, mode="edge"), 2 * reach + 1)


def loudness_baseline(corpus: Corpus) -> pd.DataFrame:
    """Ridge regression of the belt on the level from 4 s before to 4 s after, fitted on train and devel.

    Args:
      corpus: a Breathing corpus with test recordings.

    Returns:
      A prediction table with a row per label of the test partition.
    """
    seen = corpus.partition("train", "devel")
    model = Ridge(alpha=PENALTY)
    model.fit(
        np.concatenate([_context(recording, corpus.label_rate_hz) for recording in seen]),
        np.concatenate([recording.labels for recording in seen]),
    )
    test = corpus.partition("test")
    scores = [model.predict(_context(recording, corpus.label_rate_hz)) for recording in test]
    return predictions_of(test, np.concatenate(scores)[:, None], *ENSEMBLE)
