"""A sequence of numbers from any corpus: Breathing 2's network on raw speech, an SVR on openSMILE's functionals of
each second, and their mean.

    python launch.py --config=configs/sequence.py --config.corpus.root=FOLDER --config.corpus.table=belt.csv

The table has a row per file and time; docs/your-data.md explains it. Where it has a train, a devel and a test split,
both members are trained on train; otherwise on five folds, which keep speakers apart if they are known. Without
openSMILE (`pip install -e '.[opensmile]'`) the SVR is left out.
Costs: with two hours of audio, about two hours a fold on 2 CPU cores; use a GPU, or `--config.sizes=demo` first.
"""

from ml_collections import ConfigDict

from configs import breathing_e2e, common


def get_config(recipe: str = "recommended") -> ConfigDict:
    folds = {"name": "devel_or_folds", "n": 5}
    network = breathing_e2e.cnn(recipe) | {"folds": folds}
    svm = common.functionals_svm(window_s=1.0)
    return common.experiment(
        "sequence", recipe, members={"cnn": network, "svm": svm}, demo={"members": {"cnn": breathing_e2e.demo()}}
    )
