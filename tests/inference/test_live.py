"""--mode=live reads bytes and writes lines, however the input is split and the output is read."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ensembles import HERE, ensemble, offline, speech

import jaxpara
from jaxpara.errors import UserError
from jaxpara.inference.live import run as run_live
from jaxpara.inference.stream import Ensemble, Stream
from jaxpara.predictions import load, scores_of
from jaxpara.training.fold_run import fold_folder

ROOT = Path(__file__).parents[2]
MODELS = {(0, 0): 0.75, (1, 0): 0.25}  # of the system `alone`, with their weights


@pytest.fixture(scope="module")
def some():
    return ensemble(HERE, networks=1, sample_rate_hz=1000)


class Source:
    """A pipe that returns its parts one by one."""

    def __init__(self, *parts):
        self._parts = list(parts)

    def read(self, size):
        part = self._parts.pop(0) if self._parts else b""
        if isinstance(part, BaseException):
            raise part
        assert len(part) <= size
        return part


class Target(io.BytesIO):
    """A pipe that accepts few bytes at once, and whose reader closes it after some lines."""

    def __init__(self, at_most=1 << 30, lines=1 << 30):
        super().__init__()
        self._at_most, self._lines = at_most, lines

    def write(self, data):
        if self.getvalue().count(b"\n") >= self._lines:
            raise BrokenPipeError
        return super().write(bytes(data[: self._at_most]))


def pcm(waveform):
    return (waveform * 32768).astype("<i2").tobytes()


def run(some, *parts, target=None):
    target, notes = target or Target(), io.StringIO()
    try:
        run_live(some, Source(*parts), target, notes)
    finally:
        run.notes = notes.getvalue()
    rows = [line.split(" ") for line in target.getvalue().decode().splitlines()]
    return np.array([[float(value) for value in row] for row in rows]).reshape(-1, 2)


def test_every_line_is_a_time_and_the_offline_prediction(some):
    waveform = speech(4000)
    data = pcm(waveform)
    rows = run(some, data[:1], data[1:4001], data[4001:])
    np.testing.assert_allclose(rows[:, 0], np.arange(500) * 0.008, rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows[:, 1], offline(some, waveform), rtol=0, atol=1e-5)
    assert "a value every 8 ms" in run.notes
    assert "the first values after 1 s" in run.notes
    assert "4.0 s of audio, 500 values; computing one took" in run.notes
    assert "real-time factor" in run.notes


def test_an_end_within_a_hop_or_a_sample_is_reported(some):
    waveform = speech(2003)
    rows = run(some, pcm(waveform) + b"x")
    np.testing.assert_allclose(rows[:, 1], offline(some, waveform), rtol=0, atol=1e-5)
    assert "its last byte is ignored" in run.notes
    assert "padded with silence" in run.notes


def test_a_line_that_a_full_pipe_cut_off_is_completed(some):
    data = pcm(speech(2000))
    np.testing.assert_array_equal(run(some, data, target=Target(at_most=3)), run(some, data))


def test_it_ends_when_the_reader_closes_the_pipe(some):
    rows = run(some, pcm(speech(1500)), pcm(speech(1500)), AssertionError("read on"), target=Target(lines=2))
    assert len(rows) == 1500 // 8
    assert "the reader closed the output" in run.notes
    assert "real-time factor" in run.notes


def test_a_summary_is_printed_when_the_user_stops_it(some):
    with pytest.raises(KeyboardInterrupt):
        run(some, pcm(speech(3000)), KeyboardInterrupt())
    assert "3.0 s of audio, 375 values" in run.notes
    with pytest.raises(KeyboardInterrupt):
        run(some, pcm(speech(30)), KeyboardInterrupt())
    assert "no value" in run.notes


@pytest.mark.parametrize(
    ("parts", "words"),
    [((), "ended before its first sample"), ((b"x",), "ended before"), ((b"RIFF\x00\x00",), "like a WAV file")],
)
def test_input_that_is_not_raw_audio_is_one_line(some, parts, words):
    with pytest.raises(UserError, match=words):
        run(some, *parts)


def test_samples_in_values_out(alone, tmp_path):
    waveform = np.rint(3000 * np.random.default_rng(1).standard_normal(16_000 * 3 + 100)).clip(-32768, 32767)
    result = subprocess.run(
        [sys.executable, "launch.py", "--mode=live", f"--workdir={alone}"], cwd=ROOT, capture_output=True, check=False,
        env={**os.environ, "XLA_FLAGS": "", "JAXPARA_CACHE": str(tmp_path)}, timeout=300,
        input=waveform.astype("<i2").tobytes() + b"x",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = np.array([line.split() for line in result.stdout.decode().splitlines()], float)
    np.testing.assert_allclose(rows[:, 0], np.arange(76) * 0.04, rtol=0, atol=1e-9)
    wanted = offline(Ensemble.of(jaxpara.load(alone)), waveform.astype(np.float32) / 32768)
    np.testing.assert_allclose(rows[:, 1], wanted, rtol=0, atol=1e-4)
    assert b"real-time factor" in result.stderr


def live(system, waveform):
    stream = Stream(Ensemble.of(system))
    return np.concatenate([stream.push(waveform), stream.finish()])


def test_evaluation_predict_and_live_agree(alone, trained):
    """Of recordings of several windows, at a level that does not depend on the recording."""
    system, (_, corpus) = jaxpara.load(alone), trained("breathing")
    tables = {key: load(fold_folder(alone / "members" / "cnn", key) / "predictions" / "test.npz") for key in MODELS}
    for path in sorted((corpus / "wav").glob("test_*.wav")):
        waveform, rate_hz = soundfile.read(path, dtype="float32")
        predicted = system(waveform, rate_hz).values
        scores = [scores_of(table[table["recording"] == path.name])[:, 0] for table in tables.values()]
        assert len(predicted) > 2 * 100
        assert predicted.std() > 1e-3
        np.testing.assert_allclose(np.average(scores, axis=0, weights=list(MODELS.values())), predicted, atol=1e-5)
        np.testing.assert_allclose(live(system, waveform), predicted, rtol=0, atol=1e-5)


def test_models_weights_and_precision_are_those_of_the_system(alone, in_precision):
    waveform = (0.1 * np.random.default_rng(2).standard_normal(16_000 * 4)).astype(np.float32)

    def both(system):
        return live(system, waveform), system(waveform, 16_000).values

    exact, predicted = both(jaxpara.load(alone))
    np.testing.assert_allclose(exact, predicted, rtol=0, atol=1e-5)
    rounded, coarse = both(jaxpara.load(in_precision(alone, "bfloat16")))
    assert np.abs(rounded - coarse).mean() < 0.5 * np.abs(predicted - coarse).mean()


def test_the_error_for_other_systems_names_those_that_can_run_live(trained):
    with pytest.raises(UserError, match=r"cannot run live: .* single cnn1d_lstm .*configs/breathing_s1\.py"):
        Ensemble.of(jaxpara.load(trained("breathing")[0]))
    with pytest.raises(UserError, match="cannot run live"):
        Ensemble.of(jaxpara.load(trained("mask")[0]))


def test_a_mean_that_is_known_only_at_the_end_is_refused(alone, tmp_path):
    copied = shutil.copytree(alone, tmp_path / "centred")
    about = json.loads((copied / "system.json").read_text())
    about["members"]["cnn"]["config"]["learner"]["examples"]["subtract_mean"] = True
    (copied / "system.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"cannot run live: members\.cnn\..*subtract_mean needs the end"):
        Ensemble.of(jaxpara.load(copied))
