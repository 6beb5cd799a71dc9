"""Time and memory of support vector machines on as many vectors as a fold of the real Mask corpus has.

    python -m benchmarks.svm

20 000 bags of 4000 words made up at random, with a little of the class in them: the RBF kernel.
"""

import argparse
import time
from typing import Any

import numpy as np

from benchmarks import child

KERNELS = ("rbf",)


def bags(rows: int, words: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`[row, word]` float32 and `[row]` classes."""
    targets = random.integers(0, 2, rows)
    rates = random.gamma(0.5, 1.0, (2, words)) * 0.02 + random.gamma(0.5, 1.0, words)
    return np.log10(1 + random.poisson(rates[targets])).astype(np.float32), targets.astype(float)


def measure(kernel: Any, rows: int, words: int) -> dict[str, float]:
    """Seconds of fitting and of predicting a tenth as many, the share told rightly, and the peak memory."""
    from jaxpara.training.svm_pipelines import SVMPipelines

    random = np.random.default_rng(0)
    inputs, targets = bags(rows + rows // 10, words, random)
    machines = SVMPipelines(
        regression=False, kernel=kernel, gamma="scale", scale="minmax", probabilities=False,
        max_iter=-1 if kernel == "rbf" else 100_000,
    )  # fmt: skip
    began = time.monotonic()
    machine, _ = machines.fitting(inputs[:rows], targets[:rows], 0)(1.0)
    fitted = time.monotonic()
    told = machines.outputs(machine, inputs[rows:]).argmax(1)
    return {
        "fit_s": fitted - began,
        "predict_s": time.monotonic() - fitted,
        "right": float((told == targets[rows:]).mean()),
        "gib": child.peak_gib(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=4000)
    parser.add_argument("--kernel", choices=KERNELS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.kernel:
        child.answer(measure(flags.kernel, flags.rows, flags.words))
        return
    print(f"{'kernel':10} {'fit, s':>8} {'predict, s':>11} {'right':>7} {'peak GiB':>9}")
    for kernel in KERNELS:
        found = child.measured("svm", "--kernel", kernel, "--rows", flags.rows, "--words", flags.words)
        print(
            f"{kernel:10} {found['fit_s']:8.1f} {found['predict_s']:11.1f} {found['right']:7.1%} {found['gib']:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
