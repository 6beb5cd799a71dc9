"""Mask system 1: four ResNet18v1 (three dense layers) on 64-band log-Mel images, Adam, one common epoch.

    python launch.py --config=configs/mask_s1.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: paper §3.1.2, Table 1, Mask row 1 (CV 77.23 %, test 74.00 % UAR on the real corpus).
Costs: without a corpus, about 2 minutes on 2 CPU cores. With one, the checkpoints of all epochs are kept until the
common epoch is chosen, 140 MB each.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    net = common.mask_net(recipe, optimizer="adam", head="v1", common_epoch=True)
    demo = common.mask_demo("adam", epochs=6, common_epoch=True)
    # With the dropout of 0.6 the three layers learn nothing in so few steps.
    demo["learner"]["model"] = {"head_dropout": 0.2}
    return common.experiment("mask", recipe, members={"adam": net}, demo={"members": {"adam": demo}})
