"""Mask system 4: ResNet18v2 over ten folds, the better of Adam and SGD in each.

    python launch.py --config=configs/mask_s4.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: paper §3.1.2, Table 1, Mask row 4 (CV 82.17 %, test 75.30 % UAR on the real corpus).
`published` trains with Adam on folds 0-4 and 6 and with SGD on the others, as the authors chose.
Costs: without a corpus, under 15 minutes on 2 CPU cores; system 5 reuses its 20 networks in the same workdir.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    published = recipe == "published"
    return common.experiment(
        "mask",
        recipe,
        members={
            "adam": common.mask_net(recipe, optimizer="adam", n=10, only=(0, 1, 2, 3, 4, 6) if published else ()),
            "sgd": common.mask_net(recipe, optimizer="sgd", n=10, only=(5, 7, 8, 9) if published else ()),
        },
        fusion={"name": "mean" if published else "best"},
        demo={"members": {"adam": common.mask_demo("adam", epochs=2), "sgd": common.mask_demo("sgd", epochs=2)}},
    )
