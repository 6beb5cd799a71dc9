"""Measures time and memory of an SVM with an RBF kernel on as many vectors as a fold of the Mask corpus has.

    python -m benchmarks.svm

The data are 20 000 random bags of 4000 words that depend a little on the class.
"""

import argparse
import time

import numpy as np

from benchmarks.computer import peak_gib
from jaxpara.corpora.tasks import TASKS
from jaxpara.training.svm import SVM


def bags(rows: int, words: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return bags `[row, word]`, float32, and classes `[row]`."""
    targets = random.integers(0, 2, rows)
    rates = random.gamma(0.5, 1.0, (2, words)) * 0.02 + random.gamma(0.5, 1.0, words)
    return np.log10(1 + random.poisson(rates[targets])).astype(np.float32), targets.astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="of the training set; a tenth more are predicted")
    parser.add_argument("--words", type=int, default=4000)
    flags = parser.parse_args()
    inputs, targets = bags(flags.rows + flags.rows // 10, flags.words, np.random.default_rng(0))
    learner = SVM(task=TASKS["mask"], frame_rate_hz=0.0, where="svm", c=(1.0,), kernel="rbf")
    began = time.monotonic()
    ((svm, _),) = learner.fit(inputs[: flags.rows], targets[: flags.rows], learner.c, 0)
    trained = time.monotonic()
    predicted = learner.outputs(svm, inputs[flags.rows :]).argmax(1)
    done = time.monotonic()
    accuracy = (predicted == targets[flags.rows :]).mean()
    print(
        f"training {trained - began:.1f} s, prediction {done - trained:.1f} s, accuracy {accuracy:.1%},"
        f" peak {peak_gib():.2f} GiB"
    )


if __name__ == "__main__":
    main()
