"""Spectrograms that a network learns to write again: examples without labels, for its embeddings (auDeep)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from jaxpara.corpora.corpus import Recording
from jaxpara.training.clips import ClipExamples


class Reconstruction:
    """Spectrograms `[frame, band]`, all of one length, as inputs and as targets."""

    supervised: ClassVar[bool] = False

    def examples(
        self, recordings: Sequence[Recording], features: Mapping[str, Any], **_: Any
    ) -> "ReconstructionExamples":
        """One example per spectrogram, recording by recording."""
        return ReconstructionExamples(recordings, features)

    def prepare(self, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        """Spectrograms go into the network as they are."""
        return batch["inputs"]


class ReconstructionExamples(ClipExamples):
    """See `jaxpara.training.input.Examples`; the labels are the spectrograms themselves."""

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The spectrogram `[frame, band]`, and its weight: 1."""
        return self.inputs(index), np.asarray(1, np.float32)
