"""Makes the golden arrays of the 1D networks with PyTorch, in float64: `python tests/models/golden/make_1d.py`.

This is a second implementation of every network, from the layer lists, on PyTorch's own layers. Weights have the
project's names, because their values follow from the names.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
from golden1d import GOLDEN, fixed, fixed_weight, summary

torch.set_default_dtype(torch.float64)


class Weights:
    """Leaf tensors by name, and their gradients."""

    def __init__(self):
        self.tensors = {}

    def __call__(self, name, *shape):
        tensor = torch.tensor(fixed_weight(name, shape))
        self.tensors[name] = tensor.requires_grad_(not name.endswith(("/mean", "/var")))
        return tensor

    def gradients(self):
        return {
            f"gradient/{name}": summary(tensor.grad) for name, tensor in self.tensors.items() if tensor.requires_grad
        }


def same(x, kernel, bias=None):
    """Compute TensorFlow's "same" convolution of `[batch, channel, time]` with `[tap, channel, filter]`."""
    taps = len(kernel)
    left = (taps - 1) // 2
    return F.conv1d(F.pad(x, (left, taps - 1 - left)), kernel.permute(2, 1, 0), bias)


def lstm(x, weights, name, size):
    """PyTorch's LSTM on `[batch, time, channel]`; its gates have the order of Keras."""
    kernel = weights(f"{name}kernel", x.shape[2], 4 * size)
    recurrent = weights(f"{name}recurrent_kernel", size, 4 * size)
    bias = weights(f"{name}bias", 4 * size)
    layer = nn.LSTM(x.shape[2], size, batch_first=True)
    arguments = {
        "weight_ih_l0": kernel.T,
        "weight_hh_l0": recurrent.T,
        "bias_ih_l0": bias,
        "bias_hh_l0": torch.zeros_like(bias),
    }
    return torch.func.functional_call(layer, arguments, (x,))[0]


def gru(x, weights, size):
    """PyTorch's GRU; its gates are reset, update, candidate where Keras has update, reset, candidate."""

    def swap(tensor):
        update, reset, candidate = tensor.split(size, dim=-1)
        return torch.cat([reset, update, candidate], -1).movedim(-1, 0)

    kernel = weights("kernel", x.shape[2], 3 * size)
    recurrent = weights("recurrent_kernel", size, 3 * size)
    bias = weights("bias", 2, 3 * size)
    layer = nn.GRU(x.shape[2], size, batch_first=True)
    arguments = {
        "weight_ih_l0": swap(kernel),
        "weight_hh_l0": swap(recurrent),
        "bias_ih_l0": swap(bias[0]),
        "bias_hh_l0": swap(bias[1]),
    }
    return torch.func.functional_call(layer, arguments, (x,))[0]


def sequence(x, weights, sizes, prefix=""):
    for layer, size in enumerate(sizes):
        x = lstm(x, weights, f"{prefix}lstm{layer}/", size)
    kernel, bias = weights(f"{prefix}head/kernel", sizes[-1], 1), weights(f"{prefix}head/bias", 1)
    return torch.tanh(x @ kernel + bias)[..., 0]


def cnn1d(x, weights):
    """System 2, without dropout: returns the embeddings and the outputs."""
    x = x.transpose(1, 2)
    for index, (filters, taps, pool) in enumerate(((64, 10, 10), (128, 8, 4), (256, 6, 4), (256, 5, 4))):
        kernel = weights(f"convs_{index}/kernel", taps, x.shape[1], filters)
        x = F.relu(same(x, kernel, weights(f"convs_{index}/bias", filters)))
        x = F.max_pool1d(x, pool) if index < 3 else F.avg_pool1d(x, pool)
    embeddings = x.transpose(1, 2)
    return embeddings, sequence(embeddings, weights, (256, 256), "sequence/")


def resnet1d(x, weights, train):
    """System 3, without dropout: returns embeddings, outputs and running statistics (biased variances, as Keras)."""
    statistics = {}

    def norm(x, name):
        name, channels = f"trunk/{name}", x.shape[1]
        scale, bias = weights(f"{name}/scale", channels), weights(f"{name}/bias", channels)
        mean, variance = weights(f"{name}/mean", channels), weights(f"{name}/var", channels)
        if train:
            for kind, old, new in (("mean", mean, x.mean((0, 2))), ("var", variance, x.var((0, 2), correction=0))):
                statistics[f"statistic/{name}/{kind}"] = summary((0.99 * old + 0.01 * new).detach())
        running = (None, None) if train else (mean, variance)
        return F.batch_norm(x, *running, scale, bias, train, eps=1e-3)

    def conv(x, name, taps, filters):
        return same(x, weights(f"trunk/{name}/kernel", taps, x.shape[1], filters))

    def bottleneck(x, name, filters, project):
        y = F.relu(norm(conv(x, f"{name}/conv0", 1, filters), f"{name}/norm0"))
        y = F.relu(norm(conv(y, f"{name}/conv1", 5, filters), f"{name}/norm1"))
        y = norm(conv(y, f"{name}/conv2", 1, 4 * filters), f"{name}/norm2")
        if project:
            x = norm(conv(x, f"{name}/shortcut", 1, 4 * filters), f"{name}/shortcut_norm")
        return F.relu(x + y)

    x = x.transpose(1, 2)
    x = conv(x, "stem", 8, 128) + weights("trunk/stem/bias", 128)[:, None]
    x = F.max_pool1d(F.relu(norm(x, "stem_norm")), 10)
    for stage, filters in enumerate((64, 128)):
        for block in range(3):
            x = bottleneck(x, f"stage{stage}_block{block}", filters, block == 0)
        x = F.avg_pool1d(x, 8)
    embeddings = x.transpose(1, 2)
    return embeddings, sequence(embeddings, weights, (512, 256), "sequence/"), statistics


def one_minus_pearson(outputs, target):
    rows = zip(outputs, target, strict=True)
    return torch.stack([1 - torch.corrcoef(torch.stack(pair))[0, 1] for pair in rows]).mean()


def save(name, **arrays):
    arrays = {key: np.asarray(value.detach() if torch.is_tensor(value) else value) for key, value in arrays.items()}
    np.savez_compressed(GOLDEN / f"{name}.npz", **arrays)


def make_recurrent():
    inputs, projection = torch.tensor(fixed("inputs", (2, 12, 7), 1.0)), torch.tensor(fixed("weights", (2, 12, 5), 1.0))
    for name, layer in (("lstm", lambda x, w: lstm(x, w, "", 5)), ("gru", lambda x, w: gru(x, w, 5))):
        weights, x = Weights(), inputs.clone().requires_grad_()
        outputs = layer(x, weights)
        (outputs * projection).sum().backward()
        save(name, outputs=outputs, of_inputs=x.grad, **weights.gradients())
    weights = Weights()
    outputs = sequence(inputs, weights, (6, 4))
    ((outputs - torch.tensor(fixed("target", (2, 12), 1.0))) ** 2).mean().backward()
    save("sequence", outputs=outputs, **weights.gradients())


def make_networks():
    waveform, target = torch.tensor(fixed("waveform", (2, 640 * 8, 1), 1.0)), torch.tensor(fixed("target", (2, 8), 1.0))
    for name, network in (
        ("cnn1d", cnn1d),
        ("resnet1d_inference", lambda x, weights: resnet1d(x, weights, False)),
        ("resnet1d_training", lambda x, weights: resnet1d(x, weights, True)),
    ):
        weights = Weights()
        embeddings, outputs, *statistics = network(waveform, weights)
        loss = one_minus_pearson(outputs, target)
        loss.backward()
        more = statistics[0] if statistics else {}
        save(name, embeddings=embeddings[..., ::16], outputs=outputs, loss=loss, **more, **weights.gradients())


if __name__ == "__main__":
    make_recurrent()
    make_networks()
