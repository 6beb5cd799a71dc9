"""An export predicts what its workdir predicts, without it; its programs match its networks."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file, save_file

import jaxpara
from jaxpara.errors import UserError
from jaxpara.inference import export as export_module
from jaxpara.inference.export import export
from jaxpara.training.fold_run import fold_folder

ROOT = Path(__file__).parents[2]
SPEAKER_ENCODER = ROOT / "tests" / "models" / "golden" / "speaker.pt"  # small, with random weights
PREDICT = """
import sys, numpy as np, jaxpara
for out in sys.argv[1:]:
    np.save(f"{out}.npy", jaxpara.load(out)(np.load("in.npy"), 16_000).values)
"""


def speech(seconds=5.3):
    return (0.1 * np.random.default_rng(8).standard_normal(int(16_000 * seconds))).astype(np.float32)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Return `exported("breathing")`, which returns the folder of an export of `trained("breathing")`."""
    finished = {}

    def once(task):
        if task not in finished:
            finished[task] = tmp_path_factory.mktemp(task) / "export"
            export(trained(task)[0], finished[task])
        return finished[task]

    return once


def test_without_the_workdir_a_fresh_process_predicts_the_same(trained, exported, tmp_path):
    waveform, workdirs = speech(), {task: trained(task)[0] for task in ("breathing", "mask")}
    wanted = {task: jaxpara.load(workdir)(waveform, 16_000).values for task, workdir in workdirs.items()}
    np.save(tmp_path / "in.npy", waveform)
    for task, workdir in workdirs.items():
        shutil.copytree(exported(task), tmp_path / task)
        workdir.rename(workdir.with_name("away"))
    try:
        result = subprocess.run(
            [sys.executable, "-c", PREDICT, *workdirs], cwd=tmp_path, capture_output=True, text=True, timeout=300,
            env={**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
    finally:
        for workdir in workdirs.values():
            workdir.with_name("away").rename(workdir)
    assert result.returncode == 0, result.stderr
    for task, values in wanted.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{task}.npy"), values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_it_contains_the_models_and_no_path_of_this_computer(trained, exported, task):
    workdir, corpus = trained(task)
    out = exported(task)
    files = sorted(path for path in out.rglob("*") if path.is_file())
    assert {path.suffix for path in files} <= {".json", ".md", ".bin", ".safetensors", ".skops", ".npz"}
    for path in files:
        content = path.read_bytes()
        for place in (workdir, corpus, ROOT, Path.home()):
            assert str(place).encode() not in content, path
    names = {name for path in out.rglob("*.safetensors") for name in load_file(path)}
    assert names
    assert {name.split("/")[0] for name in names} <= {"params", "batch_stats"}
    for path in workdir.rglob("features.npz"):  # fitted features
        assert (out / path.relative_to(workdir)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_programs_match_the_networks(exported, task):
    out = exported(task)
    system = jaxpara.load(out)
    facts = json.loads((out / "export.json").read_text())["programs"]
    assert set(facts) == {name for name, member in system.members.items() if hasattr(member.learner, "model")}
    for name, fact in facts.items():
        member = system.members[name]
        program = jax.export.deserialize(bytearray((out / "stablehlo" / f"{name}.bin").read_bytes()))
        assert {"cpu", "cuda"} == set(program.platforms) == set(fact["platforms"])
        example = np.asarray(member.learner.example(next(iter(system.fold_runs(name).values()))))
        method = "__call__" if fact["gives"] == "predictions" else "embed"
        inputs = np.concatenate([example, example[:, ::-1], 0.5 * example])
        for key in member.models:
            file = fold_folder(member.folder, key) / "weights.safetensors"
            tree = unflatten_dict(load_file(file), sep="/")
            weights = {"params": tree["params"], "batch_stats": tree.get("batch_stats", {})}
            wanted = member.learner.model.apply(weights, inputs, method=method)
            np.testing.assert_allclose(program.call(weights, inputs), wanted, rtol=0, atol=1e-5)
        assert 0 <= fact["difference"] <= fact["tolerance"] == 1e-5


def test_a_program_computes_in_the_precision_of_its_network(alone, in_precision, tmp_path):
    workdir, waveform = in_precision(alone, "bfloat16"), speech(4.0)
    export(workdir, tmp_path / "out")
    fact = json.loads((tmp_path / "out" / "export.json").read_text())["programs"]["cnn"]
    assert fact["difference"] <= fact["tolerance"] == 2e-2
    assert "(allowed 0.02)" in (tmp_path / "out" / "README.md").read_text()
    system = jaxpara.load(tmp_path / "out")
    program = jax.export.deserialize(bytearray((tmp_path / "out" / "stablehlo" / "cnn.bin").read_bytes()))
    values, member = np.zeros(100), system.members["cnn"]
    silence = np.zeros((member.learner.model.margin * member.learner.stride, 1), np.float32)  # as the system has it
    inputs = np.concatenate([member.feature(waveform), silence])[None]
    for key, weight in system.weights["cnn"].items():
        tree = load_file(fold_folder(member.folder, key) / "weights.safetensors")
        weights = {"params": {}, "batch_stats": {}} | unflatten_dict(tree, sep="/")
        values += weight * np.asarray(program.call(weights, inputs))[0, :100]
    np.testing.assert_allclose(values, system(waveform, 16_000).values, rtol=0, atol=1e-6)
    assert np.abs(values - jaxpara.load(alone)(waveform, 16_000).values).max() > 1e-5  # in float32


def test_a_sequence_program_accepts_any_length(exported):
    facts = json.loads((exported("breathing") / "export.json").read_text())["programs"]
    assert facts["cnn"]["inputs"] == "float32[b,640*t,1]"
    assert facts["chain"]["outputs"] == "float32[b,t]"
    coder = json.loads((exported("mask") / "export.json").read_text())["programs"]["coder"]
    assert coder["inputs"].startswith("float32[b,")
    assert coder["gives"] == "embeddings"


def test_the_card_has_licence_data_and_scores(trained, exported):
    text = (exported("breathing") / "README.md").read_text()
    results = json.loads((trained("breathing")[0] / "results.json").read_text())
    front = text.split("---\n")[1]
    assert "license: apache-2.0\n" in front
    assert "- simulated-data\n" in front
    assert "SIMULATED" in text
    low, high = results["fusion"]["test"]["interval_95"]
    assert f"{results['fusion']['test']['pooled']:.3f} | {low:.3f} to {high:.3f}" in text
    assert "jaxpara.load(" in text
    assert "subtracts the mean over a recording from the outputs of chain;" in " ".join(text.split())
    mask = (exported("mask") / "README.md").read_text()
    assert "not for commercial use" in mask
    assert "subtracts" not in mask
    assert "license: other\n" in mask  # its bags are made by openSMILE


def test_only_the_svm_in_use_is_exported(trained, tmp_path):
    """A workdir may contain a refitted SVM of an earlier config, or lack that of this config."""
    workdir = shutil.copytree(trained("mask")[0], tmp_path / "run")
    (workdir / "members" / "bags" / "fold_1_seed_0" / "refitted.skops").unlink()
    with pytest.raises(UserError, match=r"bags/fold_1_seed_0/refitted\.skops: no such file, expected a trained SVM"):
        export(workdir, tmp_path / "out")
    (workdir / "members" / "coded" / "fold_0_seed_0" / "refitted.skops").touch()  # of an older run
    about = json.loads((workdir / "system.json").read_text())
    about["members"] = {name: about["members"][name] for name in ("coder", "coded")}
    about["weights"] = [{"member": "coded", "fold": 0, "seed": 0, "weight": 1.0}]
    (workdir / "system.json").write_text(json.dumps(about))
    export(workdir, tmp_path / "out")
    left = {path.name for path in (tmp_path / "out" / "members" / "coded").rglob("*.skops")}
    assert left == {"fitted.skops"}


def test_the_weights_of_the_speaker_encoder_are_not_exported(trained, tmp_path):
    workdir = shutil.copytree(trained("mask")[0], tmp_path / "run")
    digest = hashlib.sha256(SPEAKER_ENCODER.read_bytes()).hexdigest()
    about = json.loads((workdir / "system.json").read_text())
    about["members"] = {"bags": about["members"]["bags"]}
    about["members"]["bags"]["config"]["features"] = {
        "name": "speaker_encoder",
        "weights": str(SPEAKER_ENCODER),
        "sha256": digest,
    }
    about["weights"] = [{"member": "bags", "fold": 0, "seed": 0, "weight": 1.0}]
    (workdir / "system.json").write_text(json.dumps(about))
    export(workdir, tmp_path / "out")
    assert "pip install --no-deps Resemblyzer==0.1.4" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(UserError, match=r"features\.weights is 'speaker\.pt': no such file; put it there"):
        jaxpara.load(tmp_path / "out")


def test_an_existing_folder_is_an_error_and_an_export_is_replaced_whole(alone, tmp_path, monkeypatch):
    workdir, out = alone, tmp_path / "out"
    out.mkdir()
    export(workdir, out)  # into an empty folder
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(UserError, match=f"{out}: already exists; .*--overwrite"):
        export(workdir, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (out / "stale").touch()
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "left").touch()  # by an export that was killed at its end
    program, last = export(workdir, out, overwrite=True)
    assert program.startswith("cnn: float32[b,640*t,1] to float32[b,t], StableHLO for cpu and cuda; largest difference")
    assert last == f"exported: {out}; README.md describes it"
    assert not (out / "stale").exists()

    def fail(*_):
        raise OSError("the power went")

    monkeypatch.setattr(export_module, "write_program", fail)
    for target in (out, tmp_path / "new"):
        with pytest.raises(OSError, match="power"):
            export(workdir, target, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "README.md").exists()


def test_only_an_export_is_ever_replaced(trained, tmp_path):
    workdir, _ = trained("breathing")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="is not an export"):
        export(workdir, tmp_path / "mine", overwrite=True)
    for out in (workdir, workdir.parent):
        with pytest.raises(UserError, match="contains the workdir itself"):
            export(workdir, out, overwrite=True)
    with pytest.raises(UserError, match="no such file, expected the workdir"):
        export(tmp_path / "nothing", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "thesis.tex"]


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def other(path):
    arrays = load_file(path)
    save_file({name: array[..., :1] for name, array in arrays.items()}, path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [(truncated, "damaged"), (Path.unlink, "no such file"), (other, "not of the network of system.json")],
)
def test_damaged_weights_are_one_line(exported, tmp_path, harm, words):
    out = shutil.copytree(exported("breathing"), tmp_path / "copy")
    file = out / "members" / "cnn" / "fold_0_seed_0" / "weights.safetensors"
    harm(file)
    with pytest.raises(UserError, match=words) as error:
        jaxpara.load(out)(speech(1.0), 16_000)
    assert str(file) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
