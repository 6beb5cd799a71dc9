"""Makes `tiny.pth`, a state dict as PyTorch saves it, and `tiny.npz` with the same tensors: `python make_pth.py`."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent


def main():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    state = net.state_dict()
    state["half"] = torch.randn(3).half()
    state["brain"] = torch.randn(3).bfloat16()
    state["double"] = torch.randn(3, 2).double().T  # not contiguous
    state["shared"] = state["double"][1]
    state["parameter"] = nn.Parameter(torch.randn(2))
    state["empty"] = torch.zeros(0, 3)
    torch.save(state, HERE / "tiny.pth")
    np.savez_compressed(HERE / "tiny.npz", **{k: v.detach().double().numpy() for k, v in state.items()})


if __name__ == "__main__":
    main()
