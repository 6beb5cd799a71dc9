"""Mask from a self-supervised speech encoder: its weights stay as they are, those of its layers and a small head learn.

    python launch.py --config=configs/mask_ssl.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: no row of the paper, which is older; the three recipes are the same but for their folds. Every layer is
stored as its mean and standard deviation over the recording; the head learns the weights of the layers, as in SUPERB.
The encoder is downloaded on first use; `--config.members.ssl.features.checkpoint` is another name on the Hugging Face
Hub, or a folder.
Costs: without a corpus, under 3 minutes on 2 CPU cores, with a tiny encoder of random weights, which recognises little.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "recommended") -> ConfigDict:
    ssl = common.layers_mlp(common.WAVLM, common.mask_folds(recipe, n=4), common.cross_entropy())
    demo = {"features": {"checkpoint": "tiny"}, "learner": {"epochs": 20}}
    return common.experiment("mask", recipe, members={"ssl": ssl}, demo={"members": {"ssl": demo}})
