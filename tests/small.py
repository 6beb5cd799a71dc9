"""A config with a bit of everything, at sizes that take seconds: a network, an SVM, embeddings and their fusion."""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    folds = {"name": "ordered", "n": 2, "only": ()}
    cnn = {
        "features": {"name": "waveform", "scale": "zscore"},
        "folds": folds,
        "learner": {
            "name": "net",
            "examples": {"name": "windows", "window_s": 2.0, "step_s": 2.0},
            "model": {"name": "cnn1d_lstm", "filters": (4, 4, 4, 4), "lstm": (4, 4), "dropout": 0.1},
            "pretrained": common.optional("none"),
            "loss": {"name": "window_pcc"},
            "optimizer": {"name": "adam", "lr": 1e-3, "clip_norm": 0.0},
            "batch": 4,
            "microbatch": 0,
            "epochs": 2,
            "validate_every": 1,
            "keep_best": 1,
        },
    }
    svr = {
        "features": {"name": "log_mel", "window_s": 0.1, "hop_s": 0.1, "bands": 8},
        "folds": dict(folds),
        "learner": {"name": "svm", "kernel": "linear", "c": (0.01, 0.1), "scale": "standard"},
    }
    top = {
        "features": {"name": "embeddings", "of": ("cnn",)},
        "folds": dict(folds),
        "learner": {"name": "svm", "kernel": "linear", "c": (0.1,), "scale": "standard"},
    }
    members = {"cnn": cnn, "svr": svr, "top": top}
    fusion = {"name": "mean", "members": ("cnn", "svr", "top"), "leave_out": (), "also_score": ("dirichlet",)}
    return common.experiment("breathing", recipe, members=members, fusion=fusion, demo={})
