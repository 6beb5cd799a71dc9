"""NumPy, with a pass over the rows for every candidate or resample."""

import numpy as np

from benchmarks.peers.side import Side


def dirichlet(truth: np.ndarray, scores: np.ndarray, draws: int, *, at_once: bool) -> Side:
    """The best of random mixes of `[member, row]`.

    Args:
      at_once: all mixes as one matrix product, a hundred draws at a time, and not one by one.
    """

    def run() -> np.ndarray:
        candidates = np.random.default_rng(0).dirichlet(np.ones(len(scores)), draws)
        if not at_once:
            return candidates[np.argmax([np.corrcoef(truth, mix @ scores)[0, 1] for mix in candidates])]
        centred = truth - truth.mean()
        values = []
        for part in np.array_split(candidates, max(1, draws // 100)):
            mixes = part @ scores
            mixes -= mixes.mean(1, keepdims=True)
            values.append(mixes @ centred / np.linalg.norm(mixes, axis=1))
        return candidates[np.argmax(np.concatenate(values))]

    return Side(run, lambda: {"outputs": run()})


def bootstrap(truth: np.ndarray, scores: np.ndarray, speakers: int, resamples: int) -> Side:
    """Pearson's r `[resample]` of the rows of speakers drawn with replacement; all have equally many rows."""

    def run() -> np.ndarray:
        counts = np.random.default_rng(0).multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
        x, y = truth.reshape(speakers, -1), scores.reshape(speakers, -1)
        drawn = [np.repeat(np.arange(speakers), count) for count in counts]
        return np.array([np.corrcoef(x[who].ravel(), y[who].ravel())[0, 1] for who in drawn])

    return Side(run, lambda: {"outputs": run()})
