"""Databases of audformat, written by audformat itself."""

import builtins

import pandas as pd
import pytest
from own import Own

from jaxpara.errors import UserError

audformat = pytest.importorskip("audformat")
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, for audformat's own code

FILES = [f"wav/{i}.wav" for i in range(6)]


def saved(root, tables, *, splits=None, segments=None, **config):
    """Write a database with {table: {column: values}}."""
    own = Own(root, FILES, **config)
    database = audformat.Database("made up")
    for kind in ("train", "dev", "test"):
        database.splits[kind] = audformat.Split(type=kind)
    for table, columns in tables.items():
        index = audformat.filewise_index(FILES) if segments is None else segments
        database[table] = audformat.Table(index, split_id=(splits or {}).get(table))
        for name, values in columns.items():
            database[table][name] = audformat.Column()
            database[table][name].set(values)
    database.save(str(root), storage_format="csv")
    return own


EMOTION = ["joy", "fear", None, "joy", "fear", "joy"]


def test_a_table_with_speakers_in_another(tmp_path):
    tables = {"emotion": {"emotion": EMOTION[:2] * 3}, "files": {"speaker": list("abcabc")}}
    own = saved(tmp_path / "db", tables, table="emotion", split="folds")
    corpus = own.read()
    assert [r.name for r in corpus.recordings] == FILES
    assert [r.speaker for r in corpus.recordings] == list("abcabc")
    assert (corpus.task.classes, corpus.task.target) == (("fear", "joy"), "emotion")
    assert [r.labels[0] for r in corpus.recordings] == [1, 0, 1, 0, 1, 0]


def test_splits_of_tables_and_hidden_labels(tmp_path):
    tables = {"train": {"emotion": EMOTION}}
    own = saved(tmp_path / "db", tables, splits={"train": "train"})
    (line, *_) = own.listed()
    assert line.startswith("error: db.train.csv, row 4: 'wav/2.wav' has the label '', which only test recordings may")
    tables = {"train": {"emotion": EMOTION[:2] * 3}, "more": {"emotion": EMOTION[:2] * 3}}
    own = saved(tmp_path / "two", tables, splits={"train": "train", "more": "test"}, table="train,more")
    assert "'wav/0.wav' is in two splits" in own.listed()[0]


def test_numbers_of_a_chosen_column(tmp_path):
    own = saved(tmp_path / "db", {"all": {"valence": [0.5, 1, 2, 3, 4, 5]}}, task="values", target="valence")
    assert own.read(split="folds").task.limits == (0.5, 5.0)


def test_segments_are_a_sequence(tmp_path):
    starts = pd.to_timedelta([i * 0.02 for _ in FILES for i in range(5)], unit="s")
    segments = audformat.segmented_index([f for f in FILES for _ in range(5)], starts, starts + pd.Timedelta("20ms"))
    own = saved(tmp_path / "db", {"belt": {"belt": [i / 30 for i in range(30)]}}, segments=segments, target="belt")
    corpus = own.read(task="sequence", split="folds")
    assert (corpus.label_rate_hz, len(corpus.recordings), len(corpus.recordings[0].labels)) == (50, 6, 5)
    with pytest.raises(UserError, match="labels a segment, expected labels of whole files"):
        own.read(split="folds")


def test_what_is_not_there(tmp_path):
    own = saved(tmp_path / "db", {"a": {"x": EMOTION}, "emotions": {"emotion": EMOTION}})
    with pytest.raises(UserError, match=r"db\.yaml: its tables are a, emotions; choose one or more"):
        own.read()
    with pytest.raises(UserError, match=r"no table 'emotion' among a, emotions; did you mean 'emotions'\?"):
        own.read(table="emotion")
    with pytest.raises(UserError, match=r"db\.a\.csv: no label column among x; .*config\.corpus\.target"):
        own.read(table="a")
    (own.root / "db.a.pkl").write_bytes(b"")
    with pytest.raises(UserError, match=r"db\.a\.pkl: a pickle, which can execute code"):
        own.read(table="a")


def test_without_audformat(tmp_path, monkeypatch):
    own = saved(tmp_path / "db", {"a": {"emotion": EMOTION}})
    imported = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "audformat":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"needs audformat, which is not installed; pip install 'jaxpara\[audformat\]'"):
        own.read()
