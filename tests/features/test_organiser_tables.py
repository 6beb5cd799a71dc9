"""The organisers' feature files are read exactly, and errors name the file and the row."""

from pathlib import Path

import numpy as np
import organisers
import pytest

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.features import organiser_tables
from jaxpara.features.organiser_tables import Format

RNG = np.random.default_rng(0)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setitem(organiser_tables.FORMATS, "ComParE", Format(5, ";"))
    monkeypatch.setitem(organiser_tables.FORMATS, "BoAW-125", Format(4, ";", header=False))
    monkeypatch.setitem(organiser_tables.FORMATS, "auDeep-30", Format(3, ",", leading=2))
    zero = np.zeros(1)
    names = [f"{part}_{i:05d}.wav" for part in ("train", "devel", "test") for i in (1, 2, 3)]
    recordings = tuple(Recording(n, Path(n), n.split("_")[0], "", zero, zero, zero) for n in names)
    (tmp_path / "features").mkdir()
    return Corpus(TASKS["mask"], tmp_path, recordings, 0.0, label_file=tmp_path / "lab" / "labels.csv")


def written(corpus, name):
    count = organiser_tables.FORMATS[name].columns
    features = {r.name: RNG.normal(size=count).astype(np.float32) for r in corpus.recordings}
    for part in ("train", "devel", "test"):
        own = {n: v for n, v in features.items() if n.startswith(part)}
        organisers.write(organiser_tables.path_of(corpus, name, part), name, own)
    return features


@pytest.mark.parametrize("name", ["ComParE", "BoAW-125", "auDeep-30"])
def test_round_trip_to_the_last_bit(corpus, name):
    assert not organiser_tables.available(corpus, name, "features")
    features = written(corpus, name)
    assert organiser_tables.available(corpus, name, "features")
    read = organiser_tables.read(corpus, name)
    assert read.keys() == features.keys()
    for recording in features:
        np.testing.assert_array_equal(read[recording], features[recording])


def test_order_quotes_and_endings_do_not_matter(corpus):
    features = written(corpus, "ComParE")
    path = organiser_tables.path_of(corpus, "ComParE", "devel")
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"'{row.replace('.wav', '')}".replace(";", "';", 1) for row in rows[::-1])]))
    np.testing.assert_array_equal(
        organiser_tables.read(corpus, "ComParE")["devel_00002.wav"], features["devel_00002.wav"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], r"devel.csv: no row for 'devel_00003' of .*labels.csv; use"),
        (lambda rows: rows[:-2], r"devel.csv: no row for 'devel_00002' and 1 more recordings of .*labels.csv; use"),
        (lambda rows: [*rows, rows[1].replace("00001", "00009")], r"devel.csv, row 5: .* has no devel .*'devel_00009'"),
        (lambda rows: [*rows, rows[1]], r"devel.csv, row 5: 'devel_00001' is also in row 2"),
        (
            lambda rows: [rows[0], rows[1] + ";1", *rows[2:]],
            r"devel.csv, row 2: 7 columns, expected 6 separated by ';'",
        ),
        (lambda rows: [rows[0], "devel_00001.wav;1;2;x;4;5", *rows[2:]], r"devel.csv, row 2: .*'x'"),
        (
            lambda rows: [rows[0], "devel_00001.wav;1;2;nan;4;5", *rows[2:]],
            r"devel.csv, row 2: not a finite number in column 4",
        ),
    ],
)
def test_the_error_names_the_row_that_does_not_fit(corpus, change, message):
    written(corpus, "ComParE")
    path = organiser_tables.path_of(corpus, "ComParE", "devel")
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(UserError, match=message):
        organiser_tables.read(corpus, "ComParE")


def test_byte_order_marks_are_ignored_and_broken_bytes_refused(corpus):
    features = written(corpus, "BoAW-125")
    path = organiser_tables.path_of(corpus, "BoAW-125", "train")
    content = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + content)
    np.testing.assert_array_equal(
        organiser_tables.read(corpus, "BoAW-125")["train_00001.wav"], features["train_00001.wav"]
    )
    path.write_bytes(content + b"train_00004.wav;1;2;3;\xe9\n")
    with pytest.raises(UserError, match=r"train.csv, row 4: could not convert"):
        organiser_tables.read(corpus, "BoAW-125")


def test_missing_partitions_and_unknown_sets_are_refused(corpus):
    written(corpus, "ComParE")
    organiser_tables.path_of(corpus, "ComParE", "test").unlink()
    with pytest.raises(UserError, match=r"ComParE.test.csv: missing"):
        organiser_tables.read(corpus, "ComParE")
    with pytest.raises(
        UserError, match=r"^config\.members\.svm\.features\.table is 'BoAW-200'.* did you mean 'BoAW-2000'"
    ):
        organiser_tables.available(corpus, "BoAW-200", "members.svm.features")


def test_constant_columns_are_reported(corpus, caplog):
    features = written(corpus, "ComParE")
    own = {n: np.r_[7, v[1:]] for n, v in features.items() if n.startswith("train")}
    organisers.write(organiser_tables.path_of(corpus, "ComParE", "train"), "ComParE", own)
    organiser_tables.read(corpus, "ComParE")
    assert "1 of 5 features are constant in train" in caplog.text


def test_the_sets_have_the_published_sizes():
    assert {name: form.columns for name, form in organiser_tables.FORMATS.items() if "BoAW" in name} == {
        f"BoAW-{n}": 2 * n for n in (125, 250, 500, 1000, 2000)
    }
    assert organiser_tables.FORMATS["ComParE"] == Format(6373, ";", True, 1)
    assert organiser_tables.FORMATS["auDeep-30"] == Format(1024, ",", True, 2)
    assert organiser_tables.FORMATS["auDeep-fused"] == Format(4096, ",", True, 2)
    assert organiser_tables.FORMATS["DeepSpectrum_resnet50"] == Format(2048, ",", True, 1)
