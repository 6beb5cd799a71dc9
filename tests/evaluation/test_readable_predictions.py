"""predictions.csv: a row per prediction with its truth, read back with pandas."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jaxpara.evaluation import readable_predictions
from jaxpara.predictions import KEYS, scores_of


@pytest.fixture
def write(tmp_path, fakes):
    """Return a function that writes the predictions of a corpus and returns the file as a table, and what it wrote."""

    def write(corpus, seeds=1):
        folds = [t.assign(seed=s) for s in range(seeds) for t in fakes.predict_folds(corpus, 2, seed=s)]
        validation, test = fakes.concatenate(folds), fakes.predict(corpus, corpus.partition("test"))
        path = tmp_path / "predictions.csv"
        readable_predictions.write(path, validation, test, fakes.data(corpus))
        return pd.read_csv(path, dtype=str, keep_default_na=False), fakes.concatenate([validation, test])

    return write


def test_classes(tmp_path, fakes, write):
    corpus = fakes.mask(tmp_path)
    read, given = write(corpus)
    probabilities = ["probability_clear", "probability_mask"]
    head = ["file", "speaker", "partition", "fold", "truth", "prediction", *probabilities, "correct"]
    assert list(read) == head
    assert read["file"].tolist() == given["recording"].tolist()
    assert read["fold"].tolist() == ["" if fold < 0 else str(fold) for fold in given["fold"]]
    names, scores = np.array(["clear", "mask"]), scores_of(given)
    truth = names[[int(corpus.by_name[name].truth[0]) for name in read["file"]]]
    assert read["truth"].tolist() == truth.tolist()
    assert read["speaker"].tolist() == [corpus.by_name[name].speaker for name in read["file"]]
    assert read["prediction"].tolist() == names[scores.argmax(1)].tolist()
    np.testing.assert_allclose(read[probabilities].astype(float), scores, atol=6e-6)
    assert ((read["correct"] == "yes") == (read["truth"] == read["prediction"])).all()


def test_hidden_labels_and_unknown_speakers_are_empty(tmp_path, fakes, write):
    read, _ = write(fakes.mask(tmp_path, test_truth=False, known=False))
    test = read[read["partition"] == "test"]
    assert len(test)
    assert (test[["speaker", "fold", "truth", "correct"]] == "").all(axis=None)
    assert (read[read["partition"] != "test"]["correct"] != "").all()


def test_a_sequence_with_several_seeds(tmp_path, fakes, write):
    read, given = write(fakes.breathing(tmp_path, audio=False, seconds=8), seeds=2)
    assert list(read) == ["file", "time", "speaker", "partition", "fold", "seed", "truth", "prediction"]
    assert read["time"][:3].tolist() == ["0.00", "0.04", "0.08"]
    assert set(read["seed"]) == {"0", "1", ""}
    assert read["prediction"].tolist() == [f"{value:.5f}" for value in given["score_0"]]


def test_an_ordinal_scale_with_names(tmp_path, fakes):
    levels = ("low", "medium", "high")
    corpus = fakes.mask(tmp_path, test_truth=False, task=replace(fakes.MASK, classes=levels))
    data = replace(fakes.data(corpus), kind="ordinal", classes=(), levels=levels)
    validation, test = (fakes.predict(corpus, corpus.partition(name)) for name in ("devel", "test"))
    positions = np.resize([-0.7, 0.4, 0.6, 1.2, 1.8, 2.9], len(validation))
    validation = validation[[*KEYS, "partition", "fold", "seed"]].assign(fold=0, score_0=positions)
    readable_predictions.write(tmp_path / "out.csv", validation, test[list(validation)].assign(score_0=0.1), data)
    read = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert list(read)[-4:] == ["truth", "prediction", "true_level", "predicted_level"]
    assert read["predicted_level"][:6].tolist() == ["low", "low", "medium", "medium", "high", "high"]
    known = read["truth"] != ""
    assert known.sum() == len(validation)
    assert read["true_level"][known].tolist() == [levels[int(position)] for position in read["truth"][known]]
    assert (read[~known][["truth", "true_level"]] == "").all(axis=None)
    assert (read[~known]["predicted_level"] == "low").all()


def test_names_with_commas_and_quotes(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, speakers=(1, 1, 1), clips=2)
    data, test = fakes.data(corpus), fakes.predict(corpus, corpus.partition("test"))
    odd = {test["recording"][0]: 'a,"b"\u00e9.wav'}
    test, data.labels["recording"] = test.replace({"recording": odd}), data.labels["recording"].replace(odd)
    readable_predictions.write(tmp_path / "out.csv", test[:0], test, data)
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == test["recording"].tolist()
