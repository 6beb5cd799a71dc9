"""Makes the golden files of the speaker encoder with the package: `python tests/models/golden/make_speaker.py`.

Needs PyTorch and `pip install --no-deps Resemblyzer==0.1.4`. speaker.pt is a small encoder with random weights, in
PyTorch's old format as the pretrained one, speaker.npz its embeddings of test signals.
"""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "features"))
sys.modules["webrtcvad"] = ModuleType("webrtcvad")  # cuts pauses, which is not done here

from resemblyzer import audio, voice_encoder  # noqa: E402
from signals import SPEAKER_SIGNALS  # noqa: E402

voice_encoder.model_num_layers, voice_encoder.model_hidden_size, voice_encoder.model_embedding_size = 2, 6, 7


class Untrained(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(40, 6, 2, batch_first=True)
        self.linear = torch.nn.Linear(6, 7)
        self.similarity_weight = torch.nn.Parameter(torch.tensor([10.0]))
        self.similarity_bias = torch.nn.Parameter(torch.tensor([-5.0]))


def write_weights(path):
    torch.manual_seed(1)
    network = Untrained()
    for name, parameter in network.named_parameters():
        if name.startswith(("lstm.weight", "linear.weight")):
            # So that other signals give other embeddings; power in Mel bands is small.
            parameter.data *= 100 if name == "lstm.weight_ih_l0" else 3
        if name == "linear.bias":
            parameter.data += 1  # so that few outputs are 0
    optimizer = torch.optim.Adam(network.parameters())
    network.linear(network.lstm(torch.randn(1, 3, 40))[0]).sum().backward()
    optimizer.step()  # so that it has a state, as that in the pretrained file
    torch.save(
        {"step": 1, "model_state": network.state_dict(), "optimizer_state": optimizer.state_dict()},
        path,
        _use_new_zipfile_serialization=False,
    )


def main():
    write_weights(HERE / "speaker.pt")
    package = voice_encoder.VoiceEncoder("cpu", weights_fpath=HERE / "speaker.pt")
    embeddings = {
        name: package.embed_utterance(audio.normalize_volume(signal, -30, increase_only=True))
        for name, signal in SPEAKER_SIGNALS.items()
    }
    np.savez(HERE / "speaker.npz", **embeddings)
    for name, embedding in embeddings.items():
        print(f"{name:8} {len(SPEAKER_SIGNALS[name]):6} {embedding}")


if __name__ == "__main__":
    main()
