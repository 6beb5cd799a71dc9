"""Builders shared by the configs.

The general fields are explained here. The fields in `features`, `folds`, `learner` and `fusion` are the arguments of
the class or function that their `name` selects, and are explained there.
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
      task: a key of `jaxpara.corpora.tasks.TASKS`, such as `breathing` or `mask`; or, for other corpora, the kind of
        their target: `classes`, `ordinal`, `values` or `sequence`.
      recipe: `recommended`, the published code with its leaks and errors fixed; `paper`, the text of the paper;
        `published`, the authors' scripts, including their leaks.
      members: by name, each with
        `features`; its field `table` names feature files of the organisers, which are used if the corpus has them, and
          `per_speaker`, False by default, standardises them over all recordings of each speaker;
        `folds`; its field `only` lists the folds to train, from 0, with () for all, and `leave_out` the recordings
          that are in no training or validation set;
        `learner`;
        `optional`: True if the run continues without this member when something that it needs is not available.
      fusion: how the scores of the members are combined, by default their mean. Its field `members` lists those that
        are combined, by default all that predict; `also_score` lists other fusions that are also scored; `leave_out`
        lists recordings that are not scored.
      demo: fields that replace those above where `sizes` is `demo`, so that a run takes minutes on a laptop.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is unknown, expected one of {', '.join(RECIPES)}")
    return ConfigDict(
        {
            # Set by --config=FILE:RECIPE.
            "recipe": recipe,
            # All random numbers are derived from it.
            "seed": 12,
            # Models trained per fold, each with other initial weights and another order of examples. All are fused, and
            # the report shows the spread of their scores. A finished run can be extended by more seeds.
            "seeds": 1,
            # `data`: devices share each batch. `folds`: all folds of a network are trained at once in one program,
            # which can be faster even on one device.
            "parallel": "data",
            # `demo`: the fields in `demo` replace those above, for a quick run on any corpus. `full`: they do not.
            # `auto`: `demo` without a corpus, `full` with one. A config without `demo` is always `full`.
            "sizes": "auto",
            # The members to run, with those whose embeddings they use; () for all.
            "only": (),
            # Of the computations of networks: `tf32`, products with 10 bits after the point on NVIDIA GPUs and float32
            # elsewhere; `float32` everywhere; or `bfloat16`. Weights, optimizer, statistics and loss are in float32.
            "precision": "tf32",
            # On GPUs: the same command gives the same bits twice, which costs speed. A CPU always does.
            "deterministic": False,
            "corpus": {
                "task": task,
                # The corpus folder. For a sub-challenge it contains wav/ and lab/, otherwise the files in `table`, or a
                # folder per class. Empty: a simulated corpus.
                "root": placeholder(str),
                # A table of files and labels (CSV or TSV), in the folder or elsewhere; of an audformat database, the
                # names of its tables, separated by commas. Not for sub-challenges.
                "table": placeholder(str),
                # The column of the labels.
                "target": placeholder(str),
                # The columns of file names, splits, speakers and times where the usual names are not used.
                "columns": {part: placeholder(str) for part in ("file", "split", "speaker", "time")},
                # The measure, one of `jaxpara.corpora.tasks.MEASURES`; by default that of the task.
                "measure": placeholder(str),
                # The classes in their order, or the levels of an ordinal scale; by default sorted.
                "classes": placeholder(tuple),
                # Where the table has no splits: `holdout`, 60 % of the speakers for train, 20 % for devel and 20 % for
                # test; `folds`, all for cross-validation, none for test; or the split.csv of another run.
                "split": "holdout",
                # Size of the simulated corpus, `demo` or `full`.
                "preset": "demo",
                # Numbers of speakers in train, devel and test, instead of those of the preset.
                "speakers": placeholder(tuple),
                # Seconds per recording (Breathing) or per speaker (Mask), instead of those of the preset.
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
        # Length of the challenge's clips. Shorter recordings are padded with silence, longer ones cut into windows.
        "clip_s": 1.0,
        # Windows of 32 ms every 10 ms; the paper calls the 10 ms overlap.
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


WAVLM = "microsoft/wavlm-base-plus"


def speech_encoder(checkpoint: str = WAVLM) -> dict[str, Any]:
    """Return the hidden states of all layers of a speech encoder, for networks that learn the weights of the layers."""
    return {
        "name": "speech_encoder",
        # A name on the Hugging Face Hub, a folder, or "tiny" for random weights.
        "checkpoint": checkpoint,
        # One layer or several ("9" or "6,9" on the command line), counted from 0; "weighted" for all.
        "layer": "weighted",
        # Three digits in half the space; "float32" for all.
        "storage": "float16",
        # Longer recordings are encoded in overlapping chunks, whose first and last seconds are dropped.
        "chunk_s": 30.0,
        "context_s": 2.0,
    }


def layers_mlp(checkpoint: str, folds: dict[str, Any], loss: dict[str, Any]) -> dict[str, Any]:
    """Return a network on all layers of a speech encoder, each as its mean and deviation over the recording."""
    features = speech_encoder(checkpoint) | {"pooling": "mean_std", "rate_hz": 50.0}
    return {"features": features, "folds": folds, "learner": mlp(loss)}


def mlp(loss: dict[str, Any]) -> dict[str, Any]:
    """Return a small network on one vector per recording; it trains in seconds."""
    return {
        "name": "net",
        "examples": {"name": "vectors"},
        "model": {"name": "mlp", "units": (256,), "dropout": 0.4},
        "loss": loss,
        "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-4, "clip_norm": 1.0} | schedule(),
        "batch": 64,
        "epochs": 40,
        "patience": 0,
        "best_by": "score",
        "keep_best": 1,
    }


def cross_entropy(class_weight: str = "none") -> dict[str, Any]:
    """Return the loss of classes; with `balanced`, rare classes count as much as frequent ones, as in the UAR."""
    # `smoothing` spreads a fraction of each label over all classes.
    return {"name": "cross_entropy", "class_weight": class_weight, "smoothing": 0.0}


def mask_folds(recipe: str, *, n: int, only: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return the folds of the Mask systems; `only` selects some of them (paper §3.1.2)."""
    # If folds are stratified by class only, training and validation set share speakers; `recommended` separates the
    # speakers if they are known.
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
                # Random changes of images, in this order, () for none: `random_crop`, `spec_augment`, `mixup`, `noise`,
                # `time_shift` and `speed`. Crops in time only: {"name": "random_crop", "keep_frequency": True}.
                "augment": ({"name": "random_crop"},),
                # Of training examples (`role`), or as in the scripts of all recordings of the partition train, even in
                # a validation set (`partition`).
                "augment_on": "partition" if published else "role",
                # The paper uses the mean and deviation of the batch, the scripts those of ImageNet.
                "normalise": "batch" if paper else "imagenet",
            },
            # The dropout of head v1 is from the scripts; the paper does not say.
            "model": {"name": arch, "head": head, "head_dropout": 0.6},
            "pretrained": optional("imagenet"),
            "loss": cross_entropy(),
            # The weight decay of 1e-4 is from the scripts; the paper does not say. The paper lowers the learning rate
            # after two epochs without a better validation loss; the scripts never do.
            "optimizer": rates[optimizer] | {"clip_norm": 0.0} | schedule("constant" if published else "plateau"),
            "batch": 16,
            "epochs": epochs,
            "patience": 0,
            # The paper chooses the epoch with the smallest validation loss, the scripts the one with the highest UAR.
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
    """Return the sizes of the demo for `mask_net`, for 2 CPU cores: small images, random initial weights."""
    return {
        "features": {"style": "resize", "size": size},
        "learner": {
            "examples": {"size": size, "augment": ()},
            "pretrained": None,
            # Random initial weights need a larger learning rate than fine-tuning.
            "optimizer": {"lr": lr or {"adam": 1e-3, "sgd": 1e-2}[optimizer]},
            "epochs": epochs,
            "keep_best": epochs if common_epoch else 1,
        },
    }


def functionals_svm(window_s: float = 0.0, **learner: Any) -> dict[str, Any]:
    """Return an SVM on openSMILE's functionals of whole recordings, or of windows; left out without openSMILE."""
    features = {"name": "opensmile", "feature_set": "ComParE_2016", "window_s": window_s, "hop_s": window_s}
    return {
        "features": features | {"per_speaker": False},
        "folds": {"name": "devel_or_folds", "n": 5},
        "optional": True,
        "learner": {
            "name": "svm",
            "kernel": "linear",
            "c": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            # A single odd value of another voice must not outweigh all others.
            "scale": "minmax_clipped",
        }
        | learner,
    }


PERCENTILES = (5, 25, 50, 75, 90, 95, 99)


def functionals_members(svm: dict[str, Any], loss: dict[str, Any]) -> dict[str, Any]:
    """Return members for small corpora of whole recordings: an SVM and two small networks, all on functionals.

    Args:
      svm: from `functionals_svm`; a network sees the same functionals, and another one those of log-Mel bands.
      loss: of the networks.
    """
    bands = {"name": "log_mel_functionals", "bands": 64, "percentiles": PERCENTILES, "delta": True}
    return {
        "svm": svm,
        "mlp": svm | {"learner": mlp(loss)},
        # Needs no openSMILE.
        "log_mel": {"features": bands | {"per_speaker": False}, "folds": svm["folds"], "learner": mlp(loss)},
    }


def schedule(name: str = "constant") -> dict[str, Any]:
    """Return the fields of all learning-rate schedules: `constant`, `cosine`, `warmup_cosine` and `plateau`."""
    return {"schedule": name, "warmup_steps": 0, "decay_steps": 0, "plateau_patience": 2, "plateau_factor": 0.1}


def optional(value: Any) -> Any:
    """Return a field whose value can be set to None on the command line or by `demo`."""
    reference = placeholder(type(value))
    reference.set(value)
    return reference
