import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features import LogMel, MelImage, Waveform
from jaxpara.features.cache import store
from jaxpara.features.feature import Feature

FEATURE = LogMel(bands=8)
NONE = np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class Counted(Feature):
    """The waveform, and how often it was asked for."""

    calls: ClassVar[list[int]] = []
    gain: float = 1.0

    def extract(self, waveform):
        self.calls.append(len(waveform))
        return waveform * np.float32(self.gain)


@pytest.fixture
def computed():
    Counted.calls.clear()
    return Counted.calls


def corpus(folder: Path, count: int = 6) -> list[Recording]:
    """Recordings of 0.1 s and up, no two alike, old enough that their hashes are remembered."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for i in range(count):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(1600 + 160 * i), 16_000)
        os.utime(folder / f"{i}.wav", (1e9, 1e9 + i))
    return recordings(folder)


def recordings(folder: Path) -> list[Recording]:
    return [Recording(p.name, p, "train", "", NONE, NONE, NONE) for p in sorted(folder.glob("*.wav"))]


def assert_right(cached, expected: list[Recording], feature: Feature = FEATURE):
    assert list(cached) == [recording.name for recording in expected]
    for recording in expected:
        assert np.array_equal(cached[recording.name], feature(audio.read(recording.path, 16_000)))


def home(folder: Path) -> Path:
    (only,) = folder.iterdir()
    return only


def test_arrays_are_those_of_the_feature_and_read_only(tmp_path: Path):
    wavs = corpus(tmp_path / "wav")
    for _ in range(2):
        cached = store(FEATURE, wavs, tmp_path / "cache")
        assert_right(cached, wavs)
        assert not cached["0.wav"].flags.writeable
        assert cached["0.wav"].dtype == np.float32
    assert len(cached) == 6
    with pytest.raises(KeyError):
        cached["6.wav"]


def test_pictures_are_stored_small_and_come_out_whole(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 2)
    cached = store(MelImage(), wavs, tmp_path / "cache")
    assert_right(cached, wavs, MelImage())
    assert (home(tmp_path / "cache") / "data.bin").stat().st_size < 64 * 20


def test_what_is_there_is_not_computed_again(tmp_path: Path, computed: list):
    wavs = corpus(tmp_path / "wav")
    steps = []
    store(Counted(), wavs[:4], tmp_path / "cache", lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    store(Counted(), wavs, tmp_path / "cache", lambda done, total: steps.append((done, total)))
    assert steps[4:] == [(1, 2), (2, 2)]
    store(Counted(), wavs, tmp_path / "cache", lambda done, total: steps.append((done, total)))
    assert len(steps) == len(computed) == 6


def test_renamed_corpus_is_known_and_equal_files_are_computed_once(tmp_path: Path, computed: list):
    wavs = corpus(tmp_path / "wav", 3)
    shutil.copy(wavs[0].path, tmp_path / "wav" / "copy.wav")
    store(Counted(), recordings(tmp_path / "wav"), tmp_path / "cache")
    assert len(computed) == 3
    (tmp_path / "wav").rename(tmp_path / "moved")
    (tmp_path / "moved" / "0.wav").rename(tmp_path / "moved" / "zero.wav")
    moved = recordings(tmp_path / "moved")
    assert_right(store(Counted(), moved, tmp_path / "cache"), moved, Counted())
    assert len(computed) == 3 + 4  # assert_right asks once for each


def test_changed_audio_is_computed_anew(tmp_path: Path):
    wavs = corpus(tmp_path / "wav")
    for gain in (0.1, 0.2, 0.3):  # of one size, and as fast as the clock allows
        soundfile.write(wavs[2].path, np.full(2000, gain), 16_000)
        assert_right(store(Waveform(), wavs, tmp_path / "cache"), wavs, Waveform())


def test_other_fields_and_versions_have_other_folders(tmp_path: Path, monkeypatch):
    wavs = corpus(tmp_path / "wav", 1)
    features = [LogMel(), LogMel(bands=65), Waveform(), MelImage(), MelImage(matrix=LogMel(bands=65))]
    for feature in features:
        assert_right(store(feature, wavs, tmp_path / "cache"), wavs, feature)
    assert len(list((tmp_path / "cache").iterdir())) == 5
    monkeypatch.setattr(LogMel, "version", 2)
    for feature in features:
        store(feature, wavs, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 9


def test_audio_is_read_once_for_hashes_that_are_remembered(tmp_path: Path, monkeypatch):
    wavs = corpus(tmp_path / "wav")
    store(FEATURE, wavs, tmp_path / "cache")
    monkeypatch.setattr("jaxpara.features.contents.hash_of", None)
    assert_right(store(FEATURE, wavs, tmp_path / "cache"), wavs)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A corpus and its cache, to be copied and spoiled."""
    folder = tmp_path_factory.mktemp("filled")
    store(FEATURE, corpus(folder / "wav"), folder / "cache")
    return folder


NAMES = ("data.bin", "index.jsonl", "files.jsonl")


@settings(max_examples=60)
@given(
    cuts=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1)),
    flips=st.lists(
        st.tuples(st.sampled_from(NAMES), st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=3
    ),
    tail=st.binary(max_size=40),
)
def test_whatever_is_cut_or_spoiled_the_arrays_are_right(filled: Path, cuts: dict, flips: list, tail: bytes):
    cache = filled / "spoiled"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(filled / "cache", cache)
    for name, share, bits in flips:
        content = bytearray((home(cache) / name).read_bytes())
        content[int(share * len(content))] ^= bits
        (home(cache) / name).write_bytes(content)
    for name, share in cuts.items():
        os.truncate(home(cache) / name, round(share * (home(cache) / name).stat().st_size))
    with (home(cache) / "index.jsonl").open("ab") as index:
        index.write(tail)
    wavs = recordings(filled / "wav")
    steps = []
    for _ in range(2):
        assert_right(store(FEATURE, wavs, cache, lambda *step: steps.append(step)), wavs)
    # What the first start mended, the second finds.
    assert len(steps) == (steps[0][1] if steps else 0)
    if not (cuts or flips):
        assert not steps


@pytest.mark.parametrize("name", NAMES)
def test_deleted_files_are_made_again(filled: Path, tmp_path: Path, name: str):
    shutil.copytree(filled / "cache", tmp_path / "cache")
    (home(tmp_path / "cache") / name).unlink()
    wavs = recordings(filled / "wav")
    assert_right(store(FEATURE, wavs, tmp_path / "cache"), wavs)


def test_arrays_in_use_survive_a_mend_by_another_process(filled: Path, tmp_path: Path):
    shutil.copytree(filled / "cache", tmp_path / "cache")
    wavs = recordings(filled / "wav")
    cached = store(FEATURE, wavs, tmp_path / "cache")
    os.truncate(home(tmp_path / "cache") / "index.jsonl", 0)
    store(FEATURE, wavs, tmp_path / "cache")
    assert_right(cached, wavs)


FILL = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from jaxpara.features.cache import store
from jaxpara.features.mel import LogMel
wav, cache, pause = sys.argv[1:]
recordings = [SimpleNamespace(name=p.name, path=p) for p in sorted(Path(wav).glob("*.wav"))]
store(LogMel(bands=8), recordings, Path(cache), lambda *step: (print(*step, flush=True), time.sleep(float(pause))))
"""


def fill(folder: Path, pause_s: float) -> subprocess.Popen:
    """Another process that stores FEATURE and prints a line after each recording."""
    command = [sys.executable, "-c", FILL, str(folder / "wav"), str(folder / "cache"), str(pause_s)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_what_it_had_and_the_next_one_goes_on(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 20)
    process = fill(tmp_path, 0.2)
    assert process.stdout
    assert process.stdout.readline() == "1 20\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    steps = []
    assert_right(store(FEATURE, wavs, tmp_path / "cache", lambda *step: steps.append(step)), wavs)
    assert len(steps) in (18, 19)


def test_two_processes_share_the_work_of_one(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 8)
    processes = [fill(tmp_path, 0.05) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum(len(out.splitlines()) for out, _ in outputs) == 8
    assert_right(store(FEATURE, wavs, tmp_path / "cache"), wavs)


def test_full_disk_is_reported_and_leaves_the_store_usable(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 12)
    data_limit = 25_000  # bytes in one file; the waveforms take 6400 and more each
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (data_limit, hard))
        with pytest.raises(OSError, match="too large"):
            store(Waveform(), wavs, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (home(tmp_path / "cache") / "data.bin").stat().st_size <= data_limit
    assert_right(store(Waveform(), wavs[:3], tmp_path / "cache"), wavs[:3], Waveform())
    steps = []
    assert_right(store(Waveform(), wavs, tmp_path / "cache", lambda *step: steps.append(step)), wavs, Waveform())
    assert len(steps) == 9


def test_short_missing_and_broken_recordings_are_named(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 3)
    soundfile.write(wavs[1].path, np.zeros(100), 16_000)
    with pytest.raises(UserError, match=r"1\.wav: 100 samples, but one window of 0\.032 s needs 512"):
        store(FEATURE, wavs, tmp_path / "cache")
    wavs[1].path.write_bytes(b"not a sound")
    with pytest.raises(UserError, match=r"1\.wav: not readable as audio"):
        store(FEATURE, wavs, tmp_path / "cache")
    wavs[1].path.unlink()
    with pytest.raises(UserError, match=r"1\.wav: no such file"):
        store(FEATURE, wavs, tmp_path / "cache")


def test_a_recording_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch):
    wavs = corpus(tmp_path / "wav", 3)
    read = audio.read

    def read_late(path: Path, sample_rate_hz: int):
        soundfile.write(path, np.full(3000, 0.5), 16_000)
        return read(path, sample_rate_hz)

    monkeypatch.setattr(audio, "read", read_late)
    with pytest.raises(UserError, match="changed while it was read"):
        store(FEATURE, wavs, tmp_path / "cache")
    monkeypatch.undo()
    assert_right(store(FEATURE, wavs, tmp_path / "cache"), wavs)


def test_no_recordings_are_no_features(tmp_path: Path):
    assert len(store(FEATURE, [], tmp_path / "cache")) == 0
