"""Tables of files and labels, and folders per class."""

import unicodedata

import numpy as np
import pytest
from own import Own

from jaxpara.errors import UserError

FILES = [f"{voice}/{emotion}.wav" for voice in ("ann", "bob", "cyd", "dan", "eve") for emotion in ("joy", "fear")]
ROWS = [f"{name},{name[4:-4]},{name[:3]}" for name in FILES]


@pytest.fixture
def emotions(tmp_path):
    """Five speakers with a recording of each of two classes; row 2 is ann/joy.wav."""
    return Own(tmp_path / "emotions", FILES).table(["file,emotion,speaker", *ROWS])


def test_classes_speakers_and_a_split(emotions):
    corpus = emotions.read()
    assert (corpus.task.name, corpus.task.classes, corpus.task.target) == ("emotions", ("fear", "joy"), "emotion")
    assert [r.name for r in corpus.recordings] == FILES
    assert [r.labels.tolist() for r in corpus.recordings[:2]] == [[1], [0]]
    assert [r.speaker for r in corpus.recordings[:3]] == ["ann", "ann", "bob"]
    sizes = {part: len(corpus.partition(part)) for part in ("train", "devel", "test")}
    assert sizes == {"train": 6, "devel": 2, "test": 2}
    (line,) = emotions.listed()
    assert line.startswith("warning: labels.csv: 5 speakers, of whom the test partition gets about 1: scores on so few")


@pytest.mark.parametrize("file", ["file", "filename", "file_name", "path", "filename_audio", "File", "PATH"])
@pytest.mark.parametrize("target", ["label", "target", "emotion", "Label"])
@pytest.mark.parametrize("speaker", ["speaker", "speaker_id", "subject"])
def test_usual_names_of_columns(emotions, file, target, speaker):
    emotions.table([f"{file};{target};{speaker}", *(row.replace(",", ";") for row in ROWS)], "usual.txt")
    corpus = emotions.read()
    assert corpus.task.target == target
    assert corpus.recordings[0].speaker == "ann"


def test_other_names_of_columns(emotions):
    emotions.table(["clip\tfeels\twho\tset", *("\t".join([*row.split(","), "training"]) for row in ROWS)], "other.tsv")
    columns = {"file": "clip", "speaker": "who", "split": "set", "time": None}
    corpus = emotions.read(target="feels", columns=columns)
    assert {r.partition for r in corpus.recordings} == {"train"}
    assert corpus.recordings[2].speaker == "bob"
    with pytest.raises(
        UserError, match=r"row 1: the first line is 'clip\\tfeels\\twho\\tset'; .*corpus\.columns\.file"
    ):
        emotions.read(target="feels")
    with pytest.raises(UserError, match=r"no label column among 'clip, feels, who, set'; .*config\.corpus\.target"):
        emotions.read(columns=columns)
    with pytest.raises(UserError, match=r"no speaker column among .*; did you mean 'who'\?"):
        emotions.read(target="feels", columns=columns | {"speaker": "whom"})


@pytest.mark.parametrize(
    "names", [("train", "dev", "eval"), ("Training", "validation", "TEST"), ("train", "val", "test")]
)
def test_splits_of_a_table(emotions, names):
    split = [names[0]] * 6 + [names[1]] * 2 + [names[2]] * 2
    emotions.table(["file,emotion,subset", *(f"{r[:-4]},{s}" for r, s in zip(ROWS, split, strict=True))])
    assert [r.partition for r in emotions.read().recordings] == ["train"] * 6 + ["devel"] * 2 + ["test"] * 2


def test_train_and_test_are_enough_and_labels_of_test_may_be_hidden(emotions):
    rows = [
        *(f"{row[:-4]},train" for row in ROWS[:8]),
        *(f"{name},{x},test" for name, x in zip(FILES[8:], ["NA", "None"], strict=True)),
    ]
    emotions.table(["file,emotion,split", *rows])
    corpus = emotions.read()
    assert len(corpus.partition("devel")) == 0
    assert corpus.task.classes == ("fear", "joy")
    assert all(np.isnan(r.labels[0]) for r in corpus.partition("test"))
    rows[0] = "ann/joy.wav,N/A,train"
    emotions.table(["file,emotion,split", *rows])
    (line, *_) = emotions.listed()
    assert line.startswith("error: labels.csv, row 2: 'ann/joy.wav' has the label 'N/A', which only test recordings")
    assert line.endswith("add the label, or, if it is a class or level, list all of them in config.corpus.classes")


def test_wrong_splits(emotions):
    rows = [f"{row[:-4]},train" for row in ROWS]
    emotions.table(["file,emotion,split", *rows[:-1], rows[-1].replace("train", "tests")])
    (line,) = emotions.listed()
    assert line.startswith("error: labels.csv, row 11: 'eve/fear.wav' has the split 'tests', expected train, devel or")
    assert "did you mean 'test'?" in line
    emotions.table(["file,emotion,split", *(row.replace("train", "1") for row in rows)])
    (line,) = emotions.listed()
    assert "none of its splits is train, devel or test, for example '1'" in line
    emotions.table(["file,emotion,split", *(row.replace("train", "test") for row in rows)])
    assert emotions.listed()[0].startswith("error: labels.csv: no recordings in the partition train")


def test_a_speaker_in_two_splits(emotions):
    rows = [f"{row},{'test' if 'fear' in row else 'train'}" for row in ROWS[:4]] + [f"{r},train" for r in ROWS[4:]]
    emotions.table(["file,emotion,speaker,split", *rows])
    lines = [line for line in emotions.listed() if "speaker 'ann'" in line]
    assert lines[0].startswith("warning: labels.csv, row 3: speaker 'ann' is in train ('ann/joy.wav') and in test")


def test_the_table_is_in_the_corpus_or_in_the_current_folder(emotions, tmp_path, monkeypatch):
    (emotions.root / "labels.csv").rename(tmp_path / "elsewhere.csv")
    monkeypatch.chdir(tmp_path)
    assert len(emotions.read(table="elsewhere.csv").recordings) == 10
    assert len(emotions.read(table=str(tmp_path / "elsewhere.csv")).recordings) == 10
    (emotions.root / "label.csv").write_text("")
    with pytest.raises(UserError, match=r"labels\.csv: no such file, .*did you mean 'label\.csv'\?"):
        emotions.read()


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg", "WAV"])
def test_any_audio(tmp_path, suffix):
    files = [f"{i}.{suffix}" for i in range(4)]
    own = Own(tmp_path / "any", files, split="folds").table(
        ["file,label", *(f"{f},{i % 2}" for i, f in enumerate(files))]
    )
    assert [r.name for r in own.read().recordings] == files
    assert not [line for line in own.listed() if line.startswith("error")]


def test_absolute_paths(emotions, tmp_path):
    emotions.table(["file,emotion", *(f"{emotions.root}/{row[:-4]}" for row in ROWS)])
    assert emotions.read().recordings[0].name == f"{emotions.root}/ann/joy.wav"
    emotions.table(["file,emotion", *(f"/old/disk/{row[:-4]}" for row in ROWS)])
    (line,) = emotions.listed()
    assert "none of its 10 names is a file in" in line
    assert "'/old/disk/ann/joy.wav' is not in the emotions folder; did you mean 'ann/joy.wav'?" in line


NFD = unicodedata.normalize("NFD", "ü.wav")


@pytest.mark.parametrize(
    ("there", "named", "hint"),
    [
        ("a.wav", "A.wav", "'a.wav'?"),
        ("a.WAV", "a.wav", "'a.WAV'?"),
        ("a.flac", "a.wav", "'a.flac'?"),
        ("a.wav", "a", "'a.wav'?"),
        ("a.wav", "./a.wav", "'a.wav'?"),
        ("a.wav", "wav/a.wav", "'a.wav'?"),
        ("wav/a.wav", "a.wav", "'wav/a.wav'?"),
        ("sub/a.wav", "sub\\a.wav", "'sub/a.wav'?"),
        (NFD, "ü.wav", f"{NFD!r}, which has another Unicode normalisation?"),
        ("ü.wav", NFD, "'ü.wav', which has another Unicode normalisation?"),
    ],
)
def test_names_that_are_nearly_those_of_files(tmp_path, there, named, hint):
    own = Own(tmp_path / "names", [there, "right.wav"]).table(["file,label", "right.wav,x", f"{named},y"])
    (line,) = own.listed()
    assert line.startswith(f"error: labels.csv, row 3: {named!r} is not ")
    assert f"; did you mean {hint}" in line


def test_names_of_nothing_are_one_finding(emotions):
    emotions.table(["file,emotion", *(f"{i}.wav,{i % 2}" for i in range(300))])
    (line,) = emotions.listed()
    assert "none of its 300 names is a file" in line
    assert "there are 'ann/fear.wav', 'ann/joy.wav', 'bob/fear.wav'" in line


def test_audio_without_rows_is_one_warning(emotions):
    emotions.table(["file,emotion,speaker", *ROWS[:6]])
    warning = "warning: labels.csv: 4 audio files have no row, for example 'joy.wav'; add their rows if they belong to"
    assert emotions.listed()[1:] == [f"{warning} the corpus"]


def test_absolute_names_and_links_out_of_the_folder(emotions):
    rows = [line.split(",", 1) for line in ROWS]
    emotions.table(["file,emotion,speaker", *(f"{emotions.root / file},{rest}" for file, rest in rows)])
    assert len(emotions.listed()) == 1  # of few speakers
    assert len(emotions.read().recordings) == len(ROWS)
    elsewhere = emotions.root.parent / "elsewhere.wav"
    (emotions.root / rows[0][0]).rename(elsewhere)
    (emotions.root / rows[0][0]).symlink_to(elsewhere)
    emotions.table(["file,emotion,speaker", *ROWS])
    assert len(emotions.listed()) == 1
    assert len(emotions.read().recordings) == len(ROWS)


def numbers(tmp_path, labels, **config):
    files = [f"{i}.wav" for i in range(len(labels))]
    own = Own(tmp_path / "numbers", files, **({"task": "values", "split": "folds"} | config))
    return own.table(["file,label", *(f"{name},{label}" for name, label in zip(files, labels, strict=True))])


def test_values(tmp_path):
    task = numbers(tmp_path, ["0.5", "-3", "1e1", "7"]).read().task
    assert (task.kind, task.limits, task.classes, task.measure) == ("values", (-3.0, 10.0), (), "CCC")


@pytest.mark.parametrize("split", ["folds", "holdout"])
@pytest.mark.parametrize("task", ["values", "ordinal"])
def test_numbers_that_are_all_equal(tmp_path, task, split):
    own = numbers(tmp_path, ["1"] * 10, task=task, split=split)
    assert own.listed()[0].startswith("error: labels.csv: all labels of the training data are 1, from which")


def test_limits_ignore_the_test_partition(tmp_path):
    own = numbers(tmp_path, ["1", "2", "9"])
    own.table(["file,label,split", "0.wav,1,train", "1.wav,2,train", "2.wav,9,test"])
    assert own.read().task.limits == (1.0, 2.0)


def test_ordinal_values_and_levels(tmp_path):
    own = numbers(tmp_path, ["3", "1", "5"], task="ordinal", measure="Spearman")
    assert (own.read().task.limits, own.read().task.measure) == ((1.0, 5.0), "Spearman")
    own = numbers(tmp_path, ["3", "1.5", "5"], task="ordinal")
    assert own.listed()[0].startswith("error: labels.csv, row 3: label '1.5', expected a whole number")
    own = numbers(tmp_path, ["mid", "low", "high"], task="ordinal")
    assert "it has the labels 'mid', 'low', 'high'; none is a whole number, or for names of levels" in own.listed()[0]
    own = numbers(tmp_path, ["mid", "low", "high"], task="ordinal", classes=("low", "mid", "high"))
    assert [r.labels[0] for r in own.read().recordings] == [1, 0, 2]
    assert own.read().task.limits == (0.0, 2.0)


def test_the_order_of_classes(tmp_path):
    assert numbers(tmp_path, ["10", "9", "10"], task="classes").read().task.classes == ("9", "10")
    own = numbers(tmp_path, ["b", "a", "b"], task="classes", classes=("b", "a"))
    assert [r.labels[0] for r in own.read().recordings] == [0, 1, 0]
    assert (
        "label 'b', expected one of a, c"
        in numbers(tmp_path, ["b", "a", "c"], task="classes", classes=("a", "c")).listed()[0]
    )
    for labels in (["s", "S", "t"], ["A", "NA", "None"], ["1", "1.0", "2"]):
        own = numbers(tmp_path, labels, task="classes", classes=labels)
        assert own.read().task.classes == tuple(labels)
    own = numbers(tmp_path, ["0.0", "1", "2"], task="classes", classes=("0", "1", "2"))
    assert "label '0.0', expected one of 0, 1, 2; did you mean '0'?" in own.listed()[0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["a", "a", "a"], "its labels are 'a', expected two or more classes"),
        (["a", "None", "a"], "if None or NA is a class, list all of them in config.corpus.classes"),
        (["1", "1.0", "2"], "its labels '1' and '1.0' would be two classes; write them alike, or list all classes"),
        (["01", "1", "none"], "its labels '01' and '1' would be two classes"),
        (["Mask", "clear", "mask"], "its labels 'Mask' and 'mask' would be two classes"),
        ([f"{i / 7:.4f}" for i in range(30)], "30 different labels in 30 rows"),
    ],
)
def test_labels_that_are_not_classes(tmp_path, labels, words):
    assert words in numbers(tmp_path, labels, task="classes").listed()[0]


def test_decimal_commas_are_one_finding(tmp_path):
    own = numbers(tmp_path, ["1", "2", "3"])
    own.table(["file;label", "0.wav;0,5", "1.wav;0,6", "2.wav;0,7"])
    (line,) = own.listed()
    assert (
        "it has the labels '0,5', '0,6', '0,7'; none is a finite number with a decimal point; did you mean '0.5'"
        in line
    )


SEQUENCE = [
    f"{name},{i * 0.02:.2f},{np.sin(i + ord(name[0])):.4f}" for name in ("a.wav", "b.wav", "c.wav") for i in range(5)
]


@pytest.fixture
def belt(tmp_path):
    own = Own(tmp_path / "belt", ["a.wav", "b.wav", "c.wav"], task="sequence", target="belt", split="folds")
    return own.table(["file,time,belt", *SEQUENCE])


def test_sequences(belt):
    corpus = belt.read()
    assert (corpus.label_rate_hz, corpus.task.measure) == (50, "PCC")
    assert corpus.task.limits == (corpus.labels["label"].min(), corpus.labels["label"].max())
    assert len(corpus.recordings[1].labels) == 5
    assert [line for line in belt.listed() if "speakers" not in line] == []


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (
            lambda s: f"{s * 1000:.0f}",
            "the labels of 'a.wav' go to 80 s, its audio to 0.10 s: did you mean milliseconds?",
        ),
        (
            lambda s: f"{s * 16_000:.0f}",
            "the labels of 'a.wav' go to 1280 s, its audio to 0.10 s: did you mean samples?",
        ),
        (lambda s: f"0 days 00:00:{s:05.2f}", "all times are like '0 days 00:00:00.00', expected seconds as a number"),
        (lambda s: f"0 days 00:00:{s + 1:05.2f}", "did you mean '1'?"),
        (
            lambda s: f'"{s:.2f}"'.replace(".", ","),
            "all times are like '0,00', expected seconds as a number; did you mean '0.00'",
        ),
    ],
)
def test_times_in_another_form_are_one_finding(belt, time, words):
    rows = [row.split(",") for row in SEQUENCE]
    belt.table(["file,time,belt", *(f"{name},{time(float(at))},{value}" for name, at, value in rows)])
    (line,) = [line for line in belt.listed() if line.startswith("error")]
    assert words in line


def test_lines_above_the_header(emotions):
    for above in (["# made by R"], ["Emotions of 2024", ""]):
        emotions.table([*above, "file,emotion,speaker", *ROWS])
        (line,) = emotions.listed()
        assert line.startswith(
            f"error: labels.csv, row 1: the first line is {above[0]!r}, and 'file,emotion,speaker' in"
        )
        assert "delete the lines above the header" in line


def test_a_folder_per_class(tmp_path):
    own = Own(tmp_path / "folders", ["joy/1.wav", "joy/2.wav", "fear/1.flac"], split="folds")
    corpus = own.read()
    assert [(r.name, corpus.task.classes[int(r.labels[0])]) for r in corpus.recordings] == [
        ("fear/1.flac", "fear"),
        ("joy/1.wav", "joy"),
        ("joy/2.wav", "joy"),
    ]
    Own(own.root, ["joy/more/3.wav"])
    (line,) = own.listed()
    assert line.startswith("error: joy/more/3.wav: not in a folder per class, expected CLASS/file; give a table")


def test_a_folder_per_split_and_class(tmp_path):
    files = ["train/joy/1.wav", "train/fear/2.wav", "validation/joy/1.wav", "test/joy/1.wav"]
    corpus = Own(tmp_path / "folders", files).read()
    assert {r.name: r.partition for r in corpus.recordings} == dict(
        zip(files, ["train", "train", "devel", "test"], strict=True)
    )


def test_folders_without_classes(tmp_path):
    own = Own(tmp_path / "flat", ["1.wav", "2.wav"])
    (own.root / "meta.csv").write_text("")
    (line,) = own.listed()
    assert "no folder per class: there are files such as '1.wav', expected CLASS/file" in line
    assert "give a table of files and labels as config.corpus.table ('meta.csv'?)" in line


def test_the_metadata_of_audiofolder(tmp_path):
    own = Own(tmp_path / "whole", ["data/1.wav", "data/2.wav"], split="folds")
    (own.root / "metadata.csv").write_text("file_name,label\ndata/1.wav,a\ndata/2.wav,b\n")
    assert [r.name for r in own.read().recordings] == ["data/1.wav", "data/2.wav"]
    own = Own(tmp_path / "splits", ["train/1.wav", "train/2.wav", "test/1.wav"])
    (own.root / "train" / "metadata.csv").write_text("file_name,label\n1.wav,a\n2.wav,b\n")
    (own.root / "test" / "metadata.csv").write_text("file_name,label\n1.wav,a\n")
    corpus = own.read()
    assert {r.name: r.partition for r in corpus.recordings} == {
        "train/1.wav": "train",
        "train/2.wav": "train",
        "test/1.wav": "test",
    }


@pytest.mark.parametrize("tables", ["{}/metadata.csv", "lab/{}.csv"])
def test_columns_that_only_one_of_several_tables_has(tmp_path, tables):
    folder = "wav/" if tables.startswith("lab") else ""
    files = [f"{folder}{part}/{i}.wav" for part in ("train", "test") for i in range(6)]
    own = Own(tmp_path / "tables", [*files, tables.format("audio")])
    prefix = {part: f"{part}/" if folder else "" for part in ("train", "test")}
    train = [f"{prefix['train']}{i}.wav,{'ab'[i % 2]},s{i % 3},{i % 3}" for i in range(6)]
    own.table(["file,label,speaker,fold", *train], tables.format("train"))
    own.table(["file,label", *(f"{prefix['test']}{i}.wav,{'ab'[i % 2]}" for i in range(6))], tables.format("test"))
    corpus = own.read(table="")
    assert {(r.speaker, r.fold) for r in corpus.partition("test")} == {("", "")}
    assert {(r.speaker, r.fold) for r in corpus.partition("train")} == {("s0", "0"), ("s1", "1"), ("s2", "2")}
    assert not [line for line in own.listed(table="") if "nan" in line]


def test_the_layout_of_compare_for_another_corpus(tmp_path):
    own = Own(tmp_path / "layout", [f"wav/{p}_{i}.wav" for p in ("train", "devel", "test") for i in range(2)])
    (own.root / "lab").mkdir()
    rows = [f"{p}_{i}.wav,{'?' if p == 'test' else 'xy'[i]}" for p in ("train", "devel", "test") for i in range(2)]
    (own.root / "lab" / "labels.csv").write_text("\n".join(["file_name,kind", *rows]))
    corpus = own.read(target="kind")
    assert [r.partition for r in corpus.recordings] == ["train"] * 2 + ["devel"] * 2 + ["test"] * 2
    # Without partitions in the names there is a split as for tables.
    (own.root / "wav").rename(own.root / "old")
    Own(own.root, [f"wav/{i}.wav" for i in range(4)])
    (own.root / "lab" / "labels.csv").write_text("file,kind\n" + "".join(f"{i}.wav,{'xy'[i % 2]}\n" for i in range(4)))
    assert {r.partition for r in own.read(target="kind", split="folds").recordings} == {"train"}


def test_fields_that_do_not_fit(emotions):
    with pytest.raises(UserError, match=r"config\.corpus\.task is 'klasses', .*did you mean 'classes'\?"):
        emotions.read(task="klasses")
    with pytest.raises(UserError, match=r"config\.corpus\.measure is 'CCC', expected one of \['UAR'"):
        emotions.read(measure="CCC")
    with pytest.raises(UserError, match=r"config\.corpus\.classes is \('a',\) for classes, expected two or more"):
        emotions.read(classes=("a",))
    with pytest.raises(UserError, match=r"config\.corpus\.table is for other corpora"):
        emotions.read(task="mask")
