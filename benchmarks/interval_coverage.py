"""Simulates how often a nominal 95 % interval contains the value of the population.

    python -m benchmarks.interval_coverage

Each data set has new speakers, who differ in how much they speak and in how well they are predicted. Three intervals
are computed: the jackknife and the bootstrap over speakers, and the bootstrap over samples, which treats all samples as
independent. They should contain the measure over so many speakers that it is practically exact.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxpara.evaluation import intervals
from jaxpara.evaluation.intervals import SumMeasure, Units
from jaxpara.evaluation.metrics import Undefined

SPEAKERS = (3, 5, 8, 16, 32)
METHODS = ("jackknife", "bootstrap", "over samples")
# Labels in a block: a sample of a sequence is a block of 10 s, as in the evaluation.
BLOCK = 10

Draw = Callable[[int, np.random.Generator], tuple[Units, Units]]


@dataclass(frozen=True)
class Case:
    """A population of speakers; `draw(speakers, rng)` returns the sums of speakers and of samples."""

    name: str
    measure: SumMeasure
    draw: Draw


def sequences(spread: float) -> Draw:
    """Draw 4 to 16 blocks per speaker; `spread` is the standard deviation of a speaker's gain, whose mean is 0.8.

    Each speaker also has an amplitude of the belt and an offset of the predictions.
    """

    def draw(speakers: int, rng: np.random.Generator) -> tuple[Units, Units]:
        speaker_of = np.repeat(np.arange(speakers), rng.integers(4, 17, speakers))
        gain, amplitude, offset = (
            rng.normal(mean, deviation, speakers)[speaker_of, None]
            for mean, deviation in ((0.8, spread), (1, 0.2), (0, spread))
        )
        shape = (len(speaker_of), BLOCK)
        truth = amplitude * rng.standard_normal(shape)
        prediction = gain * truth + offset + rng.standard_normal(shape)
        blocks = np.repeat(np.arange(len(speaker_of)), BLOCK)
        rows = truth.ravel(), prediction.ravel()
        return intervals.moments(*rows, np.repeat(speaker_of, BLOCK)), intervals.moments(*rows, blocks)

    return draw


def classes(spread: float) -> Draw:
    """Draw 20 to 160 clips per speaker of two classes; `spread` is the standard deviation of the recalls' logits.

    A speaker's skill moves both recalls together, and the speaker's bias moves them in opposite directions.
    """

    def draw(speakers: int, rng: np.random.Generator) -> tuple[Units, Units]:
        clips = rng.integers(20, 161, speakers)
        positive = rng.binomial(clips, rng.beta(10, 10, speakers))
        skill, bias = rng.normal(0.8, spread, speakers), rng.normal(0, spread, speakers)
        sums = []
        for rows, logit in ((clips - positive, skill - bias), (positive, skill + bias)):
            right = rng.binomial(rows, 1 / (1 + np.exp(-logit)))
            sums += [right, rows - right]
        counts = np.stack([sums[0], sums[1], sums[3], sums[2]], 1).astype(np.float64)
        return Units(counts, np.ones(speakers, int)), intervals.single_rows(counts.sum(0))

    return draw


CASES = (
    Case("PCC, similar speakers", intervals.PCC, sequences(0.2)),
    Case("PCC, different speakers", intervals.PCC, sequences(0.5)),
    Case("UAR, similar speakers", intervals.UAR, classes(0.3)),
    Case("UAR, different speakers", intervals.UAR, classes(0.9)),
)


def of_population(case: Case, speakers: int, parts: int = 20) -> float:
    """Return the measure over this many speakers, as the mean over parts that fit into memory."""
    drawn = (case.draw(speakers // parts, np.random.default_rng([1, part]))[0].sums.sum(0) for part in range(parts))
    return float(np.mean([case.measure.of_sums(sums) for sums in drawn]))


def simulate(case: Case, speakers: int, datasets: int, resamples: int, truth: float) -> list[tuple[float, float]]:
    """Return, for each method, the fraction of data sets whose interval contains the truth, and the mean width.

    A data set without an interval counts as one that does not contain it, and has no width.
    """
    rng = np.random.default_rng([2, speakers])
    covered, widths = np.zeros((len(METHODS), datasets), bool), np.full((len(METHODS), datasets), np.nan)
    for index in range(datasets):
        over_speakers, over_samples = case.draw(speakers, rng)
        seeded = {"seed": index, "resamples": resamples}
        ways = (
            (intervals.jackknife_interval, over_speakers, {}),
            (intervals.bootstrap_interval, over_speakers, seeded),
            (intervals.bootstrap_interval, over_samples, seeded),
        )
        for method, (compute, units, options) in enumerate(ways):
            try:
                low, high = compute(units, case.measure, **options)
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
    flags = parser.parse_args()
    heads = "".join(f"{method:>22}" for method in METHODS)
    print(f"{'case':26}{'truth':>7}{'speakers':>10}{heads}\n{'':43}{'covers  mean width'.rjust(22) * len(METHODS)}")
    for case in CASES:
        truth = of_population(case, flags.population)
        for speakers in SPEAKERS:
            found = simulate(case, speakers, flags.datasets, flags.resamples, truth)
            cells = "".join(f"{fraction:>10.1%}{width:>12.3f}" for fraction, width in found)
            print(f"{case.name:26}{truth:7.3f}{speakers:10}{cells}", flush=True)


if __name__ == "__main__":
    main()
