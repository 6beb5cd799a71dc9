"""Errors in the files of a corpus or of a finished run, one row each, are reported in one line."""
# ruff: noqa: E501 (a table has a line a row)

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skops.io
import soundfile
from sklearn.preprocessing import FunctionTransformer
from spoiling import (
    CNN,
    CONFIG,
    EVALUATE,
    LABELS,
    NOISE,
    RATE_HZ,
    Hostile,
    Row,
    Spoil,
    assert_one_line,
    both,
    copied,
    emptied,
    gone,
    text,
    valid_corpus,
)  # fmt: skip

RUN = "run/members/cnn/fold_0_seed_0"
NPZ = f"{RUN}/predictions/test.npz"
SVM_FILE = "run/members/svr/fold_0_seed_0/fitted.skops"
WAV = "corpus/wav/train_00.wav"


def half(path: str) -> Spoil:
    return lambda folder: (folder / path).write_bytes((content := (folder / path).read_bytes())[: len(content) // 2])


def swap(old: str, new: str, count: int = 1, path: str = LABELS) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / path).read_text()
        assert old in content
        (folder / path).write_text(content.replace(old, new, count))

    return spoil


def without(word: str) -> Spoil:
    """Delete the rows of the label file that contain a word."""
    return lambda folder: (folder / LABELS).write_text(
        "".join(line for line in (folder / LABELS).read_text().splitlines(True) if word not in line)
    )


def audio(samples: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> Spoil:
    return lambda folder: soundfile.write(folder / WAV, samples, rate_hz, subtype=subtype)


def linked(target: str) -> Spoil:
    """Replace the recording by a link."""

    def spoil(folder: Path) -> None:
        (folder / WAV).rename(folder / "elsewhere.wav")
        (folder / WAV).symlink_to(folder / target)

    return spoil


def promising(count: int) -> Spoil:
    """Write a number of bytes into the header of the recording."""
    return lambda folder: (folder / WAV).write_bytes(
        (content := (folder / WAV).read_bytes())[:40] + struct.pack("<I", count) + content[44:]
    )


def columns(**change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Change columns of the predictions of a fold; a new column starts as a copy of the score."""

    def spoil(folder: Path) -> None:
        with np.load(folder / NPZ) as file:
            content = dict(file)
        content |= {name: edit(content.get(name, content["score_0"])) for name, edit in change.items()}
        np.savez(folder / NPZ, **content)

    return spoil


def svm(content: object) -> Spoil:
    """Replace the SVM and delete the predictions, so that it is read."""
    return both(gone("run/members/*/*/predictions"), lambda folder: skops.io.dump(content, folder / SVM_FILE))


def checkpoint(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(folder: Path) -> None:
        for path in (folder / RUN / "checkpoints").rglob("*"):
            if path.is_file() and path.stat().st_size:
                path.write_bytes(change(path.read_bytes()))

    return spoil


ROWS = [
    # The corpus.
    Row("no corpus", "/nowhere: no such folder; give the folder that contains wav/ and lab/", ("--config.corpus.root=/nowhere",)),
    Row("a file as corpus", "README.md: a file, not a folder; give", ("--config.corpus.root=README.md",)),
    Row("an empty corpus", "corpus: an empty folder; give", spoil=emptied("corpus")),
    Row("no labels", "corpus: no lab/ in this folder; give", spoil=gone("corpus/lab")),
    Row("no audio", "corpus/wav: an empty folder; put the audio there", spoil=emptied("corpus/wav")),
    Row("empty labels", "labels.csv, row 1: the first line is empty; make it a header", spoil=text(LABELS, "")),
    Row("labels without rows", "labels.csv: no rows below the header; fill it", spoil=text(LABELS, "filename,timeFrame,upper_belt\n")),
    Row("labels of NUL", "labels.csv, row 1: the first line is .*; make it a header", spoil=text(LABELS, b"\0" * 999)),
    Row("labels in UTF-16", "labels.csv, row 1: byte 0xff is not UTF-8; save the file as UTF-8", spoil=lambda f: (f / LABELS).write_text((f / LABELS).read_text(), "utf-16")),
    Row("labels between bars", r"row 1: the first line is 'filename\|timeFrame\|upper_belt'; make it", spoil=swap(",", "|", -1)),
    Row("labels without a label", "row 1: no label column among 'filename, timeFrame, belt'.*; name it upper_belt", spoil=swap("upper_belt", "belt")),
    Row("labels without time", "row 1: no time column among 'filename, zeit, upper_belt'; name it", spoil=swap("timeFrame", "zeit")),
    Row("labels of another task", "row 1: no label column .*; name it label", ("--config.corpus.task=mask",)),
    Row("a row too wide", "labels.csv, row 2: 4 columns, the header has 3; correct", spoil=swap("train_00.wav,0.00,", "train_00.wav,0.00,,")),
    Row("a duplicated row", "labels.csv, row 4: 'train_00.wav' at 0.04 s appears twice; delete", spoil=swap("train_00.wav,0.08,", "train_00.wav,0.04,")),
    Row("rows out of order", "labels.csv, row 5: 'train_00.wav' at 0.12 s comes after 3.04 s; sort", spoil=swap("train_00.wav,0.08,", "train_00.wav,3.04,")),
    Row("missing rows", "labels.csv, row 12: 'train_00.wav' goes from 0.36 s to 0.52 s, .*; add the rows", spoil=without("train_00.wav,0.4")),
    Row("a label that is a word", "labels.csv, row 2: label 'breath', expected a finite number .*; correct", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,breath")),
    Row("a label that is no number", "labels.csv, row 2: 'train_00.wav' has the label 'nan', which only test .*; add", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,nan")),
    Row("an absurd label", r"labels.csv, row 2: label 1e\+300, expected -1 to 1; scale", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,1e300")),
    Row("an absurd time", "labels.csv, row 101: time '1e99', expected seconds", spoil=swap("train_00.wav,3.96", "train_00.wav,1e99")),
    Row("a path out of the corpus", "labels.csv, row 2: '../../etc/train_00.wav' leads out of the wav folder; did you mean 'train_00.wav'.; put", spoil=swap("train_00.wav", "../../etc/train_00.wav", -1)),
    Row("an absolute path", "labels.csv, row 2: '/etc/train_00.wav' leads out of the wav folder; did you mean 'train_00.wav'.; put", spoil=swap("train_00.wav", "/etc/train_00.wav", -1)),
    Row("a link out of the corpus", "labels.csv, row 2: 'train_00.wav' is a link that leads out .*; put", spoil=linked("elsewhere.wav")),
    Row("a ring of links", "labels.csv, row 2: 'train_00.wav' cannot be opened; put", spoil=linked(WAV)),
    Row("an endless name", r"labels.csv, row 2: 'train_a+\.\.\.' cannot be opened; put", spoil=swap("train_00.wav", f"train_{'a' * 5000}", -1)),
    Row("a recording that is not there", "labels.csv, row 2: 'train_00.wav' is not in the wav folder; put", spoil=gone(WAV)),
    Row("a name without a partition", "row 2: 'solo_00.wav' does not begin with train_, devel_ or test_; rename", spoil=swap("train_00.wav", "solo_00.wav", -1)),
    Row("no devel", "labels.csv: no recordings in the partition devel; add", spoil=without("devel")),
    Row("a speaker without a column", "speakers.csv, row 1: no speaker column among 'file_name, who'; name it", spoil=text("corpus/lab/speakers.csv", "file_name,who\ntrain_00.wav,a\n")),
    Row("a text as audio", "train_00.wav: not readable as audio .*; copy it again", spoil=text(WAV, "no sound")),
    Row("an empty file as audio", "train_00.wav: not readable as audio .*; copy it again", spoil=text(WAV, "")),
    Row("audio without samples", "train_00.wav: no samples; copy it again", spoil=audio(np.zeros(0))),
    Row("audio cut short", "train_00.wav: cut short: .* bytes .* less than its header promises; copy", spoil=half(WAV)),
    Row("a header that promises more", "train_00.wav: cut short: 999872000 bytes .*; copy", spoil=promising(10**9)),
    Row("two joined audio files", "train_00.wav: has more than .*: another file starts at byte 128044; split", spoil=lambda f: (f / WAV).write_bytes((f / WAV).read_bytes() * 2)),
    Row("audio with NaN", "train_00.wav: 1 samples are NaN or infinite; copy", spoil=audio(np.where(np.arange(64_000) == 9, np.nan, NOISE), subtype="FLOAT")),
    Row("audio beyond full scale", "train_00.wav: float samples reach [45].*, expected -1 to 1, or up to 2 with clipping; rescale", spoil=audio(50 * NOISE, subtype="FLOAT")),
    Row("audio shorter than its labels", "train_00.wav: 0.20 s of audio, 100 labels are 4.00 s; copy", spoil=audio(NOISE[:3200])),
    Row("what is tested in train", "test_00.wav: test has the same audio as .*; copy the right file", spoil=lambda f: shutil.copy(f / WAV, f / "corpus/wav/test_00.wav")),
    # A finished run with a damaged file.
    Row("another config", r"members/cnn: was made with another config \(member.learner.batch: 4 there, 3 now\); choose another", (f"{CNN}.learner.batch=3",), run=True),
    Row("another seed", r"another config \(.*seed: 12 there, 13 now.*\); choose", ("--config.seed=13",), run=True),
    Row("another corpus", r"another config \(another corpus, or its labels or audio have changed since\); choose", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,0.5"), run=True),
    Row("half a member's config", "members/cnn/config.json: damaged .*; delete .*cnn to train", spoil=half("run/members/cnn/config.json"), run=True),
    Row("another thing as config", "config.json: damaged .not a JSON object.; delete", spoil=text("run/members/cnn/config.json", "[1]"), run=True),
    Row("half a summary", "fold_0_seed_0/summary.json: damaged .*; delete it and run again", spoil=half(f"{RUN}/summary.json"), run=True),
    Row("an empty summary", "fold_0_seed_0/summary.json: damaged .*; delete it and run again", spoil=text(f"{RUN}/summary.json", ""), run=True),
    Row("a summary without epochs", "members/cnn: a fold_./summary.json is damaged .ValueError.*; delete them", spoil=text(f"{RUN}/summary.json", '{"seconds": 1, "epochs": []}'), run=True),
    Row("another thing as summary", "summary.json: damaged .'seconds' is missing.; delete", spoil=text(f"{RUN}/summary.json", "{}"), run=True),
    Row("half predictions", "test.npz: not readable as predictions .*; delete it and run again", spoil=half(NPZ), run=True),
    Row("a text as predictions", "test.npz: not readable as predictions .*; delete it", spoil=text(NPZ, "hello"), run=True),
    Row("predictions that execute", "test.npz: not readable .*allow_pickle=False.*; delete", spoil=columns(recording=lambda x: np.array([Hostile()] * len(x), object)), run=True),
    Row("predictions of other recordings", "test.npz: of the labels of this fold, 200 missing, .*; delete", spoil=columns(recording=lambda x: np.full(len(x), "x.wav")), run=True),
    Row("predictions at other times", "test.npz: of the labels of this fold, 200 missing, .*; delete", spoil=columns(time_s=lambda x: x + 0.5), run=True),
    Row("predictions at no time", "test.npz: not readable as predictions .a time is not finite.; delete", spoil=columns(time_s=lambda x: x * np.nan), run=True),
    Row("predictions in words", "test.npz: .*its column score_0 has another type.*; delete", spoil=columns(score_0=lambda x: x.astype(str)), run=True),
    Row("predictions of another task", "scores per row, the first has .*another task", spoil=columns(score_1=lambda x: x, score_2=lambda x: x), run=True),
    Row("predictions that are no numbers", "submission not written: .* 200 NaN or infinite", spoil=columns(score_0=lambda x: x * np.nan), run=True),
    Row("half an SVM", "fitted.skops: not readable .*; restore .* rename .* and keep it as a copy", spoil=both(half(SVM_FILE), gone("run/members/*/*/predictions")), run=True),
    Row("an SVM that executes", r"fitted.skops: not readable \(Untrusted types .*posix.system", spoil=svm(FunctionTransformer(os.system)), run=True),
    Row("another thing as SVM", "fitted.skops: contains something else, expected a trained SVM; restore", spoil=svm({"a": 1}), run=True),
    Row("no SVM", "fitted.skops: no such file, .*; restore", spoil=gone(SVM_FILE, "run/members/*/*/predictions"), run=True),
    Row("no checkpoints", "checkpoints/4: this checkpoint cannot be read .*; .*rename .*fold_0_seed_0 and keep", (EVALUATE,), gone(f"{RUN}/checkpoints"), run=True),
    Row("half a checkpoint", "checkpoints/4: this checkpoint cannot be read .*; .*rename .*fold_0", (EVALUATE,), checkpoint(lambda x: x[: len(x) // 2]), run=True),
    Row("a checkpoint in words", "checkpoints/4: this checkpoint cannot be read .*; make it readable", (EVALUATE,), checkpoint(lambda _: b"hello"), run=True),
    Row("a folder as report", "report.html: Is a directory; finished work is kept", spoil=emptied("run/report.html"), run=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return the folder of a valid corpus and a finished run, which is not changed, and the server."""
    folder = tmp_path_factory.mktemp("valid")
    with valid_corpus(folder, trained=True) as launch:
        yield folder, launch


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_an_error_is_one_line(row, place, tmp_path):
    assert_one_line(row, place[1], place[0], tmp_path)


@pytest.mark.parametrize("mode", ["check", "train"])
def test_every_error_of_a_corpus_is_on_standard_error_once(place, tmp_path, mode):
    flags = copied(place[0], tmp_path, with_run=False)
    names = ["devel_01.wav", "test_00.wav", "train_02.wav"]
    for name in names:
        (tmp_path / "corpus/wav" / name).write_text("no sound")
    (tmp_path / "corpus/wav/extra.wav").write_text("")
    outcome = place[1](CONFIG, *flags, f"--mode={mode}")
    assert outcome.status == 1
    lines = outcome.err.splitlines()
    assert sorted(name for line in lines for name in names if line.startswith("error: ") and name in line) == names
    assert len(lines) == len(names)
    assert "(2 more errors in this corpus)" in lines[-1]
    assert "warning: " in outcome.out
    assert "error: " not in outcome.out


def test_no_row_is_duplicated():
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_damaged_results_and_features_are_computed_again(place, tmp_path):
    """Damaged results, logs, embeddings and features, and unknown files among the checkpoints, cost only time."""
    flags = copied(place[0], tmp_path, with_run=True)
    shutil.copytree(place[0] / "cache", tmp_path / "cache")
    for path in (tmp_path / "run/results.json", *tmp_path.glob("cache/features/*/*.npy")):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / RUN / "metrics.jsonl").write_text('{"kind": "train", "step": "a", "epoch": 0, "loss": "low"}\n3\n"a"\n')
    min((tmp_path / RUN / "embeddings").glob("*.npy")).write_text("no array")
    gone("run/members/*/*/predictions")(tmp_path)
    (tmp_path / RUN / "checkpoints/notes.txt").write_text("good")
    (tmp_path / RUN / "checkpoints/copies").mkdir()
    outcome = place[1](CONFIG, *flags, JAXPARA_CACHE=str(tmp_path / "cache"))
    assert outcome.status == 0, outcome.err
    results = [json.loads((folder / "run/results.json").read_text()) for folder in (place[0], tmp_path)]
    for result in results:
        result["corpus"].pop("root")
        result.pop("compiled")
    assert results[0] == results[1]
