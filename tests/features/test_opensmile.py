"""openSMILE features, compared with the package's own file reader; also from several threads."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import opensmile
import pytest
import soundfile
from signals import SIGNALS

from jaxpara.errors import UserError
from jaxpara.features.opensmile import OpenSmile

VOICE = np.round(SIGNALS["voice"][:16_000] * 32_000) / 32_768


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("wav") / "voice.wav"
    soundfile.write(path, VOICE, 16_000, "PCM_16")
    return path


def packages_own(feature_set, level, path):
    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[level])
    return smile.process_file(str(path)).to_numpy()


@pytest.mark.parametrize(("feature_set", "count"), [("ComParE_2016", 6373), ("eGeMAPSv02", 88)])
def test_functionals_are_those_of_the_file(feature_set, count, wav):
    feature = OpenSmile(feature_set=feature_set)
    values = feature(soundfile.read(wav, dtype="float32")[0])
    assert values.shape == (count,)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, packages_own(feature_set, "Functionals", wav)[0])
    assert feature.frame_rate_hz == 0


def test_descriptors_are_followed_by_their_deltas(wav):
    values = OpenSmile(level="lld")(soundfile.read(wav, dtype="float32")[0])
    frames = len(values)
    assert values.shape[1] == 130
    assert 90 <= frames <= 100
    low = packages_own("ComParE_2016", "LowLevelDescriptors", wav)
    deltas = packages_own("ComParE_2016", "LowLevelDescriptors_Deltas", wav)
    np.testing.assert_array_equal(values, np.concatenate([low[:frames], deltas[:frames]], 1))


def test_windows_are_functionals_of_the_pieces():
    feature = OpenSmile(feature_set="eGeMAPSv02", window_s=0.5, hop_s=0.25)
    values = feature(VOICE.astype(np.float32))
    assert values.shape == (4, 88)
    assert feature.frame_rate_hz == 4
    whole = OpenSmile(feature_set="eGeMAPSv02")
    for row, (start, end) in zip(values, ((0, 4000), (0, 8000), (4000, 12_000), (8000, 16_000)), strict=True):
        np.testing.assert_array_equal(row, whole(VOICE[start:end].astype(np.float32)))


def test_threads_do_not_disturb_each_other():
    feature = OpenSmile(feature_set="eGeMAPSv02")
    clips = [np.roll(VOICE, 1000 * i).astype(np.float32) for i in range(8)]
    one_by_one = [feature(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(feature, clips)), one_by_one)


@pytest.mark.parametrize("level", ["functionals", "lld"])
@pytest.mark.parametrize("feature_set", ["ComParE_2016", "eGeMAPSv02"])
def test_recordings_that_are_too_short_are_refused(feature_set, level):
    feature = OpenSmile(feature_set=feature_set, level=level)
    assert np.isfinite(feature(VOICE[:960].astype(np.float32))).all()
    with pytest.raises(UserError, match=r"0\.0599375 s are too short .* \(0\.06 s at least\); leave the recording out"):
        feature(VOICE[:959].astype(np.float32))


def test_the_package_has_the_same_minimum_length():
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    with pytest.warns(UserWarning, match="Segment too short"):
        assert np.isnan(smile.process_signal(VOICE[:959].astype(np.float32), 16_000)).all(axis=None)


@pytest.mark.parametrize(
    ("count", "window_s", "fix"),
    [(16_000, 0.1, "lengthen window_s"), (800, 2.0, "leave the recording out"), (900, 0.1, "leave the recording out")],
    ids=["short windows", "a short recording", "short windows of a short recording"],
)
def test_windows_that_are_too_short_are_refused(count, window_s, fix):
    with pytest.raises(UserError, match=rf"0\.05 s are too short .*; {fix}"):
        OpenSmile(feature_set="eGeMAPSv02", window_s=window_s, hop_s=0.1)(VOICE[:count].astype(np.float32))


@pytest.mark.parametrize("clip", [np.zeros(16_000), np.full(16_000, 0.5), np.eye(1, 16_000)[0]])
@pytest.mark.parametrize("feature_set", ["ComParE_2016", "eGeMAPSv02"])
def test_clips_without_speech_have_finite_values(feature_set, clip):
    assert np.isfinite(OpenSmile(feature_set=feature_set)((clip * 0.9).astype(np.float32))).all()


def test_without_the_package_the_error_shows_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    monkeypatch.setattr("jaxpara.features.opensmile._of_this_thread", type("", (), {})())
    with pytest.raises(UserError, match=r"pip install 'jaxpara\[opensmile\]'"):
        OpenSmile()(VOICE.astype(np.float32))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"feature_set": "ComParE"}, "expected one of .* did you mean 'ComParE_2016'"),
        ({"level": "llds"}, "did you mean 'lld'"),
        ({"window_s": 1.0}, "set both"),
        ({"level": "lld", "window_s": 1.0, "hop_s": 1.0}, "for lld: .* rate is fixed"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        OpenSmile(**fields)
