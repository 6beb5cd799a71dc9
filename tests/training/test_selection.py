import numpy as np
import pytest

from jaxpara.training.losses import BatchPCC, WindowPCC
from jaxpara.training.selection import best_epochs, mean_loss


def epochs(*pairs):
    return [{"epoch": i, "step": 10 * i, "score": score, "loss": loss} for i, (score, loss) in enumerate(pairs)]


FOLDS = [epochs((0.1, 3.0), (0.5, 2.0), (0.5, 1.0)), epochs((None, 0.5), (0.2, 0.7), (0.4, 0.6))]


@pytest.mark.parametrize(
    ("best_by", "common", "chosen"),
    [("score", False, [1, 2]), ("loss", False, [2, 0]), ("score", True, [2, 2]), ("loss", True, [2, 2])],
)
def test_the_best_epoch_of_each_fold_or_of_all(best_by, common, chosen):
    assert [epoch["epoch"] for epoch in best_epochs(FOLDS, best_by, common=common)] == chosen


class Made:
    """Two windows whose labels vary."""

    def __len__(self):
        return 2

    def labels(self, index):
        return np.sin(np.arange(20.0) + index), np.ones(20)


@pytest.mark.parametrize("loss", [WindowPCC(eps=0.0), BatchPCC(eps=0.0)])
def test_a_constant_output_is_worth_as_little_as_no_correlation(loss):
    outputs = np.zeros((2, 20))
    assert mean_loss(loss, outputs, Made()) == 1
    outputs[1] = Made().labels(1)[0]
    assert 0 < mean_loss(loss, outputs, Made()) < 1
