"""Measures time and memory of SVMs on as many vectors as a fold of the real Mask corpus has.

    python -m benchmarks.svm

The data are 20 000 random bags of 4000 words that depend a little on the class; the kernel is RBF.
"""

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.machine import answer, measured, peak_gib

KERNELS = ("rbf",)


def bags(rows: int, words: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return bags `[row, word]`, float32, and classes `[row]`."""
    targets = random.integers(0, 2, rows)
    rates = random.gamma(0.5, 1.0, (2, words)) * 0.02 + random.gamma(0.5, 1.0, words)
    return np.log10(1 + random.poisson(rates[targets])).astype(np.float32), targets.astype(float)


def measure(kernel: Any, rows: int, words: int) -> dict[str, float]:
    """Return seconds of training and of predicting a tenth as many, the accuracy, and the peak memory."""
    from jaxpara.training.svm_pipelines import SVMPipelines

    random = np.random.default_rng(0)
    inputs, targets = bags(rows + rows // 10, words, random)
    pipelines = SVMPipelines(
        regression=False, kernel=kernel, gamma="scale", scale="minmax", probabilities=False,
        max_iter=-1 if kernel == "rbf" else 100_000,
    )  # fmt: skip
    began = time.monotonic()
    svm, _ = pipelines.fitting(inputs[:rows], targets[:rows], 0)(1.0)
    fitted = time.monotonic()
    predicted = pipelines.outputs(svm, inputs[rows:]).argmax(1)
    return {
        "train_s": fitted - began,
        "predict_s": time.monotonic() - fitted,
        "accuracy": float((predicted == targets[rows:]).mean()),
        "gib": peak_gib(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=4000)
    parser.add_argument("--kernel", choices=KERNELS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.kernel:
        answer(measure(flags.kernel, flags.rows, flags.words))
        return
    print(f"{'kernel':10} {'train, s':>8} {'predict, s':>11} {'accuracy':>9} {'peak GiB':>9}")
    for kernel in KERNELS:
        found = measured("svm", "--kernel", kernel, "--rows", flags.rows, "--words", flags.words)
        print(
            f"{kernel:10} {found['train_s']:8.1f} {found['predict_s']:11.1f} {found['accuracy']:9.1%}"
            f" {found['gib']:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
