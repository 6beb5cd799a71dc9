"""The submission: right to the character, or not written at all."""

from dataclasses import replace

import numpy as np
import pytest

from jaxpara.corpora.corpus import Corpus
from jaxpara.errors import UserError
from jaxpara.evaluation import submission


@pytest.fixture
def sequence(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, speakers=(1, 0, 2), audio=False, test_truth=False)
    return corpus, fakes.predict(corpus, corpus.partition("test"))


def test_a_sequence_in_corpus_order(tmp_path, fakes, sequence):
    corpus, predictions = sequence
    path = tmp_path / "submission" / "breathing.csv"
    mixed = np.random.default_rng(0).permutation(len(predictions))
    submission.write(path, predictions.iloc[mixed], fakes.data(corpus))
    lines = path.read_bytes().decode().split("\n")
    assert lines[0] == "filename,timeFrame,prediction"
    assert lines[-1] == ""
    values = predictions["score_0"]
    expected = [
        f"test_0{file}.wav,{frame // 25}.{frame % 25 * 4:02d},{values[file * 1000 + frame]:.5f}"
        for file in range(2)
        for frame in range(1000)
    ]
    assert lines[1:-1] == expected


@pytest.mark.parametrize(("period_s", "written"), [(0.1, "0.10"), (0.0125, "0.0125"), (0.001, "0.001")])
def test_times_keep_the_decimals_they_need(tmp_path, fakes, sequence, period_s, written):
    corpus, predictions = sequence
    recordings = [replace(r, times_s=np.arange(1000) * period_s) for r in corpus.recordings]
    predictions = predictions.assign(time_s=np.round(np.tile(np.arange(1000) * period_s, 2), 6))
    corpus = Corpus(corpus.task, corpus.root, tuple(recordings), 1 / period_s)
    submission.write(tmp_path / "s.csv", predictions, fakes.data(corpus))
    assert (tmp_path / "s.csv").read_text().splitlines()[2].split(",")[1] == written


def test_classes_by_name(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, test_truth=False)
    predictions = fakes.predict(corpus, corpus.partition("test"))
    submission.write(tmp_path / "s.csv", predictions.iloc[::-1], fakes.data(corpus))
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "file_name,prediction"
    likely = np.where(predictions["score_1"] > 0.5, "mask", "clear")
    assert lines[1:] == [f"{r.name},{name}" for r, name in zip(corpus.partition("test"), likely, strict=True)]


def test_all_rows_of_the_masks_real_test_partition(tmp_path, fakes):
    like = fakes.mask(tmp_path, speakers=(0, 0, 1), test_truth=False)
    names = [f"test_{number:05d}.wav" for number in range(1, 11_013)]
    clips = tuple(replace(like.recordings[0], name=name) for name in names)
    corpus = Corpus(like.task, like.root, clips, 0.0)
    submission.write(tmp_path / "s.csv", fakes.predict(corpus, clips), fakes.data(corpus))
    rows = [line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == names
    assert {row[1] for row in rows} == {"clear", "mask"}


def test_a_comma_in_a_file_name_is_quoted(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, speakers=(0, 0, 1))
    odd = replace(corpus.recordings[0], name='a,"b".wav')
    corpus = Corpus(corpus.task, corpus.root, (odd,), 0.0)
    submission.write(tmp_path / "s.csv", fakes.predict(corpus, corpus.recordings), fakes.data(corpus))
    assert (tmp_path / "s.csv").read_text().splitlines()[1].startswith('"a,""b"".wav",')


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "1 missing; the first missing is test_00.wav at 0.28 s"),
        ("extra", "2 missing, 2 not a label of the test partition; the first missing is test_00.wav at 0.28 s"),
        ("duplicated", "1 duplicated; the first duplicated is test_00.wav at 0.28 s"),
        ("NaN", "2 NaN or infinite; the first NaN or infinite is test_00.wav at 0.28 s"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_touched(tmp_path, fakes, sequence, how, message):
    corpus, predictions = sequence
    path = tmp_path / "s.csv"
    path.write_text("yesterday's")
    with pytest.raises(UserError, match="submission not written: of the 2000 labels") as error:
        submission.write(path, fakes.spoil(predictions, how), fakes.data(corpus))
    assert message in str(error.value)
    assert path.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [path]


def test_no_test_partition(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, speakers=(2, 2, 0))
    with pytest.raises(UserError, match="no test recordings"):
        submission.write(tmp_path / "s.csv", fakes.predict(corpus, ()), fakes.data(corpus))
