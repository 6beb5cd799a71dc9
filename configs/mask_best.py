"""Mask: the strongest system that needs only the corpus: two small networks on linear-frequency spectrograms.

    python launch.py --config=configs/mask_best.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: no row of the paper; the three recipes are the same but for their folds. A mask damps 2 to 7 kHz, where Mel
bands are wide: both networks see 128 bands of equal width, as the winners of the challenge did, with levels relative to
the mean of the clip. `mlp` sees their functionals, `tdnn` every frame. docs/best.md shows what each ingredient is
worth.
Costs: without a corpus, about 2 minutes on 2 CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

BANDS = {"bands": 128, "scale": "linear", "window_s": 0.032, "hop_s": 0.010, "ref": "mean"}
FUNCTIONALS = {
    "name": "log_mel_functionals",
    **BANDS,
    "percentiles": common.PERCENTILES,
    "delta": False,
    # True is better for speakers of whom there are many clips to predict together.
    "per_speaker": False,
}
SIZE = (128, 97)  # the bands and frames of a clip: nothing is resized
IMAGE = {
    "name": "mel_image",
    "style": "resize",
    "colormap": "none",
    "size": SIZE,
    "clip_s": 1.0,
    "matrix": {"name": "log_mel", **BANDS},
}


def get_config(recipe: str = "recommended") -> ConfigDict:
    clips = {"name": "clips", "size": SIZE, "augment": (), "augment_on": "role", "normalise": "none"}
    mlp = _net({"name": "vectors"}, {"name": "mlp", "units": (128,), "dropout": 0.5})
    tdnn = _net(clips, {"name": "tdnn", "units": (64,), "kernels": (1,), "dropout": 0.3})
    members = {
        "mlp": {"features": FUNCTIONALS, "folds": common.mask_folds(recipe, n=4), "learner": mlp},
        "tdnn": {"features": IMAGE, "folds": common.mask_folds(recipe, n=4), "learner": tdnn},
    }
    return common.experiment("mask", recipe, members=members, demo={})


def _net(examples: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Return a small network with a random start."""
    return {
        "name": "net",
        "examples": examples,
        "model": model,
        "loss": common.cross_entropy("balanced"),
        "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-3, "clip_norm": 1.0} | common.schedule("plateau"),
        "batch": 32,
        "epochs": 30,
        "patience": 0,
        "best_by": "loss",
        "keep_best": 1,
    }
