"""Breathing: the best window length for systems 2 and 4, selected on devel.

    python launch.py --config=configs/breathing_windows.py --config.corpus.root=/data/ComParE2020_Breathing

Reproduces: the sweeps of paper §3.2.1 and §3.2.2, for which only the best lengths were published, 16 and 80 s.
Trained on train, validated on devel; steps of 2/5 of a window for system 2 and of half for system 4.
Costs: without a corpus, under 10 minutes on 2 CPU cores for the 18 networks (recordings of 80 s; two epochs for
system 2, one for system 4).
"""

from ml_collections import ConfigDict

from configs import breathing_e2e, breathing_s4, common

# Batch size by window length in seconds, from the authors; the one for 24 s is ours.
CNN = {1: 200, 2: 100, 4: 60, 6: 40, 8: 30, 10: 24, 12: 19, 14: 17, 16: 15, 24: 10, 32: 7}
RESNET_GRU = (14, 16, 20, 24, 32, 40, 80)


def get_config(recipe: str = "recommended") -> ConfigDict:
    members, demo = {}, {}
    # Not `whole`: what is compared is the length of the windows in training and in prediction.
    predict = "crossfade" if recipe == "recommended" else "average"
    for window_s, batch in CNN.items():
        member = breathing_e2e.cnn(recipe)
        member["folds"] = {"name": "official"}
        member["learner"] |= {"batch": batch}
        member["learner"]["examples"] |= {
            "window_s": float(window_s),
            "step_s": (0.6 if recipe == "paper" else 0.4) * window_s,
            "predict": predict,
        }
        members[f"cnn_{window_s}s"] = member
        demo[f"cnn_{window_s}s"] = {"learner": {"batch": max(1, 32 // window_s), "epochs": 2}}
    for window_s in RESNET_GRU:
        member = breathing_s4.resnet_gru(recipe)
        member["folds"] = {"name": "official"}
        member["learner"]["examples"] |= {"window_s": float(window_s), "step_s": window_s / 2, "predict": predict}
        members[f"resnet_gru_{window_s}s"] = member
        small = breathing_s4.demo()
        small["learner"] |= {"batch": 1, "epochs": 1}
        del small["learner"]["examples"]
        demo[f"resnet_gru_{window_s}s"] = small
    sizes = {"speakers": (4, 3, 3), "seconds": 80.0}
    return common.experiment(
        "breathing",
        recipe,
        members=members,
        fusion={"name": "select"},
        demo={"corpus": sizes, "members": demo},
    )
