"""Splits that are made, written and read again."""

import numpy as np
import pandas as pd
import pytest
from own import Own

from jaxpara.corpora import partitions
from jaxpara.corpora.splits import devel_or_folds, leaks, require_classes, unscored_classes
from jaxpara.errors import UserError

VOICES = [f"v{i:02d}" for i in range(10)]
FILES = [f"{voice}_{i}.wav" for voice in VOICES for i in range(6)]


def corpus(tmp_path, *, speakers=True, labels=lambda i: "abc"[i % 3], extra=None, **config):
    own = Own(tmp_path / "corpus", FILES, **config)
    header = "file,label" + ",speaker" * speakers + (f",{extra[0]}" if extra else "")
    rows = [f"{n},{labels(i)}{f',{n[:3]}' * speakers}{f',{extra[1](i)}' if extra else ''}" for i, n in enumerate(FILES)]
    return own.table([header, *rows])


def sizes(corpus):
    return [len(corpus.partition(part)) for part in ("train", "devel", "test")]


def counts(corpus, names):
    return np.bincount([int(corpus.by_name[name].labels[0]) for name in names], minlength=3).tolist()


def test_a_holdout_keeps_speakers_apart(tmp_path):
    read = corpus(tmp_path).read()
    assert sizes(read) == [36, 12, 12]
    sides = [{r.speaker for r in read.partition(part)} for part in ("train", "devel", "test")]
    assert [len(side) for side in sides] == [6, 2, 2]
    assert len(set.union(*sides)) == 10


def test_a_holdout_without_speakers_is_stratified_and_warned_of(tmp_path):
    own = corpus(tmp_path, speakers=False)
    read = own.read()
    assert sizes(read) == [36, 12, 12]
    assert counts(read, [r.name for r in read.partition("devel")]) == [4, 4, 4]
    (line,) = own.listed()
    assert line.startswith("warning: labels.csv: the speakers of 60 of 60 recordings are not known, so that the same")


def test_numbers_are_stratified_by_size(tmp_path):
    read = corpus(tmp_path, speakers=False, labels=lambda i: i, task="values").read()
    for part in ("train", "devel", "test"):
        labels = [r.labels[0] for r in read.partition(part)]
        fifths = np.bincount(np.array(labels, int) // 12, minlength=5)
        assert fifths.max() - fifths.min() <= 3
        assert fifths.min() > 0


def test_a_holdout_does_not_depend_on_the_order_of_rows(tmp_path):
    own = corpus(tmp_path)
    of = [{r.name: r.partition for r in own.read().recordings}]
    lines = (own.root / "labels.csv").read_text().splitlines()
    own.table([lines[0], *reversed(lines[1:])])
    assert {r.name: r.partition for r in own.read().recordings} == of[0]


def test_a_recording_without_a_speaker_counts_as_a_speaker_of_its_own(tmp_path):
    own = corpus(tmp_path)
    lines = (own.root / "labels.csv").read_text().splitlines()
    own.table([*lines[:-1], lines[-1].rpartition(",")[0] + ","])
    read = own.read()
    sides = [{r.speaker for r in read.partition(part)} - {""} for part in ("train", "devel", "test")]
    assert len(set.union(*sides)) == sum(len(side) for side in sides) == 10
    (few, unknown) = own.listed()
    assert few.startswith("warning: labels.csv: 11 speakers, of whom the test partition gets about 2")
    assert unknown.startswith("warning: labels.csv: the speakers of 1 of 60 recordings are not known")
    folds = devel_or_folds(own.read(split="folds"))
    assert not any(leaks(own.read(split="folds"), fold) for fold in folds)


@pytest.mark.parametrize("place", ["column", "speakers.csv", "split.csv"])
@pytest.mark.parametrize("marker", ["", "?", "NA", "NaN"])
def test_speakers_that_a_table_marks_as_unknown(tmp_path, place, marker):
    own = Own(tmp_path / "corpus", [f"wav/{name}" for name in FILES[:4]])
    (own.root / "lab").mkdir()
    speaker, part = [marker, "ann", marker, "bob"], ["train", "devel", "test", "test"]
    rows = [",".join(row) for row in zip(FILES[:4], "abab", speaker, part, strict=True)]
    own.table([f"file,label,{'speaker' if place == 'column' else 'other'},split", *rows], "lab/labels.csv")
    if place != "column":
        own.table(["file,label,speaker,split", *rows], f"lab/{place}")
    read = own.read(table="", split=str(own.root / "lab" / place) if place == "split.csv" else "")
    assert [recording.speaker for recording in read.recordings] == ["", "ann", "", "bob"]


@pytest.mark.parametrize("place", ["column", "speakers.csv"])
def test_a_speaker_in_two_partitions_is_listed_once(tmp_path, place):
    own = Own(tmp_path / "corpus", [f"wav/{name}" for name in FILES[:12]])
    (own.root / "lab").mkdir()
    rows = [f"{name},{'ab'[i % 2]},{'train' if i % 6 < 3 else 'test'},{name[:3]}" for i, name in enumerate(FILES[:12])]
    own.table([f"file,label,split,{'speaker' if place == 'column' else 'other'}", *rows], "lab/labels.csv")
    if place == "speakers.csv":
        own.table(["file,label,split,speaker", *rows], "lab/speakers.csv")
    lines = [line for line in own.listed(table="") if "speaker '" in line]
    where = ["lab/labels.csv, row 5", "lab/labels.csv, row 11"] if place == "column" else ["lab/speakers.csv"] * 2
    assert [line.partition(": speaker")[0] for line in lines] == [f"warning: {place}" for place in where]
    assert "'v01' is in train ('v01_0.wav') and in test ('v01_3.wav')" in lines[1]


def test_classes_that_a_fold_lacks(tmp_path):
    read = corpus(tmp_path, labels=lambda i: "ab"[i < 6], split="folds").read()  # only one speaker has b
    folds = devel_or_folds(read, n=3)
    (without,) = [fold.index for fold in folds if FILES[0] in fold.val_names]
    with pytest.raises(UserError, match=rf"^here: the training set of fold {without} has fewer than 1 recordings of b"):
        require_classes(read, folds, "here", 1)
    others = [fold for fold in folds if fold.index != without]
    require_classes(read, others, "here", 6)
    with pytest.raises(UserError, match=r"fewer than 7 recordings of b; .*, or set learner\.probabilities to False"):
        require_classes(read, others, "here", 7)
    assert [line.partition(":")[0] for line in unscored_classes(read, folds)] == [
        f"the validation set of fold {fold.index} has no recording of b" for fold in others
    ]


def test_too_few_speakers_for_a_holdout(tmp_path):
    own = Own(tmp_path / "two", FILES[:12]).table(["file,label,speaker", *(f"{n},{n[4]},{n[:3]}" for n in FILES[:12])])
    with pytest.raises(UserError, match=r"2 speakers, too few .* config\.corpus\.split=folds"):
        own.read()


@pytest.mark.parametrize("speakers", [True, False])
@pytest.mark.parametrize("kind", ["classes", "values", "ordinal"])
def test_devel_or_folds_without_devel(tmp_path, speakers, kind):
    labels = {"classes": lambda i: "abc"[i % 3], "values": lambda i: i / 7, "ordinal": lambda i: i % 5}[kind]
    read = corpus(tmp_path, speakers=speakers, labels=labels, task=kind, split="folds").read()
    assert sizes(read) == [60, 0, 0]
    folds = devel_or_folds(read, n=5)
    assert sorted(name for fold in folds for name in fold.val_names) == sorted(FILES)
    assert all(sorted((*fold.train_names, *fold.val_names)) == sorted(FILES) for fold in folds)
    assert [len(fold.val_names) for fold in folds] == [12] * 5
    assert [fold.test_names for fold in folds] == [()] * 5
    if speakers:
        assert [leaks(read, fold) for fold in folds] == [[]] * 5
    elif kind == "classes":
        assert [counts(read, fold.val_names) for fold in folds] == [[4, 4, 4]] * 5
    assert devel_or_folds(read, n=3) == devel_or_folds(read, n=3) != devel_or_folds(read, n=3, seed=13)


def test_devel_or_folds_with_devel_is_official(tmp_path):
    (fold,) = devel_or_folds(corpus(tmp_path).read())
    assert [len(names) for names in (fold.train_names, fold.val_names, fold.test_names)] == [36, 12, 12]


def test_folds_of_the_corpus_itself(tmp_path):
    read = corpus(tmp_path, extra=("fold", lambda i: i % 11 + 1)).read()
    assert sizes(read) == [60, 0, 0]
    folds = devel_or_folds(read, n=5)
    assert len(folds) == 11
    assert [set(fold.val_names) for fold in folds] == [set(FILES[index::11]) for index in range(11)]


def test_folds_that_a_corpus_does_not_allow(tmp_path):
    read = corpus(tmp_path, split="folds").read()
    with pytest.raises(UserError, match=r"folds\.n is 11, but there are 10 speakers in train; use fewer folds"):
        devel_or_folds(read, n=11)
    with pytest.raises(UserError, match=r"folds\.n is 1, expected at least 2"):
        devel_or_folds(read, n=1)


@pytest.mark.parametrize("split", ["holdout", "folds"])
@pytest.mark.parametrize("speakers", [True, False])
def test_a_split_csv_gives_the_same_partitions_and_folds(tmp_path, split, speakers):
    own = corpus(tmp_path, split=split, speakers=speakers)
    read, path = own.read(), tmp_path / "split.csv"
    folds = devel_or_folds(read)
    partitions.write(path, read, [{"name": "devel_or_folds", "only": (0,)}])
    table = pd.read_csv(path, keep_default_na=False)
    assert list(table.columns) == ["file", "speaker", "split", "fold"]
    assert table["fold"].eq("").all() == (split == "holdout")
    again = own.read(split=str(path))
    assert {r.name: (r.partition, r.speaker) for r in again.recordings} == {
        r.name: (r.partition, r.speaker) for r in read.recordings
    }
    same = devel_or_folds(again, seed=99)
    assert [(set(f.train_names), f.val_names, f.test_names) for f in same] == [
        (set(f.train_names), f.val_names, f.test_names) for f in folds
    ]


def test_a_split_csv_that_does_not_fit(tmp_path):
    own, path = corpus(tmp_path), tmp_path / "split.csv"
    path.write_text("file,split\n" + "".join(f"{name},train\n" for name in [*FILES[1:], "other.wav"]))
    lines = own.listed(split=str(path))
    assert lines[0].startswith("error: labels.csv, row 2: 'v00_0.wav' is not in ")
    assert "no recording of the corpus is named 'other.wav'" in lines[1]
    with pytest.raises(UserError, match=r"config\.corpus\.split is 'holdouts', .*did you mean 'holdout'\?"):
        own.read(split="holdouts")


def test_a_rare_class_is_warned_of(tmp_path):
    own = corpus(tmp_path, labels=lambda i: "ab"[i < 5], split="folds")
    (line,) = own.listed()
    assert line.startswith("warning: labels.csv: train has 55 recordings of 'a' and 5 of 'b'")
    assert corpus(tmp_path, labels=lambda i: "ab"[i < 12], split="folds").listed() == []
