"""Simulates how often a nominal 95 % interval contains the value of the population.

    python -m benchmarks.interval_coverage
    python -m benchmarks.interval_coverage --measures=AUC,Spearman --datasets=300 --resamples=200 --population=40000

Each data set has new speakers, who differ in how much they speak and in how well they are predicted. Three intervals
are computed: the jackknife and the bootstrap over speakers, and the bootstrap over samples, which treats all samples as
independent. They should contain the measure over so many speakers that it is practically exact.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxpara.evaluation import intervals
from jaxpara.evaluation.measures import MEASURE, Measure
from jaxpara.evaluation.metrics import Undefined

SPEAKERS = (3, 5, 8, 16, 32)
METHODS = ("jackknife", "bootstrap", "over samples")
# Labels in a block: a sample of a sequence is a block of 10 s, as in the evaluation.
BLOCK = 10

# Truth `[row]`, scores `[row, score]`, and the speaker and the sample of each row.
Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]
Draw = Callable[[int, np.random.Generator], Rows]


@dataclass(frozen=True)
class Case:
    """A population of speakers, from which `draw(speakers, rng)` draws the rows of some."""

    name: str
    measure: Measure
    draw: Draw


def sequences(spread: float) -> Draw:
    """Draw 4 to 16 blocks per speaker; `spread` is the standard deviation of a speaker's gain, whose mean is 0.8.

    Each speaker also has an amplitude of the belt and an offset of the predictions.
    """

    def draw(speakers: int, rng: np.random.Generator) -> Rows:
        speaker_of = np.repeat(np.arange(speakers), rng.integers(4, 17, speakers))
        gain, amplitude, offset = (
            rng.normal(mean, deviation, speakers)[speaker_of, None]
            for mean, deviation in ((0.8, spread), (1, 0.2), (0, spread))
        )
        shape = (len(speaker_of), BLOCK)
        truth = amplitude * rng.standard_normal(shape)
        prediction = gain * truth + offset + rng.standard_normal(shape)
        blocks = np.repeat(np.arange(len(speaker_of)), BLOCK)
        return truth.ravel(), prediction.reshape(-1, 1), np.repeat(speaker_of, BLOCK), blocks

    return draw


def classes(spread: float) -> Draw:
    """Draw 20 to 160 clips per speaker of two classes; `spread` is the standard deviation of the recalls' logits.

    A speaker's skill moves both recalls together, and the speaker's bias moves them in opposite directions.
    """

    def draw(speakers: int, rng: np.random.Generator) -> Rows:
        speaker_of = np.repeat(np.arange(speakers), rng.integers(20, 161, speakers))
        truth = (rng.random(len(speaker_of)) < rng.beta(10, 10, speakers)[speaker_of]).astype(float)
        skill, bias = (rng.normal(mean, spread, speakers)[speaker_of] for mean in (0.8, 0))
        margins = (2 * truth - 1) * skill + bias + rng.logistic(size=len(truth))
        return truth, np.stack([-margins, margins], 1), speaker_of, None

    return draw


SIMILAR, DIFFERENT = "similar speakers", "different speakers"
DRAWS = {
    "sequence": {SIMILAR: sequences(0.2), DIFFERENT: sequences(0.5)},
    "classes": {SIMILAR: classes(0.3), DIFFERENT: classes(0.9)},
}
CASES = [
    Case(f"{name}, {speakers}", MEASURE[name], draw)
    for kind, names in {
        "classes": ("UAR", "F1", "accuracy", "AUC"),
        "sequence": ("PCC", "CCC", "RMSE", "Spearman"),
    }.items()
    for name in names
    for speakers, draw in DRAWS[kind].items()
]


def of_population(case: Case, speakers: int, parts: int = 20) -> float:
    """Return the measure over this many speakers, as the mean over parts that fit into memory."""
    drawn = (case.draw(speakers // parts, np.random.default_rng([1, part])) for part in range(parts))
    return float(np.mean([case.measure.value(truth, scores) for truth, scores, _, _ in drawn]))


def simulate(case: Case, speakers: int, datasets: int, resamples: int, truth: float) -> list[tuple[float, float]]:
    """Return, for each method, the fraction of data sets whose interval contains the truth, and the mean width.

    A data set without an interval counts as one that does not contain it, and has no width.
    """
    rng = np.random.default_rng([2, speakers])
    covered, widths = np.zeros((len(METHODS), datasets), bool), np.full((len(METHODS), datasets), np.nan)
    for index in range(datasets):
        truths, scores, *numbers = case.draw(speakers, rng)
        over_speakers, over_samples = (case.measure.units(truths, [scores], unit) for unit in numbers)
        seeded = {"seed": index, "resamples": resamples}
        ways = (
            (intervals.jackknife_interval, over_speakers, {"line": case.measure.line}),
            (intervals.bootstrap_interval, over_speakers, seeded),
            (intervals.bootstrap_interval, over_samples, seeded),
        )
        for method, (compute, units, options) in enumerate(ways):
            try:
                low, high = compute(units, **options)
            except Undefined:
                continue
            covered[method, index] = low <= truth <= high
            widths[method, index] = high - low
    return list(zip(covered.mean(1).tolist(), np.nanmean(widths, 1).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--population", type=int, default=400_000, help="speakers for the true value")
    parser.add_argument("--measures", default=",".join(MEASURE), help="some of these, with commas between them")
    flags = parser.parse_args()
    heads = "".join(f"{method:>22}" for method in METHODS)
    print(f"{'case':28}{'truth':>7}{'speakers':>10}{heads}\n{'':45}{'covers  mean width'.rjust(22) * len(METHODS)}")
    for case in [case for case in CASES if case.measure.name in flags.measures.split(",")]:
        truth = of_population(case, flags.population)
        for speakers in SPEAKERS:
            found = simulate(case, speakers, flags.datasets, flags.resamples, truth)
            cells = "".join(f"{fraction:>10.1%}{width:>12.3f}" for fraction, width in found)
            print(f"{case.name:28}{truth:7.3f}{speakers:10}{cells}", flush=True)


if __name__ == "__main__":
    main()
