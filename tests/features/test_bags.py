"""Bags of audio words as a feature: codebooks of the fold's own recordings, kept beside the fold."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features.bags import Bags

FOLD = Fold(1, ("a.wav", "b.wav"), ("c.wav",), ("d.wav",))
RNG = np.random.default_rng(0)
FRAMES = {name: RNG.normal(size=(40, 6)).astype(np.float32) for name in ("a.wav", "b.wav", "c.wav", "d.wav")}
LLD = {"name": "opensmile", "level": "lld"}


def arrays(folder, frames=FRAMES):
    bags = Bags(LLD, "members.svm.features", 12, size=10, nearest=3)
    return bags.arrays(None, FOLD, lambda *_: frames, SimpleNamespace(say=lambda _: None), folder)


def test_a_frame_that_is_not_finite_is_named_by_its_recording(tmp_path):
    spoiled = FRAMES["b.wav"].copy()
    spoiled[3, 5] = np.nan
    with pytest.raises(UserError, match=r"^b\.wav: descriptor 5 is nan in frame 3$"):
        arrays(tmp_path, FRAMES | {"b.wav": spoiled})


def test_only_what_the_fold_is_fitted_on_counts_for_its_codebooks(tmp_path):
    one = arrays(tmp_path / "one")
    other = arrays(tmp_path / "other", FRAMES | {"d.wav": FRAMES["d.wav"] + 100})
    assert list(one) == list(FRAMES)
    assert one["a.wav"].shape == (20,)
    for name in ("a.wav", "b.wav", "c.wav"):
        np.testing.assert_array_equal(one[name], other[name])
    assert not np.array_equal(one["d.wav"], other["d.wav"])
