"""Numbers per recording from any corpus: an SVR on functionals, a small CNN on log-Mel images, and their mean.

    python launch.py --config=configs/regress.py --config.corpus.root=FOLDER --config.corpus.table=meta.tsv

As configs/classify.py, for real values; for levels on a scale set `--config.corpus.task=ordinal`.
Costs: with 500 recordings of three seconds, about 20 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    members = {"svm": common.functionals_svm(), "cnn": common.small_cnn({"name": "mean_square"})}
    return common.experiment("values", recipe, members=members, demo={"members": {"cnn": common.small_cnn_demo()}})
