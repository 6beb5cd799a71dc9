"""Breathing: the strongest system that needs only the corpus: temporal convolutions and LSTMs on log-Mel bands.

    python launch.py --config=configs/breathing_best.py --config.corpus.root=/data/ComParE2020_Breathing

Reproduces: no row of the paper; the three recipes are the same. All members see 32 log-Mel bands, 25 times a second.
`tcn` and `tcn_levels` look 10 s ahead and back, so the system is for recordings that have ended. docs/best.md shows
what each ingredient is worth.
Costs: without a corpus, about 3 minutes on 2 CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

BANDS = {"name": "log_mel", "window_s": 0.080, "hop_s": 0.040, "bands": 32, "center": True, "top_db": 60.0}
TCN = {"name": "tcn", "channels": 48, "layers": 7, "taps": 5, "dropout": 0.2, "output": "tanh"}
LSTM = {"name": "sequence_lstm", "lstm": (64, 64), "dropout": 0.4, "output": "tanh"}


def get_config(recipe: str = "recommended") -> ConfigDict:
    # The recording's own range as -1 to 1, or levels in dB above its mean.
    unit, levels = BANDS | {"levels": "unit"}, BANDS | {"levels": "db", "ref": "mean"}
    members = {
        "tcn": _member(unit, TCN, 10.0, "crossfade", ({"name": "spec_augment"},)),
        "tcn_levels": _member(levels, TCN, 16.0, "crossfade", ({"name": "spec_augment"},)),
        "lstm": _member(unit, LSTM, 16.0, "whole"),
    }
    # Weights by cross-fitting are scored too.
    fusion = {"name": "mean", "also_score": ("convex",)}
    return common.experiment("breathing", recipe, members=members, fusion=fusion, demo={})


def _member(
    features: dict[str, Any], model: dict[str, Any], window_s: float, predict: str, augment: tuple[Any, ...] = ()
) -> dict[str, Any]:
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
                "predict": predict,
                "augment": augment,
            },
            "model": model,
            "loss": {"name": "window_pcc", "eps": 1e-8},
            "optimizer": {"name": "adam", "lr": 2e-3, "weight_decay": 1e-3, "clip_norm": 1.0} | common.schedule(),
            "batch": 16,
            "epochs": 25,
            "patience": 0,
            "keep_best": 1,
        },
    }
