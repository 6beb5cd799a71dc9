"""Embeddings as features: whose, in which order, on which scale, and kept on disk whole or not at all."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler, normalize

from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features.embeddings import Embeddings, stored

FOLD = Fold(1, ("a", "b"), ("c",), ("d",))
RNG = np.random.default_rng(0)
WHERE = "members.svm.features"
CORPUS = SimpleNamespace(partition=lambda *_: [SimpleNamespace(name=name) for name in "abc"])


class Source:
    def __init__(self, channels, rate_hz=25.0, frames=(40, 30, 20, 10)):
        self.embedding_rate_hz, self.asked = rate_hz, []
        shape = (channels,) if rate_hz == 0 else None
        self.arrays = {
            name: RNG.normal(3, 2, shape or (n, channels)).astype(np.float32)
            for name, n in zip("abcd", frames, strict=True)
        }

    def embeddings(self, corpus, fold, read, progress):
        self.asked.append(fold.index)
        return self.arrays


def arrays(feature):
    with tempfile.TemporaryDirectory() as folder:
        return feature.arrays(CORPUS, FOLD, None, None, Path(folder))


def test_channels_stand_side_by_side_in_the_order_of_the_config():
    cnn, net = Source(3), Source(2, frames=(41, 30, 20, 10))  # one frame more at the end of a
    joined = arrays(Embeddings(("net", "cnn"), {"cnn": cnn, "net": net, "other": Source(1)}, WHERE))
    assert list(joined) == ["a", "b", "c", "d"]
    for name in joined:
        frames = len(cnn.arrays[name])
        np.testing.assert_array_equal(joined[name], np.hstack([net.arrays[name][:frames], cnn.arrays[name]]))
    assert cnn.asked == net.asked == [1]


@pytest.mark.parametrize(("on", "names"), [("fit", "ab"), ("train_and_devel", "abc")])
def test_scaling_is_scikit_learns_over_the_recordings_that_the_config_names(on, names):
    cnn, net = Source(3), Source(2)
    feature = Embeddings(
        ("cnn", "net"), {"cnn": cnn, "net": net}, WHERE, standardise=("cnn",), standardise_on=on, unit_length=True
    )
    scaler = StandardScaler().fit(np.concatenate([cnn.arrays[name] for name in names]))
    joined = arrays(feature)
    for name in "abcd":
        expected = normalize(np.hstack([scaler.transform(cnn.arrays[name]), net.arrays[name]]))
        np.testing.assert_allclose(joined[name], expected, atol=1e-5)


def test_vectors_of_whole_recordings():
    nets = {"a": Source(4, rate_hz=0.0), "b": Source(2, rate_hz=0.0)}
    feature = Embeddings(("a", "b"), nets, WHERE, standardise=("a", "b"))
    assert feature.frame_rate_hz == 0
    joined = arrays(feature)
    assert joined["d"].shape == (6,)
    np.testing.assert_allclose((joined["a"] + joined["b"]) / 2, 0, atol=1e-5)


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
        Embeddings(sources={"a": Source(2), "b": Source(2, rate_hz=50.0)}, where=WHERE, **fields)


@pytest.mark.parametrize("rate_hz", [25.0, 0.0])
def test_what_is_stored_is_read_back_and_not_computed_again(rate_hz, tmp_path):
    pairs = list(Source(3, rate_hz=rate_hz).arrays.items())
    calls = []

    def compute():
        calls.append(1)
        return pairs

    for _ in range(2):
        read = stored(tmp_path / "kept", ["a", "b", "c", "d"], compute)
        assert list(read) == ["a", "b", "c", "d"]
        for name, values in pairs:
            np.testing.assert_array_equal(read[name], values)
    assert calls == [1]


def test_a_computation_that_is_cut_off_leaves_nothing_that_looks_whole(tmp_path):
    def compute():
        yield "a", np.zeros(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / "kept", ["a"], compute)
    assert stored(tmp_path / "kept", ["a"], lambda: [("a", np.ones(3))])["a"].tolist() == [1, 1, 1]


def test_what_is_of_other_recordings_is_computed_again(tmp_path):
    stored(tmp_path, ["a"], lambda: [("a", np.ones(3))])
    assert list(stored(tmp_path, ["b"], lambda: [("b", np.ones(3))])) == ["b"]


@pytest.mark.parametrize("damage", ["data.bin is gone", "data.bin is short", "index.json is empty"])
def test_what_is_damaged_is_computed_again(damage, tmp_path):
    stored(tmp_path, ["a"], lambda: [("a", np.ones(3))])
    path = tmp_path / damage.split(" ")[0]
    if damage.endswith("gone"):
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 5 * damage.endswith("short")])
    assert stored(tmp_path, ["a"], lambda: [("a", np.full(3, 2.0))])["a"].tolist() == [2, 2, 2]
