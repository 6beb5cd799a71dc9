"""Builders that the configs share.

The fields below `features`, `learner` and the like are the arguments of what their `name` constructs, and are explained
in its docstring; the general ones are explained here.
"""

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
    """Return the config of an experiment.

    Args:
      task: one of `jaxpara.corpora.challenge.TASKS`, such as `breathing` and `mask`.
      recipe: `recommended`, the published code with its leaks and errors fixed; `paper`, the text to the letter;
        `published`, what the authors' scripts do, leaks included.
      members: by name, each with
        `features`: also `table`, a file set of the challenge that is used instead where the corpus has it;
        `folds`: also `only`, the numbers of the folds to train, from 0, () for all; and `leave_out`, the recordings
          that are in no training or validation set;
        `learner`;
        `optional`: whether the run continues without this member where something that it needs is not available.
      fusion: how the scores of the members are combined, the mean by default; also `members`, the names of those that
        are combined, by default all that predict; `also_score`, the names of other fusions that are scored too; and
        `leave_out`, recordings that are not scored.
      demo: replaces the fields above when no corpus is given, so that a run on a laptop ends in minutes.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is unknown, expected one of {', '.join(RECIPES)}")
    return ConfigDict(
        {
            # Named after the colon of --config=FILE:RECIPE.
            "recipe": recipe,
            # All randomness is derived from it.
            "seed": 12,
            # How many models are trained on every fold, each with another start and order. All are fused, and the
            # report shows how far seeds differ; the number can be raised later.
            "seeds": 1,
            # What several devices do at once: `data`, parts of a batch; `folds`, the folds of a network, trained as one
            # program, which can pay on one device too.
            "parallel": "data",
            # What networks compute in: `float32`, or `bfloat16` with weights, optimizer and loss in float32.
            "precision": "float32",
            "corpus": {
                "task": task,
                # The corpus folder, with wav/ and lab/. Empty: a simulated corpus, and the sizes of `demo`.
                "root": placeholder(str),
                # The size of the simulated corpus, `demo` or `full`, and what replaces it: the numbers of speakers in
                # train, devel and test, and the seconds of each recording.
                "preset": "demo",
                "speakers": placeholder(tuple),
                "seconds": placeholder(float),
            },
            "members": members,
            "fusion": fusion or {"name": "mean"},
            "demo": demo,
        }
    )


def log_mel_image() -> dict[str, Any]:
    """Return the 64-band log-Mel image of the authors' published scripts (paper §3.1.1)."""
    return {
        "name": "mel_image",
        "style": "published",
        "colormap": "magma",
        "size": (288, 288),
        # The length of the challenge's clips. Shorter ones are padded with silence, longer ones cut into windows.
        "clip_s": 1.0,
        # 32-ms windows every 10 ms; the paper calls 10 ms the overlap.
        "matrix": {"name": "log_mel", "window_s": 0.032, "hop_s": 0.010, "bands": 64},
    }


def mfcc_image() -> dict[str, Any]:
    """Return the image of 30 MFCCs, deltas and delta-deltas of the authors' published scripts (paper §3.1.1)."""
    return log_mel_image() | {
        "colormap": "coolwarm",
        "matrix": {"name": "mfcc", "coefficients": 30, "orders": (0, 1, 2), "window_s": 0.032, "hop_s": 0.010},
    }


def bags_of_words(size: int) -> dict[str, Any]:
    """Return bags of ComParE's low-level descriptors and of their deltas, `size` words each (paper §3.1.1)."""
    descriptors = {"name": "opensmile", "feature_set": "ComParE_2016", "level": "lld"}
    return {"name": "boaw", "frames": descriptors, "size": size, "table": f"BoAW-{size}"}


def mask_folds(recipe: str, *, n: int, only: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return the folds of the Mask systems; `only` selects some of them (paper §3.1.2)."""
    # Stratified by class alone, training and validation set share speakers; `recommended` separates the speakers if
    # they are known.
    name = "speaker_disjoint_if_known" if recipe == "recommended" else "stratified"
    return {"name": name, "n": n, "only": only}


def mask_net(
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
    """Return a member of the Mask systems: an image network fine-tuned on each fold (paper §3.1.2).

    Args:
      optimizer: `adam` or `sgd`.
      head: `v1`, three dense layers with dropout; `v2`, one dense layer.
      n, only: the number of folds, and which of them to train; all by default.
      features: the log-Mel image by default.
      common_epoch: choose the same epoch in every fold.
    """
    published, paper = recipe == "published", recipe == "paper"
    epochs = 120
    rates = {
        "adam": {"name": "adam", "lr": 1e-4, "eps": 1e-8, "weight_decay": 0.0 if paper else 1e-4},
        "sgd": {"name": "sgd", "lr": 1e-3, "momentum": 0.9},
    }
    return {
        "features": features or log_mel_image(),
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
            # The paper lowers the rate after two epochs without a better validation loss; the scripts never do.
            "optimizer": rates[optimizer] | {"clip_norm": 0.0} | schedule("constant" if published else "plateau"),
            "batch": 16,
            "epochs": epochs,
            # The paper's text chooses by the smallest validation loss, the scripts by the highest UAR.
            "best_by": "loss" if paper and not common_epoch else "score",
            "common_epoch": common_epoch,
            "keep_best": epochs if common_epoch else 1,
        },
    }


def mask_demo(
    optimizer: str,
    *,
    epochs: int,
    size: tuple[int, int] = (64, 32),
    lr: float | None = None,
    common_epoch: bool = False,
) -> dict[str, Any]:
    """Return sizes with which `mask_net` learns something on two cores: small images, random initial weights."""
    return {
        "features": {"style": "resize", "size": size},
        "learner": {
            "examples": {"size": size, "augment": "none"},
            "pretrained": None,
            # Random initial weights need larger steps than fine-tuning.
            "optimizer": {"lr": lr or {"adam": 1e-3, "sgd": 1e-2}[optimizer]},
            "epochs": epochs,
            "keep_best": epochs if common_epoch else 1,
        },
    }


def schedule(name: str = "constant") -> dict[str, Any]:
    """The learning-rate schedule `constant`, `cosine`, `warmup_cosine` or `plateau`, and the fields of all of them."""
    return {"schedule": name, "warmup_steps": 0, "decay_steps": 0, "plateau_patience": 2, "plateau_factor": 0.1}


def optional(value: Any) -> Any:
    """Return a field that can also be set to None, on the command line or by `demo`."""
    reference = placeholder(type(value))
    reference.set(value)
    return reference
