"""Special files are not opened, damaged ones fail; cutting and joining is the identity; resampling has no seams."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from jaxpara.corpora.audio import resample, scan
from jaxpara.errors import UserError
from jaxpara.inference.audio_files import AudioFile, Blocks, crossfade, find, to_float

NOISE = 0.1 * np.random.default_rng(0).standard_normal(16_000)


def test_pipes_and_broken_links_are_skipped_with_a_line(tmp_path):
    soundfile.write(tmp_path / "a.wav", NOISE, 16_000)
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "none")
    (tmp_path / "folder.wav").mkdir()
    lines = ["'link.wav' is skipped: it is a broken link", "'pipe.wav' is skipped: it is a named pipe"]
    for given in (tmp_path, tmp_path / "*.wav"):
        said = []
        assert [file.name for file in find(str(given), said.append)] == ["a.wav"]
        assert said == lines
    with pytest.raises(UserError, match=r"pipe\.wav: a named pipe, expected a file or folder"):
        find(str(tmp_path / "pipe.wav"))
    with pytest.raises(UserError, match="/dev/null: a device, expected"):
        find("/dev/null")
    (tmp_path / "a.wav").unlink()
    with pytest.raises(UserError, match="no audio in this folder"):
        find(str(tmp_path), lambda line: None)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="file names elsewhere are UTF-8")
def test_names_that_are_not_utf_8_are_escaped_and_read(tmp_path):
    soundfile.write(os.fsencode(tmp_path) + b"/\xfc.flac", NOISE, 16_000)
    for given in (tmp_path, tmp_path / "*.flac", Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfc.flac"))):
        (file,) = find(str(given))
        assert file.name == "\\xfc.flac"
        assert sum(map(len, file.read(16_000))) == 16_000


@pytest.mark.parametrize(
    ("suffix", "subtype", "spoil", "message"),
    [
        ("wav", "PCM_16", lambda content: content[:20_000], "cut short: 12044 bytes of audio less than its header"),
        ("mp3", "MPEG_LAYER_III", lambda content: content[:2000], r"cut short: \d+ of 30 MPEG frames"),
        ("ogg", "VORBIS", lambda content: content[:-9], "cut short: 9 bytes of audio less"),
        ("ogg", "OPUS", lambda content: content * 2, "more than its header promises: another file starts at byte"),
        ("flac", "PCM_16", lambda content: content[:20_000], "damaged or cut short"),
    ],
)
def test_damaged_files_fail_before_they_are_predicted(suffix, subtype, spoil, message, tmp_path):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, NOISE, 16_000, subtype=subtype)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        next(AudioFile(path, path.name).read(16_000))


def test_the_properties_of_a_file_are_those_of_a_scan(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([NOISE, -NOISE], 1), 22_050)
    file = AudioFile(tmp_path / "a.wav", "a.wav")
    assert np.abs(np.concatenate(list(file.read(16_000)))).max() < 1e-3
    assert file.info == scan(file.path)
    assert (file.info.rate_hz, file.info.channels, file.info.cancels) == (22_050, 2, True)


@pytest.mark.parametrize("length", [1, 639, 640, 16_000, 63_999, 64_000, 64_001, 300_123])
@pytest.mark.parametrize("chunk", [1000, 64_000, 10**6])
def test_a_sequence_that_is_cut_and_joined_is_unchanged(length, chunk):
    how = Blocks.of(4.0, 25.0, 16_000)
    assert (how.size, how.cell) == (64_000, 640)
    signal = np.arange(length, dtype=np.float32)
    cut = list(how.cut(signal[at : at + chunk] for at in range(0, length, chunk)))
    assert all(len(block) <= how.size and start % how.cell == 0 for start, block in cut)
    assert (len(cut) == 1) == (length <= how.size)
    if len(cut) > 1:
        assert len(cut[-1][1]) > how.size - how.cell
    for start, block in cut:
        np.testing.assert_array_equal(block, signal[start : start + len(block)])
    values = [np.arange(-(-len(block) // 640))[:, None] + start / 640 for start, block in cut]
    faded = crossfade([start // 640 for start, _ in cut], values)
    np.testing.assert_allclose(faded[:, 0], np.arange(-(-length // 640)), atol=1e-9)


def test_one_block_fades_into_the_next():
    first, second = np.zeros((80, 1)), np.ones((80, 1))
    faded = crossfade([0, 70], [first, second])[:, 0]
    assert (faded[:70] == 0).all()
    assert (faded[80:] == 1).all()
    assert (np.diff(faded[69:81]) > 0).all()


def test_clips_follow_each_other_and_the_last_ends_with_the_recording():
    how = Blocks.of(1.0, 0, 16_000)
    starts = [start for start, _ in how.cut([np.zeros(40_000, np.float32)])]
    assert starts == [0, 16_000, 24_000]
    assert [start for start, _ in how.cut([np.zeros(10, np.float32)])] == [0]
    assert list(how.cut([])) == []


def test_memory_does_not_grow_with_the_recording():
    how = Blocks.of(4.0, 25.0, 16_000)
    tracemalloc.start()
    for _ in how.cut(np.zeros(16_000, np.float32) for _ in range(300)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * how.size * 4  # two blocks kept, their concatenation and the current block; the recording has 75


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_in_chunks_equals_resampling_the_whole(rate_hz):
    waveform = np.random.default_rng(0).normal(size=rate_hz * 3 + 17).astype(np.float32) * 0.1
    chunks = [waveform[at : at + 7001] for at in range(0, len(waveform), 7001)]
    got = np.concatenate(list(resample(chunks, rate_hz, 16_000)))
    whole = soxr.resample(waveform, rate_hz, 16_000)
    assert abs(len(got) - len(whole)) <= 1
    count = min(len(got), len(whole))
    np.testing.assert_allclose(got[:count], whole[:count], atol=1e-5)


def test_channels_are_averaged_and_integers_scaled():
    stereo = np.array([[2**15 - 1, 0], [-(2**15), -(2**15)]], np.int16)
    (mono,) = resample([to_float(stereo)], 16_000, 16_000)
    np.testing.assert_allclose(mono, [0.5, -1], atol=1e-4)
    np.testing.assert_allclose(to_float(np.array([0, 128, 255], np.uint8)), [-1, 0, 127 / 128])
    with pytest.raises(UserError, match=r"samples reach 30000 between 0\.00 and"):
        list(resample([np.array([30_000.0])], 16_000, 16_000))
    with pytest.raises(UserError, match=r"samples reach nan"):
        list(resample([np.array([np.nan])], 16_000, 16_000))
    with pytest.raises(UserError, match=r"expected \[sample\]"):
        to_float(np.zeros((1, 2, 3)))
