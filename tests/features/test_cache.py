"""Arrays on disk: computed once per content, and written whole or not at all."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cached import FEATURE, Counted, assert_right, corpus, files, home, recordings, scanned

from jaxpara import processes
from jaxpara.corpora import audio
from jaxpara.errors import Unavailable, UserError
from jaxpara.features import LogMel, MelImage, Waveform
from jaxpara.features.cache import FITTED_FILE, fitted, is_intact, load_features, write_array

MEAN = np.arange(3, dtype=np.float32)


@pytest.fixture
def computed():
    Counted.calls.clear()
    return Counted.calls


def test_arrays_are_those_of_the_feature_and_read_only(tmp_path: Path):
    wavs = corpus(tmp_path / "wav")
    for known in (wavs, scanned(wavs)):
        features = load_features(FEATURE, known, tmp_path / "cache")
        assert_right(features, wavs)
        assert not features["0.wav"].flags.writeable
        assert features["0.wav"].dtype == np.float32
    assert len(features) == 6
    with pytest.raises(KeyError):
        features["6.wav"]
    assert {path.name for path in home(tmp_path / "cache").iterdir()} == {
        "feature.json",
        *(f"{wav.audio.digest}.npy" for wav in scanned(wavs)),
    }


def test_no_file_stays_open(tmp_path: Path):
    features = load_features(Waveform(), corpus(tmp_path / "wav", 4), tmp_path / "cache")
    before = os.listdir("/proc/self/fd")
    for array in features.values():
        assert array.sum()
    del array
    assert os.listdir("/proc/self/fd") == before


def test_images_are_stored_small_and_returned_whole(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 2)
    assert_right(load_features(MelImage(), wavs, tmp_path / "cache"), wavs, MelImage())
    assert max(path.stat().st_size for path in files(tmp_path / "cache")) < 64 * 20


def test_without_the_package_of_a_feature_only_stored_arrays_are_there(tmp_path: Path, monkeypatch):
    wavs = corpus(tmp_path / "wav", 3)
    load_features(FEATURE, wavs[:2], tmp_path / "cache")

    def require(self):
        raise Unavailable("not installed: pip install it")

    monkeypatch.setattr(type(FEATURE), "require", require)
    assert_right(load_features(FEATURE, wavs[:2], tmp_path / "cache"), wavs[:2])
    with pytest.raises(Unavailable, match=r"^not installed: pip install it$"):  # an optional member is left out
        load_features(FEATURE, wavs, tmp_path / "cache")


def test_existing_arrays_are_not_computed_again(tmp_path: Path, computed: list):
    wavs = corpus(tmp_path / "wav")
    steps = []
    for count in (4, 6, 6):
        load_features(Counted(), wavs[:count], tmp_path / "cache", lambda *step: steps.append(step))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4), (1, 2), (2, 2)]
    assert len(computed) == 6


def test_renamed_files_are_found_again_and_equal_ones_are_computed_once(tmp_path: Path, computed: list):
    wavs = corpus(tmp_path / "wav", 3)
    shutil.copy(wavs[0].path, tmp_path / "wav" / "copy.wav")
    load_features(Counted(), recordings(tmp_path / "wav"), tmp_path / "cache")
    assert len(computed) == len(files(tmp_path / "cache")) == 3
    (tmp_path / "wav").rename(tmp_path / "moved")
    (tmp_path / "moved" / "0.wav").rename(tmp_path / "moved" / "zero.wav")
    moved = recordings(tmp_path / "moved")
    assert_right(load_features(Counted(), moved, tmp_path / "cache"), moved, Counted())
    assert len(computed) == 3 + 4  # assert_right asks once for each


def test_changed_audio_is_computed_again(tmp_path: Path):
    wavs = corpus(tmp_path / "wav")
    for gain in (0.1, 0.2, 0.3):  # of one size, and as fast as the clock allows
        soundfile.write(wavs[2].path, np.full(2000, gain), 16_000)
        assert_right(load_features(Waveform(), wavs, tmp_path / "cache"), wavs, Waveform())


def test_other_fields_and_versions_have_other_folders(tmp_path: Path, monkeypatch):
    wavs = corpus(tmp_path / "wav", 1)
    features = [LogMel(), LogMel(bands=65), Waveform(), MelImage(), MelImage(matrix=LogMel(bands=65))]
    for feature in features:
        assert_right(load_features(feature, wavs, tmp_path / "cache"), wavs, feature)
    assert len(list((tmp_path / "cache").iterdir())) == 5
    monkeypatch.setattr(LogMel, "version", 2)
    for feature in features:
        load_features(feature, wavs, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 9


def test_audio_with_a_known_digest_is_not_read_again(tmp_path: Path, monkeypatch):
    wavs = corpus(tmp_path / "wav")
    known = scanned(wavs)
    load_features(FEATURE, known, tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(audio, "read", None)
        features = load_features(FEATURE, known, tmp_path / "cache")
    assert_right(features, wavs)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04" + bytes(200), b"\x93NUMPY\x01\x00v\x00{'descr': '|O', }", b"\x80\x04N.", b"\x93NUMPY"],
)
def test_files_other_than_arrays_are_not_intact(tmp_path: Path, content: bytes):
    (tmp_path / "a.npy").write_bytes(content)
    assert not is_intact(tmp_path / "a.npy")
    assert not is_intact(tmp_path / "b.npy")
    (tmp_path / "c.npy").mkdir()
    assert not is_intact(tmp_path / "c.npy")


@pytest.mark.parametrize("shape", [(), (0, 3), (1, 3, 2)])
def test_arrays_of_any_shape_are_written(tmp_path: Path, shape: tuple[int, ...]):
    write_array(tmp_path / "a.npy", np.ones(shape, np.uint8))
    assert is_intact(tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.ones(shape, np.uint8))


def test_short_missing_and_broken_recordings_are_named(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 3)
    soundfile.write(wavs[1].path, np.zeros(100), 16_000)
    with pytest.raises(UserError, match=r"1\.wav: 100 samples, but one window of 0\.032 s needs 512"):
        load_features(FEATURE, wavs, tmp_path / "cache")
    wavs[1].path.write_bytes(b"not audio")
    with pytest.raises(UserError, match=r"1\.wav: not readable as audio"):
        load_features(FEATURE, wavs, tmp_path / "cache")
    wavs[1].path.unlink()
    with pytest.raises(UserError, match=r"1\.wav: no such file"):
        load_features(FEATURE, wavs, tmp_path / "cache")


def test_a_recording_that_changed_after_the_check_is_refused(tmp_path: Path):
    wavs = scanned(corpus(tmp_path / "wav", 3))
    soundfile.write(wavs[1].path, np.full(3000, 0.5), 16_000)
    with pytest.raises(UserError, match=r"1\.wav: changed after it was checked; run again"):
        load_features(FEATURE, wavs, tmp_path / "cache")
    wavs = scanned(wavs)
    assert_right(load_features(FEATURE, wavs, tmp_path / "cache"), wavs)


def test_without_recordings_there_are_no_features(tmp_path: Path):
    assert len(load_features(FEATURE, [], tmp_path / "cache")) == 0


# What a feature learns from the training set of a fold.


def never():
    raise AssertionError("it was there")


def test_fitted_arrays_are_computed_once(tmp_path):
    for fit in (lambda: {"mean": MEAN}, never):
        found = fitted(tmp_path, ["a"], fit)
        assert found.keys() == {"mean"}
        np.testing.assert_array_equal(found["mean"], MEAN)
        assert found["mean"].dtype == np.float32


def test_damaged_fitted_arrays_are_computed_again(tmp_path):
    fitted(tmp_path, ["a"], lambda: {"mean": MEAN})
    (tmp_path / FITTED_FILE).write_bytes((tmp_path / FITTED_FILE).read_bytes()[:50])
    np.testing.assert_array_equal(fitted(tmp_path, ["a"], lambda: {"mean": MEAN + 1})["mean"], MEAN + 1)


def test_for_new_audio_fitted_arrays_must_exist(tmp_path):
    with pytest.raises(UserError, match=r"features\.npz: no such file; run the training command again"):
        fitted(tmp_path, [], never)
    (tmp_path / FITTED_FILE).write_text("no arrays")
    with pytest.raises(UserError, match=r"features\.npz: not readable; run"):
        fitted(tmp_path, [], never)


def test_only_the_main_process_fits_and_the_others_wait_for_it(tmp_path, monkeypatch):
    main, shared = tmp_path / "main", tmp_path / "shared"
    fitted(main, ["a"], lambda: {"mean": MEAN})
    monkeypatch.setattr(processes, "on_main", lambda work: main.rename(shared))
    np.testing.assert_array_equal(fitted(shared, ["a"], never)["mean"], MEAN)
    monkeypatch.setattr(processes, "on_main", lambda work: None)
    with pytest.raises(UserError, match="no such file"):
        fitted(tmp_path / "empty", ["a"], never)
    assert not (tmp_path / "empty").exists()
