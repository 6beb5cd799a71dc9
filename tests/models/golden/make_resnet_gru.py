"""Makes the golden outputs of Breathing system 4's network: `python make_resnet_gru.py`, with PyTorch.

This is a second implementation of both backbones, in float64, and every piece is cut out of the strip by itself.
Weights are drawn by name: the backbone's by `seeded.py`, those of the GRU layers and the head by `golden1d.py`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from seeded import drawn, weights
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
from golden1d import GOLDEN, fixed_weight

torch.set_default_dtype(torch.float64)
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def backbone_weight(name, *shape):
    return torch.tensor(weights({name: shape})[name])


def conv(x, name, features, size, stride=1):
    kernel = backbone_weight(f"{name}.weight", features, x.shape[1], size, size)
    return F.conv2d(x, kernel, stride=stride, padding=size // 2)


def norm(x, name, eps, scale=True):
    channels = x.shape[1]
    mean, var = (backbone_weight(f"{name}.running_{k}", channels) for k in ("mean", "var"))
    weight = backbone_weight(f"{name}.weight", channels) if scale else None
    return F.batch_norm(x, mean, var, weight, backbone_weight(f"{name}.bias", channels), eps=eps)


def resnet18(x):
    colors = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    x = (x / 255 - colors[0]) / colors[1]
    x = F.max_pool2d(norm(conv(x, "conv1", 64, 7, 2), "bn1", 1e-5).relu(), 3, 2, 1)
    for stage, (features, first) in enumerate(STAGES, 1):
        for block, stride in ((f"layer{stage}.0", first), (f"layer{stage}.1", 1)):
            y = norm(conv(x, f"{block}.conv1", features, 3, stride), f"{block}.bn1", 1e-5).relu()
            y = norm(conv(y, f"{block}.conv2", features, 3), f"{block}.bn2", 1e-5)
            if stride == 2:
                x = norm(conv(x, f"{block}.downsample.0", features, 1, 2), f"{block}.downsample.1", 1e-5)
            x = (x + y).relu()
    return x.mean((2, 3))


def preact_resnet18(x):
    x = conv(norm(x, "bn_data", 2e-5, scale=False), "conv0", 64, 7, 2)
    x = F.max_pool2d(norm(x, "bn0", 2e-5).relu(), 3, 2, 1)
    for stage, (features, stride) in enumerate(STAGES, 1):
        for unit in (f"stage{stage}.unit1", f"stage{stage}.unit2"):
            y = norm(x, f"{unit}.bn1", 2e-5).relu()
            first = unit.endswith("1")
            shortcut = conv(y, f"{unit}.sc", features, 1, stride) if first else x
            y = conv(y, f"{unit}.conv1", features, 3, stride if first else 1)
            x = shortcut + conv(norm(y, f"{unit}.bn2", 2e-5).relu(), f"{unit}.conv2", features, 3)
    return norm(x, "bn1", 2e-5).relu().mean((2, 3))


def gru(x, name, size):
    """Apply PyTorch's GRU, which has the reset gate first; Keras has the update gate first."""
    bias, again = fixed_weight(f"{name}/bias", (2, 3 * size))
    kernel = fixed_weight(f"{name}/kernel", (x.shape[2], 3 * size))
    recurrent = fixed_weight(f"{name}/recurrent_kernel", (size, 3 * size))
    arrays = {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent.T, "bias_ih_l0": bias, "bias_hh_l0": again}
    order = np.r_[size : 2 * size, :size, 2 * size : 3 * size]
    tensors = {key: torch.tensor(value[order]) for key, value in arrays.items()}
    return torch.func.functional_call(nn.GRU(x.shape[2], size, batch_first=True), tensors, (x,))[0]


def main():
    strips = torch.tensor(np.random.RandomState(4).randint(0, 256, (2, 48 + 2 * 3, 33)).astype(float))
    golden = {}
    for name, backbone in (("resnet18", resnet18), ("preact_resnet18", preact_resnet18)):
        embeddings = []
        for strip in strips:
            pieces = [strip[2 * label : 2 * label + 50].T for label in range(3)]
            embeddings.append(backbone(torch.stack(pieces)[:, None].expand(-1, 3, -1, -1)))
        x = torch.stack(embeddings)
        golden[f"{name}_embeddings"] = x @ torch.tensor(drawn("embedding", (512, 8)))
        x = gru(gru(x, "grus_0", 6), "grus_1", 4)
        x = x @ torch.tensor(fixed_weight("head/kernel", (4, 1))) + torch.tensor(fixed_weight("head/bias", (1,)))
        golden[f"{name}_outputs"] = torch.tanh(x)[..., 0]
    np.savez_compressed(GOLDEN / "resnet_gru.npz", **{key: np.asarray(value) for key, value in golden.items()})


if __name__ == "__main__":
    main()
