"""Mask: the strongest system that needs only the corpus: two networks and an SVM on linear-frequency spectrograms.

    python launch.py --config=configs/mask_best.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: no row of the paper; the three recipes are the same but for their folds. A mask damps 2 to 7 kHz, which Mel
bands blur, so that all members see 128 bands of equal width, as the winners of the challenge did, relative to the mean
level of the clip. docs/best.md shows what each ingredient is worth.
Costs: without a corpus, about 3 minutes on 2 CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

BANDS = {"bands": 128, "scale": "linear", "window_s": 0.032, "hop_s": 0.010, "ref": "mean"}
FUNCTIONALS = {"name": "log_mel_functionals", **BANDS, "percentiles": (5, 25, 50, 75, 90, 95, 99), "delta": False}


def get_config(recipe: str = "recommended") -> ConfigDict:
    return common.experiment("mask", recipe, members=members(common.mask_folds(recipe, n=4)), demo={})


def members(folds: dict[str, Any]) -> dict[str, Any]:
    """Return the members, for the classes of any corpus; they differ in what they can learn, so that their mean helps.

    Args:
      folds: of all members.
    """
    svm = {
        "name": "svm",
        "c": (1e-4, 1e-3, 1e-2),
        "scale": "standard",
        "class_weight": "balanced",
        "probabilities": True,
    }
    mlp = _net({"name": "vectors"}, {"name": "mlp", "units": (128,), "dropout": 0.5})
    # Images of exactly this size: nothing is resized.
    size = (BANDS["bands"], 97)
    image = {
        "name": "mel_image",
        "style": "resize",
        "colormap": "none",
        "size": size,
        "clip_s": 1.0,
        "matrix": {"name": "log_mel", **BANDS},
    }
    clips = {"name": "clips", "size": size, "augment": (), "augment_on": "role", "normalise": "none"}
    tdnn = _net(clips, {"name": "tdnn", "units": (64,), "kernels": (1,), "dropout": 0.3})
    parts = {"svm": (FUNCTIONALS, svm), "mlp": (FUNCTIONALS, mlp), "tdnn": (image, tdnn)}
    # Copies, because ConfigDict would make one field of those that share a dictionary.
    return {name: {"features": dict(f), "folds": dict(folds), "learner": net} for name, (f, net) in parts.items()}


def _net(examples: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Return a small network with a random start; strong weight decay keeps it from learning the clips by heart."""
    return {
        "name": "net",
        "examples": examples,
        "model": model,
        "loss": {"name": "cross_entropy", "class_weight": "balanced", "smoothing": 0.0},
        "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-3, "clip_norm": 1.0} | common.schedule("plateau"),
        "batch": 32,
        "epochs": 30,
        "patience": 0,
        "best_by": "loss",
        "keep_best": 1,
    }
