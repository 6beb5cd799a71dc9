"""Arrays on disk: computed once per content, whole or not at all, and computed again whatever happened to the files."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxpara import processes
from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features import LogMel, MelImage, Waveform
from jaxpara.features.cache import FITTED_FILE, digest_of, fitted, is_intact, load_features, write_array
from jaxpara.features.feature import Feature

FEATURE = LogMel(bands=8)
NONE = np.zeros(0)
MEAN = np.arange(3, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Counted(Feature):
    """The waveform, and how often it was asked for."""

    calls: ClassVar[list[int]] = []

    def extract(self, waveform):
        self.calls.append(len(waveform))
        return waveform


@pytest.fixture
def computed():
    Counted.calls.clear()
    return Counted.calls


def corpus(folder: Path, count: int = 6) -> list[Recording]:
    """Recordings of 0.1 s and up, no two alike."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for i in range(count):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(1600 + 160 * i), 16_000)
    return recordings(folder)


def recordings(folder: Path) -> list[Recording]:
    return [Recording(p.name, p, "train", "", NONE, NONE, NONE) for p in sorted(folder.glob("*.wav"))]


def scanned(wavs: list[Recording]) -> list[Recording]:
    """The recordings with the scans, and so the digests, that a check of the corpus adds."""
    return [replace(wav, audio=audio.scan(wav.path)) for wav in wavs]


def assert_right(features, expected: list[Recording], feature: Feature = FEATURE):
    assert list(features) == [recording.name for recording in expected]
    for recording in expected:
        assert np.array_equal(features[recording.name], feature(audio.read(recording.path, 16_000)))


def home(folder: Path) -> Path:
    (only,) = folder.iterdir()
    return only


def files(folder: Path) -> list[Path]:
    return sorted(home(folder).glob("*.npy"))


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
        *(f"{wav.digest}.npy" for wav in scanned(wavs)),
    }


def test_files_are_opened_only_while_their_array_is_used(tmp_path: Path):
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


def test_changed_audio_is_computed_anew(tmp_path: Path):
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


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A corpus and its features, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("filled")
    load_features(FEATURE, scanned(corpus(folder / "wav", 3)), folder / "cache")
    return folder


DAMAGE = st.one_of(
    st.floats(0, 1, exclude_max=True).map(lambda share: lambda content: content[: int(share * len(content))]),
    st.binary(max_size=300).map(lambda garbage: lambda content: garbage),
    st.binary(min_size=1, max_size=40).map(lambda tail: lambda content: content + tail),
    st.none(),  # deleted
)


@settings(max_examples=60)
@given(st.dictionaries(st.integers(0, 2), DAMAGE, min_size=1))
def test_whatever_is_damaged_the_arrays_are_right(filled: Path, damage: dict):
    cache = filled / "damaged"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(filled / "cache", cache)
    for path, spoil in [(files(cache)[index], spoil) for index, spoil in damage.items()]:
        if spoil is None:
            path.unlink()
        else:
            path.write_bytes(spoil(path.read_bytes()))
    wavs, steps = recordings(filled / "wav"), []
    for _ in range(2):
        features = load_features(FEATURE, wavs, cache, lambda *step: steps.append(step))
    assert_right(features, wavs)
    # The first start computes what was damaged, and nothing else.
    assert steps == [(done, len(damage)) for done in range(1, len(damage) + 1)]


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04" + bytes(200), b"\x93NUMPY\x01\x00v\x00{'descr': '|O', }", b"\x80\x04N.", b"\x93NUMPY"],
)
def test_what_is_no_array_is_not_intact(tmp_path: Path, content: bytes):
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


def test_arrays_in_use_survive_the_deletion_of_their_files(filled: Path, tmp_path: Path):
    shutil.copytree(filled / "cache", tmp_path / "cache")
    wavs = recordings(filled / "wav")
    used = dict(load_features(FEATURE, wavs, tmp_path / "cache"))
    for path in files(tmp_path / "cache"):
        write_array(path, np.zeros(3))
    shutil.rmtree(tmp_path / "cache")
    assert_right(used, wavs)


FILL = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from jaxpara.features.cache import load_features
from jaxpara.features.mel import LogMel

wav, cache, pause_s = sys.argv[1:]
extract = LogMel.extract
LogMel.extract = lambda *arguments: (time.sleep(float(pause_s)), extract(*arguments))[1]
recordings = [SimpleNamespace(name=p.name, path=p, digest="") for p in sorted(Path(wav).glob("*.wav"))]
load_features(LogMel(bands=8), recordings, Path(cache), lambda *step: print(*step, flush=True))
"""


def fill(folder: Path, pause_s: float) -> subprocess.Popen:
    """Another process that computes FEATURE slowly and prints a line after each recording."""
    command = [sys.executable, "-c", FILL, str(folder / "wav"), str(folder / "cache"), str(pause_s)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_what_it_had_and_the_next_one_continues(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 40)
    process = fill(tmp_path, 0.2)
    assert process.stdout
    assert process.stdout.readline() == "1 40\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = len(files(tmp_path / "cache"))
    assert 1 <= left < 40
    steps = []
    assert_right(load_features(FEATURE, wavs, tmp_path / "cache", lambda *step: steps.append(step)), wavs)
    assert len(steps) == 40 - left


def test_two_processes_may_compute_the_same_at_once(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 8)
    both = [fill(tmp_path, 0.05) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert len(files(tmp_path / "cache")) == 8
    assert not list(home(tmp_path / "cache").glob(".*"))
    assert_right(load_features(FEATURE, wavs, tmp_path / "cache"), wavs)


def test_processes_of_a_run_start_at_different_recordings_and_skip_what_others_finished(
    tmp_path: Path, computed: list, monkeypatch
):
    wavs = corpus(tmp_path / "wav", 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(processes, "index", lambda: 1)
    monkeypatch.setattr(processes, "count", lambda: 2)

    def extract(self, waveform):
        if not computed:  # meanwhile the other process, which starts at the first one
            for wav in scanned(wavs[:4]):
                write_array(home(tmp_path / "cache") / f"{wav.digest}.npy", np.zeros(1))
        computed.append(len(waveform))
        return waveform

    monkeypatch.setattr(Counted, "extract", extract)
    load_features(Counted(), wavs, tmp_path / "cache")
    assert computed == [1600 + 160 * i for i in (4, 5, 6, 7)]


def test_full_disk_is_reported_and_loses_nothing(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 12)
    limit = 8500  # bytes in one file; the waveforms take 6528 and 640 more each
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(OSError, match="too large"):
            load_features(Waveform(), wavs, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    left = len(files(tmp_path / "cache"))
    assert 2 <= left <= 4  # 0.wav and 1.wav come before 10.wav; 2.wav and 3.wav may have been begun
    assert not list(home(tmp_path / "cache").glob(".*"))
    steps = []
    assert_right(
        load_features(Waveform(), wavs, tmp_path / "cache", lambda *step: steps.append(step)), wavs, Waveform()
    )
    assert len(steps) == 12 - left


def test_short_missing_and_broken_recordings_are_named(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 3)
    soundfile.write(wavs[1].path, np.zeros(100), 16_000)
    with pytest.raises(UserError, match=r"1\.wav: 100 samples, but one window of 0\.032 s needs 512"):
        load_features(FEATURE, wavs, tmp_path / "cache")
    wavs[1].path.write_bytes(b"not a sound")
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


def test_no_recordings_are_no_features(tmp_path: Path):
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


def test_for_new_audio_fitted_arrays_have_to_exist(tmp_path):
    with pytest.raises(UserError, match=r"features\.npz: no such file; run the training command once more"):
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
