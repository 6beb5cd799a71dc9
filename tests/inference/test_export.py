"""An export predicts as its workdir does, and without it; its programs give what its networks give; it is whole."""

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
from jaxpara import processes, runtime
from jaxpara.errors import UserError
from jaxpara.inference import export, export_command, stablehlo

ROOT = Path(__file__).parents[2]
PREDICT = """
import sys, numpy as np, jaxpara
estimate = jaxpara.load(sys.argv[1])(np.load(sys.argv[2]), 16_000)
np.save(sys.argv[3], estimate.values)
"""


def speech(seconds=5.3):
    return (0.1 * np.random.default_rng(8).standard_normal(int(16_000 * seconds))).astype(np.float32)


def python(*arguments, cwd=ROOT):
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """`exported("breathing")`: the export of `trained("breathing")`."""
    finished = {}

    def export(task):
        if task not in finished:
            finished[task] = tmp_path_factory.mktemp(task) / "export"
            export.write(trained(task)[0], finished[task])
        return finished[task]

    return export


@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_without_the_workdir_a_fresh_process_predicts_the_same(trained, exported, task, tmp_path):
    workdir, _ = trained(task)
    out, waveform = exported(task), speech()
    wanted = jaxpara.load(workdir)(waveform, 16_000).values
    np.save(tmp_path / "in.npy", waveform)
    away = workdir.rename(workdir.with_name("away"))
    try:
        result = python("-c", PREDICT, out, tmp_path / "in.npy", tmp_path / "out.npy", cwd=tmp_path)
    finally:
        away.rename(workdir)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_it_holds_what_predicts_and_nothing_of_this_machine(trained, exported, task):
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
    for path in workdir.rglob("features.npz"):  # what features learned goes along
        assert (out / path.relative_to(workdir)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("task", ["breathing", "mask"])
def test_programs_give_what_the_networks_give(exported, task):
    out = exported(task)
    system = jaxpara.load(out)
    facts = json.loads((out / "export.json").read_text())["programs"]
    assert set(facts) == {name for name, member in system.members.items() if hasattr(member.learner, "model")}
    for name, fact in facts.items():
        member = system.members[name]
        program = jax.export.deserialize(bytearray((out / "stablehlo" / f"{name}.bin").read_bytes()))
        assert {"cpu", "cuda"} == set(program.platforms) == set(fact["platforms"])
        example = np.asarray(member.learner.example(next(iter(system.fits(name).values()))))
        method = "__call__" if fact["gives"] == "predictions" else "embed"
        inputs = np.concatenate([example, example[:, ::-1], 0.5 * example])
        for fold in member.folds:
            tree = unflatten_dict(
                load_file(out / "members" / name / f"fold_{fold}_seed_0" / "weights.safetensors"), sep="/"
            )
            weights = {"params": tree["params"], "batch_stats": tree.get("batch_stats", {})}
            wanted = member.learner.model.apply(weights, inputs, method=method)
            np.testing.assert_allclose(program.call(weights, inputs), wanted, rtol=0, atol=1e-5)
        assert 0 <= fact["difference"] <= fact["tolerance"] == 1e-5


def test_a_program_computes_in_the_precision_of_its_network(alone, in_precision, tmp_path):
    workdir, waveform = in_precision(alone, "bfloat16"), speech(4.0)
    fact = export.write(workdir, tmp_path / "out")["cnn"]
    assert fact["difference"] <= fact["tolerance"] == 2e-2
    assert "(allowed 0.02)" in (tmp_path / "out" / "README.md").read_text()
    system = jaxpara.load(tmp_path / "out")
    program = jax.export.deserialize(bytearray((tmp_path / "out" / "stablehlo" / "cnn.bin").read_bytes()))
    values = np.zeros(100)
    for fold, share in system.shares["cnn"].items():
        tree = load_file(tmp_path / "out" / "members" / "cnn" / f"fold_{fold}_seed_0" / "weights.safetensors")
        weights = {"params": {}, "batch_stats": {}} | unflatten_dict(tree, sep="/")
        values += share * np.asarray(program.call(weights, system.members["cnn"].feature(waveform)[None]))[0]
    np.testing.assert_allclose(values, system(waveform, 16_000).values, rtol=0, atol=1e-6)
    assert np.abs(values - jaxpara.load(alone)(waveform, 16_000).values).max() > 1e-5  # in float32


def test_a_network_for_sequences_takes_any_length(exported):
    facts = json.loads((exported("breathing") / "export.json").read_text())["programs"]
    assert facts["cnn"]["inputs"] == "float32[b,640*t,1]"
    assert facts["chain"]["outputs"] == "float32[b,t]"
    coder = json.loads((exported("mask") / "export.json").read_text())["programs"]["coder"]
    assert coder["inputs"].startswith("float32[b,")
    assert coder["gives"] == "embeddings"


def test_the_card_says_what_it_is_and_how_well_it_does(trained, exported):
    text = (exported("breathing") / "README.md").read_text()
    results = json.loads((trained("breathing")[0] / "results.json").read_text())
    front = text.split("---\n")[1]
    assert "license: apache-2.0\n" in front
    assert "- simulated-data\n" in front
    assert "SIMULATED" in text
    low, high = results["fusion"]["test"]["interval_95"]
    assert f"{results['fusion']['test']['pooled']:.3f} | {low:.3f} to {high:.3f}" in text
    assert "jaxpara.load(" in text
    mask = (exported("mask") / "README.md").read_text()
    assert "not for commercial use" in mask
    assert "license: other\n" in mask  # its bags are made by openSMILE


def test_the_machine_that_predicts_goes_along_or_nothing_does(trained, tmp_path):
    """Refitted machines are no longer there once the config says not to refit, or the other way round."""
    workdir = shutil.copytree(trained("mask")[0], tmp_path / "run")
    (workdir / "members" / "bags" / "fold_1" / "refitted.skops").unlink()
    with pytest.raises(UserError, match=r"bags/fold_1/refitted\.skops: no such file, expected a fitted machine"):
        export.write(workdir, tmp_path / "out")
    (workdir / "members" / "coded" / "fold_0_seed_0" / "refitted.skops").touch()  # of an older run
    about = json.loads((workdir / "system.json").read_text())
    about["members"] = {name: about["members"][name] for name in ("coder", "coded")}
    about["shares"] = {"coded": {"0": 1.0}}
    (workdir / "system.json").write_text(json.dumps(about))
    export.write(workdir, tmp_path / "out")
    left = {path.name for path in (tmp_path / "out" / "members" / "coded").rglob("*.skops")}
    assert left == {"fitted.skops"}


@pytest.fixture
def refused(monkeypatch):
    """Runs the command here; `STATUS: LINE` that it ends with."""

    def end(line, status):
        raise SystemExit(f"{status}: {line}")

    monkeypatch.setattr(processes, "exit_with", end)
    monkeypatch.setattr(runtime, "prepare", lambda: None)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            export_command.main([str(argument) for argument in arguments])
        (line,) = ended.value.code.splitlines()
        return line

    return run


def test_a_disk_that_is_full_is_one_line_that_names_the_file(tmp_path, monkeypatch, refused):
    def fail(*_, **__):
        raise OSError(28, "No space left on device", "out/.a.json.part", None, "out/a.json")

    monkeypatch.setattr(export, "write", fail)
    line = refused(tmp_path, tmp_path / "out")
    assert line.startswith("1: error: out/a.json: No space left on device; nothing was exported")


def test_what_lies_there_is_refused(alone, tmp_path, monkeypatch, refused):
    workdir, out = alone, tmp_path / "out"
    out.mkdir()
    export.write(workdir, out)  # empty
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    line = refused(workdir, out)
    assert line.startswith(f"1: error: {out}: there is something already")
    assert "--overwrite" in line
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (out / "stale").touch()
    result = python("-m", "jaxpara.inference.export_command", workdir, out, "--overwrite")
    assert result.returncode == 0, result.stderr
    assert "cnn: float32[b,640*t,1] to float32[b,t], StableHLO for cpu and cuda; differs" in result.stdout
    assert not (out / "stale").exists()

    def fail(*_):
        raise OSError("the power went")

    monkeypatch.setattr(stablehlo, "write", fail)
    for target in (out, tmp_path / "new"):
        with pytest.raises(OSError, match="power"):
            export.write(workdir, target, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "README.md").exists()


def test_only_an_export_is_ever_replaced(trained, tmp_path):
    workdir, _ = trained("breathing")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds no export"):
        export.write(workdir, tmp_path / "mine", overwrite=True)
    for out in (workdir, workdir.parent):
        with pytest.raises(UserError, match="holds the workdir itself"):
            export.write(workdir, out, overwrite=True)
    with pytest.raises(UserError, match="no such folder"):
        export.write(tmp_path / "nothing", tmp_path / "out")
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
