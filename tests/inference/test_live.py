"""--mode=live on what a run has left, as a filter in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ensembles import offline

import jaxpara
from jaxpara.errors import UserError
from jaxpara.inference.ensemble import of

ROOT = Path(__file__).parents[2]


def live(workdir, data, cache):
    return subprocess.run(
        [sys.executable, "launch.py", "--mode=live", f"--workdir={workdir}"],
        cwd=ROOT, env={**os.environ, "XLA_FLAGS": "", "JAXPARA_CACHE": str(cache)}, input=data, capture_output=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_samples_in_values_out(alone, tmp_path):
    waveform = np.rint(3000 * np.random.default_rng(1).standard_normal(16_000 * 3 + 100)).clip(-32768, 32767)
    result = live(alone, waveform.astype("<i2").tobytes() + b"x", tmp_path)
    assert result.returncode == 0, result.stderr
    rows = np.array([line.split() for line in result.stdout.decode().splitlines()], float)
    np.testing.assert_allclose(rows[:, 0], np.arange(76) * 0.04, rtol=0, atol=1e-9)
    wanted = offline(of(jaxpara.load(alone)), waveform.astype(np.float32) / 32768)
    np.testing.assert_allclose(rows[:, 1], wanted, rtol=0, atol=1e-4)
    assert b"real-time factor" in result.stderr


def test_weights_shares_and_precision_are_those_of_the_system(alone, in_precision):
    """Where no state is carried over a window's end, live is the ordinary prediction but for the scale."""
    waveform = (0.1 * np.random.default_rng(2).standard_normal(16_000 * 4)).astype(np.float32)

    def both(system):
        ensemble = of(system)
        samples, lookahead = ensemble.feature(waveform), ensemble.model.lookahead
        first, carries = ensemble.go_on(samples[:lookahead], ensemble.start())
        rest, _ = ensemble.go_on(samples[lookahead:], carries, end=True)
        return np.concatenate([first, rest]), system(waveform, 16_000).values

    live, predicted = both(jaxpara.load(alone))
    np.testing.assert_allclose(live, predicted, rtol=0, atol=1e-5)
    live, coarse = both(jaxpara.load(in_precision(alone, "bfloat16")))
    assert np.abs(live - coarse).mean() < 0.5 * np.abs(predicted - coarse).mean()


def test_other_systems_are_told_which_can(trained):
    with pytest.raises(UserError, match=r"cannot run live: .* single cnn1d_lstm .*configs/breathing_s1\.py"):
        of(jaxpara.load(trained("breathing")[0]))
    with pytest.raises(UserError, match="cannot run live"):
        of(jaxpara.load(trained("mask")[0]))


def test_it_needs_a_workdir(tmp_path):
    result = subprocess.run(
        [sys.executable, "launch.py", "--mode=live"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "--workdir is missing: --mode=live needs it" in line
