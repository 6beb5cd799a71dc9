"""Parts of small members, for the tests of training and inference."""

MATRIX = {"name": "log_mel", "window_s": 0.080, "hop_s": 0.040, "bands": 16}
BAGS = {"name": "boaw", "frames": {"name": "opensmile", "level": "lld"}, "size": 10, "nearest": 3}


def autoencoder(folds, *, clip_s, units, lr, epochs):
    image = {"name": "mel_image", "style": "frames", "colormap": "none", "clip_s": clip_s}
    return {
        "features": image | {"matrix": MATRIX | {"levels": "unit"}},
        "folds": folds,
        "learner": {
            "name": "net",
            "examples": {"name": "reconstruction"},
            "model": {"name": "sequence_autoencoder", "units": units, "dropout": 0.0},
            "loss": {"name": "root_mean_square"},
            "optimizer": {"name": "adam", "lr": lr},
            "batch": 8,
            "epochs": epochs,
            "best_by": "loss",
        },
    }
