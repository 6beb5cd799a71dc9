"""Shared audio is found at whatever offset and under whatever name; silence, noise and other gains are not."""

import os
from itertools import combinations, count

import numpy as np
import pytest
import soundfile

from jaxpara.corpora.corpus import Recording
from jaxpara.corpora.duplicates import SharedAudio, across, across_fold, shared_audio, shared_audio_kept_in
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError

RATE_HZ = 16_000


def noise(seconds, seed, level=1000):
    return np.round(level * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))).astype(np.int16)


@pytest.fixture
def heard(tmp_path):
    """Writes {name: int16 samples} and says what they share."""

    def find(sounds, subtype="PCM_16"):
        for name, samples in sounds.items():
            soundfile.write(tmp_path / f"{name}.wav", samples, RATE_HZ, subtype=subtype)
        nothing = np.zeros(1)
        return shared_audio(
            [Recording(name, tmp_path / f"{name}.wav", "train", "", nothing, nothing, nothing) for name in sounds]
        )

    return find


def test_exact_copies(heard):
    one, other = noise(1, 0), noise(0.3, 1)
    assert heard({"a": one, "b": other, "c": one, "d": noise(1, 2), "e": other, "f": one}) == [
        SharedAudio("a", "c", 1.0),
        SharedAudio("a", "f", 1.0),
        SharedAudio("b", "e", 0.3),
        SharedAudio("c", "f", 1.0),
    ]


def test_the_samples_count_and_not_the_bytes(tmp_path, heard):
    samples = noise(1, 0)
    soundfile.write(tmp_path / "float.wav", samples / 32768, RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "pcm.flac", samples, RATE_HZ, subtype="PCM_24")
    nothing = np.zeros(1)
    files = [tmp_path / "float.wav", tmp_path / "pcm.flac"]
    shared = shared_audio([Recording(f.name, f, "train", "", nothing, nothing, nothing) for f in files])
    assert shared == [SharedAudio("float.wav", "pcm.flac", 1.0)]


@pytest.mark.parametrize("at", [0, 1, 12_345, 3 * RATE_HZ + 77])
@pytest.mark.parametrize("start", [0, 7_001])
def test_a_stretch_inside_longer_recordings_is_found_at_any_offset(heard, at, start):
    one, other = noise(6, 0), noise(5, 1)
    other[at : at + 8_800] = one[start : start + 8_800]
    (found,) = heard({"one": one, "other": other})
    # A neighbouring sample may be equal by chance.
    assert found == SharedAudio("one", "other", pytest.approx(0.55, abs=3 / RATE_HZ))


def brute_force(one, other):
    """Samples of the longest stretch that two recordings share, by trying every offset."""
    longest = 0
    for offset in range(-len(other) + 1, len(one)):
        equal = one[max(offset, 0) : len(other) + offset] == other[max(-offset, 0) : len(one) - offset]
        if np.count_nonzero(equal) > longest:
            edges = np.flatnonzero(np.diff(np.concatenate([[0], equal, [0]])))
            longest = max(longest, (edges[1::2] - edges[::2]).max())
    return longest


@pytest.mark.parametrize("seed", range(3))
def test_against_every_offset(heard, seed):
    rng = np.random.default_rng(seed)
    # 1.5 LSB of noise: many samples are alike by chance.
    sounds = {name: noise(rng.uniform(0.65, 0.75), [seed, k], level=1.5) for k, name in enumerate("abc")}
    for one, other, length in (("a", "b", 8_000), ("b", "c", rng.integers(7_900, 8_300))):
        source, target = (rng.integers(len(sounds[name]) - length) for name in (one, other))
        sounds[other][target : target + length] = sounds[one][source : source + length]
    expected = {pair: brute_force(*(sounds[name] for name in pair)) / RATE_HZ for pair in combinations(sounds, 2)}
    expected = {pair: seconds for pair, seconds in expected.items() if seconds >= 0.5}
    assert expected
    assert {(s.one, s.other): s.seconds for s in heard(sounds)} == expected


def test_less_than_half_a_second_is_not_told(heard):
    one, other = noise(2, 0), noise(2, 1)
    other[5_000:12_900] = one[9_000:16_900]
    assert heard({"one": one, "other": other}) == []


def test_what_is_not_the_same_sample_by_sample_is_not_found(heard):
    samples = noise(2, 0)
    louder = np.round(1.1 * samples).astype(np.int16)
    assert heard({"quiet": samples, "louder": louder, "upside down": -samples}) == []


@pytest.mark.parametrize("level", [0.3, 1, 1000])
def test_noise_is_not_matched(heard, level):
    assert heard({f"{seed}": noise(3, seed, level) for seed in range(8)}) == []


def test_silence_is_not_matched(heard):
    silence, offset = np.zeros(2 * RATE_HZ, np.int16), np.full(2 * RATE_HZ, 7, np.int16)
    speech = {f"pause in {k}": np.concatenate([noise(0.4, k), silence, noise(0.4, 9 + k)]) for k in range(4)}
    clicks = {f"clicks {k}": silence.copy() for k in range(2)}
    for k, clicking in enumerate(clicks.values()):
        clicking[1_000 * (k + 1) :: 400] = 1
    assert heard({"silent": silence, "silent too": silence, "offset": offset, "other": offset} | speech | clicks) == []


def test_silence_inside_a_stretch_does_not_count(heard):
    silence = np.zeros(RATE_HZ, np.int16)

    def with_pause(sound_s):
        both = np.concatenate([noise(sound_s / 2, 2), silence, noise(sound_s / 2, 3)])
        return {name: np.concatenate([noise(1, seed), both]) for seed, name in enumerate(("a", "b"))}

    assert heard(with_pause(0.48)) == []
    (found,) = heard(with_pause(0.56))
    assert found.seconds == pytest.approx(0.56, abs=3 / RATE_HZ)


def test_a_tone_is_no_leak(heard):
    tone = np.round(9_000 * np.sin(2 * np.pi * np.arange(3 * RATE_HZ) / 80)).astype(np.int16)
    sounds = {f"{seed}": np.concatenate([noise(0.5, seed), tone, noise(0.5, 9 + seed)]) for seed in range(4)}
    assert heard(sounds) == []


def test_copies_of_a_recording_share_what_it_shares(heard):
    long, clip = noise(4, 0), noise(1, 1)
    clip[:12_000] = long[20_000:32_000]
    shared = heard({"clip": clip, "long": long, "copy": clip, "too short": noise(0.005, 3), "empty": noise(0, 0)})
    assert [(s.one, s.other) for s in shared] == [("clip", "long"), ("clip", "copy"), ("long", "copy")]
    assert [s.seconds for s in shared] == pytest.approx([0.75, 1, 0.75], abs=3 / RATE_HZ)


def test_which_pairs_lie_across_a_fold():
    shared = [SharedAudio("a", "b", 1), SharedAudio("b", "c", 1), SharedAudio("a", "d", 1), SharedAudio("e", "a", 1)]
    fold = Fold(0, train_names=("a", "c"), val_names=("b", "e"), test_names=("d",))
    assert across_fold(shared, fold) == [shared[0], shared[1], shared[3]]
    assert across(shared, fold.train_names + fold.val_names, fold.test_names) == [shared[2]]
    assert across_fold(shared, Fold(1, ("a", "b", "c"), ("f",), ())) == []


def test_what_was_found_is_kept(tmp_path):
    nothing, calls, path = np.zeros(1), [], tmp_path / "cache" / "shared.json"
    soundfile.write(tmp_path / "a.wav", noise(1, 0), RATE_HZ)
    recordings = [Recording(name, tmp_path / "a.wav", "train", "", nothing, nothing, nothing) for name in "ab"]

    def find():
        calls.clear()
        assert shared_audio_kept_in(path, recordings, lambda *call: calls.append(call)) == [SharedAudio("a", "b", 1.0)]
        return len(calls)

    assert [find(), find()] == [2, 0]
    # Cut, of another form, of other fields: looked for anew, and kept again.
    for damaged in ('[{"one": "a"', "7", '[{"one": "a"}]', ""):
        path.write_text(damaged)
        assert [find(), find()] == [2, 0]


def test_two_runs_find_it_at_once(tmp_path, monkeypatch):
    """The other one writes the same file while this one is about to."""
    nothing, path, fsync, processes = np.zeros(1), tmp_path / "cache" / "shared.json", os.fsync, count(1)
    soundfile.write(tmp_path / "a.wav", noise(1, 0), RATE_HZ)
    recordings = [Recording(name, tmp_path / "a.wav", "train", "", nothing, nothing, nothing) for name in "ab"]
    found = []

    def other_run(descriptor):
        monkeypatch.setattr(os, "fsync", fsync)
        found.append(shared_audio_kept_in(path, recordings))
        fsync(descriptor)

    monkeypatch.setattr(os, "getpid", lambda: next(processes))
    monkeypatch.setattr(os, "fsync", other_run)
    found.append(shared_audio_kept_in(path, recordings))
    assert found == [[SharedAudio("a", "b", 1.0)]] * 2
    assert [file.name for file in path.parent.iterdir()] == ["shared.json"]


def test_progress_and_a_file_that_is_no_audio(tmp_path):
    soundfile.write(tmp_path / "good.wav", noise(1, 0), RATE_HZ)
    (tmp_path / "bad.wav").write_bytes(b"no audio at all")
    nothing, calls = np.zeros(1), []
    good, bad = (
        Recording(name, tmp_path / name, "train", "", nothing, nothing, nothing) for name in ("good.wav", "bad.wav")
    )
    assert shared_audio([good, good], lambda *call: calls.append(call)) == [SharedAudio("good.wav", "good.wav", 1.0)]
    assert calls == [(1, 2), (2, 2)]
    with pytest.raises(UserError, match=r"bad\.wav: not readable as audio"):
        shared_audio([good, bad])
