"""Everything that fits: networks and support vector machines."""

from jaxpara.training.net import Net
from jaxpara.training.svm import SVM

LEARNERS = {"net": Net, "svm": SVM}
