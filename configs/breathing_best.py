"""Breathing: the strongest system that needs only the corpus: temporal convolutions and a ResNet on log-Mel bands.

    python launch.py --config=configs/breathing_best.py --config.corpus.root=/data/ComParE2020_Breathing

Reproduces: no row of the paper; the three recipes are the same. `tcn` and `tcn_levels` see 32 log-Mel bands, 25 times a
second, in windows of 10 and 16 s. `resnet_gru` is system 4 with the small inputs of its demo and a learning rate that
falls to 0; the mean of its prediction is subtracted. So the system is for recordings that have ended. docs/best.md
shows what each ingredient is worth.
Costs: without a corpus, about 5 minutes on 2 CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import breathing_s4, common

BANDS = {"name": "log_mel", "window_s": 0.080, "hop_s": 0.040, "bands": 32, "center": True, "top_db": 60.0}
TCN = {"name": "tcn", "channels": 48, "layers": 7, "taps": 5, "dropout": 0.2, "output": "tanh"}


def get_config(recipe: str = "recommended") -> ConfigDict:
    # The recording's own range as -1 to 1, or levels in dB above its mean.
    unit, levels = BANDS | {"levels": "unit"}, BANDS | {"levels": "db", "ref": "mean"}
    members = {"tcn": tcn(unit, 10.0), "tcn_levels": tcn(levels, 16.0), "resnet_gru": resnet_gru()}
    # Weights by cross-fitting are scored too.
    fusion = {"name": "mean", "also_score": ("convex",)}
    return common.experiment("breathing", recipe, members=members, fusion=fusion, demo=demo())


def tcn(features: dict[str, Any], window_s: float) -> dict[str, Any]:
    """Return a temporal convolutional network on bands."""
    return {
        "features": features,
        # As in the other systems: train recordings before devel recordings, each of one speaker.
        "folds": {"name": "ordered", "n": 4},
        "learner": {
            "name": "net",
            "examples": {
                "name": "windows",
                "window_s": window_s,
                "step_s": window_s / 4,
                "predict": "crossfade",
                "augment": ({"name": "spec_augment"},),
            },
            "model": TCN,
            "loss": {"name": "window_pcc", "eps": 1e-8},
            "optimizer": {"name": "adam", "lr": 2e-3, "weight_decay": 1e-3, "clip_norm": 1.0} | common.schedule(),
            "batch": 16,
            "epochs": 25,
            "patience": 0,
            "keep_best": 1,
        },
    }


def resnet_gru() -> dict[str, Any]:
    """Return the network of system 4 from a random start, on 32 bands and short windows."""
    member = breathing_s4.resnet_gru("recommended")
    learner = member["learner"]
    member["features"]["matrix"]["bands"] = 32
    # Its mean over a recording differs arbitrarily between recordings, unlike that of the other members.
    learner["examples"] |= {"window_s": 16.0, "step_s": 8.0, "subtract_mean": True}
    learner["model"] |= {"trunk": "dense", "frozen": ()}
    learner["optimizer"] |= {"lr": 1e-3} | common.schedule("cosine")
    # About 270 updates of the challenge's corpus; a smaller one needs smaller batches or more epochs.
    return member | {"learner": learner | {"pretrained": placeholder(str), "batch": 8, "epochs": 3}}


def demo() -> dict[str, Any]:
    """Return the sizes of the demo: of an eighth of the data, smaller batches for enough updates."""
    return {"members": {"resnet_gru": {"learner": {"batch": 4}}}}
