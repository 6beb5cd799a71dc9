import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxpara.corpora import audio
from jaxpara.errors import UserError
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
        (np.zeros((8, 2)), 16_000, "2 channels, expected one"),
        (np.zeros(8), 44_100, "44100 Hz, expected 16000 Hz"),
        (np.zeros(0), 16_000, "no samples"),
        (np.array([0.0, 3.5]), 16_000, r"samples reach 3\.5"),
        (np.array([0.0, np.nan]), 16_000, "1 samples are NaN"),
    ],
)
def test_audio_of_other_rates_channels_or_ranges_is_refused(tmp_path: Path, samples, rate_hz, message):
    soundfile.write(tmp_path / "odd.wav", samples, rate_hz, subtype="FLOAT")
    with pytest.raises(UserError, match=rf"odd\.wav: .*{message}"):
        audio.read(tmp_path / "odd.wav", 16_000)


def test_files_other_than_audio_are_refused(tmp_path: Path):
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(UserError, match=r"text\.wav: not readable as audio"):
        audio.read(tmp_path / "text.wav", 16_000)
    with pytest.raises(UserError, match=r"none\.wav: no such file"):
        audio.read(tmp_path / "none.wav", 16_000)


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
    assert audio.reason(error) == words


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
