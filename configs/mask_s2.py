"""Mask system 2: ResNet18v2 (one dense layer) over four folds, the better of Adam and SGD in each.

    python launch.py --config=configs/mask_s2.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: paper §3.1.2, Table 1, Mask row 2 (CV 79.13 % by text and scripts, 79.86 % by the table; test 75.10 %).
`published` trains with Adam on folds 0 and 1 and with SGD on folds 2 and 3, as the authors chose.
Costs: without a corpus, under 10 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    published = recipe == "published"
    return common.experiment(
        "mask",
        recipe,
        members={
            "adam": common.mask_net(recipe, optimizer="adam", only=(0, 1) if published else ()),
            "sgd": common.mask_net(recipe, optimizer="sgd", only=(2, 3) if published else ()),
        },
        fusion={"name": "mean" if published else "best"},
        demo={"members": {"adam": common.mask_demo("adam", epochs=4), "sgd": common.mask_demo("sgd", epochs=4)}},
    )
