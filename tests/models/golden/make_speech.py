"""Makes `speech.npz` with `transformers` (5.24) and PyTorch: `python tests/models/golden/make_speech.py`.

It has, for each variant, the name and shape of each tensor of the checkpoint (their values follow from their names),
and the hidden states of each recording alone and of both in a batch padded with zeros without attention mask.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

sys.path.insert(0, str(Path(__file__).parents[1]))
from golden1d import GOLDEN
from tiny_speech import RECORDINGS, VARIANTS, padded, tensor


def network(fields):
    """Return the network of a `config.json` with fixed weights."""
    fields = dict(fields)
    model = AutoModel.from_config(AutoConfig.for_model(fields.pop("model_type"), **fields)).eval()
    model.load_state_dict({k: torch.from_numpy(tensor(k, tuple(v.shape))) for k, v in model.state_dict().items()})
    return model


def states(model, waveforms, mask=None):
    """Return the hidden states `[layer, batch, frame, channel]`, the last one with the last layer norm."""
    with torch.inference_mode():
        found = model(torch.from_numpy(waveforms), attention_mask=mask, output_hidden_states=True)
    # Of networks that normalise before each layer, transformers 4 also returned the last state in `hidden_states`.
    return torch.stack([*found.hidden_states[:-1], found.last_hidden_state]).numpy()


def main():
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    golden = {"normalised": extractor(RECORDINGS[0], sampling_rate=16000).input_values[0]}
    for name, fields in VARIANTS.items():
        model = network(fields)
        shapes = {k: list(v.shape) for k, v in model.state_dict().items()}
        golden[f"{name}/shapes"] = np.array(json.dumps(shapes))
        for index, recording in enumerate(RECORDINGS):
            golden[f"{name}/alone{index}"] = states(model, recording[None])[:, 0]
        golden[f"{name}/padded"] = states(model, padded())
    np.savez_compressed(GOLDEN / "speech.npz", **golden)


if __name__ == "__main__":
    main()
