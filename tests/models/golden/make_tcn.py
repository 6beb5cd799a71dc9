"""Makes the golden arrays of the TCN with PyTorch, in float64: `python tests/models/golden/make_tcn.py`."""

import torch
from make_1d import Weights, fixed, save
from make_tdnn import normalised
from torch.nn import functional as F

FRAMES, BANDS, CHANNELS, LAYERS, TAPS = 23, 5, 4, 3, 3


def dense(x, weights, name, size):
    """Map the channels of `[batch, channel, frame]`."""
    return F.conv1d(x, weights(f"{name}/kernel", x.shape[1], size).T[..., None], weights(f"{name}/bias", size))


def tcn(inputs, weights, train):
    """Map `[batch, frame, band]` to `[batch, frame]`."""
    x = dense(normalised(inputs.mT, weights, "norm", train), weights, "input", CHANNELS)
    for layer in range(LAYERS):
        scale, bias = (weights(f"norm{layer}/{kind}", CHANNELS) for kind in ("scale", "bias"))
        y = F.layer_norm(x.mT, (CHANNELS,), scale, bias, eps=1e-6).mT
        taps = weights(f"conv{layer}/kernel", TAPS, CHANNELS, CHANNELS).permute(2, 1, 0)
        bias = weights(f"conv{layer}/bias", CHANNELS)
        y = F.conv1d(y, taps, bias, padding=2**layer * (TAPS // 2), dilation=2**layer).relu()
        x = x + dense(y, weights, f"mix{layer}", CHANNELS)
    return dense(x.relu(), weights, "head", 1)[:, 0].tanh()


def main():
    inputs, targets = (torch.tensor(fixed(n, s, 1.0)) for n, s in (("x", (2, FRAMES, BANDS)), ("y", (2, FRAMES))))
    weights = Weights()
    (tcn(inputs, weights, train=True) * targets).sum().backward()
    save("tcn", outputs=tcn(inputs, Weights(), train=False), **weights.gradients())


if __name__ == "__main__":
    main()
