"""A table of what goes wrong at a user's: each is one line that says where and how to mend it, and exit status 1.

A row says what is spoilt, how, the flags, and what the line has to say. Nothing is left half-written, nothing that a
file holds is executed, and no traceback is shown.
"""
# ruff: noqa: E501 (a table has a line a row)

import csv
import json
import os
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import skops.io
import soundfile
from commands import serving
from safetensors.numpy import save_file
from sklearn.preprocessing import FunctionTransformer

RATE_HZ = 16_000
CONFIG = "--config=tests/small.py"
CNN, SVR, TOP = ("--config.members." + name for name in ("cnn", "svr", "top"))
FIT = "run/members/cnn/fold_0"
NPZ = f"{FIT}/predictions/test.npz"
MACHINE = "run/members/svr/fold_0/fitted.skops"
LABELS, WAV = "corpus/lab/labels.csv", "corpus/wav/train_00.wav"
NOISE = np.random.default_rng(7).uniform(-0.1, 0.1, 4 * RATE_HZ)
EVALUATE = "--mode=evaluate"

Spoil = Callable[[Path], None]


class Row(NamedTuple):
    """`run`: whether there is a finished run in the workdir; `flags` may use {folder}."""

    name: str
    line: str
    flags: tuple[str, ...] = ()
    spoil: Spoil | None = None
    run: bool = False
    environment: dict[str, str] = {}  # noqa: RUF012 (never changed)
    config: str = CONFIG


class Hostile:
    """What a pickle may hold: unpickling it leaves a file."""

    def __reduce__(self):
        return os.system, ("touch executed",)


# Ways to spoil a file below the folder of a test.


def text(path: str, content: str | bytes) -> Spoil:
    return lambda folder: (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)


def half(path: str) -> Spoil:
    return lambda folder: (folder / path).write_bytes((content := (folder / path).read_bytes())[: len(content) // 2])


def swap(old: str, new: str, count: int = 1, path: str = LABELS) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / path).read_text()
        assert old in content
        (folder / path).write_text(content.replace(old, new, count))

    return spoil


def without(word: str) -> Spoil:
    """Leaves out the rows of the label file that hold a word."""
    return lambda folder: (folder / LABELS).write_text(
        "".join(line for line in (folder / LABELS).read_text().splitlines(True) if word not in line)
    )


def gone(*paths: str) -> Spoil:
    def spoil(folder: Path) -> None:
        for path in (found for pattern in paths for found in folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def emptied(path: str) -> Spoil:
    return both(gone(path), lambda folder: (folder / path).mkdir())


def both(*spoils: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        for each in spoils:
            each(folder)

    return spoil


def audio(samples: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> Spoil:
    return lambda folder: soundfile.write(folder / WAV, samples, rate_hz, subtype=subtype)


def linked(target: str) -> Spoil:
    """The recording becomes a link."""

    def spoil(folder: Path) -> None:
        (folder / WAV).rename(folder / "elsewhere.wav")
        (folder / WAV).symlink_to(folder / target)

    return spoil


def promising(count: int) -> Spoil:
    """A wav whose header says how many bytes follow."""
    return lambda folder: (folder / WAV).write_bytes(
        (content := (folder / WAV).read_bytes())[:40] + struct.pack("<I", count) + content[44:]
    )


def columns(**change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Changes columns of the predictions of a fold."""

    def spoil(folder: Path) -> None:
        with np.load(folder / NPZ) as file:
            content = dict(file)
        np.savez(folder / NPZ, **{name: change.get(name, lambda x: x)(array) for name, array in content.items()})

    return spoil


def machine(content: object) -> Spoil:
    """Another machine, and no predictions, so that it is read."""
    return both(gone("run/members/*/*/predictions"), lambda folder: skops.io.dump(content, folder / MACHINE))


def checkpoint(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(folder: Path) -> None:
        for path in (folder / FIT / "checkpoints").rglob("*"):
            if path.is_file() and path.stat().st_size:
                path.write_bytes(change(path.read_bytes()))

    return spoil


def archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "w.pth", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Hostile()))


def config(body: str) -> Spoil:
    head = "from configs import common\nfrom ml_collections import ConfigDict\n"
    return text("config.py", f"{head}def get_config(recipe='recommended'):\n    {body}\n")


def member(body: str) -> Spoil:
    return config(f"return common.experiment('breathing', recipe, members={body}, demo={{}})")


ROWS = [
    # The command line and the config file.
    Row("a config given twice", "given twice, as tests/small.py and as configs/mask_s1.py; name one", ("--config=configs/mask_s1.py",)),
    Row("a folder as config", "--config=configs: no such file", config="--config=configs"),
    Row("a config in prose", r"README.md, line \d+: SyntaxError: .*; mend the config", config="--config=README.md"),
    Row("a config with a syntax error", r"config.py, line 1: SyntaxError: .*; mend", spoil=text("config.py", "def (:"), config="--config={folder}/config.py"),
    Row("a config that fails", r"config.py, line 4: ZeroDivisionError: .*; mend", spoil=config("return 1 / 0"), config="--config={folder}/config.py"),
    Row("a config that imports what is not there", r"config.py, line 1: ModuleNotFoundError: .*'nosuch'; mend", spoil=text("config.py", "import nosuch"), config="--config={folder}/config.py"),
    Row("a config without get_config", "config.py: has no function get_config; take one of configs/", spoil=text("config.py", "x = 1"), config="--config={folder}/config.py"),
    Row("a config of something else", "'corpus' is not a field of this config", spoil=config("return ConfigDict({'seed': 1})"), config="--config={folder}/config.py"),
    Row("a config without members", "no member is left that predicts", spoil=member("{}"), config="--config={folder}/config.py"),
    Row("a member without parts", "config.members.a has no features and no folds and no learner, .*; add", spoil=member("{'a': {}}"), config="--config={folder}/config.py"),
    Row("a member that is a word", "config.members.a has no features", spoil=member("{'a': 'cnn'}"), config="--config={folder}/config.py"),
    Row("a member whose name is a path", "config.members.a/b: its name becomes a folder's; take one without /", spoil=member("{'a/b': {'features': {}, 'folds': {}, 'learner': {}}}"), config="--config={folder}/config.py"),
    Row("an unknown recipe", "recipe 'papre' is unknown, expected one of", config=f"{CONFIG}:papre"),
    Row("an unknown field", "'epochz' is not a field .*did you mean 'epochs'", (f"{CNN}.learner.epochz=3",)),
    Row("an unknown member", "'cmm' is not a field of this config", ("--config.members.cmm.learner.epochs=3",)),
    Row("a word for a number", "learner.epochs=many: invalid literal", (f"{CNN}.learner.epochs=many",)),
    Row("a word for a section", "--config.fusion=mean: Failed to parse", ("--config.fusion=mean",)),
    Row("code for a tuple", "filters is .*, expected a whole number", (f"{CNN}.learner.model.filters=__import__('os').system('touch executed')",)),
    Row("an unknown mode", "--mode=trian is unknown, expected one of .*did you mean 'train'", ("--mode=trian",)),
    # Numbers that cannot be.
    Row("a rate that is no number", r"config.members.cnn.learner.optimizer.lr is nan, expected a finite number, more than 0", (f"{CNN}.learner.optimizer.lr=nan",)),
    Row("an infinite rate", "optimizer.lr is inf, expected a finite number", (f"{CNN}.learner.optimizer.lr=inf",)),
    Row("a negative rate", "optimizer.lr is -1.0, expected a finite number, more than 0", (f"{CNN}.learner.optimizer.lr=-1",)),
    Row("a negative norm", "optimizer.clip_norm is -1.0, expected .*at least 0", (f"{CNN}.learner.optimizer.clip_norm=-1",)),
    Row("negative epochs", "cnn.learner.epochs is -1, expected a whole number, at least 0", (f"{CNN}.learner.epochs=-1",)),
    Row("a negative batch", "cnn.learner.batch is -4, expected a whole number, at least 1", (f"{CNN}.learner.batch=-4",)),
    Row("a negative microbatch", "cnn.learner.microbatch is -3, expected a whole", (f"{CNN}.learner.microbatch=-3",)),
    Row("no best checkpoint", "cnn.learner.keep_best is 0, expected a whole number, at least 1", (f"{CNN}.learner.keep_best=0",)),
    Row("a window of nothing", "window_s = 0.0, .*; make them longer", (f"{CNN}.learner.examples.window_s=0",)),
    Row("a window without end", "window_s is inf, expected a finite number", (f"{CNN}.learner.examples.window_s=inf",)),
    Row("a step back", "step_s is -1.0, expected a finite number, at least 0", (f"{CNN}.learner.examples.step_s=-1",)),
    Row("dropout of more than all", "model.dropout is 1.5, expected a finite number, at least 0 and less than 1", (f"{CNN}.learner.model.dropout=1.5",)),
    Row("layers of nothing", r"filters is 0, expected a whole number, at least 1", (f"{CNN}.learner.model.filters=(0,4,4,4)",)),
    Row("layers of halves", r"filters is 4.5, expected a whole number", (f"{CNN}.learner.model.filters=(4.5,4,4,4)",)),
    Row("layers that do not match", r"filters \(4, 4\), kernels .* are not equally many; give", (f"{CNN}.learner.model.filters=(4,4)",)),
    Row("bands of nothing", "LogMel has bands 0 .*: expected both above 0", (f"{SVR}.features.bands=0",)),
    Row("a hop back", "svr.features.hop_s is -0.1, expected", (f"{SVR}.features.hop_s=-0.1",)),
    Row("no C", r"svr.learner.c is \(\), expected one or more numbers above 0", (f"{SVR}.learner.c=()",)),
    Row("more folds than recordings", "folds.n is 20, but there are 4 recordings in train; take fewer", (f"{CNN}.folds.n=20",)),
    Row("odd folds", "folds.n is 3, expected an even number", (f"{CNN}.folds.n=3",)),
    Row("a fold that is not there", r"folds.only names folds \[9\], but there are 2", (f"{CNN}.folds.only=(9,)",)),
    Row("folds for classes", "folds.name is 'stratified', which needs classes; take", (f"{CNN}.folds.name=stratified",)),
    Row("a simulated corpus of nobody", r"speakers is \(0, 0, 0\), expected three counts from 1 to 100", ("--config.corpus.root=", "--config.corpus.speakers=(0,0,0)")),
    Row("a simulated corpus of words", "speakers is .*, expected three counts", ("--config.corpus.root=", "--config.corpus.speakers=('a','b','c')")),
    Row("a simulated corpus without end", "seconds is nan, expected 8 or more", ("--config.corpus.root=", "--config.corpus.speakers=(1,1,1)", "--config.corpus.seconds=nan")),
    # Names of nothing.
    Row("an unknown task", "config.corpus.task is 'snoring', expected one of breathing", ("--config.corpus.task=snoring",)),
    Row("a task that is not simulated", "config.corpus.root is missing: ComParE2021_CCS is not simulated; give", ("--config.corpus.root=", "--config.corpus.task=covid_cough")),
    Row("an unknown feature", "did you mean 'waveform'", (f"{CNN}.features.name=waveforms",)),
    Row("an unknown learner", "did you mean 'net'", (f"{CNN}.learner.name=nett",)),
    Row("an unknown network", "model.name is 'cnn9', expected one of", (f"{CNN}.learner.model.name=cnn9",)),
    Row("another network's fields", "model.dropout is not a field of 'resnet18'", (f"{CNN}.learner.model.name=resnet18",)),
    Row("an unknown kernel", "svr.learner.kernel is 'poly', expected one of", (f"{SVR}.learner.kernel=poly",)),
    Row("embeddings of nobody", "config.members.top.features.of names 'nobody', expected some of", (f"{TOP}.features.of=('nobody',)",)),
    Row("embeddings of itself", "top takes embeddings of top, which never ends", (f"{TOP}.features.of=('top',)",)),
    Row("embeddings of a machine", "svr.learner: a support vector machine has no embeddings; name", (f"{TOP}.features.of=('svr',)",)),
    Row("an unknown fusion", "config.fusion.name is 'vote', expected one of", ("--config.fusion.name=vote",)),
    Row("an unknown member to fuse", "config.fusion.members names 'cmm', expected some of", ("--config.fusion.members=('cnn','cmm')",)),
    Row("an unknown recording to leave out", "config.fusion.leave_out names 'nobody.wav', which is no recording of .*; correct", ("--config.fusion.leave_out=('nobody.wav',)",)),
    # The corpus.
    Row("no corpus", "/nowhere: no such folder; give the folder that holds wav/ and lab/", ("--config.corpus.root=/nowhere",)),
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
    Row("a doubled row", "labels.csv, row 4: 'train_00.wav' at 0.04 s stands twice; delete", spoil=swap("train_00.wav,0.08,", "train_00.wav,0.04,")),
    Row("rows out of order", "labels.csv, row 5: 'train_00.wav' at 0.12 s comes after 3.04 s; sort", spoil=swap("train_00.wav,0.08,", "train_00.wav,3.04,")),
    Row("missing rows", "labels.csv, row 12: 'train_00.wav' goes from 0.36 s to 0.52 s, .*; add the rows", spoil=without("train_00.wav,0.4")),
    Row("a label that is a word", "labels.csv, row 2: label 'breath', expected a finite number .*; correct", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,breath")),
    Row("a label that is no number", "labels.csv, row 2: 'train_00.wav' has the label 'nan', which only test .*; add", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,nan")),
    Row("an absurd label", r"labels.csv, row 2: label 1e\+300, expected -1 to 1; scale", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,1e300")),
    Row("an absurd time", "labels.csv, row 101: time '1e99', expected seconds", spoil=swap("train_00.wav,3.96", "train_00.wav,1e99")),
    Row("a path out of the corpus", "labels.csv, row 2: '../../etc/train_00.wav' leads out of the wav folder; put", spoil=swap("train_00.wav", "../../etc/train_00.wav", -1)),
    Row("an absolute path", "labels.csv, row 2: '/etc/train_00.wav' leads out of the wav folder; put", spoil=swap("train_00.wav", "/etc/train_00.wav", -1)),
    Row("a link out of the corpus", "labels.csv, row 2: 'train_00.wav' is a link that leads out .*; put", spoil=linked("elsewhere.wav")),
    Row("a ring of links", "labels.csv, row 2: 'train_00.wav' cannot be opened; put", spoil=linked(WAV)),
    Row("an endless name", r"labels.csv, row 2: 'train_a+\.\.\.' cannot be opened; put", spoil=swap("train_00.wav", f"train_{'a' * 5000}", -1)),
    Row("a recording that is not there", "labels.csv, row 2: 'train_00.wav' is not in the wav folder; put", spoil=gone(WAV)),
    Row("a name without a partition", "row 2: 'solo_00.wav' begins with none of train_, devel_, test_; rename", spoil=swap("train_00.wav", "solo_00.wav", -1)),
    Row("no devel", "labels.csv: no recordings in the partition devel; add", spoil=without("devel")),
    Row("no test", "no recording is in test; names begin with", spoil=without("test")),
    Row("a speaker without a column", "speakers.csv, row 1: no speaker column among 'file_name, who'; name it", spoil=text("corpus/lab/speakers.csv", "file_name,who\ntrain_00.wav,a\n")),
    Row("a text as audio", "train_00.wav: not readable as audio .*; copy it anew", spoil=text(WAV, "no sound")),
    Row("an empty file as audio", "train_00.wav: not readable as audio .*; copy it anew", spoil=text(WAV, "")),
    Row("audio without samples", "train_00.wav: no samples; copy it anew", spoil=audio(np.zeros(0))),
    Row("audio cut short", "train_00.wav: cut short: .* bytes .* less than its header promises; copy", spoil=half(WAV)),
    Row("a header that promises more", "train_00.wav: cut short: 999872000 bytes .*; copy", spoil=promising(10**9)),
    Row("audio at another rate", "train_00.wav: 8000 Hz, expected 16000 Hz; resample it", spoil=audio(NOISE[::2], 8000)),
    Row("audio in stereo", "train_00.wav: 2 channels, expected one; keep one", spoil=audio(np.stack([NOISE, NOISE], 1))),
    Row("audio with NaN", "train_00.wav: 1 samples are NaN or infinite; copy", spoil=audio(np.where(np.arange(64_000) == 9, np.nan, NOISE), subtype="FLOAT")),
    Row("audio beyond full scale", "train_00.wav: float samples reach [45].*, expected -1 to 1; rescale", spoil=audio(50 * NOISE, subtype="FLOAT")),
    Row("audio shorter than its labels", "train_00.wav: 0.20 s of audio, 100 labels are 4.00 s; copy", spoil=audio(NOISE[:3200])),
    Row("what is tested in train", "test_00.wav: test has the same audio as .*; copy the right file", spoil=lambda f: shutil.copy(f / WAV, f / "corpus/wav/test_00.wav")),
    # Weights.
    Row("weights that are not there", "there is no file /nowhere.pth; expected", (f"{CNN}.learner.pretrained=/nowhere.pth",)),
    Row("weights for another network", "'imagenet' is for .*, not for 'cnn1d_lstm'; give", (f"{CNN}.learner.pretrained=imagenet",)),
    Row("a text as weights", "w.pth: no zip file, so no .pth .*; with PyTorch", (f"{CNN}.learner.pretrained={{folder}}/w.pth",), text("w.pth", "hello")),
    Row("weights that execute", "w.pth: refused, it names posix.system; nothing in it was executed", (f"{CNN}.learner.pretrained={{folder}}/w.pth",), archive),
    Row("a pickle as weights", "w.pth: no zip file", (f"{CNN}.learner.pretrained={{folder}}/w.pth",), text("w.pth", pickle.dumps(Hostile()))),
    Row("torn safetensors", "w.safetensors: damaged or no safetensors file .*; fetch it again", (f"{CNN}.learner.pretrained={{folder}}/w.safetensors",), text("w.safetensors", "{}")),
    Row("weights that have no name", "recurrent_kernel has no name in PyTorch's files; set it to None", (f"{CNN}.learner.pretrained={{folder}}/w.safetensors",), lambda f: save_file({"a.weight": NOISE}, f / "w.safetensors")),
    # Folders.
    Row("a file as workdir", "--workdir=.*run: cannot be written .*; choose another", spoil=text("run", "")),
    Row("a workdir below a file", "--workdir=README.md/run: cannot be written .*; choose another", ("--workdir=README.md/run",)),
    Row("a workdir that nobody may write", "--workdir=/proc/run: cannot be written .*; choose another", ("--workdir=/proc/run",)),
    Row("a cache that nobody may write", "/proc/cache/compiled: cannot be created .*; set JAXPARA_CACHE", environment={"JAXPARA_CACHE": "/proc/cache"}),
    Row("a folder for the lock", "--workdir=.*run: cannot be written", spoil=lambda f: (f / "run/.lock").mkdir(parents=True)),
    Row("nothing to evaluate", "fold_0: training is not finished, .*; run the same command without --mode", (EVALUATE,)),
    # A finished run that was spoilt.
    Row("another config", r"members/cnn: was made with another config \(member.learner.batch: 4 there, 3 now\); choose another", (f"{CNN}.learner.batch=3",), run=True),
    Row("another seed", r"another config \(.*seed: 12 there, 13 now.*\); choose", ("--config.seed=13",), run=True),
    Row("another corpus", r"another config \(another corpus, or its labels or audio have changed since\); choose", spoil=swap("train_00.wav,0.00,0.0", "train_00.wav,0.00,0.5"), run=True),
    Row("half a member's config", "members/cnn/config.json: damaged .*; delete .*cnn to train", spoil=half("run/members/cnn/config.json"), run=True),
    Row("another thing as config", "config.json: damaged .no JSON object.; delete", spoil=text("run/members/cnn/config.json", "[1]"), run=True),
    Row("half a summary", "fold_0/fit.json: damaged .*; delete it and run again", spoil=half(f"{FIT}/fit.json"), run=True),
    Row("an empty summary", "fold_0/fit.json: damaged .*; delete it and run again", spoil=text(f"{FIT}/fit.json", ""), run=True),
    Row("a summary without epochs", "members/cnn: a fold_./fit.json is damaged .ValueError.*; delete them", spoil=text(f"{FIT}/fit.json", '{"seconds": 1, "epochs": []}'), run=True),
    Row("another thing as summary", "fit.json: damaged .no 'seconds' in it.; delete", spoil=text(f"{FIT}/fit.json", "{}"), run=True),
    Row("half predictions", "test.npz: not readable as predictions .*; delete it and run again", spoil=half(NPZ), run=True),
    Row("a text as predictions", "test.npz: not readable as predictions .*; delete it", spoil=text(NPZ, "hello"), run=True),
    Row("predictions that execute", "test.npz: not readable .*allow_pickle=False.*; delete", spoil=columns(recordings=lambda x: np.array([Hostile()] * len(x), object)), run=True),
    Row("predictions of other recordings", "test.npz: of the labels of this fold, 200 missing, .*; delete", spoil=columns(recordings=lambda x: np.full(len(x), "x.wav")), run=True),
    Row("predictions at other times", "test.npz: of the labels of this fold, 200 missing, .*; delete", spoil=columns(times_s=lambda x: x + 0.5), run=True),
    Row("predictions at no time", "test.npz: .*its columns are of other types.*; delete", spoil=columns(times_s=lambda x: x * np.nan), run=True),
    Row("predictions in words", "test.npz: .*its columns are of other types.*; delete", spoil=columns(scores=lambda x: x.astype(str)), run=True),
    Row("predictions of another task", "scores a row, the first has .*another task", spoil=columns(scores=lambda x: np.repeat(x, 3, 1)), run=True),
    Row("predictions that are no numbers", "submission not written: .* 200 NaN or infinite", spoil=columns(scores=lambda x: x * np.nan), run=True),
    Row("half a machine", "fitted.skops: not readable .*; delete .* to fit it again", spoil=both(half(MACHINE), gone("run/members/*/*/predictions")), run=True),
    Row("a machine that executes", r"fitted.skops: not readable \(Untrusted types .*posix.system", spoil=machine(FunctionTransformer(os.system)), run=True),
    Row("another thing as machine", "fitted.skops: holds something else, expected a fitted machine; delete", spoil=machine({"a": 1}), run=True),
    Row("no machine", "fitted.skops: no such file, .*; delete", spoil=gone(MACHINE, "run/members/*/*/predictions"), run=True),
    Row("no checkpoints", "checkpoints/4: this checkpoint cannot be read .*; delete .*fold_0 and start again", (EVALUATE,), gone(f"{FIT}/checkpoints"), run=True),
    Row("half a checkpoint", "checkpoints/4: this checkpoint cannot be read .*; delete .*fold_0", (EVALUATE,), checkpoint(lambda x: x[: len(x) // 2]), run=True),
    Row("a checkpoint in words", "checkpoints/4: this checkpoint cannot be read .*; delete", (EVALUATE,), checkpoint(lambda _: b"hello"), run=True),
    Row("a folder as report", "report.html: Is a directory; nothing finished is lost", spoil=emptied("run/report.html"), run=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A sound corpus and a finished run on it, not to be changed; and the server."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "corpus/wav").mkdir(parents=True)
    (folder / "corpus/lab").mkdir()
    rng, rows = np.random.default_rng(0), [("filename", "timeFrame", "upper_belt")]
    for part, count in (("train", 4), ("devel", 4), ("test", 2)):
        for number in range(count):
            name = f"{part}_{number:02d}.wav"
            soundfile.write(folder / "corpus/wav" / name, 0.1 * rng.uniform(-1, 1, 4 * RATE_HZ), RATE_HZ, "PCM_16")
            belt = np.round(np.sin(np.arange(100) / 8 + number), 5)
            rows += [(name, f"{t / 25:.2f}", "?" if part == "test" else belt[t] or 0.0) for t in range(100)]
    with (folder / LABELS).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    with serving(folder / "cache") as run:
        outcome = run(CONFIG, f"--config.corpus.root={folder / 'corpus'}", f"--workdir={folder / 'run'}")
        assert outcome.status == 0, outcome.err
        yield folder, run


def copied(place, folder, *, with_run):
    for name in ("corpus", "run")[: 1 + with_run]:
        shutil.copytree(place[0] / name, folder / name)
    return f"--config.corpus.root={folder / 'corpus'}", f"--workdir={folder / 'run'}"


def torn(folder):
    """Files of a workdir that are not whole."""
    return {path for path in folder.rglob("*") if path.is_file() and not whole(path)}


def whole(path):
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".npz", ".skops"):
            return zipfile.is_zipfile(path)
        return path.suffix != ".part" and (path.suffix != ".html" or path.read_text().endswith("</html>"))
    except ValueError:
        return False


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_what_goes_wrong_is_one_line(row, place, tmp_path):
    defaults = copied(place, tmp_path, with_run=row.run)
    if row.spoil:
        row.spoil(tmp_path)
    before = torn(tmp_path)
    flags = [
        flag.format(folder=tmp_path) if "{folder}" in flag else flag for flag in (row.config, *defaults, *row.flags)
    ]
    outcome = place[1](*flags, **row.environment)
    assert outcome.status == 1, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in outcome.out
    assert re.search(row.line, line), line
    assert torn(tmp_path) <= before
    assert not any(Path(folder, "executed").exists() for folder in (".", tmp_path))


def test_the_table_is_long_enough():
    assert len({row.name for row in ROWS}) == len(ROWS) >= 100


def test_what_can_be_made_again_is_made_again(place, tmp_path):
    """Damage that costs nothing but time: results, logs, embeddings, features, strangers among the checkpoints."""
    flags = copied(place, tmp_path, with_run=True)
    shutil.copytree(place[0] / "cache", tmp_path / "cache")
    for path in (tmp_path / "run/results.json", *tmp_path.glob("cache/features/*/data.bin")):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for path in (*tmp_path.glob("cache/shared_audio/*"), *tmp_path.glob("cache/features/*/index.jsonl")):
        path.write_text("3\n")
    (tmp_path / FIT / "metrics.jsonl").write_text('{"kind": "train", "step": "a", "epoch": 0, "loss": "low"}\n3\n"a"\n')
    (tmp_path / FIT / "embeddings/index.json").write_text('{"names": []}')
    gone("run/members/*/*/predictions")(tmp_path)
    (tmp_path / FIT / "checkpoints/notes.txt").write_text("good")
    (tmp_path / FIT / "checkpoints/copies").mkdir()
    outcome = place[1](CONFIG, *flags, JAXPARA_CACHE=str(tmp_path / "cache"))
    assert outcome.status == 0, outcome.err
    results = [json.loads((folder / "run/results.json").read_text()) for folder in (place[0], tmp_path)]
    for result in results:
        result["corpus"].pop("root")
    assert results[0] == results[1]
