"""Measures how much of the belt of the simulated Breathing corpus follows from the times of the breaths alone.

    python -m benchmarks.breath_times --seeds=12,13,14

Prints the PCC on the test speakers between the labels and the belts of the same breaths, all equally deep, of an
ordinary piezo belt that does not drift. A system that hears how deep a breath is can be better, and one that misses
breaths is worse.
"""

import argparse
from typing import Any

import numpy as np

from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.simulated import breathing
from jaxpara.corpora.simulated.writing import generator


class Ordinary:
    """In place of a random generator: noise is 0, and the other numbers are in the middle of their ranges."""

    def standard_normal(self, size: Any = ()) -> np.ndarray:
        return np.zeros(size)

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def random(self) -> float:
        return 0.0  # a piezo belt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="12,13,14", help="with commas between them")
    seeds = parser.parse_args().seeds.split(",")
    for preset in breathing.PRESETS:
        found = [f"{pcc_of_times(preset, int(seed)):.3f}" for seed in seeds]
        print(f"{preset}, seeds {', '.join(seeds)}: {', '.join(found)}")


def pcc_of_times(preset: str, seed: int) -> float:
    """Return the PCC on the test speakers of the corpus with this seed."""
    ordinary: Any = Ordinary()
    counts, seconds = breathing.PRESETS[preset]["speakers"], breathing.PRESETS[preset]["seconds"]
    labels, known = [], []
    for speaker in breathing.plan_corpus({}, counts, seconds, seed):
        if speaker.key[0] == PARTITIONS.index("test"):
            drawn = breathing.draw(seconds, generator(speaker, seed))
            breaths = [breath._replace(peak=1.0) for breath in drawn.breaths]
            labels.append(drawn.labels)
            known.append(breathing.belt(breaths, breathing.Breather(ordinary), seconds, ordinary))
    return float(np.corrcoef(np.concatenate(labels), np.concatenate(known))[0, 1])


if __name__ == "__main__":
    main()
