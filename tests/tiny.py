"""Flags that make any shipped experiment take seconds: small networks, short windows, few folds, one epoch.

The sizes are the same with and without a corpus, so that both use the same compiled programs.
"""

import importlib

from jaxpara.config import flat

MODELS = {
    "cnn1d_lstm": {"filters": (4, 4, 4, 4), "lstm": (4, 4)},
    "resnet1d_lstm": {"stem": 4, "stages": (4, 4), "blocks": 1, "lstm": (4, 4)},
    "resnet_gru": {"gru": (4, 4), "trunk": "dense"},
    "sequence_lstm": {"lstm": (4, 4)},
    "mlp": {"units": (4,)},
    "tuned_encoder": {"units": 4},
    "sequence_autoencoder": {"units": 4, "layers": 1},
}
IMAGE = (32, 32)
LEARNERS = {
    "net": {"epochs": 1, "batch": 8, "microbatch": 0, "keep_best": 1, "pretrained": "none"},
    "svm": {"c": (1.0,)},
}
FEATURES = {"mel_image": {"size": IMAGE, "style": "resize"}, "boaw": {"size": 20}}
EXAMPLES = {
    "windows": {"window_s": 4.0, "step_s": 4.0},
    "clips": {"size": IMAGE, "augment": ()},
    "reconstruction": {},
    "vectors": {},
    "frames": {},
}


def flags(config: str) -> list[str]:
    """`--config.FIELD=VALUE` for an experiment, as `breathing_e2e` or `mask_s1:paper`."""
    name, _, recipe = config.partition(":")
    config = importlib.import_module(f"configs.{name}").get_config(*filter(None, [recipe])).to_dict()
    demo = config["demo"].get("members", {})
    return [
        f"--config.members.{member}.{field}={value}".replace(" ", "")
        for member, parts in config["members"].items()
        for field, value in (flat(demo.get(member, {})) | dict(_small(parts))).items()
    ]


def _small(member: dict) -> list[tuple[str, object]]:
    learner, features, folds = member["learner"], member["features"], member["folds"]
    changes = _known("learner", LEARNERS[learner["name"]], learner)
    if "examples" in learner:
        changes += _known("learner.examples", EXAMPLES[learner["examples"]["name"]], learner["examples"])
        changes += _known("learner.optimizer", {"schedule": "constant"}, learner["optimizer"])
        changes += _known("learner.model", MODELS.get(learner["model"]["name"], {}), learner["model"])
    if "size" in features:
        changes += _known("features", FEATURES[features["name"]], features)
    if not folds.get("only"):
        changes += _known("folds", {"n": 2, "only": (0,)}, folds)
    return changes


def _known(part: str, changes: dict, fields: dict) -> list[tuple[str, object]]:
    return [(f"{part}.{name}", value) for name, value in changes.items() if name in fields]
