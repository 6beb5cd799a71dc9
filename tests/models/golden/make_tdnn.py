"""Makes the golden arrays of the TDNN with PyTorch, in float64: `python tests/models/golden/make_tdnn.py`."""

import torch
from make_1d import Weights, fixed, save
from torch.nn import functional as F

BANDS, FRAMES, CHANNELS, CLASSES = 6, 9, 2, 3
UNITS, KERNELS = (5, 4), (1, 3)


def normalised(x, weights, name, train):
    """PyTorch's BatchNorm of `[batch, channel, frame]`."""
    scale, bias = (weights(f"{name}/{kind}", x.shape[1]) for kind in ("scale", "bias"))
    mean, var = (weights(f"{name}/{kind}", x.shape[1]).clone() for kind in ("mean", "var"))
    return F.batch_norm(x, mean, var, scale, bias, training=train, eps=1e-5)


def tdnn(images, weights, train):
    """Map `[batch, band, frame, channel]` to `[batch, class]`."""
    x = images.permute(0, 1, 3, 2).reshape(len(images), -1, FRAMES)  # the channels of a band are neighbours
    x = normalised(x, weights, "bands", train)
    for layer, (units, kernel) in enumerate(zip(UNITS, KERNELS, strict=True)):
        taps = weights(f"convs_{layer}/kernel", kernel, x.shape[1], units).permute(2, 1, 0)
        x = normalised(F.conv1d(x, taps, padding=kernel // 2), weights, f"norms_{layer}", train).relu()
    x = torch.cat([x.mean(2), (x.var(2, correction=0) + 1e-5).sqrt()], 1)
    return F.linear(x, weights("head/kernel", x.shape[1], CLASSES).T, weights("head/bias", CLASSES))


def main():
    images, targets = torch.tensor(fixed("images", (4, BANDS, FRAMES, CHANNELS), 1.0)), torch.tensor([0, 2, 1, 2])
    weights = Weights()
    F.cross_entropy(tdnn(images, weights, train=True), targets).backward()
    save("tdnn", logits=tdnn(images, Weights(), train=False), **weights.gradients())


if __name__ == "__main__":
    main()
