"""Features on disk are right whatever happens to the files and to the processes that compute them."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cached import FEATURE, Counted, assert_right, corpus, files, home, recordings, scanned
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxpara import processes
from jaxpara.features import Waveform
from jaxpara.features.cache import load_features, write_array


@pytest.fixture
def computed():
    Counted.calls.clear()
    return Counted.calls


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A corpus and its features, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("filled")
    load_features(FEATURE, scanned(corpus(folder / "wav", 3)), folder / "cache")
    return folder


DAMAGE = st.one_of(
    st.floats(0, 1, exclude_max=True).map(lambda fraction: lambda content: content[: int(fraction * len(content))]),
    st.binary(max_size=300).map(lambda garbage: lambda content: garbage),
    st.binary(min_size=1, max_size=40).map(lambda tail: lambda content: content + tail),
    st.none(),  # deleted
)


@settings(max_examples=60)
@given(st.dictionaries(st.integers(0, 2), DAMAGE, min_size=1))
def test_arrays_are_right_after_any_damage(filled: Path, damage: dict):
    cache = filled / "damaged"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(filled / "cache", cache)
    for path, change in [(files(cache)[index], change) for index, change in damage.items()]:
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change(path.read_bytes()))
    wavs, steps = recordings(filled / "wav"), []
    for _ in range(2):
        features = load_features(FEATURE, wavs, cache, lambda *step: steps.append(step))
    assert_right(features, wavs)
    # The first call computes the damaged features only.
    assert steps == [(done, len(damage)) for done in range(1, len(damage) + 1)]


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
unscanned = SimpleNamespace(digest="")
recordings = [SimpleNamespace(name=p.name, path=p, audio=unscanned) for p in sorted(Path(wav).glob("*.wav"))]
load_features(LogMel(bands=8), recordings, Path(cache), lambda *step: print(*step, flush=True))
"""


def fill(folder: Path, pause_s: float) -> subprocess.Popen:
    """Start a process that computes FEATURE slowly and prints a line after each recording."""
    command = [sys.executable, "-c", FILL, str(folder / "wav"), str(folder / "cache"), str(pause_s)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_after_a_kill_the_next_process_continues(tmp_path: Path):
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


def test_two_processes_may_compute_the_same_features_at_once(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 8)
    other = fill(tmp_path, 0.1)
    assert other.stdout
    assert other.stdout.readline() == "1 8\n"
    assert_right(load_features(FEATURE, wavs, tmp_path / "cache"), wavs)
    outputs = other.communicate()
    assert other.returncode == 0, outputs
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
                write_array(home(tmp_path / "cache") / f"{wav.audio.digest}.npy", np.zeros(1))
        computed.append(len(waveform))
        return waveform

    monkeypatch.setattr(Counted, "extract", extract)
    load_features(Counted(), wavs, tmp_path / "cache")
    assert computed == [1600 + 160 * i for i in (4, 5, 6, 7)]


def test_full_disk_is_reported_and_loses_nothing(tmp_path: Path):
    wavs = corpus(tmp_path / "wav", 12)
    limit = 8500  # bytes in one file; the waveforms need 6528 and 640 more each
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
    assert 2 <= left <= 4  # 0.wav and 1.wav come before 10.wav; 2.wav and 3.wav may have been started
    assert not list(home(tmp_path / "cache").glob(".*"))
    steps = []
    assert_right(
        load_features(Waveform(), wavs, tmp_path / "cache", lambda *step: steps.append(step)), wavs, Waveform()
    )
    assert len(steps) == 12 - left
