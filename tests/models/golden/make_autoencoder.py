"""Makes the golden arrays of the autoencoder with PyTorch: `python tests/models/golden/make_autoencoder.py`.

This is a second implementation on PyTorch's GRU, in which the frames that the decoder sees are selected by index.
"""

import torch
from make_1d import Weights, fixed, save
from torch import nn

BANDS, UNITS, LAYERS, STEPS = 5, 4, 2, 7


def swap(tensor):
    """Change the order of gates from Keras's (update, reset, candidate) to PyTorch's (reset, update, candidate)."""
    update, reset, candidate = tensor.split(UNITS, dim=-1)
    return torch.cat([reset, update, candidate], -1).movedim(-1, 0)


def gru(x, weights, name, state):
    kernel = weights(f"{name}/kernel", x.shape[2], 3 * UNITS)
    recurrent = weights(f"{name}/recurrent_kernel", UNITS, 3 * UNITS)
    bias = weights(f"{name}/bias", 2, 3 * UNITS)
    arguments = {
        "weight_ih_l0": swap(kernel),
        "weight_hh_l0": swap(recurrent),
        "bias_ih_l0": swap(bias[0]),
        "bias_hh_l0": swap(bias[1]),
    }
    layer = nn.GRU(x.shape[2], UNITS, batch_first=True)
    outputs, last = torch.func.functional_call(layer, arguments, (x, state[None]))
    return outputs, last[0]


def dense(x, weights, name, features):
    return torch.tanh(x @ weights(f"{name}/kernel", x.shape[-1], features) + weights(f"{name}/bias", features))


def autoencoder(inputs, weights, directions):
    """Return the embedding and the reconstruction."""
    x, last = inputs, []
    for layer in range(LAYERS):
        x, state = gru(x, weights, f"encoder/layers/gru{layer}", torch.zeros(len(inputs), UNITS))
        last.append(state)
    embedding = dense(torch.cat(last, 1), weights, "encoder/embedding", LAYERS * len(directions) * UNITS)
    frames = []
    for number, direction in enumerate(directions):
        # Step t reconstructs frame STEPS - 1 - t of the input.
        x = torch.zeros_like(inputs)
        for t in range(STEPS):
            if direction == "forward" and t >= 2:
                x[:, t] = inputs[:, STEPS + 1 - t]
            if direction == "backward" and t >= 1:
                x[:, t] = inputs[:, t]
        for layer in range(LAYERS):
            place = (layer * len(directions) + number) * UNITS
            state = embedding[:, place : place + UNITS].contiguous()
            x, _ = gru(x, weights, f"decoder/{direction}/gru{layer}", state)
        frames.append(dense(x, weights, f"decoder/{direction}_frame", BANDS))
    return embedding, dense(torch.cat(frames, -1), weights, "decoder/frame", BANDS).flip(1)


def main():
    inputs = torch.tensor(fixed("inputs", (3, STEPS, BANDS), 0.5))
    weights = Weights()
    embedding, outputs = autoencoder(inputs, weights, ("forward", "backward"))
    ((outputs - inputs) ** 2).mean((1, 2)).sqrt().mean().backward()
    save("autoencoder_bidirectional", embedding=embedding, outputs=outputs, **weights.gradients())


if __name__ == "__main__":
    main()
