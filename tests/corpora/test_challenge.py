import re
import shutil

import numpy as np
import pytest
import soundfile

from jaxpara.corpora.read import read
from jaxpara.corpora.tasks import TASKS, task_of
from jaxpara.errors import UserError


def refused(folder, *words):
    with pytest.raises(UserError) as caught:
        read(folder.root, folder.task)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    # `check` lists the same error first; `read` also counts the others.
    line = re.sub(r" \(\d+ more errors? in this corpus\)$", "", str(caught.value))
    assert line == str(folder.listed()[0])


def test_mask(mask):
    corpus = read(mask.root, mask.task)
    names = ["train_00001.wav", "train_00002.wav", "devel_00001.wav", "devel_00002.wav", "test_00001.wav"]
    assert [r.name for r in corpus.recordings] == names
    assert [r.partition for r in corpus.recordings] == ["train", "train", "devel", "devel", "test"]
    np.testing.assert_array_equal([r.labels for r in corpus.recordings], [[0], [1], [0], [1], [np.nan]])
    np.testing.assert_array_equal([r.truth for r in corpus.recordings], [r.labels for r in corpus.recordings])
    assert all(r.times_s.tolist() == [0.0] and r.speaker == "" for r in corpus.recordings)
    assert all(r.path.is_file() for r in corpus.recordings)
    assert (corpus.label_rate_hz, corpus.simulated) == (0, False)
    assert corpus.label_file == mask.root / "lab" / "labels.csv"


def test_breathing(breathing):
    corpus = read(breathing.root, breathing.task)
    assert [(r.name, r.partition, r.speaker) for r in corpus.recordings] == [
        ("train_00.wav", "train", "train_00"),
        ("devel_00.wav", "devel", "devel_00"),
        ("test_00.wav", "test", "test_00"),
    ]
    assert corpus.label_rate_hz == 25
    np.testing.assert_allclose(corpus.recordings[0].times_s, np.arange(25) / 25)
    np.testing.assert_allclose(corpus.recordings[0].labels, np.sin(np.arange(25) / 4), atol=1e-5)
    assert np.isnan(corpus.recordings[2].labels).all()


def test_the_marker_of_a_simulated_corpus_is_detected(mask):
    (mask.root / "SIMULATED.json").write_text("{}")
    assert read(mask.root, mask.task).simulated


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["file_name", "filename", "filename_audio", "file"])
@pytest.mark.parametrize("dress", ["{}", '"{}"', " {} "])
def test_dialects(mask, separator, name, dress):
    mask.lines[0] = f"{name},label"
    mask.write(lines=[separator.join(dress.format(c) for c in line.split(",")) for line in mask.lines])
    assert [r.labels[0] for r in read(mask.root, mask.task).recordings[:4]] == [0, 1, 0, 1]


@pytest.mark.parametrize("time", ["timeFrame", "time", "timestamp"])
def test_time_columns_and_other_columns(breathing, time):
    breathing.lines[0] = f"filename,lower_belt,{time},upper_belt"
    breathing.write(lines=[breathing.lines[0], *(s.replace(",", ",7,", 1) for s in breathing.lines[1:])])
    assert read(breathing.root, breathing.task).recordings[0].labels[1] == pytest.approx(0.2474)


@pytest.mark.parametrize(("ending", "mark"), [("\r\n", b""), ("\r", b""), ("\n", b"\xef\xbb\xbf"), ("\n\n", b"")])
def test_line_endings_and_byte_order_marks(mask, ending, mark):
    (mask.root / "lab" / "labels.csv").write_bytes(mark + ending.join(mask.lines).encode())
    assert len(read(mask.root, mask.task).recordings) == 5


@pytest.mark.parametrize("hidden", ["?", "", "nan", "NaN"])
def test_hidden_labels(mask, breathing, hidden):
    mask.set(6, f"test_00001.wav,{hidden}")
    breathing.write(lines=[line.replace("?", hidden) for line in breathing.lines])
    assert np.isnan(read(mask.root, mask.task).recordings[-1].labels).all()
    assert np.isnan(read(breathing.root, breathing.task).recordings[-1].labels).all()


def test_a_label_file_per_partition_in_dist(mask):
    # Names without a prefix: the label file determines the partition.
    for old in (mask.root / "wav").iterdir():
        old.rename(old.with_name(old.name.replace("_", "")))
    (mask.root / "lab" / "labels.csv").unlink()
    for part, rows in {"train": (1, 3), "devel": (3, 5), "test": (5, 6)}.items():
        lines = ["filename,label", *(line.replace("_", "") for line in mask.lines[slice(*rows)])]
        mask.write(f"lab/{part}.csv", lines)
    (mask.root / "dist").mkdir()
    for name in ("wav", "lab"):
        (mask.root / name).rename(mask.root / "dist" / name)
    corpus = read(mask.root, mask.task)
    assert [(r.name, r.partition) for r in corpus.recordings] == [
        ("train00001.wav", "train"),
        ("train00002.wav", "train"),
        ("devel00001.wav", "devel"),
        ("devel00002.wav", "devel"),
        ("test00001.wav", "test"),
    ]
    assert corpus.label_file.name == "train.csv"


def test_numeric_classes_stay_strings(mask):
    (mask.root / "lab" / "labels.csv").write_text(
        "filename,label\ntrain_00001.wav,2\ntrain_00002.wav,0\ndevel_00001.wav,1\ntest_00001.wav,?\n"
    )
    corpus = read(mask.root, TASKS["escalation"])
    assert [r.labels[0] for r in corpus.recordings[:3]] == [2, 0, 1]


@pytest.mark.parametrize("name", ["lab/labels_confidential.csv", "lab/test.unmasked.csv"])
def test_confidential_labels_are_truth_only(mask, breathing, name):
    mask.write(name, ["file_name,label", "test_00001.wav,mask"])
    recording = read(mask.root, mask.task).by_name["test_00001.wav"]
    assert np.isnan(recording.labels[0])
    assert recording.truth[0] == 1

    # Where the confidential file has `?`, the label of the label file is used.
    mask.write(name, ["file_name,label", "train_00002.wav,?", "test_00001.wav,mask"])
    assert [r.truth[0] for r in read(mask.root, mask.task).recordings] == [0, 1, 0, 1, 1]

    breathing.write(name, [line.replace("?", "0.5") for line in breathing.lines])
    corpus = read(breathing.root, breathing.task)
    assert np.isnan(corpus.by_name["test_00.wav"].labels).all()
    assert (corpus.by_name["test_00.wav"].truth == 0.5).all()
    np.testing.assert_array_equal(corpus.recordings[0].truth, corpus.recordings[0].labels)


@pytest.mark.parametrize("name", ["lab/speakers.csv", "speakers.csv"])
def test_speakers(mask, name):
    mask.write(name, ["filename,speaker", *(line.split(",")[0] + ",s" + line[:7] for line in mask.lines[1:])])
    assert [r.speaker for r in read(mask.root, mask.task).recordings] == [
        *("strain_0", "strain_0", "sdevel_0", "sdevel_0", "stest_00"),
    ]


@pytest.mark.parametrize(("period_s", "rate_hz"), [(0.04, 25), (0.01, 100), (0.03, 1 / 0.03)])
def test_label_rate(breathing, period_s, rate_hz):
    count = round(1 / period_s)
    names = ("train_00.wav", "devel_00.wav", "test_00.wav")
    rows = [f"{n},{i * period_s:.2f},{i / count}" for n in names for i in range(count)]
    breathing.write(lines=[breathing.lines[0], *rows])
    assert read(breathing.root, breathing.task).label_rate_hz == pytest.approx(rate_hz)


def test_label_rate_from_rounded_times(breathing):
    # 30 labels a second: with two decimals the steps are 0.03 and 0.04.
    names = ("train_00.wav", "devel_00.wav", "test_00.wav")
    rows = [f"{n},{i / 30:.2f},{i / 600}" for n in names for i in range(600)]
    breathing.write(lines=[breathing.lines[0], *rows])
    for name in names:
        breathing.wav(name, breathing.noise(name, 20))
    assert read(breathing.root, breathing.task).label_rate_hz == 30


@pytest.mark.parametrize(("labels", "fits"), [(23, False), (24, True), (25, True), (26, True), (27, False)])
def test_labels_and_audio_must_be_equally_long_up_to_one_label(breathing, labels, fits):
    rows = [f"train_00.wav,{i * 0.04:.2f},{i / 27}" for i in range(labels)]
    breathing.write(lines=[breathing.lines[0], *rows, *breathing.lines[26:]])
    assert len(read(breathing.root, breathing.task).recordings[0].labels) == labels
    whats = [finding.what for finding in breathing.listed()]
    assert whats == ([] if fits else [f"1.00 s of audio, {labels} labels are {labels / 25:.2f} s"])


@pytest.mark.parametrize(
    "name", ["../train_1.wav", "/train_1.wav", "a/../../train_1.wav", "C:/train_1.wav", "train_\\..\\1.wav"]
)
def test_names_that_lead_out_of_the_wav_folder_are_refused(mask, name):
    soundfile.write(mask.root / "train_1.wav", np.zeros(10), 16_000)
    mask.set(2, f"{name},clear")
    refused(mask, "row 2", "' leads out of the wav folder")


def test_links_that_lead_out_of_the_wav_folder_are_refused(mask):
    wav = mask.root / "wav"
    (wav / "train_00001.wav").rename(mask.root / "elsewhere.wav")
    (wav / "train_00001.wav").symlink_to(mask.root / "elsewhere.wav")
    refused(mask, "row 2", "is a link that leads out of the wav folder")

    (wav / "train_00001.wav").unlink()
    (wav / "train_00001.wav").symlink_to("train_00001.wav")
    refused(mask, "row 2", "cannot be opened")


def test_links_within_the_wav_folder_and_to_it_are_fine(mask):
    wav = mask.root / "wav"
    (wav / "store").mkdir()
    (wav / "train_00001.wav").rename(wav / "store" / "a.wav")
    (wav / "train_00001.wav").symlink_to("store/a.wav")
    wav.rename(mask.root / "audio")
    wav.symlink_to("audio")
    assert len(read(mask.root, mask.task).recordings) == 5


def test_folders_in_the_wav_folder(mask):
    (mask.root / "wav" / "a").mkdir()
    (mask.root / "wav" / "train_00001.wav").rename(mask.root / "wav" / "a" / "train_00001.wav")
    mask.set(2, "a/train_00001.wav,clear")
    assert read(mask.root, mask.task).recordings[0].partition == "train"


def moved(name, to):
    return lambda root: (root / name).rename(root / to)


def emptied(name):
    def damage(root):
        shutil.rmtree(root / name)
        (root / name).mkdir()

    return damage


def labels(content):
    return lambda root: (root / "lab" / "labels.csv").write_bytes(content)


def folder_as_labels(root):
    (root / "lab" / "labels.csv").unlink()
    (root / "lab" / "labels.csv").mkdir()


def file_as_root(root):
    shutil.rmtree(root)
    root.write_text("")


def inside_the_root(root):
    root.rename(root.with_name("gone"))
    root.mkdir()
    root.with_name("gone").rename(root / "ComParE2020_Mask")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, ["no such folder"]),
        (file_as_root, ["a file, not a folder"]),
        (emptied(""), ["an empty folder"]),
        (inside_the_root, ["did you mean", "ComParE2020_Mask?"]),
        (moved("lab", "labels"), ["no lab/"]),
        (moved("wav", "audio"), ["wav: no such folder"]),
        (emptied("wav"), ["wav: an empty folder"]),
        (emptied("lab"), ["neither labels.csv nor train.csv and devel.csv"]),
        (moved("lab/labels.csv", "lab/train.csv"), ["neither labels.csv nor devel.csv"]),
        (folder_as_labels, ["labels.csv: cannot be read"]),
        (labels(b"file_name,label\ntrain_00001.wav,cl\xe4r\n"), ["labels.csv, row 2", "byte 0xe4 is not UTF-8"]),
        (labels(b"label,file\n" + b"x,y\n" * 9000 + b"\xe4,y\n"), ["row 9002: byte 0xe4 is not UTF-8"]),
        (labels("file_name,label".encode("utf-16")), ["labels.csv, row 1", "is not UTF-8"]),
        (labels(b""), ["labels.csv, row 1", "the first line is empty"]),
        (labels(b"train_00001.wav,clear\n"), ["labels.csv, row 1", "file_name or filename"]),
        (labels(b"file_name,lable\ntrain_00001.wav,clear\n"), ["row 1: no label column", "did you mean 'lable'?"]),
        (labels(b"file_name,label,label\n"), ["row 1", "'label' appears twice"]),
        (labels(b"file_name,label\n"), ["no rows below the header"]),
        (labels(b"file_name,label,\ntrain_00001.wav,clear\n"), ["row 2: 2 columns, the header has 3"]),
        (labels(b'file_name,label\n"train_00001.wav,clear\n\n'), ["row 2: a quotation mark is not closed"]),
        (labels(b"file_name,label\ndevel_00001.wav,clear\n"), ["no recordings in the partition train"]),
    ],
)
def test_structure(mask, damage, words):
    damage(mask.root)
    refused(mask, *words)


def test_a_sequence_needs_times(breathing):
    breathing.set(1, "filename,seconds,upper_belt")
    refused(breathing, "row 1: no time column", "timeFrame or time")


def test_steps_that_differ_too_much_define_no_label_rate(breathing):
    times = {"train": (0, 0.1, 1), "devel": (0,), "test": (0,)}
    breathing.write(lines=[breathing.lines[0], *(f"{n}_00.wav,{t},0.5" for n, at in times.items() for t in at)])
    refused(breathing, "row 2", "one label")


def test_one_label_per_file_is_not_enough_for_the_label_rate(breathing):
    breathing.write(lines=[breathing.lines[0], *breathing.lines[1:52:25]])
    refused(breathing, "row 2", "one label")


def test_a_label_file_of_2018_without_test_and_classes_from_the_labels(mask):
    task = TASKS["self_assessed_affect"]
    lines = [line.replace(",", "\t") for line in ("file_name,Valence", *mask.lines[1:5])]
    (mask.root / "lab" / "labels.csv").unlink()
    mask.write(f"lab/{task.name}.tsv", lines)
    corpus = read(mask.root, task)
    assert corpus.task.classes == ("clear", "mask")
    assert len(corpus.partition("test")) == 0
    mask.write(f"lab/{task.name}.confidential.tsv", lines)
    assert read(mask.root, task).recordings[0].truth[0] == 0


def test_one_of_several_targets_and_raw_audio(mask):
    lines = [f"{line.split(',')[0]},{i / 5},{1 - i / 5}" for i, line in enumerate(mask.lines[1:])]
    (mask.root / "lab" / "labels.csv").unlink()
    for part in ("train", "devel", "test"):
        mask.write(f"lab/{part}.csv", ["filename,Anger,Tiredness", *(line for line in lines if line.startswith(part))])
    (mask.root / "data" / "raw").mkdir(parents=True)
    (mask.root / "lab").rename(mask.root / "data" / "lab")
    (mask.root / "wav").rename(mask.root / "data" / "raw" / "wav")
    task = task_of({"task": "emotion_share", "target": "Tiredness"})
    corpus = read(mask.root, task)
    assert [r.labels[0] for r in corpus.recordings] == [1.0, 0.8, 0.6, 0.4, pytest.approx(0.2)]
    assert (corpus.task.limits, corpus.task.measure) == ((0.4, 1.0), "Spearman")
