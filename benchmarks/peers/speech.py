"""The PyTorch side of speech encoders: the networks of `transformers`, in several settings."""

from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from benchmarks.peers.steps import DEVICE, set_up
from benchmarks.side import Arrays, Side


def side(fields: dict[str, Any], waveforms: np.ndarray, setting: str, ours: Arrays | None) -> Side:
    """Time all hidden states; `fields` are those of `config.json`, for the others see `steps.side`."""
    set_up()
    net = AutoModel.from_config(AutoConfig.for_model(**fields)).eval().to(DEVICE)
    forward = torch.compile(net) if setting.startswith("compile") else net

    def run() -> np.ndarray:
        bfloat16 = torch.autocast(DEVICE, torch.bfloat16, enabled=setting.startswith("bfloat16"))
        with torch.inference_mode(), bfloat16:
            states = forward(torch.from_numpy(waveforms).to(DEVICE), output_hidden_states=True).hidden_states
        return torch.stack(states).float().cpu().numpy()

    def check() -> Arrays:
        assert ours is not None
        weights = {k.removeprefix("weight/"): torch.from_numpy(v) for k, v in ours.items() if k.startswith("weight/")}
        net.load_state_dict(weights)
        return {"outputs": run()}

    return Side(run, check)
