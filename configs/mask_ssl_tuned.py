"""Mask from a self-supervised speech encoder whose last two transformer layers are trained further.

    python launch.py --config=configs/mask_ssl_tuned.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: no row of the paper, which is older; the three recipes are the same but for their folds. The states of
layer 10 of 12 are computed once and stored; the layers above start from the encoder's weights and learn with a small
head. `--config.members.ssl.features.layer=6` trains the last six of 12, and a large encoder has 24.
Costs: without a corpus, about a minute on 2 CPU cores, with a tiny encoder of random weights, which recognises little.
With one, a GPU, and 80 kB of disk per second of audio for an encoder of the base size.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    ssl = {
        # The states below the layers that are trained: one layer, by its number from 0, every 20 ms.
        "features": common.speech_encoder() | {"layer": 10, "pooling": "none", "rate_hz": 50.0},
        "folds": common.mask_folds(recipe, n=4),
        "learner": {
            "name": "net",
            "examples": {"name": "frames", "window_s": 1.0},
            "model": {
                "name": "tuned_encoder",
                "units": 256,
                "dropout": 0.1,
                # An upper layer is left out of a training step with this probability.
                "layer_drop": 0.05,
                # SpecAugment of the states: the fractions of time and of channels that are hidden.
                "mask_time": 0.05,
                "mask_channels": 0.0,
                # True needs less memory, and a third more time.
                "gradient_checkpointing": False,
            },
            "pretrained": common.optional("encoder"),
            "loss": common.cross_entropy(),
            # The rate rises in the first tenth of the 20 epochs of three folds of ComParE Mask, 599 steps each; then it
            # falls to 0.
            "optimizer": {"name": "adam", "lr": 1e-3, "eps": 1e-8, "weight_decay": 0.0, "clip_norm": 1.0}
            | {"pretrained_lr": 2e-5}
            | common.schedule("warmup_cosine")
            | {"warmup_steps": 1200},
            "batch": 32,
            "epochs": 20,
            "patience": 0,
            "best_by": "score",
            "keep_best": 1,
        },
    }
    demo = {
        "features": {"checkpoint": "tiny", "layer": 1},
        "learner": {
            # Random weights need a larger learning rate than fine-tuning.
            "optimizer": {"pretrained_lr": 1e-3, "warmup_steps": 30},
            "epochs": 10,
        },
    }
    return common.experiment("mask", recipe, members={"ssl": ssl}, demo={"members": {"ssl": demo}})
