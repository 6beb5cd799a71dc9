from pathlib import Path

import numpy as np

from jaxpara.corpora.audio import AudioInfo
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.tasks import TASKS


def recording(name, times_s=(0.0,), labels=(1.0,), truth=(1.0,), **audio):
    arrays = (np.array(values, float) for values in (times_s, labels, truth))
    return Recording(name, Path(name), name.split("_")[0], name[-1], *arrays, **audio)


def corpus(*recordings):
    return Corpus(TASKS["breathing"], Path(), recordings, 25.0)


def test_labels_are_a_table_in_corpus_order():
    test = recording("test_b", [0, 0.04, 0.0800000001], [np.nan] * 3, [0.5, np.nan, -0.5])
    table = corpus(test, recording("train_a", [0], [0.25], [0.25])).labels
    assert list(table) == ["recording", "time_s", "partition", "speaker", "label", "truth"]
    assert table["recording"].tolist() == ["test_b"] * 3 + ["train_a"]
    assert table["time_s"].tolist() == [0, 0.04, 0.08, 0]
    assert table["partition"].tolist() == ["test"] * 3 + ["train"]
    assert table["speaker"].tolist() == ["b"] * 3 + ["a"]
    np.testing.assert_array_equal(table["label"], [np.nan, np.nan, np.nan, 0.25])
    np.testing.assert_array_equal(table["truth"], [0.5, np.nan, -0.5, 0.25])
    assert corpus().labels.empty


def test_duplicates_are_pairs_with_one_recording_on_each_side():
    digests = {"train_0": "x", "train_1": "y", "devel_2": "x", "devel_3": "y", "test_4": "x", "test_5": "z"}
    digests |= {"train_6": "silence", "devel_7": "silence"}
    made = corpus(
        *(
            recording(name, audio=AudioInfo(digest=digest, frames=8, rate_hz=16_000, silent=digest == "silence"))
            for name, digest in digests.items()
        )
    )
    train, devel, test = ([r.name for r in made.partition(part)] for part in ("train", "devel", "test"))
    assert made.duplicates(train, devel) == [("train_0", "devel_2"), ("train_1", "devel_3")]
    assert made.duplicates(devel, train) == made.duplicates(train, devel)
    assert made.duplicates(train + devel, test) == [("train_0", "test_4"), ("devel_2", "test_4")]
    assert made.duplicates(train, train) == []
    assert corpus().duplicates([], []) == []
