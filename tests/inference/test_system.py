"""A trained system predicts new audio, and the test recordings of its corpus exactly as the run did."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import jaxpara
from jaxpara.errors import UserError
from jaxpara.predictions import load, scores_of
from jaxpara.training.compilations import Compilations


@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_it_predicts_the_test_recordings_as_the_run_did(trained, task):
    workdir, corpus = trained(task)
    system = jaxpara.load(workdir)
    assert set(system.weights) == set(system.members) - {"coder"}
    assert sum(weight for models in system.weights.values() for weight in models.values()) == pytest.approx(1)
    known = load(workdir / "predictions" / "test.npz")
    for name in known["recording"].unique():
        estimate = system(*soundfile.read(corpus / "wav" / name))
        rows = known[known["recording"] == name]
        np.testing.assert_array_equal(estimate.times_s, rows["time_s"])
        np.testing.assert_allclose(estimate.values.reshape(scores_of(rows).shape), scores_of(rows), rtol=0, atol=1e-6)


def test_the_mean_that_training_subtracted_is_subtracted(trained):
    system = jaxpara.load(trained("breathing")[0])
    system.weights = {"chain": dict.fromkeys(system.weights["chain"], 1 / len(system.weights["chain"]))}
    values = system(np.random.default_rng(0).uniform(-0.1, 0.1, 80_000), 16_000).values
    assert values.std() > 1e-4
    assert values.mean() == pytest.approx(0, abs=1e-6)


def test_importing_jaxpara_imports_no_large_library():
    code = "import jaxpara, sys; sys.exit(bool({'jax', 'numpy', 'librosa'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recordings_of_any_length_use_one_compiled_program(trained):
    workdir, corpus = trained("breathing")
    system = jaxpara.load(workdir)
    waveform, rate_hz = soundfile.read(corpus / "wav" / "test_00.wav")
    system(waveform, rate_hz)
    compiled = Compilations()
    for seconds in (0.1, 1.0, 3.7, 10.0, 25.0):
        estimate = system(np.tile(waveform, 3)[: round(seconds * rate_hz)], rate_hz)
        assert len(estimate.times_s) == len(estimate.values) == np.ceil(seconds * 25 - 0.01)
        assert np.isfinite(estimate.values).all()
    assert not compiled.names


WEIGHT = {"member": "cnn", "fold": 0, "seed": 0, "weight": 1.0}


def test_a_folder_without_a_trained_system_is_one_line(trained, tmp_path):
    with pytest.raises(UserError, match="no such file, expected the workdir of a finished run"):
        jaxpara.load(tmp_path / "none")
    with pytest.raises(UserError, match=r"system\.json: no such file, expected the workdir of a finished run"):
        jaxpara.load(tmp_path)
    known = json.loads((trained("breathing")[0] / "system.json").read_text())
    for broken in ("{", "[]", json.dumps(known | {"task": "x"}), json.dumps(known | {"weights": 3})):
        (tmp_path / "system.json").write_text(broken)
        with pytest.raises(UserError, match=r"system\.json: not readable as a trained system"):
            jaxpara.load(tmp_path)
    for schema in ({}, {"schema": 2}):  # the first format had no number
        (tmp_path / "system.json").write_text(json.dumps({k: v for k, v in known.items() if k != "schema"} | schema))
        with pytest.raises(UserError, match=r"another version of jaxpara .*expected 3\); run .* with --mode=evaluate"):
            jaxpara.load(tmp_path)
    known["members"]["cnn"]["table"] = "ComParE"
    (tmp_path / "system.json").write_text(json.dumps(known))
    with pytest.raises(UserError, match=r"member cnn was trained on the organisers' feature files \(ComParE\)"):
        jaxpara.load(tmp_path)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"weights": [WEIGHT | {"member": "rnn"}]}, "weights names fold 0, seed 0 of 'rnn', which members does not"),
        ({"weights": [WEIGHT | {"fold": 7}]}, "weights names fold 7, seed 0 of 'cnn', which members does not have"),
        ({"weights": [WEIGHT | {"seed": "0"}]}, "fold is 0 and seed '0'"),
        ({"weights": []}, "no weights"),
        ({"label_rate_hz": float("inf")}, "label_rate_hz is inf and longest_s 10"),
        ({"other": {"models": []}}, "member 'other' has no models"),
        ({"other": {"sources": ["rnn"]}}, "member 'other' uses embeddings of 'rnn', which is not a member before it"),
        (
            {"other": {"sources": ["cnn"]}, "cnn": {"sources": ["other"]}},
            "member 'cnn' uses embeddings of 'other', which is not a member before it",
        ),
    ],
)
def test_an_edited_system_is_one_line(trained, tmp_path, edit, words):
    known = json.loads((trained("breathing")[0] / "system.json").read_text())
    known["members"] = {name: known["members"]["cnn"] | edit.get(name, {}) for name in ("cnn", "other")}
    (tmp_path / "system.json").write_text(json.dumps(known | {"weights": [WEIGHT]} | edit))
    with pytest.raises(UserError, match=words) as error:
        jaxpara.load(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'system.json'}: ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("samples", "rate_hz", "words"),
    [
        (0, 16_000, "waveform is too short for one sample at the system's rate"),
        (1, 192_000, "waveform is too short for one sample at the system's rate"),
        (1000, float("inf"), "sample_rate_hz is inf, expected a whole number above 0"),
        (1000, float("nan"), "sample_rate_hz is nan, expected a whole number above 0"),
        (1000, 16_000.5, r"sample_rate_hz is 16000\.5, expected"),
        (1000, 0, "sample_rate_hz is 0, expected"),
    ],
)
@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_audio_that_cannot_be_predicted_is_one_line(trained, task, samples, rate_hz, words):
    with pytest.raises(UserError, match=words):
        jaxpara.load(trained(task)[0])(np.zeros(samples), rate_hz)
