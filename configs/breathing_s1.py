"""Breathing system 1: 1D CNN + two LSTMs on raw speech, trained on train, validated on devel.

    python launch.py --config=configs/breathing_s1.py --config.corpus.root=/data/ComParE2020_Breathing

Reproduces: paper §3.2.1, Table 1, Breathing row 1 (devel 0.545, test 0.660 on the real corpus). `recommended` and
`published` are the network that was most likely submitted (four convolutions, linear output, one correlation over the
whole batch); `paper` has one convolution less than system 2, as in the text.
Costs: without a corpus, under 5 minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import breathing_e2e, common


def get_config(recipe: str = "recommended") -> ConfigDict:
    cnn, demo = breathing_e2e.cnn(recipe), breathing_e2e.demo()
    cnn["folds"] = {"name": "official"}
    cnn["learner"] |= {
        "loss": {"name": "batch_pcc", "eps": 0.0 if recipe == "published" else 1e-8},
        "batch": 40,
        "epochs": 200 if recipe == "published" else 150,
        "validate_every": 3 if recipe == "published" else 1,
    }
    cnn["learner"]["model"] |= {"filters": (64, 128, 128, 256), "output": "linear"}
    if recipe == "paper":
        layers = {"filters": (64, 128, 256), "kernels": (8, 6, 6), "pools": (10, 8, 8), "last_pool": "max"}
        cnn["learner"]["model"] |= layers
    demo["learner"] |= {"epochs": 6}
    return common.experiment("breathing", recipe, members={"cnn": cnn}, demo={"members": {"cnn": demo}})
