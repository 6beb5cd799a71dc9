"""Everything that fits: networks and support vector machines."""

from jaxpara.learning.net import Net
from jaxpara.learning.svm import SVM

LEARNERS = {"net": Net, "svm": SVM}
