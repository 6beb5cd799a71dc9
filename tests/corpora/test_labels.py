"""Errors in label files, speakers and confidential labels are found, with their rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxpara.corpora.read import read
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError

LABELS = "lab/labels.csv"


@pytest.mark.parametrize(
    ("row", "line", "finding"),
    [
        (3, "train_00002.wav,Mask", ("error", 3)),
        (3, "train_00002.wav,?", ("error", 3)),
        (3, "train_00002.wav,", ("error", 3)),
        (3, "train_00002.wav", ("error", 3)),
        (3, "train_00002.wav,mask,mask", ("error", 3)),
        (3, 'train_00002.wav,"mask', ("error", 3)),
        (3, "train_00002.wav,mask\n\ntrain_00002.wav,mask", ("error", 5)),
        (3, "train_00002.wav,mask\ntrain_00003.wav,mask", ("error", 4)),
        (3, "train_00002.wav,mask\n,mask", ("error", 4)),
        (3, "train_00002.wav,mask\n./train_00001.wav,mask", ("error", 4)),
        (3, "train_00002.wav,mask\nthird.wav,mask", ("error", 4)),
        (3, "train_00002.wav,mask\ntrain_a\0.wav,mask", ("error", 4)),
        (3, "train_00002.wav,mask\ntrain_" + "a" * 5000 + ",mask", ("error", 4)),
    ],
)
def test_class_labels(mask, row, line, finding):
    mask.set(row, line)
    found = [(level, at) for level, file, at in mask.found() if file == LABELS]
    assert found == [finding]


@pytest.mark.parametrize(
    ("row", "line", "finding"),
    [
        (30, "devel_00.wav,0.12,much", ("error", 30)),
        (30, 'devel_00.wav,0.12,"0,5"', ("error", 30)),
        (30, "devel_00.wav,0.12,nan", ("error", 30)),
        (30, "devel_00.wav,0.12,?", ("error", 30)),
        (30, "devel_00.wav,0.12,", ("error", 30)),
        (30, "devel_00.wav,0.12,inf", ("error", 30)),
        (30, "devel_00.wav,0.12,-1e999", ("error", 30)),
        (30, "devel_00.wav,0.12,1.01", ("warning", 30)),
        (30, "devel_00.wav,0.12,-32768", ("warning", 30)),
        (55, "test_00.wav,0.12,much", ("error", 55)),
        (30, "devel_00.wav,soon,0.5", ("error", 30)),
        (30, "devel_00.wav,nan,0.5", ("error", 30)),
        (30, "devel_00.wav,inf,0.5", ("error", 30)),
        (30, "devel_00.wav,1e308,0.5", ("error", 30)),
        (30, "devel_00.wav,0.12,0.5\ndevel_00.wav,0.12,0.5", ("error", 31)),
        (30, "devel_00.wav,0.16,0.5\ndevel_00.wav,0.12,0.5", ("error", 31)),
        (30, "devel_00.wav,-0.12,0.5", ("error", 30)),
        (30, "", ("error", 30)),
        (27, "", ("error", 27)),
        (30, "devel_00.wav,0.12,0.5\ndevel_00.wav,0.14,0.5", ("error", 31)),
    ],
)
def test_sequence_labels(breathing, row, line, finding):
    breathing.set(row, line)
    assert [(level, at) for level, file, at in breathing.found() if file == LABELS] == [finding]


def test_rows_within_a_microsecond_are_the_same_time(breathing):
    breathing.set(30, "devel_00.wav,0.12,0.5\ndevel_00.wav,0.1200001,0.5")
    (finding,) = breathing.listed()
    assert (finding.row, finding.what) == (31, "'devel_00.wav' at 0.12 s appears twice")


def test_every_gap_is_listed_and_only_gaps_are(breathing):
    rows = {row: line for row, line in enumerate(breathing.lines, 1) if row not in (30, 31, 32, 33, 40, 60, 61, 62)}
    breathing.write(lines=list(rows.values()))
    findings = breathing.listed()
    assert [finding.row for finding in findings] == [30, 36, 55]
    assert "goes from 0.08 s to 0.28 s, expected 0.04 s a row" in findings[0].what


def test_every_row_of_a_kind_is_listed_up_to_twenty(breathing):
    for row in range(27, 52):
        breathing.set(row, breathing.lines[row - 1] + "x")
    findings = breathing.listed()
    assert [finding.row for finding in findings] == [*range(27, 47), None]
    assert "5 more labels that are not numbers are not listed" in str(findings[-1])


def counts(folder):
    findings = folder.findings()
    return len(findings.listed()), findings.count("error"), findings.count("warning")


def test_all_of_a_kind_are_counted_listed_or_not(breathing):
    for row in range(27, 52):
        breathing.set(row, f"devel_00.wav,{(row - 27) * 0.04:.2f},1.{row}")
    assert counts(breathing) == (21, 0, 25)

    for row in range(2, 27):
        breathing.set(row, breathing.lines[row - 1] + "x")
    assert counts(breathing) == (42, 25, 25)
    first = str(breathing.listed()[0])
    for refused in (breathing.check, lambda: read(breathing.root, breathing.task)):
        with pytest.raises(UserError) as caught:
            refused()
        assert str(caught.value) == f"{first} (24 more errors in this corpus)"

    # An error after which nothing else can be checked is listed first.
    breathing.write("lab/speakers.csv", ["filename,who", "train_00.wav,a"])
    breathing.set(2, "train_00.wav")
    assert counts(breathing) == (2, 2, 0)
    with pytest.raises(UserError, match=r"speakers.csv, row 1: no speaker column .* \(1 more error in this corpus\)"):
        breathing.check()


def test_labels_at_another_rate_than_the_other_files(breathing):
    rows = [f"train_00.wav,{i * 0.02:.2f},{i / 50}" for i in range(50)]
    breathing.write(lines=[breathing.lines[0], *rows, *breathing.lines[26:]])
    assert breathing.found() == [("error", LABELS, 3)]


def test_labels_that_start_late(breathing):
    rows = [f"train_00.wav,{0.04 + i * 0.04:.2f},{i / 25}" for i in range(25)]
    breathing.write(lines=[breathing.lines[0], *rows, *breathing.lines[26:]])
    assert breathing.found() == [("error", LABELS, 2)]


def test_rows_of_different_files_may_be_in_any_order(breathing):
    breathing.write(lines=[breathing.lines[0], *sorted(breathing.lines[1:], key=lambda s: s.split(",")[1])])
    assert breathing.found() == []


def test_labels_that_never_change(breathing):
    breathing.write(lines=[line if i > 25 or i == 0 else f"train_00.wav,{(i - 1) * 0.04:.2f},0.5"
                           for i, line in enumerate(breathing.lines)])  # fmt: skip
    assert breathing.found() == [("warning", LABELS, None)]


def test_missing_classes(mask):
    mask.set(3, "train_00002.wav,clear")
    mask.set(4, "devel_00001.wav,mask")
    assert mask.found() == [("error", LABELS, None), ("warning", LABELS, None)]
    assert "class 'mask' in train" in mask.listed()[0].what
    assert "class 'clear' in devel" in mask.listed()[1].what


def test_a_partition_without_recordings(mask):
    mask.set(6, "")
    assert mask.found() == [("warning", LABELS, None), ("warning", "wav/test_00001.wav", None)]
    mask.set(5, "")
    mask.set(4, "")
    assert mask.found()[0] == ("error", LABELS, None)


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        (["train_00002.wav,b", "devel_00001.wav,c", "devel_00002.wav,c", "test_00001.wav,d"], []),
        (["train_00002.wav,b", "devel_00001.wav,c", "devel_00002.wav,c"], [("warning", None)]),
        (["train_00002.wav,b", "devel_00001.wav,c", "devel_00002.wav,c", "test_00001.wav,"], [("warning", None)]),
        (
            ["train_00002.wav,b", "devel_00001.wav,a", "devel_00002.wav,a", "test_00001.wav,d"],
            [("warning", None)],
        ),
        (
            ["train_00002.wav,b", "devel_00001.wav,c", "devel_00002.wav,c", "test_00001.wav,d", "test_2.wav,d"],
            [("warning", 7)],
        ),
        (
            ["train_00002.wav,b", "train_00001.wav,c", "devel_00001.wav,c", "devel_00002.wav,c", "test_00001.wav,d"],
            [("error", 4)],
        ),
    ],
)
def test_speakers(mask, lines, finding):
    mask.write("lab/speakers.csv", ["file_name,speaker", "train_00001.wav,a", *lines])
    assert mask.found() == [(level, "lab/speakers.csv", row) for level, row in finding]


def test_a_speaker_in_two_partitions_is_explained(mask):
    names = [line.split(",")[0] for line in mask.lines[1:]]
    mask.write("speakers.csv", ["filename,speaker", *(f"{name},anna" for name in names)])
    devel, test = mask.listed()
    assert "'anna' is in train ('train_00001.wav') and in devel ('devel_00001.wav')" in devel.what
    assert "better" in devel.what
    assert "in test" in test.what


def test_speakers_without_a_speaker_column(mask):
    mask.write("lab/speakers.csv", ["file_name,who", "train_00001.wav,a"])
    assert mask.found() == [("error", "lab/speakers.csv", 1)]


CONFIDENTIAL = "lab/labels_confidential.csv"


def test_a_row_with_an_error_is_not_listed_as_unknown_too(mask):
    def named(name):
        mask.set(6, f"{name},?")
        names = [line.split(",")[0] for line in mask.lines[1:]]
        mask.write("lab/speakers.csv", ["file_name,speaker", *(f"{name},{name[:5]}" for name in names)])
        mask.write(CONFIDENTIAL, ["file_name,label", f"{name},mask"])
        return mask.found()

    path = mask.root / "wav" / "test_00001.wav"
    other = path.rename(path.with_name("third.wav"))
    assert named(other.name) == [("error", LABELS, 6)]  # no partition
    other.unlink()
    assert named(path.name) == [("error", LABELS, 6)]  # no audio


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("test_00001.wav,mask", []),
        ("test_00001.wav,?", [("warning", None)]),
        ("train_00001.wav,clear", [("warning", None)]),
        ("test_00001.wav,masks", [("error", 2), ("warning", None)]),
        ("test_00001.wav,mask\ntrain_00001.wav,mask", [("error", 3)]),
        ("test_00001.wav,mask\ntest_2.wav,mask", [("warning", 3)]),
        ("test_00001.wav,mask\ntest_00001.wav,mask", [("error", 3)]),
    ],
)
def test_confidential_classes(mask, line, finding):
    mask.write(CONFIDENTIAL, ["file_name,label", line])
    assert mask.found() == [(level, CONFIDENTIAL, row) for level, row in finding]


@pytest.mark.parametrize(
    ("row", "line", "finding"),
    [
        (2, "test_00.wav,0.00,0.5", []),
        (2, "test_00.wav,0.00,x", [("error", 2), ("warning", None)]),
        (2, "", [("error", 2), ("warning", None)]),
        (2, "test_00.wav,0.01,0.5", [("error", 2), ("warning", None)]),
        (3, "test_00.wav,0.00,0.5", [("error", 3), ("warning", None)]),
        (26, "test_00.wav,0.96,0\ndevel_00.wav,0.00,0.5", [("error", 27)]),
    ],
)
def test_confidential_sequences(breathing, row, line, finding):
    lines = [breathing.lines[0], *(s.replace("?", str(i / 25)) for i, s in enumerate(breathing.lines[51:]))]
    lines[row - 1 : row] = line.split("\n") if line else []
    breathing.write(CONFIDENTIAL, lines)
    assert breathing.found() == [(level, CONFIDENTIAL, row) for level, row in finding]


CELLS = st.sampled_from(
    [
        *("file_name", "label", "timeFrame", "upper_belt", "speaker", "clear", "?", "", "nan"),
        *("train_00001.wav", "train_00.wav", "devel_00.wav", "test_00.wav", "../x", "a/b", ".", "/", "~", "\0"),
        *("0", "0.04", "0.08", "-inf", "1e308", "-1e308", "5e-324", "1e999", "\u0661"),
        *('"', "x" * 200_000, "\ufeff", "\ud7ff"),
    ]
)


TABLES = st.lists(st.lists(CELLS, max_size=4), max_size=8).map(
    lambda rows: "\n".join(",".join(row) for row in rows).encode()
)


HEADED = st.tuples(
    st.sampled_from([b"file_name,label\n", b"filename;timeFrame;upper_belt\n", b"file_name,timeFrame,upper_belt\n"]),
    st.one_of(TABLES, st.binary(max_size=200)),
).map(b"".join)


@given(
    name=st.sampled_from(["labels.csv", "labels_confidential.csv", "speakers.csv", "train.csv"]),
    content=st.one_of(st.binary(max_size=300), TABLES, HEADED),
)
@pytest.mark.parametrize("task", ["mask", "breathing"])
def test_any_content_of_a_label_file_results_in_findings(task, mask, breathing, name, content):
    folder = {"mask": mask, "breathing": breathing}[task]
    path = folder.root / "lab" / name
    valid = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    if name == "train.csv":
        (folder.root / LABELS).rename(folder.root / "lab" / "devel.csv")
    try:
        findings = folder.findings()
        assert all(str(finding).isprintable() for finding in findings.listed())
        try:
            corpus = read(folder.root, folder.task)
        except UserError:
            assert findings.count("error")
        else:
            assert all(np.isfinite(r.labels).all() for r in corpus.partition("train", "devel"))
    finally:
        path.unlink()
        if name == "train.csv":
            (folder.root / "lab" / "devel.csv").rename(folder.root / LABELS)
        if valid is not None:
            path.write_bytes(valid)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            ["joy", "fear", "joy", "fear"],
            "it has the labels 'joy', 'fear'; none is one of clear, mask: is config.corpus",
        ),
        (["Clear", "Mask", "Clear", "Mask"], "none is one of clear, mask; did you mean 'clear'?"),
    ],
)
def test_labels_that_are_all_foreign_are_one_finding(mask, labels, words):
    mask.write(
        lines=[mask.lines[0], *(f"{line.split(',')[0]},{x}" for line, x in zip(mask.lines[1:], labels, strict=False))]
    )
    (finding,) = [f for f in mask.listed() if f.level == "error"]
    assert finding.row == 2
    assert words in finding.what


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("dev_", "'dev_00001.wav' begins with dev_, as 2 names do; did you mean 'devel_00001.wav'?"),
        ("DEVEL_", "'DEVEL_00001.wav' begins with DEVEL_, as 2 names do; did you mean 'devel_00001.wav'?"),
    ],
)
def test_prefixes_that_are_nearly_those_of_partitions(mask, wrong, words):
    for path in (mask.root / "wav").glob("devel_*"):
        path.rename(path.with_name(path.name.replace("devel_", wrong)))
    mask.write(lines=[line.replace("devel_", wrong) for line in mask.lines])
    (finding,) = mask.listed()
    assert (finding.row, finding.what) == (4, words)


def test_names_that_all_lack_a_partition_are_one_finding(mask):
    mask.write(lines=[line.replace("_", "-") if i else line for i, line in enumerate(mask.lines)])
    first = mask.listed()[0]
    assert first.what == "none of its 5 names begins with train_, devel_ or test_"
    assert "set config.corpus.task to a kind of target" in first.fix


def test_levels_beyond_the_scale_of_a_task(mask):
    mask.task = TASKS["sleepiness"]
    labels = ["3", "10", "1", "9", "?"]
    mask.write(lines=[mask.lines[0], *(f"{s.split(',')[0]},{x}" for s, x in zip(mask.lines[1:], labels, strict=True))])
    (finding,) = mask.listed()
    assert (finding.level, finding.row, finding.what) == ("warning", 3, "label 10, expected 1 to 9")
    assert mask.check().task.limits == (1, 9)
