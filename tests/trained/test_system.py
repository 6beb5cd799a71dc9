"""A trained system says of a corpus' own test recordings what the run said; of all else, what there is to say."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

import jaxpara
from jaxpara.predictions import Predictions


@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_it_predicts_the_test_recordings_as_the_run_did(trained, task):
    workdir, corpus = trained(task)
    system = jaxpara.load(workdir)
    assert set(system.shares) == set(system.members) - {"coder"}
    assert sum(share for folds in system.shares.values() for share in folds.values()) == pytest.approx(1)
    known = Predictions.load(workdir / "predictions" / "test.npz")
    for name in dict.fromkeys(known.recordings.tolist()):
        estimate = system(*soundfile.read(corpus / "wav" / name))
        rows = known.select(known.recordings == name)
        np.testing.assert_array_equal(estimate.times_s, rows.times_s)
        np.testing.assert_allclose(estimate.values.reshape(rows.scores.shape), rows.scores, rtol=0, atol=1e-6)


def test_to_import_is_light():
    code = "import jaxpara, sys; sys.exit(bool({'jax', 'numpy', 'librosa'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
