"""Files of all formats give one table; a damaged file or an interruption affects no other file."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import jaxpara
from jaxpara.errors import UserError
from jaxpara.features.waveform import Waveform
from jaxpara.inference import predict as predict_module
from jaxpara.inference.audio_files import AudioFile
from jaxpara.inference.predict import predict

pytestmark = pytest.mark.usefixtures("read_once")

ROOT = Path(__file__).parents[2]
# Name, subtype, rate, channels and seconds of a file.
MIXED = [
    ("16 bit, plain.wav", "PCM_16", 16_000, 1, 10.0),
    ("sub/24.wav", "PCM_24", 44_100, 2, 3.3),
    ("sub/float.wav", "FLOAT", 48_000, 1, 0.1),
    ("sub/deep/é中.flac", "PCM_16", 22_050, 1, 10.0),
    ('line\nbreak and "quotes".ogg', "VORBIS", 48_000, 2, 10.0),
    ("=x.mp3", "MPEG_LAYER_III", 44_100, 1, 10.0),
    ("8k.wav", "PCM_U8", 8_000, 1, 10.0),
    ("long.flac", "PCM_16", 16_000, 1, 25.0),
]


@pytest.fixture(scope="module")
def speech(trained):
    _, corpus = trained("breathing")
    return soundfile.read(corpus / "wav" / "test_00.wav")[0]


@pytest.fixture(scope="module")
def mixed(speech, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    for name, subtype, rate_hz, channels, seconds in MIXED:
        sound = np.tile(speech, 3)[: round(seconds * 16_000)]
        sound = soxr.resample(sound, 16_000, rate_hz) if rate_hz != 16_000 else sound
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.stack([sound] * channels, axis=1), rate_hz, subtype)
    (folder / "notes.txt").write_text("no audio")
    return folder


def rows_of(table):
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def belts_of(table):
    header, rows = rows_of(table)
    assert header == ["file", "time", "value"]
    belts = {}
    for name, time_s, value in rows:
        belts.setdefault(name, []).append((float(time_s), float(value)))
    return {name: np.array(pairs) for name, pairs in belts.items()}


def test_every_kind_of_audio_gives_a_belt(trained, mixed, speech, tmp_path, capsys):
    workdir, _ = trained("breathing")
    table = tmp_path / "out" / "belts.csv"
    predict(workdir, str(mixed), table, images=True)
    belts = belts_of(table)
    assert list(belts) == sorted(name for name, *_ in MIXED)
    for name, _, _, _, seconds in MIXED:
        expected_s = np.arange(np.ceil(seconds * 25 - 0.01)) / 25
        if not name.endswith(".mp3"):  # its encoder adds silence
            np.testing.assert_array_equal(belts[name][:, 0], expected_s)
        image = (tmp_path / "out" / "belts_images" / f"{name}.png").read_bytes()
        assert image.startswith(b"\x89PNG")
    plain = belts["16 bit, plain.wav"]
    direct = jaxpara.load(workdir)(speech, 16_000)
    np.testing.assert_allclose(plain[:, 1], direct.values, atol=6e-6)
    for name in ("sub/deep/é中.flac", 'line\nbreak and "quotes".ogg', "=x.mp3"):
        rows = min(len(plain), len(belts[name]))
        assert np.corrcoef(plain[:rows, 1], belts[name][:rows, 1])[0, 1] > 0.95
    said = capsys.readouterr().out
    assert "SIMULATED" in said
    assert "of 8 files 6 were resampled to 16000 Hz (from 8000, 22050, 44100, 48000), 2 were mixed down" in said
    assert "1 was padded with silence to 1 s, " in said
    assert "predicted in blocks of 10 s" in said
    assert not list(table.parent.glob("*.parts"))


def test_files_of_a_pattern_are_named_below_its_fixed_folder(trained, mixed, tmp_path):
    workdir, _ = trained("breathing")
    predict(workdir, str(mixed / "**" / "*.flac"), tmp_path / "flac.csv")
    assert list(belts_of(tmp_path / "flac.csv")) == ["long.flac", "sub/deep/é中.flac"]
    predict(workdir, str(mixed / "sub" / "24.wav"), tmp_path / "one.csv")
    assert list(belts_of(tmp_path / "one.csv")) == ["24.wav"]


def test_silence_and_stereo_that_cancels_are_warned_about_after_an_interruption_too(
    trained, speech, tmp_path, capsys, monkeypatch
):
    workdir, _ = trained("breathing")
    (folder := tmp_path / "in").mkdir()
    soundfile.write(folder / "opposite.wav", np.stack([speech, -speech], 1), 16_000)
    soundfile.write(folder / "silent.wav", 5e-5 * speech, 16_000, "FLOAT")
    soundfile.write(folder / "speech.wav", speech, 16_000)
    loud = 3 * speech / np.abs(speech).max()
    soundfile.write(folder / "one_loud.wav", np.stack([loud, 0 * loud], 1), 16_000, "FLOAT")
    (folder / "text.wav").write_text("no audio")  # keeps the finished files
    for _ in range(2):
        with pytest.raises(UserError, match=r"1 of 5 files .*'text\.wav': not readable as audio"):
            predict(workdir, str(folder), tmp_path / "t.csv")
        warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
        assert [line.partition(";")[0] for line in warnings] == [
            "warning: one_loud.wav: float samples reach 3, expected -1 to 1, or up to 2 with clipping",
            "warning: opposite.wav: its 2 channels cancel each other: their mean is nearly silent",
            "warning: silent.wav: silent: nothing is above -80 dB of full scale",
        ]
        monkeypatch.setattr(predict_module, "_predict_batch", lambda system, batch: None if not batch else 1 / 0)


def test_a_damaged_file_is_reported_and_the_others_are_predicted(trained, mixed, speech, tmp_path, predicted):
    workdir, _ = trained("breathing")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "d", "f"):
        soundfile.write(folder / f"{name}.wav", speech[:32_000], 16_000)
    (folder / "b.wav").write_bytes(b"RIFF and no more")
    whole = (folder / "a.wav").read_bytes()
    soundfile.write(folder / "c.wav", np.empty(0), 16_000)
    soundfile.write(folder / "e.wav", np.array([0.1, np.nan] * 8000), 16_000, "FLOAT")
    table = tmp_path / "t.csv"
    with pytest.raises(
        UserError, match=r"3 of 6 files .* 'b\.wav': not readable as audio .*the predictions of the others are in"
    ):
        predict(workdir, str(folder), table)
    assert list(belts_of(table)) == ["a.wav", "d.wav", "f.wav"]
    predicted.clear()
    for name in "bce":
        (folder / f"{name}.wav").write_bytes(whole)
    predict(workdir, str(folder), table)
    assert predicted == ["b.wav", "c.wav", "e.wav"]
    belts = belts_of(table)
    assert list(belts) == [f"{name}.wav" for name in "abcdef"]
    np.testing.assert_array_equal(belts["b.wav"], belts["a.wav"])
    assert not (tmp_path / "t.csv.parts").exists()


def test_where_features_fail_the_other_files_are_predicted(trained, mixed, tmp_path, monkeypatch):
    workdir, _ = trained("breathing")
    whole = Waveform.extract

    def picky(feature, waveform):
        if len(waveform) == 16_000 and waveform.any():  # 0.1 s, padded
            raise UserError("too short for this feature")
        return whole(feature, waveform)

    monkeypatch.setattr(Waveform, "extract", picky)
    with pytest.raises(UserError, match=r"1 of 8 files .*first of them 'sub/float\.wav': too short for this feature;"):
        predict(workdir, str(mixed), tmp_path / "t.csv")
    assert len(belts_of(tmp_path / "t.csv")) == 7


def test_classes_have_a_label_and_probabilities(trained, tmp_path):
    workdir, corpus = trained("mask")
    folder = tmp_path / "in"
    folder.mkdir()
    names = sorted(path.name for path in (corpus / "wav").glob("test*"))[:5]
    for name in names:
        shutil.copy(corpus / "wav" / name, folder)
    clips = [soundfile.read(folder / name)[0] for name in names]
    soundfile.write(folder / "together.wav", np.concatenate(clips), 16_000)
    predict(workdir, str(folder), tmp_path / "t.csv", images=True)
    header, rows = rows_of(tmp_path / "t.csv")
    assert header == ["file", "label", "clear", "mask"]
    assert [row[0] for row in rows] == [*names, "together.wav"]
    probabilities = np.array([row[2:] for row in rows], float)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert [row[1] for row in rows] == [header[2 + best] for best in probabilities.argmax(1)]
    # A long recording is cut into clips of the training length.
    np.testing.assert_allclose(probabilities[-1], probabilities[:-1].mean(0), atol=2e-5)
    assert len(list((tmp_path / "t_images").iterdir())) == 6
    # Images of a former command are replaced, like the table.
    image = tmp_path / "t_images" / "together.wav.png"
    before = image.read_bytes()
    soundfile.write(folder / "together.wav", clips[0], 16_000)
    predict(workdir, str(folder), tmp_path / "t.csv", images=True)
    assert image.read_bytes() != before


SLOWLY = """
import sys, time
from pathlib import Path
from jaxpara.inference import predict
save = predict.FinishedFiles.save
predict.FinishedFiles.save = lambda *all: (save(*all), time.sleep(0.2))
predict.MAX_BATCH_S = 1.0
predict.predict(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
"""


def test_after_a_kill_it_resumes_with_the_finished_files(trained, mixed, tmp_path):
    workdir, _ = trained("breathing")
    table = tmp_path / "t.csv"
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(workdir), str(mixed), str(table)], cwd=ROOT)
    until = time.monotonic() + 200
    while len(kept := list(tmp_path.glob("t.csv.parts/[!.]*.npz"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not table.exists()
    assert len(kept) < 8
    predict(workdir, str(mixed), table)
    predict(workdir, str(mixed), tmp_path / "whole.csv")
    one, other = belts_of(table), belts_of(tmp_path / "whole.csv")
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=2e-5)


@pytest.mark.parametrize(
    ("given", "output", "message"),
    [
        ("nothing", "t.csv", r"--input=.*nothing: no such file or folder"),
        ("*.nothing", "t.csv", r"--input=.*: no file matches this pattern"),
        ("empty", "t.csv", r"no audio in this folder; expected files that end in \.wav, \.flac"),
        ("", "t.txt", r"expected a file whose name ends in \.csv"),
        ("", "16 bit, plain.wav/t.csv", r"cannot be written"),
    ],
)
def test_wrong_flags_are_reported_before_any_work(trained, mixed, tmp_path, given, output, message):
    workdir, _ = trained("breathing")
    (tmp_path / "empty").mkdir()
    folder = tmp_path if given == "empty" else mixed
    base = mixed if "/" in output else tmp_path
    with pytest.raises(UserError, match=message):
        predict(workdir, str(folder / given), base / output)


def test_without_a_system_nothing_is_written(mixed, tmp_path):
    with pytest.raises(UserError, match="expected the workdir of a finished run"):
        predict(tmp_path / "none", str(mixed), tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())


def test_files_are_not_compared_with_each_other(trained, mixed, tmp_path, monkeypatch):
    workdir, _ = trained("breathing")
    monkeypatch.setattr(AudioFile, "__eq__", None)
    predict(workdir, str(mixed / "*.flac"), tmp_path / "t.csv")


def test_out_of_memory_a_prediction_names_no_config_field(tmp_path):
    full = "def full(): raise MemoryError('1 GiB')\n"
    code = f"from jaxpara import __main__ as cli\n{full}cli._command = lambda: full\ncli.main()"
    for mode, words in (("predict", "use a computer with more memory"), ("evaluate", "lower learner.batch")):
        flags = [f"--mode={mode}", "--config=configs/mask_s1.py"]
        flags += ["--workdir=configs", "--input=configs", "--output=o.csv"]
        result = subprocess.run(
            [sys.executable, "-c", code, *flags], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert result.returncode == 1
        assert result.stderr.startswith("error: out of memory (1 GiB); ")
        assert words in result.stderr
        assert ("learner" in result.stderr) == (mode == "evaluate")
