"""Classes from any corpus: an SVM on openSMILE's functionals, a small CNN, a speech encoder if given, and their mean.

    python launch.py --config=configs/classify.py --config.corpus.root=FOLDER --config.corpus.table=labels.csv

The corpus is a table of files and labels, or a folder per class; docs/your-data.md explains both. Where the table has a
train, a devel and a test split, all members are trained on train; otherwise on five folds, which keep speakers apart
if they are known. Without openSMILE (`pip install 'jaxpara[opensmile]'`) the SVM is left out, and the network on the
layers of a speech encoder unless `--config.members.ssl.features.checkpoint` names one (docs/features.md).
Costs: with 500 recordings of three seconds, about 20 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    # Rare classes count as much as frequent ones, as in the UAR.
    loss = {"name": "cross_entropy", "class_weight": "balanced", "smoothing": 0.0}
    # The mean needs probabilities; the margins of an SVM are none.
    svm = common.functionals_svm(class_weight="balanced", probabilities=True)
    folds = {"name": "devel_or_folds", "n": 5}
    ssl = common.layers_mlp("", folds, class_weight="balanced") | {"optional": True}
    members = {"svm": svm, "cnn": common.small_cnn(loss), "ssl": ssl}
    return common.experiment("classes", recipe, members=members, demo={"members": {"cnn": common.small_cnn_demo()}})
