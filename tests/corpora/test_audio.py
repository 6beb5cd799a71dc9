import ctypes
import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from jaxpara import runtime
from jaxpara.corpora import audio
from jaxpara.corpora.findings import Findings
from jaxpara.errors import UserError
from jaxpara.files import name_in_tables
from jaxpara.inference.audio_files import AudioFile

WAVE = np.array([0, 0.25, -0.5, 0.999, -1], np.float32)


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_every_sample_format_reads_as_the_same_numbers(tmp_path: Path, subtype: str, step: float):
    soundfile.write(tmp_path / "a.wav", WAVE, 16_000, subtype=subtype)
    waveform = audio.read(tmp_path / "a.wav", 16_000)
    assert waveform.dtype == np.float32
    assert waveform.shape == (5,)
    np.testing.assert_allclose(waveform, WAVE, atol=step, rtol=0)


def test_16_bit_amplitudes_are_divided_by_32768(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.array([1, -32768, 32767], np.int16), 16_000)
    assert audio.read(tmp_path / "a.wav", 16_000).tolist() == [2**-15, -1, 1 - 2**-15]


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.zeros(0), 16_000, "no samples"),
        (np.array([0.0, 3.5]), 16_000, r"samples reach 3\.5"),
        (np.array([0.0, np.nan]), 16_000, "1 samples are NaN"),
    ],
)
def test_audio_without_samples_or_of_other_ranges_is_refused(tmp_path: Path, samples, rate_hz, message):
    soundfile.write(tmp_path / "odd.wav", samples, rate_hz, subtype="FLOAT")
    with pytest.raises(UserError, match=rf"odd\.wav: .*{message}"):
        audio.read(tmp_path / "odd.wav", 16_000)


def test_other_rates_and_channels_are_resampled_and_mixed_down(tmp_path: Path):
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", stereo, 44_100, subtype="FLOAT")
    waveform = audio.read(tmp_path / "a.wav", 16_000)
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, soxr.resample(stereo.mean(axis=1), 44_100, 16_000), atol=1e-6)


def test_a_file_of_no_sample_at_the_rate_of_the_task_is_refused(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.zeros(5), 2**25)
    with pytest.raises(UserError, match=r"a\.wav: 5 samples at 33554432 Hz are none at 16000 Hz"):
        audio.read(tmp_path / "a.wav", 16_000)


def test_the_digest_contains_rate_and_channels(tmp_path: Path):
    samples = np.random.default_rng(0).integers(-1000, 1000, (1600, 2)).astype(np.int16)
    for name, content, rate_hz in (
        ("stereo", samples, 16_000),
        ("mono", samples.reshape(-1), 16_000),
        ("fast", samples.reshape(-1), 32_000),
    ):
        soundfile.write(tmp_path / f"{name}.wav", content, rate_hz)
    infos = [audio.scan(tmp_path / f"{name}.wav") for name in ("stereo", "mono", "fast")]
    assert len({info.digest for info in infos}) == 3
    # Stored features of mono files at 16 kHz stay valid.
    assert infos[1].digest == hashlib.sha256((samples / np.float32(32_768)).astype(np.float32).tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("amplitude", "offset", "silent"), [(2e-4, 0, False), (9e-5, 0, True), (9e-5, 0.3, True), (0, 0, True)]
)
def test_silence_is_below_80_db_whatever_the_offset(amplitude, offset, silent, tmp_path):
    samples = amplitude * np.sin(np.arange(1600)) + offset
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert audio.scan(tmp_path / "a.wav").silent == silent


def test_channels_that_cancel_leave_less_than_a_hundredth_of_their_power(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal((16_000, 2))
    for name, left, right in (
        ("opposite", noise[:, 0], -noise[:, 0]),
        ("nearly", noise[:, 0] + 0.2, -0.9 * noise[:, 0]),
        ("stereo", *noise.T),
        ("one", noise[:, 0], 0 * noise[:, 0]),
    ):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    found = {path.stem for path in tmp_path.iterdir() if audio.scan(path).cancels}
    assert found == {"opposite", "nearly"}


def test_special_files_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would wait for a writer
    (tmp_path / "link.wav").symlink_to(tmp_path / "nothing.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
    for path, kind in (
        (tmp_path / "pipe.wav", "a named pipe"),
        (tmp_path / "link.wav", "a broken link"),
        (tmp_path / "socket.wav", "a socket"),
        (Path("/dev/null"), "a device"),
        (tmp_path, "a folder"),
    ):
        assert audio.not_a_file(path) == kind
        assert audio.scan(path).failure == f"not readable as audio ({kind})"


@pytest.mark.skipif(sys.platform != "linux", reason="file names elsewhere are UTF-8")
def test_a_name_that_is_not_utf_8_is_read_like_any_other(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    soundfile.write(os.fsencode(path), WAVE, 16_000)
    assert len(audio.read(path, 16_000)) == 5
    assert name_in_tables(path.relative_to(tmp_path)) == "caf\\xe9.wav"


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc")
def test_what_c_libraries_print_is_discarded_and_what_python_prints_is_not(tmp_path, capfd):
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000, format="MP3")
    path.write_bytes(path.read_bytes()[:3000])
    soundfile.read(path)
    assert "Warning" in capfd.readouterr().err  # of mpg123
    with runtime.quiet():
        infos = audio.in_threads(audio.scan, [path] * 8)
        os.write(2, b"something else")
    assert len({info.missing for info in infos}) == 1
    assert capfd.readouterr().err == "something else"
    soundfile.read(path)
    assert "Warning" in capfd.readouterr().err


def test_files_other_than_audio_are_refused(tmp_path: Path):
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(UserError, match=r"text\.wav: not readable as audio"):
        audio.read(tmp_path / "text.wav", 16_000)
    with pytest.raises(UserError, match=r"none\.wav: no such file"):
        audio.read(tmp_path / "none.wav", 16_000)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (IndexError("out of range"), "out of range"),
        (OverflowError("too large"), "too large"),
    ],
)
def test_a_file_whose_headers_cannot_be_read_is_refused(tmp_path, monkeypatch, error, words):
    def refuse(path):
        raise error

    soundfile.write(tmp_path / "a.wav", WAVE, 16_000)
    monkeypatch.setattr(audio.Container, "of", refuse)
    assert audio.scan(tmp_path / "a.wav") == audio.AudioInfo(f"not readable as audio ({words})")


@pytest.mark.parametrize("peak", [1.19, 2.0, 2.1])
def test_floats_that_overshoot_a_little_are_clipped(tmp_path, peak):
    samples = np.array([0.0, peak, -peak, 0.25] * 400, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    if peak > 2:
        words = r"samples reach 2\.1.*, or up to 2 with clipping; rescale"
        with pytest.raises(UserError, match=rf"a\.wav: float {words} the file"):
            audio.read(tmp_path / "a.wav", 16_000)
        with pytest.raises(UserError, match=rf"{words} the recording"):
            list(audio.resample([samples], 16_000, 16_000))
        return
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav", 16_000), np.clip(samples, -1, 1))
    np.testing.assert_array_equal(np.concatenate(list(audio.resample([samples], 16_000, 16_000))), samples.clip(-1, 1))
    findings = Findings()
    audio.check_file(tmp_path / "a.wav", audio.scan(tmp_path / "a.wav"), findings)
    (finding,) = findings.listed()
    assert (finding.level, finding.what) == ("warning", "clipped: 50.0% of the samples are at or beyond full scale")


def test_all_readers_report_the_same_reason(tmp_path):
    path = tmp_path / "a: b.wav"  # a reason is not what follows the last colon
    path.write_bytes(b"no audio at all")
    why = audio.scan(path).failure
    assert why
    assert path.name not in why
    assert not why.endswith(".")
    for read in (lambda: audio.read(path, 16_000), lambda: list(AudioFile(path, path.name).read(16_000))):
        with pytest.raises(UserError) as refused:
            read()
        assert why in str(refused.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, os.strerror(13), "a.wav"), os.strerror(13)),
        (ValueError("one\n  line."), "one line"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_reason_is_one_line_without_the_file(error, words):
    assert audio._fault(error) == words


def test_a_scan_finds_the_properties_of_a_file(tmp_path):
    samples = np.array([0.0, 0.5, -1.0, 0.25] * 4000, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    info = audio.scan(tmp_path / "a.wav")
    assert (info.frames, info.rate_hz, info.channels, info.seconds) == (16_000, 16_000, 1, 1.0)
    assert (info.peak, info.clipped_fraction, info.bad_samples, info.silent, info.missing) == (1, 0.25, 0, False, "")


def test_the_digest_is_of_the_samples_and_not_of_the_bytes(tmp_path):
    samples = np.random.default_rng(0).integers(-1000, 1000, 1600).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples / 32768, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.flac", samples, 16_000, subtype="PCM_24")
    soundfile.write(tmp_path / "c.wav", samples[::-1], 16_000)
    one, same, other = (audio.scan(tmp_path / name).digest for name in ("a.wav", "b.flac", "c.wav"))
    assert one == same != other


def test_threads_keep_the_order_of_the_items(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    workers, calls = set(), []

    def late(item):
        workers.add(threading.get_ident())
        time.sleep(0.01 * (item % 2 == 0))
        return item**2

    assert audio.in_threads(late, range(40), lambda *call: calls.append(call), 8) == [item**2 for item in range(40)]
    assert calls == [(done, 40) for done in range(1, 41)]
    assert 1 < len(workers) <= 8
    assert audio.in_threads(late, []) == []


def test_after_a_failure_no_item_is_started():
    started = []

    def work(item):
        started.append(item)
        time.sleep(0.005)
        if item == 3:
            raise OSError("the disk is full")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(OSError, match="the disk is full"):
        audio.in_threads(work, range(1000))
    assert len(started) < 100
    started.clear()
    with pytest.raises(KeyboardInterrupt):
        audio.in_threads(work, range(1000), interrupt)
    assert len(started) < 100
    assert threading.active_count() < 50
