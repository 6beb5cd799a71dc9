"""How often a nominal 95 % interval holds the value of the population, by simulation.

    python -m benchmarks.interval_coverage

Each data set draws new speakers, who differ in how much they said and in how well they are predicted. Three
intervals are made of it: the jackknife and the bootstrap over speakers, and the bootstrap over samples, which
takes everybody's samples for one person's. What they ought to hold is the measure of all rows of so many speakers
that another draw would not move it.
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
# Labels of a block; the sample of a sequence is a block of 10 s, as in `jaxpara.evaluation.rows`.
BLOCK = 10

Draw = Callable[[int, np.random.Generator], tuple[Units, Units]]


@dataclass(frozen=True)
class Case:
    """A population of speakers; `draw(speakers, rng)` gives the sums of speakers and of samples."""

    name: str
    measure: SumMeasure
    draw: Draw


def sequences(spread: float) -> Draw:
    """4 to 16 blocks a speaker; `spread` is the standard deviation of a speaker's gain, whose mean is 0.8.

    Belts have amplitudes of their own, and predictions an offset for each speaker.
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
    """20 to 160 clips a speaker of two classes; `spread` is the standard deviation of the recalls' logits.

    A speaker's skill moves both recalls together, and his leaning moves them against each other.
    """

    def draw(speakers: int, rng: np.random.Generator) -> tuple[Units, Units]:
        clips = rng.integers(20, 161, speakers)
        positive = rng.binomial(clips, rng.beta(10, 10, speakers))
        skill, leaning = rng.normal(0.8, spread, speakers), rng.normal(0, spread, speakers)
        sums = []
        for rows, logit in ((clips - positive, skill - leaning), (positive, skill + leaning)):
            right = rng.binomial(rows, 1 / (1 + np.exp(-logit)))
            sums += [right, rows - right]
        counts = np.stack([sums[0], sums[1], sums[3], sums[2]], 1).astype(np.float64)
        return Units(counts, np.ones(speakers, int)), intervals.single_rows(counts.sum(0))

    return draw


CASES = (
    Case("PCC, speakers much alike", intervals.PCC, sequences(0.2)),
    Case("PCC, speakers who differ", intervals.PCC, sequences(0.5)),
    Case("UAR, speakers much alike", intervals.UAR, classes(0.3)),
    Case("UAR, speakers who differ", intervals.UAR, classes(0.9)),
)


def of_population(case: Case, speakers: int, parts: int = 20) -> float:
    """The measure of all rows of so many speakers, as the mean over parts of them, which fit in memory."""
    drawn = (case.draw(speakers // parts, np.random.default_rng([1, part]))[0].sums.sum(0) for part in range(parts))
    return float(np.mean([case.measure.of_sums(sums) for sums in drawn]))


def simulate(case: Case, speakers: int, datasets: int, resamples: int, truth: float) -> list[tuple[float, float]]:
    """Of each method the share of data sets whose interval holds the truth, and the mean width.

    A data set without an interval counts as one that does not hold it, and has no width.
    """
    rng = np.random.default_rng([2, speakers])
    held, widths = np.zeros((len(METHODS), datasets), bool), np.full((len(METHODS), datasets), np.nan)
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
            held[method, index] = low <= truth <= high
            widths[method, index] = high - low
    return list(zip(held.mean(1).tolist(), np.nanmean(widths, 1).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--population", type=int, default=400_000, help="speakers behind the true value")
    flags = parser.parse_args()
    heads = "".join(f"{method:>22}" for method in METHODS)
    print(f"{'case':26}{'truth':>7}{'speakers':>10}{heads}\n{'':43}{'covers  mean width'.rjust(22) * len(METHODS)}")
    for case in CASES:
        truth = of_population(case, flags.population)
        for speakers in SPEAKERS:
            found = simulate(case, speakers, flags.datasets, flags.resamples, truth)
            cells = "".join(f"{share:>10.1%}{width:>12.3f}" for share, width in found)
            print(f"{case.name:26}{truth:7.3f}{speakers:10}{cells}", flush=True)


if __name__ == "__main__":
    main()
