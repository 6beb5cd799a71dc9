"""Mask system 5: ResNet18v2 with Adam and with SGD over ten folds, fused in each fold by the best of 41 weights.

    python launch.py --config=configs/mask_s5.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: paper §3.1.2, Table 1, Mask row 5 (CV 84.32 % pooled, test 75.90 % UAR on the real corpus). The weights are
chosen on the recordings that they are scored on; the report also gives the cross-fitted score.
Costs: without a corpus, under 15 minutes on 2 CPU cores; nothing to train if system 4 ran in the same workdir.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    return common.experiment(
        "mask",
        recipe,
        members={
            "adam": common.mask_net(recipe, optimizer="adam", n=10),
            "sgd": common.mask_net(recipe, optimizer="sgd", n=10),
        },
        fusion={"name": "grid", "points": 41},
        demo={"members": {"adam": common.mask_demo("adam", epochs=2), "sgd": common.mask_demo("sgd", epochs=2)}},
    )
