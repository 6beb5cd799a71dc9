"""Two tiny systems, trained once for all tests here: networks, chained networks, SVMs, features fitted per fold."""

import json
import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from small_members import BAGS, autoencoder

from configs import common
from jaxpara.inference import predict as predict_module
from jaxpara.inference.system import System
from jaxpara.run import run

NET = {"name": "net", "optimizer": {"name": "adam", "lr": 1e-3}, "epochs": 1}
PCC = {"loss": {"name": "window_pcc"}, "batch": 4}
CNN = {
    "features": {"name": "waveform", "scale": "unit"},  # live predictions then equal those of files
    "folds": {"name": "ordered", "n": 2},
    "learner": NET
    | PCC
    | {
        "examples": {"name": "windows", "window_s": 4.0, "step_s": 3.0, "predict": "whole"},
        "model": {
            "name": "cnn1d_lstm",
            "filters": (4, 4, 4, 4),
            "kernels": (10, 8, 6, 5),
            "pools": (10, 4, 4, 4),
            "last_pool": "mean",
            "dropout": 0.3,
            "lstm": (4,),
            "output": "tanh",
        },
    },
}
CHAIN = {
    "features": {"name": "embeddings", "of": ("cnn",), "standardise": ("cnn",), "unit_length": True},
    "folds": {"name": "ordered", "n": 2},
    "learner": NET
    | PCC
    | {
        "examples": {"name": "windows", "window_s": 8.0, "step_s": 4.0, "subtract_mean": True},
        "model": {"name": "sequence_lstm", "lstm": (4,), "dropout": 0.4, "output": "tanh"},
    },
}
SVM = {"name": "svm", "c": (0.1,), "scale": "minmax_clipped"}
SPLINES = {
    "features": {"name": "log_mel", "window_s": 0.5, "hop_s": 0.5, "bands": 8},
    "folds": {"name": "ordered", "n": 2},
    "learner": SVM,
}
STRATIFIED = {"name": "stratified", "n": 2}
AUTOENCODER = autoencoder(STRATIFIED, clip_s=1.0, units=4, lr=1e-3, epochs=1)


def svm(features, **more):
    return {"features": features, "folds": STRATIFIED, "learner": SVM | more}


MEMBERS = {
    "breathing": {"cnn": CNN, "chain": CHAIN, "splines": SPLINES},
    "mask": {
        "coder": AUTOENCODER,
        "coded": svm({"name": "embeddings", "of": ("coder",), "standardise": ("coder",)}),
        "bags": svm(BAGS, probabilities=False, refit=True),
    },
}
FUSION = {"breathing": {"name": "dirichlet", "draws": 10}, "mask": {"name": "mean"}}
SIZES = {"breathing": {"speakers": (2, 2, 2), "seconds": 10.0}, "mask": {"speakers": (2, 2, 2), "seconds": 8.0}}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return `trained("breathing")`, which returns the workdir and the corpus folder of a finished run."""
    cache = tmp_path_factory.mktemp("cache")
    finished = {}

    def train(task) -> tuple[Path, Path]:
        if task not in finished:
            config: ConfigDict = common.experiment(
                task, "recommended", members=MEMBERS[task], fusion=FUSION[task], demo={}
            )
            config.corpus.update(SIZES[task])
            workdir = tmp_path_factory.mktemp(task) / "run"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("JAXPARA_CACHE", str(cache))
                run(config, overrides={}, name=task, workdir=workdir, mode="train")
            (corpus,) = (cache / "simulated").glob(f"{task}-*")
            finished[task] = (workdir, corpus)
        return finished[task]

    return train


@pytest.fixture
def in_precision(tmp_path):
    """Return `in_precision(workdir, "bfloat16")`, which copies a system and changes the precision of its networks."""

    def copy(workdir, precision):
        copied = shutil.copytree(workdir, tmp_path / precision)
        about = json.loads((copied / "system.json").read_text())
        for spec in about["members"].values():
            spec["precision"] = precision
        (copied / "system.json").write_text(json.dumps(about))
        return copied

    return copy


@pytest.fixture(scope="session")
def alone(trained, tmp_path_factory):
    """Return the workdir of a system with the 1D CNN + LSTM as its only member."""
    workdir = shutil.copytree(trained("breathing")[0], tmp_path_factory.mktemp("alone") / "run")
    about = json.loads((workdir / "system.json").read_text())
    about["members"] = {"cnn": about["members"]["cnn"]}
    about["weights"] = [
        {"member": "cnn", "fold": 0, "seed": 0, "weight": 0.75},
        {"member": "cnn", "fold": 1, "seed": 0, "weight": 0.25},
    ]
    (workdir / "system.json").write_text(json.dumps(about))
    return workdir


@pytest.fixture
def read_once(monkeypatch, systems={}):  # noqa: B006
    """Let `predict` read and compile each system once for all tests."""
    monkeypatch.setattr(
        predict_module, "System", lambda folder: systems.get(folder) or systems.setdefault(folder, System(folder))
    )


@pytest.fixture
def predicted(monkeypatch):
    """The names of the files that `predict` gives to the system, and has not predicted before."""
    names, before = [], predict_module.predict_files

    def spied(system, todo, *rest):
        names.extend(file.name for file in todo)
        return before(system, todo, *rest)

    monkeypatch.setattr(predict_module, "predict_files", spied)
    return names
