"""Breathing from a self-supervised speech encoder, which stays as it is: learned weights of its layers, and two LSTMs.

    python launch.py --config=configs/breathing_ssl.py --config.corpus.root=/data/ComParE2020_Breathing

Reproduces: no row of the paper, which is older; the recipes differ in prediction. The hidden states of
all layers are averaged in pairs to the 25 values per second of the belt and stored; the network learns the weights of
the layers, as in SUPERB. The encoder is downloaded on first use; `--config.members.ssl.features.checkpoint` is another
name on the Hugging Face Hub, or a folder.
Costs: without a corpus, under 3 minutes on 2 CPU cores, with a tiny encoder of random weights. With one, 120 MB of disk
per recording of four minutes, for an encoder of the base size.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    ssl = {
        "features": common.speech_encoder() | {"pooling": "none", "rate_hz": 25.0},
        # As in the other systems: train recordings before devel recordings, each of one speaker.
        "folds": {"name": "ordered", "n": 4},
        "learner": {
            "name": "net",
            "examples": {
                "name": "windows",
                "window_s": 16.0,
                "step_s": 8.0,
                # On the simulated corpus (demo sizes, the same networks) the pooled CV is 0.514 with `crossfade`, 0.512
                # with `average` and 0.513 with `whole`.
                "predict": "crossfade" if recipe == "recommended" else "average",
            },
            "model": {"name": "sequence_lstm", "lstm": (256, 128), "dropout": 0.3, "output": "tanh"},
            "loss": {"name": "window_pcc", "eps": 1e-8},
            "optimizer": {"name": "adam", "lr": 1e-3, "clip_norm": 1.0} | common.schedule(),
            "batch": 16,
            "epochs": 40,
            "patience": 0,
            "keep_best": 1,
        },
    }
    demo = {
        "features": {"checkpoint": "tiny"},
        "learner": {
            "examples": {"window_s": 8.0, "step_s": 4.0},
            "model": {"lstm": (64, 64)},
            "optimizer": {"lr": 3e-3},
            "epochs": 10,
        },
    }
    return common.experiment("breathing", recipe, members={"ssl": ssl}, demo={"members": {"ssl": demo}})
