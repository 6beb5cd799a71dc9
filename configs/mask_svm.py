"""Mask: support vector machines on the challenge's baseline features; the best on devel is taken.

    python launch.py --config=configs/mask_svm.py --config.corpus.root=/data/ComParE2020_Mask

Reproduces: the comparison of paper §3.1.1, for which no figures were published: fitted on train, C chosen on devel,
test predicted by a machine fitted on both. Features come from the organisers' files where the corpus has them in
`features/`, else from the audio (needs `pip install 'jaxpara[opensmile]'`). DeepSpectrum and auDeep are not in yet.
Costs: without a corpus, under 10 minutes on 2 CPU cores, most of it openSMILE.
"""

from ml_collections import ConfigDict

from configs import common

WORDS = (125, 250, 500, 1000, 2000)
# Decades, as in the organisers' scripts; those of the authors for the machine that is not linear.
C = {"linear": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), "rbf": (0.1, 1.0, 10.0, 100.0)}


def get_config(recipe: str = "recommended") -> ConfigDict:
    descriptors = {"name": "opensmile", "feature_set": "ComParE_2016", "level": "lld"}
    features = {
        "compare": {"name": "opensmile", "feature_set": "ComParE_2016", "table": "ComParE"},
        "egemaps": {"name": "opensmile", "feature_set": "eGeMAPSv02"},
        **{
            f"boaw{size}": {"name": "boaw", "frames": descriptors, "size": size, "table": f"BoAW-{size}"}
            for size in WORDS
        },
    }
    members = {
        f"{name}_{kernel}": {
            "features": picked,
            "folds": {"name": "official"},
            "learner": {
                "name": "svm",
                "kernel": kernel,
                "c": C[kernel],
                "gamma": "scale",
                "scale": "minmax",
                "refit": True,
            },
        }
        for name, picked in features.items()
        for kernel in C
    }
    return common.experiment("mask", recipe, members=members, fusion={"name": "select"}, demo={})
