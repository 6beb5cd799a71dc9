"""Fine-tuning of a speech encoder: its upper transformer layers, trained further, with a head."""

from dataclasses import replace
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxpara.models.layers import Dropout, Linear
from jaxpara.models.speech.architecture import SpeechConfig
from jaxpara.models.speech.encoder import spec_augment
from jaxpara.models.speech.transformer import upper_layers


class UpperLayers(nn.Module):
    """The transformer layers of a speech encoder from `first` on; parameters are named as in `SpeechEncoder`."""

    config: SpeechConfig
    first: int
    remat: bool

    @nn.compact
    def __call__(self, x: Array, valid: Array, train: bool) -> Array:
        """Map hidden states `[batch, frame, channel]` to those of the last layer."""
        return upper_layers(x, valid, train, self.config, self.first, self.make_rng, self.remat)[-1]


class TunedEncoder(nn.Module):
    """The upper layers of the speech encoder of the features, and two dense layers.

    The layers below, and the convolutions, stay as they are: their states are the features, computed once. The upper
    layers are all those above `features.layer`. The head averages frames between its two layers, as in SUPERB.

    Reference: Park et al., SpecAugment, Interspeech 2019; Fan et al., layer drop, ICLR 2020; Yang et al., SUPERB,
    Interspeech 2021.
    """

    source: tuple[SpeechConfig, int]  # sizes of the encoder and its first upper layer; set by the program
    classes: int = 2
    frames_per_output: int = 0  # frames (20 ms) that one output stands for; 0: all, for one output per recording
    units: int = 256  # of the head's first layer
    dropout: float = 0.1  # rate in the upper layers and the head
    layer_drop: float = 0.05  # probability that an upper layer is left out of a training step
    mask_time: float = 0.05  # fraction of the frames that start as zero in training, in spans of 0.2 s
    mask_channels: float = 0.0  # of the channels, in spans of 10
    gradient_checkpointing: bool = False  # compute layers again in the backward pass: less memory, a third more time

    pretrained: ClassVar = "encoder", "encoder"  # the network whose weights fit, and the part that gets them

    @property
    def samples_per_output(self) -> int:
        return self.frames_per_output or 1

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Map hidden states `[batch, frame, channel]` to `[batch, class]`, or to `[batch, output]` in (-1, 1).

        Frames of zeros are padding. `train` turns dropout, layer drop and masking on (rng "dropout").
        """
        config, first = self.source
        rates = {"hidden_dropout": self.dropout, "attention_dropout": self.dropout, "activation_dropout": self.dropout}
        rates |= {"layerdrop": self.layer_drop, "mask_feature_prob": self.mask_channels, "mask_feature_length": 10}
        rates |= {"mask_time_prob": self.mask_time, "mask_time_length": 10, "mask_time_min_masks": 0}
        config = replace(config, **rates)
        x = x.astype(jnp.promote_types(x.dtype, jnp.bfloat16))  # states are stored in float16, too small for gradients
        valid = (x != 0).any(-1)
        if train:
            x = spec_augment(x, valid.sum(-1), 0, config, self.make_rng)
        x = UpperLayers(config, first, self.gradient_checkpointing, name="encoder")(x, valid, train)
        x = Dropout(self.dropout)(Linear(self.units, name="projector")(x), train)
        if self.frames_per_output:
            x = x.reshape(len(x), -1, self.frames_per_output, self.units).mean(2)
            return nn.tanh(Linear(1, name="head")(x)[..., 0])
        mean = x.sum(1, where=valid[..., None]) / jnp.maximum(valid.sum(1, keepdims=True), 1)
        return Linear(self.classes, name="head")(mean)
