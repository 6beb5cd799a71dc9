"""Small builders that the configs share. What a field means is in the docstring of what it constructs."""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

RECIPES = ("recommended", "paper", "published")


def experiment(
    task: str,
    recipe: str,
    *,
    members: dict[str, Any],
    fusion: dict[str, Any] | None = None,
    demo: dict[str, Any],
) -> ConfigDict:
    """An experiment: members and fusion.

    Args:
      task: `breathing` or `mask`.
      recipe: `recommended`; `paper`, the text to the letter; `published`, what the authors' scripts do.
      members: by name, `features`, `folds` and `learner`.
      fusion: how their scores meet, the mean by default; under `members` whose, all by default; under `also_score`
        other fusions that are scored too; under `leave_out` recordings that are not scored.
      demo: what replaces the fields above when no corpus is given, so that a laptop sees the end of it.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is unknown, expected one of {', '.join(RECIPES)}")
    return ConfigDict(
        {
            "recipe": recipe,
            # Everything random follows from it.
            "seed": 12,
            # How often every fold is fitted, each time with another start and order. All fits are fused, and the report
            # says how far seeds are apart; more may be asked for later.
            "seeds": 1,
            # What several devices, or one, do at once: `data`, parts of a batch; `folds`, the folds of a network,
            # trained as one program.
            "parallel": "data",
            # What networks are computed in: `float32` or `bfloat16`.
            "precision": "float32",
            "corpus": {
                "task": task,
                # The corpus folder (wav/ and lab/). Empty: a simulated corpus, and the sizes of `demo`.
                "root": placeholder(str),
                # The simulated corpus: a preset, and what replaces its sizes (speakers in train, devel and test;
                # seconds of each).
                "preset": "demo",
                "speakers": placeholder(tuple),
                "seconds": placeholder(float),
            },
            "members": members,
            "fusion": fusion or {"name": "mean"},
            "demo": demo,
        }
    )


def log_mel_picture() -> dict[str, Any]:
    """The 64-band log-Mel picture of the authors' published scripts (paper §3.1.1)."""
    return {
        "name": "mel_image",
        "style": "published",
        "colormap": "magma",
        "size": (288, 288),
        # As long as the clips of the challenge; silence fills up what is shorter, windows go over what is longer.
        "clip_s": 1.0,
        # 32-ms windows every 10 ms; the paper calls 10 ms the overlap.
        "matrix": {"name": "log_mel", "window_s": 0.032, "hop_s": 0.010, "bands": 64},
    }


def mfcc_picture() -> dict[str, Any]:
    """The picture of 30 MFCCs with deltas and delta-deltas below of the authors' published scripts (paper §3.1.1)."""
    return log_mel_picture() | {
        "colormap": "coolwarm",
        "matrix": {"name": "mfcc", "coefficients": 30, "orders": (0, 1, 2), "window_s": 0.032, "hop_s": 0.010},
    }


def bags_of_words(size: int) -> dict[str, Any]:
    """Bags of ComParE's low-level descriptors and of their deltas, `size` words each (paper §3.1.1)."""
    descriptors = {"name": "opensmile", "feature_set": "ComParE_2016", "level": "lld"}
    return {"name": "boaw", "frames": descriptors, "size": size, "table": f"BoAW-{size}"}


def mask_folds(recipe: str, *, n: int, only: tuple[int, ...] = ()) -> dict[str, Any]:
    """The folds of the Mask systems, and which of them to fit; all by default (paper §3.1.2)."""
    # Stratified by class alone, the same speakers are fitted on and tuned on; where speakers are known,
    # `recommended` keeps them apart.
    name = "speaker_disjoint_if_known" if recipe == "recommended" else "stratified"
    return {"name": name, "n": n, "only": only}


def picture_net(
    recipe: str,
    *,
    optimizer: str,
    head: str = "v2",
    arch: str = "resnet18",
    n: int = 4,
    only: tuple[int, ...] = (),
    features: dict[str, Any] | None = None,
    common_epoch: bool = False,
) -> dict[str, Any]:
    """A member of the Mask systems: a picture network fine-tuned on each fold (paper §3.1.2).

    Args:
      optimizer: `adam` or `sgd`.
      head: `v1`, three dense layers with dropout; `v2`, one dense layer.
      n, only: the number of folds, and which of them to fit; all by default.
      features: the log-Mel picture by default.
      common_epoch: take the same epoch in every fold.
    """
    published, paper = recipe == "published", recipe == "paper"
    epochs = 120
    rates = {
        "adam": {"name": "adam", "lr": 1e-4, "eps": 1e-8, "weight_decay": 0.0 if paper else 1e-4},
        "sgd": {"name": "sgd", "lr": 1e-3, "momentum": 0.9},
    }
    return {
        "features": features or log_mel_picture(),
        "folds": mask_folds(recipe, n=n, only=only),
        "learner": {
            "name": "net",
            "examples": {
                "name": "clips",
                "size": (224, 224),
                # The scripts crop by partition, whatever the role in the fold.
                "augment": "partition" if published else "role",
                # The paper's z-score of the batch; the scripts use the statistics of ImageNet.
                "normalise": "batch" if paper else "imagenet",
            },
            # The dropout of head v1 is the scripts'; the paper is silent.
            "model": {"name": arch, "head": head, "head_dropout": 0.6},
            "pretrained": optional("imagenet"),
            "loss": {"name": "cross_entropy"},
            # The weight decay of 1e-4 is the scripts'; the paper is silent.
            "optimizer": rates[optimizer] | {"clip_norm": 0.0, "warmup_steps": 0, "decay_steps": 0},
            "batch": 16,
            "epochs": epochs,
            # The paper lowers the rate after two epochs without a better validation loss; the scripts never do.
            "plateau_patience": -1 if published else 2,
            # The paper's text chooses by the smallest validation loss, the scripts by the highest UAR.
            "best_by": "loss" if paper and not common_epoch else "score",
            "common_epoch": common_epoch,
            "keep_best": epochs if common_epoch else 1,
        },
    }


def picture_demo(
    optimizer: str,
    *,
    epochs: int,
    size: tuple[int, int] = (64, 32),
    lr: float | None = None,
    common_epoch: bool = False,
) -> dict[str, Any]:
    """Sizes at which a picture network learns something on two cores: small pictures, a random start."""
    return {
        "features": {"style": "resize", "size": size},
        "learner": {
            "examples": {"size": size, "augment": "none"},
            "pretrained": None,
            # A random start needs larger steps than fine-tuning.
            "optimizer": {"lr": lr or {"adam": 1e-3, "sgd": 1e-2}[optimizer]},
            "epochs": epochs,
            "keep_best": epochs if common_epoch else 1,
        },
    }


def optional(value: Any) -> Any:
    """A field that can also be set to None, from the command line or by `demo`."""
    reference = placeholder(type(value))
    reference.set(value)
    return reference
