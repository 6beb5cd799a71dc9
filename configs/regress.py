"""Numbers per recording from any corpus: an SVR and small networks on functionals, and their mean.

    python launch.py --config=configs/regress.py --config.corpus.root=FOLDER --config.corpus.table=meta.tsv

As configs/classify.py, for real values; for levels on a scale set `--config.corpus.task=ordinal`.
Costs: with 500 recordings of three seconds, about 5 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    members = common.functionals_members(common.functionals_svm(), {"name": "mean_square"})
    return common.experiment("values", recipe, members=members, demo={})
