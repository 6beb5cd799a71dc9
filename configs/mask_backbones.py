"""Mask: AlexNet, four ResNets and VGG16, on images of log-Mel spectrograms and of MFCCs; the best on devel is selected.

    python launch.py --config=configs/mask_backbones.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: the comparison of paper §3.1.2, for which no figures were published. Head v2 on each, Adam, trained
on train and validated on devel.
Costs: without a corpus, under 10 minutes on 2 CPU cores for the 12 networks.
"""

from ml_collections import ConfigDict

from configs import common

# In the demo: learning rate, epochs and image size. Networks without BatchNorm need a small learning rate.
SIZES = {
    "alexnet": (1e-4, 2, (64, 64)),
    "resnet18": (1e-3, 4, (64, 32)),
    "resnet34": (1e-3, 2, (64, 32)),
    "resnet50": (1e-3, 1, (64, 32)),
    "resnet101": (1e-3, 1, (64, 32)),
    "vgg16": (1e-4, 1, (64, 32)),
}


def get_config(recipe: str = "recommended") -> ConfigDict:
    images = {"log_mel": common.log_mel_image(), "mfcc": common.mfcc_image()}
    members, demo = {}, {}
    for name, (lr, epochs, size) in SIZES.items():
        for kind, image in images.items():
            net = common.mask_net(recipe, optimizer="adam", arch=name, features=image)
            net["folds"] = {"name": "official"}
            members[f"{name}_{kind}"] = net
            demo[f"{name}_{kind}"] = common.mask_demo("adam", epochs=epochs, size=size, lr=lr)
    return common.experiment("mask", recipe, members=members, fusion={"name": "select"}, demo={"members": demo})
