"""Mask system 3: ResNet18v2 on three folds, a support vector machine on bags of audio words on the fourth.

    python launch.py --config=configs/mask_s3.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: paper §3.1.2, Table 1, Mask row 3 (CV 78.55 %, test 74.90 % UAR on the real corpus). `paper` has two
networks and two SVMs, as its text says; probabilities are averaged. The bags come from the organisers' file
BoAW-2000 if the corpus has it, otherwise from the audio (needs `pip install -e '.[opensmile]'`).
Costs: without a corpus, under 10 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    nets, svms = ((0, 1), (2, 3)) if recipe == "paper" else ((0, 1, 2), (3,))
    return common.experiment(
        "mask",
        recipe,
        members={
            "net": common.mask_net(recipe, optimizer="sgd", only=nets),
            "svm": {
                "features": common.bags_of_words(2000),
                "folds": common.mask_folds(recipe, n=4, only=svms),
                "learner": {
                    "name": "svm",
                    "kernel": "rbf",
                    "c": (1.0,),
                    "gamma": "scale",
                    "scale": "minmax",
                    "probabilities": True,
                },
            },
        },
        fusion={"name": "mean"},
        demo={"members": {"net": common.mask_demo("sgd", epochs=4)}},
    )
