"""Measures what each ingredient of a config is worth: runs the config with and without it, and writes docs/best.md.

    python -m benchmarks.ablation mask_best
    python -m benchmarks.ablation mask_best --seeds=12,13,14 --runs=runs/ablation --out=docs/best.md

Every variant runs once per seed, in a folder of its own: finished runs are read again, and interrupted ones resume, so
delete the folder of the runs when the config has changed. Each seed simulates another corpus, with other speakers. A
table of one seed is a section of its own, next to those of others. Only validation sets are compared, never test.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.over_seeds import arguments, command, corpora_of, heading, pooled, trained, write_section
from configs import breathing_best, common, mask_best
from jaxpara.evaluation import comparison_report, paired
from jaxpara.evaluation.formatting import Formatter
from jaxpara.evaluation.scores import ScoredRows


def of_members(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the same fields of one member or several, `{path: value}`, by their paths in the config."""
    return {f"members.{name}.{path}": value for name in names for path, value in fields.items()}


SVM = {
    "features": mask_best.FUNCTIONALS,
    "folds": common.mask_folds("recommended", n=4),
    "learner": {
        "name": "svm",
        "c": (1e-4, 1e-3, 1e-2),
        "scale": "standard",
        "class_weight": "balanced",
        "probabilities": True,
    },
}
# With the optimizer and the epochs of the TCNs, without augmentation.
LSTM = breathing_best.tcn(breathing_best.BANDS | {"levels": "unit"}, 16.0)
LSTM["learner"]["model"] = {"name": "sequence_lstm", "lstm": (64, 64), "dropout": 0.4, "output": "tanh"}
LSTM["learner"]["examples"] |= {"predict": "whole", "augment": ()}
DECAY, AUGMENT, LOSS = "learner.optimizer.weight_decay", "learner.examples.augment", "learner.loss"
COSINE = {"learner.optimizer.schedule": "cosine"}
SPEC, NOISE = {"name": "spec_augment"}, {"name": "noise"}
# By config: its variants, and the fields that make each of them. None may search weights of a fusion: the scores of the
# validation sets would be too high, and cross-fitted predictions are not stored.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "breathing_best": {
        "without the TCN on the own range": {"only": ("tcn_levels", "resnet_gru")},
        "without the TCN on levels in dB": {"only": ("tcn", "resnet_gru")},
        "without the ResNet": {"only": ("tcn", "tcn_levels")},
        "with LSTMs": {"members.lstm": LSTM},
        "ResNet: a constant learning rate": {"members.resnet_gru.learner.optimizer.schedule": "constant"},
        "ResNet: the mean of a recording stays": {"members.resnet_gru.learner.examples.subtract_mean": False},
        "TCNs: no SpecAugment": of_members({AUGMENT: ()}, "tcn", "tcn_levels"),
        "TCNs: noise on the bands": of_members({AUGMENT: (SPEC, NOISE)}, "tcn", "tcn_levels"),
        "TCNs: loss 1 - CCC instead of 1 - r": of_members({f"{LOSS}.name": "window_ccc"}, "tcn", "tcn_levels"),
    },
    "mask_best": {
        "without the MLP": {"only": ("tdnn",)},
        "without the TDNN": {"only": ("mlp",)},
        "with a linear SVM on the functionals": {"members.svm": SVM},
        "64 Mel bands": {
            **of_members({"features.scale": "mel", "features.bands": 64}, "mlp"),
            **of_members({"features.matrix.scale": "mel", "features.matrix.bands": 64}, "tdnn"),
            **of_members({"features.size": (64, 97), "learner.examples.size": (64, 97)}, "tdnn"),
        },
        "levels relative to the loudest": {
            **of_members({"features.ref": "max"}, "mlp"),
            **of_members({"features.matrix.ref": "max"}, "tdnn"),
        },
        "3 percentiles instead of 7": of_members({"features.percentiles": (10, 50, 90)}, "mlp"),
        "with mixup (TDNN)": of_members({AUGMENT: ({"name": "mixup", "alpha": 0.3},)}, "tdnn"),
        "with noise (TDNN)": of_members({AUGMENT: (NOISE,)}, "tdnn"),
        "with label smoothing": of_members({f"{LOSS}.smoothing": 0.1}, "mlp", "tdnn"),
        "with a cosine schedule": of_members(COSINE, "mlp", "tdnn"),
        "a tenth of the weight decay": of_members({DECAY: 1e-4}, "mlp", "tdnn"),
        "with standardisation per speaker (MLP)": of_members({"features.per_speaker": True}, "mlp"),
    },
}


def main() -> None:
    flags = arguments(__doc__, VARIANTS, seeds="12,13", runs="runs/ablation")
    write_section(flags.out, section(flags.name, VARIANTS[flags.name], flags.seeds, flags.runs))


def section(name: str, variants: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], runs: Path) -> str:
    """Run a config and its variants, `{name: fields by path}`, and return their table in Markdown."""
    full = scored(name, "full", {}, seeds, runs)
    say = Formatter(full.data.measure)
    unit = " (points)" if full.measure.percent else ""
    table = [
        ("variant", f"{full.data.measure} of the validation sets", f"full minus this{unit}", "95 % interval"),
        ("full", say.number(full.value()), "", ""),
    ]
    for variant, fields in variants.items():
        without = scored(name, variant, fields, seeds, runs)
        found = paired.difference(("full", variant), full, without)
        cells = say.signed(found.value), say.interval(found.interval_95, say.signed)
        table.append((variant, say.number(without.value()), *cells))
    note = (
        f"With {corpora_of(seeds)} (`{command('ablation', name, seeds)}`). Each variant is the config with one change;"
        " where `full minus this` is positive, the config is better without that change. The intervals are paired, over"
        f" {full.speakers} speakers, and not corrected for the number of rows."
    )
    return f"{heading(f'Ingredients of {name}', seeds)}\n\n{note}\n\n{comparison_report.markdown(table)}"


def scored(name: str, variant: str, fields: Mapping[str, Any], seeds: Sequence[int], runs: Path) -> ScoredRows:
    """Run a variant with every seed; return the predictions of all validation sets."""
    done = {}
    for seed in seeds:
        workdir = runs / name / re.sub(r"\W+", "_", variant) / f"seed_{seed}"
        share_members(runs / name / "full" / f"seed_{seed}", workdir, fields)
        done[seed] = trained(name, workdir, {**fields, "seed": seed})
    return pooled({seed: its.rows("validation") for seed, its in done.items()})


def share_members(full: Path, workdir: Path, fields: Mapping[str, Any]) -> None:
    """Copy the trained members that a variant has in common with the full config into its folder."""
    for member in full.glob("members/*"):
        copy = workdir / "members" / member.name
        if not copy.exists() and not any(path.startswith(f"members.{member.name}.") for path in fields):
            part = workdir / f"{member.name}.part"  # which an interruption leaves
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(member, part)
            copy.parent.mkdir(parents=True, exist_ok=True)
            part.rename(copy)


if __name__ == "__main__":
    main()
