"""Classes from any corpus: an SVM and a small network on openSMILE's functionals, one on log-Mel bands, and their mean.

    python launch.py --config=configs/classify.py --config.corpus.root=FOLDER --config.corpus.table=labels.csv

The corpus is a table of files and labels, or a folder per class; docs/your-data.md explains both. Where the table has a
train, a devel and a test split, all members are trained on train; otherwise on five folds, which keep speakers apart
if they are known. Without openSMILE (`pip install -e '.[opensmile]'`) only the network on log-Mel bands remains. A
network on the layers of a speech encoder joins them if `--config.members.ssl.features.checkpoint` names one
(docs/features.md).
Costs: with 500 recordings of three seconds, about 5 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    loss = common.cross_entropy("balanced")
    # The mean needs probabilities; the margins of an SVM are none.
    svm = common.functionals_svm(class_weight="balanced", probabilities=True)
    members = common.functionals_members(svm, loss)
    members["ssl"] = common.layers_mlp("", svm["folds"], loss) | {"optional": True}
    return common.experiment("classes", recipe, members=members, demo={})
