"""Small made-up corpora of both kinds, with predictions of a known quality."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from jaxpara.corpora.audio import scan
from jaxpara.corpora.corpus import PARTITIONS, Corpus, Recording, Task
from jaxpara.evaluation.scores import CorpusData
from jaxpara.predictions import concatenate, table_of, with_scores

BREATHING = Task("breathing", "sequence", "upper_belt", "PCC", speaker_per_file=True)
MASK = Task("mask", "classes", "label", "UAR", classes=("clear", "mask"))


def make_breathing(folder, speakers=(4, 4, 3), seconds=40.0, audio=True, test_truth=True, seed=0):
    """A sequence corpus: a belt that rises quickly and falls slowly, and noise that pauses while it rises."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(seconds * 25)) / 25
    recordings = []
    for partition, count in zip(PARTITIONS, speakers, strict=True):
        for number in range(count):
            name = f"{partition}_{number:02d}.wav"
            phase = (times_s * rng.uniform(0.18, 0.28) + rng.random() + 0.02 * np.sin(times_s / 3)) % 1
            belt = np.where(phase < 0.2, phase / 0.2, (1 - phase) / 0.8) * rng.uniform(0.6, 1.2) - 0.5
            belt = np.clip(np.round(belt + 0.02 * rng.standard_normal(len(belt)), 5), -1, 1)
            if audio:
                level = np.repeat(np.where(phase < 0.2, 0.002, 0.1), 640)
                soundfile.write(folder / name, level * rng.standard_normal(len(level)), 16_000, "PCM_16")
            hidden = np.full(len(belt), np.nan)
            labels, truth = (hidden, belt if test_truth else hidden) if partition == "test" else (belt, belt)
            info = scan(folder / name) if audio else None
            recordings.append(Recording(name, folder / name, partition, name[:-4], times_s, labels, truth, info))
    return Corpus(BREATHING, folder, tuple(recordings), 25.0, True, folder / "lab" / "labels.csv")


def make_mask(folder, speakers=(4, 4, 4), clips=40, test_truth=True, known=True, seed=0, task=MASK):
    """A class corpus: about `clips` clips a speaker, of speakers who differ in how many they have."""
    rng = np.random.default_rng(seed)
    recordings = []
    for partition, count in zip(PARTITIONS, speakers, strict=True):
        who = np.repeat(np.arange(count), rng.integers(clips // 2, clips * 2, count))
        for number, speaker in enumerate(rng.permutation(who), 1):
            name = f"{partition}_{number:05d}.wav"
            label = np.array([float(rng.integers(len(task.classes)))])
            hidden = np.array([np.nan])
            labels, truth = (hidden, label if test_truth else hidden) if partition == "test" else (label, label)
            speaker = f"{partition}_{speaker}" if known else ""
            recordings.append(Recording(name, folder / name, partition, speaker, np.zeros(1), labels, truth))
    return Corpus(task, folder, tuple(recordings), 0.0, True, folder / "lab" / "labels.csv")


def data_of(corpus, **changes):
    """Return the description of a corpus that evaluation uses."""
    task = corpus.task
    facts = {
        "simulated": corpus.simulated,
        "task": task.name,
        "kind": task.kind,
        "measure": task.measure,
        "classes": task.classes if task.kind == "classes" else (),
        "breathing": task.name == "breathing",
    }
    facts |= {"root": str(corpus.root), "label_file": str(corpus.label_file), "labels": corpus.labels}
    return CorpusData(**facts | {"seconds": dict.fromkeys(PARTITIONS, 60.0)} | changes)


def predict(corpus, recordings, skill=1.0, fold=-1, seed=0):
    """Predictions of recordings: the truth (where a corpus hides it: nothing) times a skill, and noise."""
    rng = np.random.default_rng([seed, fold + 1])
    lengths = [len(r.times_s) for r in recordings]
    truth = np.nan_to_num(np.concatenate([r.truth for r in recordings])) if lengths else np.zeros(0)
    speakers = {r.speaker: s for r, s in zip(recordings, rng.uniform(0.3, 1.7, len(lengths)), strict=True)}
    skills = skill * np.repeat([speakers[r.speaker] for r in recordings], lengths)
    if corpus.task.kind == "sequence":
        noise = np.convolve(rng.standard_normal(len(truth) + 24), np.full(25, 0.2), "valid")[: len(truth)]
        scores = (0.3 * skills * truth + 0.1 * noise)[:, None]
    elif len(corpus.task.classes) > 2:
        rightness = np.exp(skills[:, None] * np.eye(len(corpus.task.classes))[truth.astype(int)] + rng.random())
        scores = rightness / rightness.sum(1, keepdims=True)
    else:
        positive = 1 / (1 + np.exp(-skills * (2 * truth - 1) - rng.standard_normal(len(truth))))
        scores = np.stack([1 - positive, positive], 1)
    return table_of(
        np.repeat([r.name for r in recordings], lengths) if lengths else [],
        np.concatenate([r.times_s for r in recordings]) if lengths else [],
        np.repeat([r.partition for r in recordings], lengths) if lengths else [],
        scores,
        fold,
        min(fold, 0),
    )


def predict_folds(corpus, folds, skill=1.0, seed=0):
    """Validation predictions by fold, of a split of train and devel that ignores speakers."""
    recordings = corpus.partition("train", "devel")
    return [predict(corpus, recordings[f::folds], skill, f, seed) for f in range(folds)]


def spoil(predictions, how):
    """Predictions with an error: `missing`, `extra`, `duplicated` or `NaN` rows from the eighth on, or too `wide`."""
    predictions, rows = predictions.copy(), np.arange(len(predictions))
    if how == "missing":
        return predictions.drop(index=7)
    if how == "duplicated":
        return predictions.iloc[np.r_[rows, 7, 7]]
    if how == "wide":
        return with_scores(predictions, np.hstack([predictions[["score_0"]]] * 3))
    if how == "extra":
        predictions.loc[[7, 9], "recording"] = "test_55.wav"
    else:
        assert how == "NaN"
        predictions.loc[[7, 8], "score_0"] = np.nan
    return predictions


@pytest.fixture(scope="session")
def fakes():
    return SimpleNamespace(
        MASK=MASK,
        breathing=make_breathing,
        mask=make_mask,
        data=data_of,
        predict=predict,
        predict_folds=predict_folds,
        concatenate=concatenate,
        spoil=spoil,
    )
