"""Training: the learners (networks and support vector machines), and the members that they belong to."""

from jaxpara.training.net import Net
from jaxpara.training.svm import SVM

LEARNERS = {"net": Net, "svm": SVM}
