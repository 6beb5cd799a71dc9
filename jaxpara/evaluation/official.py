"""The official measure of a task: what training selects by, fusions search by and tables are sorted by."""

import numpy as np

from jaxpara.corpora.corpus import Task
from jaxpara.evaluation import metrics


def official(task: Task, truth: np.ndarray, scores: np.ndarray) -> float:
    """PCC of a sequence task, UAR of a class task.

    Args:
      truth: `[row]` belt positions or class indices, all known.
      scores: `[row, 1]` belt positions or `[row, class]` probabilities; of equal probabilities the first class counts.

    Raises:
      Undefined: the measure has no value here.
    """
    if task.measure == "PCC":
        return metrics.pcc(truth, scores[:, 0])
    return metrics.uar(metrics.confusion(truth.astype(int), scores.argmax(1), len(task.classes)))
