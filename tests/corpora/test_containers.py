"""Files that are cut short or joined, and headers that do not say the length, in every format."""

import struct

import numpy as np
import pytest
import soundfile

from jaxpara.corpora import audio
from jaxpara.corpora.containers import Container

NOISE = (0.1 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
FORMATS = [
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_U8", "DOUBLE", "ALAW", "IMA_ADPCM")),
    *((form, "PCM_16") for form in ("WAVEX", "RF64", "AIFF", "AU", "CAF", "W64", "FLAC")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")),
]
each_format = pytest.mark.parametrize(("form", "subtype"), FORMATS)


def written(path, form="WAV", subtype="PCM_16", samples=NOISE):
    soundfile.write(path, samples, 16_000, format=form, subtype=subtype)
    return path.read_bytes()


@each_format
def test_whole_files_are_read_whole(form, subtype, tmp_path):
    written(path := tmp_path / "a", form, subtype)
    assert Container.of(path) == Container()
    info = audio.scan(path)
    assert (info.failure, info.missing, info.more) == ("", "", "")
    assert info.frames == soundfile.info(path).frames >= 32_000


@each_format
@pytest.mark.parametrize("left", [0.5, 0.9, 0.999])
def test_files_that_are_cut_short_are_named(form, subtype, left, tmp_path):
    content = written(path := tmp_path / "a", form, subtype)
    path.write_bytes(content[: round(left * len(content))])
    info = audio.scan(path)
    if form == "FLAC":  # has no length in bytes, but libsndfile notices the incomplete frame
        assert info.failure.startswith("damaged or cut short")
    else:
        assert info.missing


@each_format
def test_joined_files_are_named(form, subtype, tmp_path):
    content = written(path := tmp_path / "a", form, subtype)
    path.write_bytes(content + content)
    assert audio.scan(path).more == f"another file starts at byte {len(content)}"


@pytest.mark.parametrize("sizes", [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 0x7FFFFFDB), (64_036, 0)])
def test_wav_files_of_unknown_length_are_read_to_the_end(sizes, tmp_path):
    content = written(path := tmp_path / "a.wav")
    path.write_bytes(
        content[:4] + struct.pack("<I", sizes[0]) + content[8:40] + struct.pack("<I", sizes[1]) + content[44:]
    )
    np.testing.assert_array_equal(audio.read(path, 16_000), soundfile.read(written(path) and path, dtype="float32")[0])


def test_an_empty_wav_file_with_a_chunk_after_it_stays_empty(tmp_path):
    content = written(path := tmp_path / "a.wav", samples=NOISE[:0])
    path.write_bytes(content + b"LIST" + struct.pack("<I", 4) + b"INFO")
    info = audio.scan(path)
    assert (info.failure, info.frames) == ("", 0)


def test_bytes_after_the_last_chunk_are_counted(tmp_path):
    content = written(path := tmp_path / "a.wav")
    path.write_bytes(content + b"LIST" + struct.pack("<I", 4) + b"INFO" + bytes(100))
    assert audio.scan(path).unread == 0
    path.write_bytes(content + b"LIST" + struct.pack("<I", 4) + b"INFO" + b"???!" * 20)
    assert audio.scan(path).unread == 80


def test_a_missing_page_within_an_ogg_file_is_named(tmp_path):
    content = written(path := tmp_path / "a.ogg", "OGG", "VORBIS", np.tile(NOISE, 4))
    pages = [at for at in range(len(content)) if content.startswith(b"OggS\0", at)]
    assert len(pages) > 4
    path.write_bytes(content[: pages[3]] + content[pages[4] :])
    assert audio.scan(path).missing == f"1 Ogg pages before byte {pages[3]}"


def test_an_mp3_file_without_a_xing_header_is_read_whole(tmp_path):
    # First frames of noise are larger than those of silence, so that libsndfile estimates too few.
    content = written(whole := tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III", np.r_[3 * NOISE, 0 * NOISE, 0 * NOISE])
    second = content.index(content[:2], 4)
    (path := tmp_path / "b.mp3").write_bytes(b"ID3\4\0\0\0\0\0\x20" + bytes(32) + content[second:])
    expected, estimated = soundfile.read(whole)[0], soundfile.read(path)[0]
    assert len(estimated) < 0.8 * len(expected)
    waveform = audio.read(path, 16_000)
    # The Xing header also has the silence that the encoder adds: 0 to 3 frames of 576 samples.
    added = len(waveform) - len(expected)
    assert 0 <= added < 3 * 576
    shift = int(np.argmax(np.correlate(waveform[: 5000 + added], expected[:5000], "valid")))
    np.testing.assert_allclose(waveform[shift : shift + 30_000], np.clip(expected[:30_000], -1, 1), atol=1e-5)
    assert not audio.scan(path).missing


def test_mp3_files_may_have_tags_at_both_ends(tmp_path):
    content = written(path := tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III")
    path.write_bytes(b"ID3\3\0\0\0\0\1\0" + bytes(128) + content + b"TAG" + bytes(125))
    info = audio.scan(path)
    assert (info.missing, info.more, info.frames) == ("", "", 32_000)
    path.write_bytes(path.read_bytes() * 2)
    assert audio.scan(path).more.startswith("another file starts at byte")


def test_an_mp3_file_that_ends_in_its_first_header_is_unreadable(tmp_path):
    content = written(path := tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III")
    xing = content.index(b"Xing")
    for size in range(xing + 4, xing + 13):
        path.write_bytes(content[:size])
        assert audio.scan(path).failure.startswith("not readable as audio")


@pytest.mark.parametrize(("form", "at", "size"), [("W64", 56, 2**64 - 1), ("CAF", 12, 2**63 - 1)])
def test_a_chunk_that_is_larger_than_any_file_is_refused(form, at, size, tmp_path):
    content = written(path := tmp_path / "a", form)
    path.write_bytes(content[:at] + size.to_bytes(8, "little" if form == "W64" else "big") + content[at + 8 :])
    assert Container.of(path) == Container()
    assert audio.scan(path).failure


def test_a_flac_file_may_contain_the_header_of_a_wav_file(tmp_path):
    content = written(path := tmp_path / "a.flac", "FLAC")
    foreign = b"riffRIFF" + bytes(4) + b"WAVEfmt "
    block = b"\2" + len(foreign).to_bytes(3, "big") + foreign
    path.write_bytes(content[:42] + block + content[42:])  # after the marker and the block that comes first
    assert audio.scan(path).frames == 32_000
    assert not audio.scan(path).more
