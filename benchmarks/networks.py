"""The networks that are timed: from which config, and on how much. No JAX and no PyTorch in here."""

import importlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.peers.side import Arrays


@dataclass(frozen=True)
class Network:
    """A network of a config and a batch for it, made up at random: times do not depend on the values.

    Attributes:
      config, member: the module in `configs` and the member in it; the recipe is `recommended`.
      rows: examples in the batch.
      labels: in a window; 0 for pictures.
      size: height and width of the pictures that go in.
      changes: what replaces fields of the learner's parts, such as `{"model": {"trunk": "dense"}}`.
    """

    config: str
    member: str
    rows: int
    labels: int = 0
    size: tuple[int, int] = (0, 0)
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return "breathing" if self.labels else "mask"

    def tiny(self) -> "Network":
        """As little as is enough to see that both sides agree."""
        small = {} if self.size == (64, 97) else {"size": (40, 48)}
        return replace(self, rows=min(self.rows, 2), labels=min(self.labels, 12), **({} if self.labels else small))

    def learner(self) -> dict[str, Any]:
        """The learner of the config, with a random start."""
        config = importlib.import_module(f"configs.{self.config}").get_config()
        learner = config["members"][self.member]["learner"].to_dict() | {"pretrained": None}
        return learner | {part: {**learner[part], **fields} for part, fields in self.changes.items()}

    def batch(self) -> Arrays:
        """`inputs`, `targets`, `weights`; for pictures also `number` and `cropped`."""
        random = np.random.default_rng(0)
        if not self.labels:
            return {
                "inputs": random.integers(0, 256, (self.rows, *self.size, 3), np.uint8),
                "targets": (np.arange(self.rows) % 2).astype(np.float32),
                "weights": np.ones(self.rows, np.float32),
                "number": np.arange(self.rows, dtype=np.uint32),
                "cropped": np.ones(self.rows, bool),
            }
        model = self.learner()["model"]
        if model["name"] == "resnet_gru":
            frames = 2 * self.labels + model["piece_frames"] - 2
            inputs = random.integers(0, 256, (self.rows, frames, 128), np.uint8)
        elif model["name"] == "sequence_lstm":
            # The embeddings of systems 2 and 4, each of length 1.
            inputs = random.standard_normal((self.rows, self.labels, 768), np.float32) / np.float32(16)
        else:
            inputs = random.standard_normal((self.rows, 640 * self.labels, 1), np.float32)
        return {
            "inputs": inputs,
            "targets": random.standard_normal((self.rows, self.labels), np.float32),
            "weights": np.ones((self.rows, self.labels), np.float32),
        }


BREATHING2 = Network("breathing_e2e", "cnn", rows=4, labels=400)
BREATHING3 = Network("breathing_s3", "resnet1d", rows=4, labels=400)
PIECES = Network("breathing_s4", "resnet_gru", rows=1, labels=100)
DENSE = replace(PIECES, changes={"model": {"trunk": "dense"}})
BREATHING5 = Network("breathing_s5", "embeddings", rows=15, labels=400)
MASK = Network("mask_s2", "adam", rows=16, size=(288, 288))
# The log-Mel spectrogram as it is.
SMALL = replace(MASK, size=(64, 97), changes={"examples": {"size": (64, 97), "augment": "none"}})
