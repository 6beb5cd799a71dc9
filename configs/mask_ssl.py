"""Mask from a self-supervised speech encoder: its weights stay as they are, those of its layers and a small head learn.

    python launch.py --config=configs/mask_ssl.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: no row of the paper, which is older; the three recipes are the same but for their folds. Every layer is
stored as its mean and standard deviation over the recording; the head learns the weights of the layers, as in SUPERB.
The encoder is downloaded on first use; `--config.members.ssl.features.checkpoint` is another name on the Hugging Face
Hub, or a folder.
Costs: without a corpus, under 3 minutes on 2 CPU cores, with a tiny encoder of random weights, which recognises little.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    ssl = {
        "features": common.speech_encoder() | {"pooling": "mean_std", "rate_hz": 50.0},
        "folds": common.mask_folds(recipe, n=4),
        "learner": {
            "name": "net",
            "examples": {"name": "vectors"},
            "model": {"name": "mlp", "units": (256,), "dropout": 0.4},
            "loss": {"name": "cross_entropy", "class_weight": "none", "smoothing": 0.0},
            "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-4, "clip_norm": 1.0} | common.schedule(),
            "batch": 64,
            "epochs": 40,
            "patience": 0,
            "best_by": "score",
            "keep_best": 1,
        },
    }
    demo = {"features": {"checkpoint": "tiny"}, "learner": {"epochs": 20}}
    return common.experiment("mask", recipe, members={"ssl": ssl}, demo={"members": {"ssl": demo}})
