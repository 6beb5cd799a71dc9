"""Mask: support vector machines on the challenge's baseline features; the best on devel is selected.

    python launch.py --config=configs/mask_svm.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: the comparison of paper §3.1.1, for which no figures were published. For each feature set and each
kernel there are two members. `<set>_<kernel>` is trained on train, C is chosen on devel, and test is predicted by an
SVM trained on both. `<set>_<kernel>_cv` uses the four folds of the networks, and C is chosen in each. Features come
from the organisers' files if the corpus has them in `features/`, otherwise from the audio: functionals of openSMILE
(needs `pip install -e '.[opensmile]'`), bags of audio words of its descriptors, ImageNet activations as in
DeepSpectrum (left out if the weights are not available), and autoencoders as in auDeep.
Costs: without a corpus, under 10 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import common

WORDS = (125, 250, 500, 1000, 2000)
THRESHOLDS_DB = (30, 45, 60, 75)
# For the linear kernel decades as in the organisers' scripts, for the RBF kernel the authors' values.
C = {"linear": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), "rbf": (0.1, 1.0, 10.0, 100.0)}
# In the demo: larger values take the solver minutes.
DEMO_C = {"linear": (1e-4, 1e-3, 1e-2), "rbf": (1.0, 10.0)}


def get_config(recipe: str = "recommended") -> ConfigDict:
    folds = {"": {"name": "official"}, "_cv": common.mask_folds(recipe, n=4)}
    members, demo = {"deepspectrum": _deepspectrum()}, {}
    for suffix, split in folds.items():
        for level in THRESHOLDS_DB:
            name = f"audeep{level}{suffix}"
            members[name] = _audeep(level) | {"folds": split}
            demo[name] = {"learner": {"epochs": 4, "batch": 64, "model": {"units": 128}}}
        for name, features in _features(suffix).items():
            for kernel, c in C.items():
                demo[f"{name}_{kernel}{suffix}"] = {"learner": {"c": DEMO_C[kernel]}}
                members[f"{name}_{kernel}{suffix}"] = {
                    "features": features,
                    "folds": split,
                    "optional": name == "deepspectrum",
                    "learner": {
                        "name": "svm",
                        "kernel": kernel,
                        "c": c,
                        "gamma": "scale",
                        "scale": "minmax",
                        "refit": not suffix,
                    },
                }
    official = tuple(name for name, member in members.items() if member["learner"].get("refit"))
    fusion = {"name": "select", "members": official}
    return common.experiment("mask", recipe, members=members, fusion=fusion, demo={"members": demo})


def _features(suffix: str) -> dict[str, dict]:
    """Return the feature sets by name; `table` is the organisers' name of the set."""
    fused = [f"audeep{level}{suffix}" for level in THRESHOLDS_DB]
    return {
        "compare": {"name": "opensmile", "feature_set": "ComParE_2016", "table": "ComParE"},
        "egemaps": {"name": "opensmile", "feature_set": "eGeMAPSv02"},
        **{f"boaw{size}": common.bags_of_words(size) for size in WORDS},
        "deepspectrum": {"name": "embeddings", "of": ("deepspectrum",), "table": "DeepSpectrum_resnet50"},
        **{
            f"audeep{level}": {"name": "embeddings", "of": (f"audeep{level}{suffix}",), "table": f"auDeep-{level}"}
            for level in THRESHOLDS_DB
        },
        "audeep_fused": {"name": "embeddings", "of": tuple(fused), "table": "auDeep-fused"},
    }


def _deepspectrum() -> dict:
    """Return an ImageNet network that gives embeddings without training; any network and `layer` can be used."""
    return {
        "optional": True,
        "features": common.log_mel_image()
        | {
            "style": "resize",
            "colormap": "viridis",
            "size": (224, 224),
            "matrix": {"name": "log_mel", "window_s": 0.032, "hop_s": 0.010, "bands": 128},
        },
        "folds": {"name": "official"},
        "learner": {
            "name": "net",
            "examples": {"name": "clips", "augment": ()},
            "model": {"name": "resnet50"},
            "pretrained": common.optional("imagenet"),
            "layer": "",
            "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "adam", "lr": 1e-4},
            "batch": 16,
            "epochs": 0,
        },
    }


def _audeep(threshold_db: int) -> dict:
    """Return an autoencoder of spectrograms whose values are cut off `threshold_db` below their maximum."""
    return {
        "features": {
            "name": "mel_image",
            "style": "frames",
            "colormap": "none",
            "clip_s": 1.0,
            "matrix": {
                "name": "log_mel",
                "window_s": 0.080,
                "hop_s": 0.040,
                "bands": 128,
                "top_db": float(threshold_db),
                "levels": "unit",
            },
        },
        "learner": {
            "name": "net",
            "examples": {"name": "reconstruction"},
            "model": {"name": "sequence_autoencoder", "units": 256, "layers": 2, "dropout": 0.2},
            "loss": {"name": "root_mean_square"},
            "optimizer": {"name": "adam", "lr": 1e-3, "clip_norm": 2.0} | common.schedule(),
            "batch": 256,
            "epochs": 64,
            "patience": 0,
            "best_by": "loss",
        },
    }
