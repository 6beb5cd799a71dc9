"""Embeddings as features: their order, their scale, and their files."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler, normalize

from jaxpara import processes
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features.embeddings import Embeddings, stored

FOLD = Fold(1, ("a", "b"), ("c",), ("d",))
RNG = np.random.default_rng(0)
WHERE = "members.svm.features"
CORPUS = SimpleNamespace(partition=lambda *_: [SimpleNamespace(name=name) for name in "abc"])


def source(channels, frames=(40, 30, 20, 10)):
    """Return embeddings of four recordings, `[time, channel]`, or `[channel]` if there are no frames."""
    shapes = [(count, channels) for count in frames] or [(channels,)] * 4
    return {name: RNG.normal(3, 2, shape).astype(np.float32) for name, shape in zip("abcd", shapes, strict=True)}


def features(of, sources, rate_hz=25.0, **fields):
    return Embeddings(of, dict.fromkeys(sources, rate_hz), WHERE, **fields)


def arrays(feature, sources):
    with tempfile.TemporaryDirectory() as folder:
        return feature.arrays(CORPUS, FOLD, None, None, Path(folder), sources)


def test_channels_are_concatenated_in_the_order_of_the_config():
    cnn, net = source(3), source(2, frames=(41, 30, 20, 10))  # one frame more at the end of a
    sources = {"cnn": cnn, "net": net, "other": source(1)}
    joined = arrays(features(("net", "cnn"), sources), sources)
    assert list(joined) == ["a", "b", "c", "d"]
    for name in joined:
        np.testing.assert_array_equal(joined[name], np.hstack([net[name][: len(cnn[name])], cnn[name]]))


@pytest.mark.parametrize(("on", "names"), [("train", "ab"), ("train_and_devel", "abc")])
def test_scaling_is_scikit_learns_over_the_recordings_that_the_config_names(on, names):
    sources = {"cnn": source(3), "net": source(2)}
    for values in sources["cnn"].values():
        values[:, 1] = 0.1  # a constant channel keeps its scale
    feature = features(("cnn", "net"), sources, standardise=("cnn",), standardise_on=on, unit_length=True)
    assert bool(feature.leak) == (on != "train")
    scaler = StandardScaler().fit(np.concatenate([sources["cnn"][name] for name in names]))
    joined = arrays(feature, sources)
    for name in "abcd":
        expected = normalize(np.hstack([scaler.transform(sources["cnn"][name]), sources["net"][name]]))
        np.testing.assert_allclose(joined[name], expected, atol=1e-5)


def test_vectors_of_whole_recordings():
    sources = {"a": source(4, frames=()), "b": source(2, frames=())}
    feature = features(("a", "b"), sources, rate_hz=0.0, standardise=("a", "b"))
    assert feature.frame_rate_hz == 0
    joined = arrays(feature, sources)
    assert joined["d"].shape == (6,)
    np.testing.assert_allclose((joined["a"] + joined["b"]) / 2, 0, atol=1e-5)


def test_new_audio_is_scaled_by_the_scales_of_the_training(tmp_path):
    sources = {"cnn": source(3)}
    feature = features(("cnn",), sources, standardise=("cnn",))
    trained = feature.arrays(CORPUS, FOLD, None, None, tmp_path, sources)
    new = feature.arrays(None, Fold(1, (), (), ("new",)), None, None, tmp_path, {"cnn": {"new": sources["cnn"]["d"]}})
    np.testing.assert_array_equal(new["new"], trained["d"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"of": ()}, "of is empty"),
        ({"of": ("a",), "standardise": ("b",)}, r"standardise names \['b'\]"),
        ({"of": ("a",), "standardise_on": "all"}, "standardise_on is 'all'"),
        ({"of": ("a", "b")}, "of: embeddings of different rates"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=rf"^config\.members\.svm\.features\.{message}"):
        Embeddings(rates={"a": 25.0, "b": 50.0}, where=WHERE, **fields)


@pytest.mark.parametrize("frames", [(40, 30, 20, 0), ()])
def test_stored_embeddings_are_read_back_and_not_computed_again(frames, tmp_path):
    names = ["folder/a.wav", "b" * 300, "ü\n", ".."]
    pairs = list(zip(names, source(3, frames).values(), strict=True))
    calls = []

    def compute():
        calls.append(1)
        return iter(pairs)

    for _ in range(2):
        read = stored(tmp_path / "kept", names, compute)
        assert list(read) == names
        for name, values in pairs:
            np.testing.assert_array_equal(read[name], values)
            assert read[name].shape == values.shape
    assert calls == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_after_an_interruption_nothing_looks_complete(tmp_path):
    def compute():
        yield "a", np.zeros(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / "kept", ["a", "b"], compute)
    again = stored(tmp_path / "kept", ["a", "b"], lambda: [("a", np.ones(3)), ("b", np.ones(3))])
    assert [values.tolist() for values in again.values()] == [[1, 1, 1]] * 2


def test_embeddings_of_other_recordings_are_computed_again(tmp_path):
    stored(tmp_path, ["a"], lambda: [("a", np.ones(3))])
    assert list(stored(tmp_path, ["b"], lambda: [("b", np.ones(3))])) == ["b"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_if_one_file_is_missing_or_damaged_all_are_computed_again(damage, tmp_path):
    stored(tmp_path, ["a", "b"], lambda: [("a", np.ones(3)), ("b", np.ones(3))])
    damage(min(tmp_path.iterdir()))
    again = stored(tmp_path, ["a", "b"], lambda: [("a", np.full(3, 2.0)), ("b", np.full(3, 2.0))])
    assert [values.tolist() for values in again.values()] == [[2, 2, 2]] * 2


def test_every_process_computes_and_only_the_main_process_writes(tmp_path, monkeypatch):
    computed = []

    def compute():
        computed.append(1)
        yield "a", np.zeros(3)

    def main_process_is_done():
        assert computed
        assert not (tmp_path / "kept").exists()
        with monkeypatch.context() as main:
            main.setattr(processes, "is_main", lambda: True)
            main.setattr(processes, "wait_for_main", lambda: None)
            stored(tmp_path / "kept", ["a"], lambda: [("a", np.ones(3))])

    monkeypatch.setattr(processes, "is_main", lambda: False)
    monkeypatch.setattr(processes, "wait_for_main", main_process_is_done)
    assert stored(tmp_path / "kept", ["a"], compute)["a"].tolist() == [1, 1, 1]
    assert computed == [1]
