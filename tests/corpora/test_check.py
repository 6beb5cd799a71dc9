import os
import shutil

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from jaxpara.corpora.audio import scan
from jaxpara.corpora.check import check
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.read import read


def test_valid_corpora_have_no_findings(mask, breathing):
    for folder in (mask, breathing):
        assert folder.listed() == ()
        corpus = folder.check()
        assert [r.name for r in corpus.recordings] == [r.name for r in read(folder.root, folder.task).recordings]
        for recording in corpus.recordings:
            assert recording.audio.seconds == soundfile.info(recording.path).duration
            assert recording.audio == scan(recording.path)


def test_a_finding_is_one_line_that_names_file_row_and_fix(mask):
    mask.set(3, "train_00002.wav,masc")
    (finding,) = mask.listed()
    assert str(finding) == (
        f"{mask.root}/lab/labels.csv, row 3: label 'masc', expected one of clear, mask; did you mean 'mask'?;"
        " correct the label"
    )


WAV = "wav/devel_00001.wav"


def audio(change, **form):
    """Return damage that writes a tenth of a second of changed noise."""
    return lambda folder, path: folder.wav(path.name, change(folder.noise("other", 0.1)), **form)


def cut(count):
    return lambda folder, path: path.write_bytes(path.read_bytes()[:count])


def with_value(value):
    return audio(lambda samples: np.r_[value, samples[1:]], subtype="FLOAT")


@pytest.mark.parametrize(
    ("damage", "level", "words"),
    [
        (audio(lambda samples: samples[:0]), "error", "no samples"),
        (cut(0), "error", "not readable as audio"),
        (cut(30), "error", "not readable as audio"),
        (cut(44), "error", "cut short: 3200 bytes"),
        (cut(1000), "error", "cut short: 2244 bytes"),
        (lambda folder, path: path.write_text("not audio"), "error", "not readable as audio"),
        (with_value(np.nan), "error", "1 samples are NaN"),
        (with_value(np.inf), "error", "1 samples are NaN"),
        (audio(lambda samples: 0 * samples), "warning", "silent"),
        (audio(lambda samples: 0 * samples + 0.1), "warning", "silent"),
        (audio(lambda samples: 9e-4 * samples), "warning", "silent: nothing is above -80 dB of full scale"),
        (audio(lambda samples: np.clip(samples * 20, -1, 1)), "warning", "clipped"),
        (audio(lambda samples: np.tile(samples, 2)), "warning", "0.200 s, most files have 0.100 s"),
    ],
)
def test_audio(mask, damage, level, words):
    damage(mask, mask.root / WAV)
    first, *rest = mask.listed()
    assert (first.level, first.file, first.row) == (level, str(mask.root / WAV), None)
    assert words in first.what
    # A file that is cut short also has an unusual length.
    assert [finding.what for finding in rest] == ["0.030 s, most files have 0.100 s"] * ("2244" in words)


def test_other_rates_and_channels_are_announced_in_one_warning_each(mask):
    for name, rate_hz, channels in (("train_00001", 44_100, 1), ("train_00002", 44_100, 2), ("test_00001", 8000, 1)):
        samples = soxr.resample(mask.noise(name, 0.1), 16_000, rate_hz)
        mask.wav(f"{name}.wav", np.stack([samples] * channels, 1), rate_hz)
    corpus = mask.check()
    assert [round(r.audio.seconds, 3) for r in corpus.recordings] == [0.1] * 5
    assert [(finding.level, finding.file, finding.what) for finding in mask.listed()] == [
        ("warning", str(mask.root), what)
        for what in (
            "1 of 5 files of another sample rate: 8000 Hz, resampled to 16000 Hz, with nothing above 4000 Hz",
            "2 of 5 files of another sample rate: 44100 Hz, resampled to 16000 Hz",
            "1 of 5 files of several channels: 2, mixed down to one",
        )
    ]


def test_labels_are_compared_with_seconds_at_any_rate(breathing):
    path = breathing.root / "wav/train_00.wav"
    breathing.wav(path.name, soxr.resample(soundfile.read(path)[0], 16_000, 22_050), 22_050)
    assert [finding.level for finding in breathing.listed()] == ["warning"]
    breathing.wav(path.name, breathing.noise("other", 0.5), 8000)
    assert [finding.level for finding in breathing.listed()] == ["warning"]
    breathing.wav(path.name, breathing.noise("other", 1), 32_000)
    assert "0.50 s of audio, 25 labels are 1.00 s" in breathing.listed()[0].what


def test_two_joined_files_are_an_error_and_channels_that_cancel_a_warning(mask):
    path, other = mask.root / WAV, mask.root / "wav/devel_00002.wav"
    path.write_bytes(path.read_bytes() + other.read_bytes())
    mask.wav("train_00001.wav", np.stack([mask.noise("a", 0.1), -mask.noise("a", 0.1)], 1))
    joined, *_, cancels, _ = mask.listed()
    assert joined.file == str(path)
    assert "has more than its header promises: another file starts at byte 3244" in joined.what
    assert (cancels.level, cancels.file) == ("warning", str(mask.root / "wav/train_00001.wav"))
    assert "its 2 channels cancel each other" in cancels.what


def test_missing_audio(mask):
    path = mask.root / WAV
    path.unlink()
    assert [(finding.row, finding.what) for finding in mask.listed()] == [
        (4, f"{path.name!r} is not in the wav folder")
    ]
    path.mkdir()
    assert [(finding.row, finding.what) for finding in mask.listed()] == [(4, f"{path.name!r} is not a file")]


def test_a_folder_without_read_permission(mask, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert mask.found() == [("error", "wav", None)]


def test_corpora_of_many_lengths_have_no_usual_one(mask):
    for index, name in enumerate(("train_00001.wav", "train_00002.wav", "devel_00001.wav")):
        mask.wav(name, mask.noise(name, 0.2 + 0.1 * index))
    assert mask.found() == []


def test_a_file_written_into_a_pipe_is_not_truncated(mask):
    path = mask.root / WAV
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\xff\xff\xff\xff" + content[44:])
    assert mask.found() == []


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_width_is_read(mask, breathing, subtype):
    for folder in (mask, breathing):
        for path in (folder.root / "wav").iterdir():
            folder.wav(path.name, soundfile.read(path)[0], subtype=subtype)
        assert folder.found() == []


def test_a_compressed_file_that_is_cut_short(mask):
    path = mask.root / WAV
    soundfile.write(path, mask.noise("other", 1), 16_000, format="MP3")
    path.write_bytes(path.read_bytes()[:3000])
    assert "cut short: 13 of 30 MPEG frames of audio less than its header" in mask.listed()[0].what


def test_extra_files(mask):
    mask.wav("train_00003.wav", mask.noise("x", 0.1))
    (mask.root / "wav" / "more").mkdir()
    mask.wav("more/train_00004.wav", mask.noise("y", 0.1))
    (mask.root / "wav" / ".hidden").write_text("")
    extra = [("warning", "wav/more/train_00004.wav", None), ("warning", "wav/train_00003.wav", None)]
    assert sorted(mask.found()) == extra


def test_the_same_audio_twice(mask):
    samples = soundfile.read(mask.root / "wav" / "train_00001.wav")[0]
    mask.wav("train_00002.wav", samples)
    assert mask.found() == [("warning", "wav/train_00002.wav", None)]
    # Another width, the same samples.
    mask.wav("test_00001.wav", samples, subtype="FLOAT")
    assert mask.found() == [("error", "wav/test_00001.wav", None), ("warning", "wav/train_00002.wav", None)]
    assert "train_00001.wav in train" in mask.listed()[0].what


def test_two_silent_files_are_no_leak(mask):
    for name in ("train_00001.wav", "test_00001.wav"):
        mask.wav(name, np.zeros(1600))
    assert mask.found() == [("warning", f"wav/{n}_00001.wav", None) for n in ("train", "test")]


def test_audio_longer_or_shorter_than_its_labels(breathing):
    breathing.wav("devel_00.wav", breathing.noise("x", 1.5))
    assert breathing.found() == [("error", "wav/devel_00.wav", None)]
    breathing.wav("devel_00.wav", breathing.noise("x", 0.5))
    assert breathing.found() == [("error", "wav/devel_00.wav", None)]


def test_progress_counts_every_file(mask):
    seen = []
    check(mask.root, mask.task, Findings(), lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]


def test_fingerprint(mask, tmp_path):
    before = mask.check().fingerprint
    assert len(before) == 64
    moved = tmp_path / "moved"
    shutil.copytree(mask.root, moved)
    assert check(moved, mask.task, Findings()).fingerprint == before

    changed = {before}
    mask.write("lab/speakers.csv", ["file_name,speaker", *(f"{s.split(',')[0]},{s[:7]}" for s in mask.lines[1:])])
    changed.add(mask.check().fingerprint)
    mask.set(3, "train_00002.wav,clear\ntrain_00003.wav,mask")
    mask.wav("train_00003.wav", mask.noise("x", 0.1))
    changed.add(mask.check().fingerprint)
    mask.set(3, "train_00002.wav,mask")
    changed.add(mask.check().fingerprint)
    mask.wav("train_00003.wav", mask.noise("y", 0.1))
    changed.add(mask.check().fingerprint)
    assert len(changed) == 5


def test_names_with_line_breaks_stay_on_one_line(mask):
    mask.wav("train_\n\x1b[31m.wav", mask.noise("x", 0.1))
    (finding,) = mask.listed()
    assert str(finding).isprintable()


@given(
    content=st.binary(max_size=300),
    at=st.integers(0, 60),
    whole=st.booleans(),
)
def test_any_content_of_an_audio_file_results_in_findings(mask, content, at, whole):
    path = mask.root / WAV
    valid = path.read_bytes()
    path.write_bytes(content if whole else valid[:at] + content + valid[at + len(content) :])
    try:
        assert all(str(finding).isprintable() for finding in mask.listed())
    finally:
        path.write_bytes(valid)
