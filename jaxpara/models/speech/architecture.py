"""The sizes of a speech encoder, as the `config.json` of a checkpoint gives them."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jaxpara.errors import UserError, reason

# Values of fields. The last ones are no sizes: they must have one value, because others change the computation.
CHOICES: dict[str, tuple[Any, ...]] = {
    "model_type": ("wav2vec2", "hubert", "wavlm"),
    "feat_extract_norm": ("group", "layer"),
    "feat_extract_activation": ("gelu", "relu"),
    "hidden_act": ("gelu", "relu"),
    "sampling_rate": (16_000,),
    "feature_extractor_type": ("Wav2Vec2FeatureExtractor",),
    "add_adapter": (False,),
    "adapter_attn_dim": (None,),
    "conv_pos_batch_norm": (False,),
    "quantization_config": (None,),
}


@dataclass(frozen=True)
class SpeechConfig:
    """The sizes of a network, and how it wants its input; names and defaults are those of a `config.json` on the Hub.

    The defaults are the base size. Rates of dropout, layer drop and masking act in training only.
    """

    model_type: str = "wav2vec2"  # "wav2vec2", "hubert" or "wavlm"
    conv_dim: tuple[int, ...] = (512,) * 7  # channels of each convolution
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)  # taps
    conv_bias: bool = False
    feat_extract_norm: str = "group"  # "group": over time, after the first convolution; "layer": after each one
    feat_extract_activation: str = "gelu"
    feat_proj_layer_norm: bool = True  # False in DistilHuBERT
    num_conv_pos_embeddings: int = 128  # taps of the positional convolution
    num_conv_pos_embedding_groups: int = 16
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    do_stable_layer_norm: bool = False  # normalise before each part of a transformer layer (large) or after it (base)
    num_buckets: int = 320  # of WavLM's relative positions
    max_bucket_distance: int = 800  # in frames
    feat_proj_dropout: float = 0.0
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    layerdrop: float = 0.1
    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_time_length: int = 10  # frames
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10  # channels
    mask_feature_min_masks: int = 0
    sampling_rate: int = 16_000  # this and the next: of `preprocessor_config.json`
    do_normalize: bool = True  # waveforms are normalised, see `normalise`

    @property
    def hop(self) -> int:
        """The number of samples from a frame to the next (320: 20 ms)."""
        return math.prod(self.conv_stride)

    @property
    def receptive_field(self) -> int:
        """The number of samples under a frame, which is the shortest input (400: 25 ms)."""
        return 1 + sum((k - 1) * math.prod(self.conv_stride[:i]) for i, k in enumerate(self.conv_kernel))

    def frames(self, samples, layers: int | None = None):
        """Return the number of frames of so many samples (an int or an array), after some or all convolutions."""
        for kernel, stride in list(zip(self.conv_kernel, self.conv_stride, strict=True))[:layers]:
            samples = (samples - kernel) // stride + 1
        return samples * (samples > 0)  # no frame of less than the receptive field


def read_config(folder: Path) -> SpeechConfig:
    """Read `config.json` and `preprocessor_config.json` of a checkpoint.

    Fields that the network does not have, such as those of heads and of losses, are ignored.

    Raises:
      UserError: a file is missing or damaged, or the architecture or the value of a field is not supported.
    """
    network, extractor = folder / "config.json", folder / "preprocessor_config.json"
    sizes = _read_fields(network, ("model_type",), "a checkpoint of `transformers` has it")
    hint = "it is the feature extractor's; copy it from the checkpoint that this one was trained from"
    config = SpeechConfig(**sizes | _read_fields(extractor, ("sampling_rate", "do_normalize"), hint))
    layers = {len(config.conv_dim), len(config.conv_kernel), len(config.conv_stride)}
    if len(layers) > 1:
        raise UserError(
            f"{network}: conv_dim, conv_kernel and conv_stride differ in length; expected one each per layer"
        )
    for part in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if config.hidden_size % getattr(config, part):
            raise UserError(f"{network}: hidden_size is {config.hidden_size}, expected a multiple of {part}")
    return config


def _read_fields(path: Path, required: tuple[str, ...], hint: str) -> dict[str, Any]:
    """Return the fields of `SpeechConfig` that a JSON file has."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {hint}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); download it again") from error
    if not isinstance(content, dict) or not set(required) <= set(content):
        raise UserError(f"{path}: has no field {required[0]!r}; {hint}")
    defaults = {field.name: field.default for field in fields(SpeechConfig)}
    for field, value in content.items():
        if field in CHOICES and value not in CHOICES[field]:
            raise UserError(f"{path}: {field} is {value!r}, expected {' or '.join(map(repr, CHOICES[field]))}")
        if field in defaults:
            _require_type(f"{path}: {field}", value, defaults[field], 0 if field.endswith("min_masks") else 1)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in content.items() if k in defaults}


def _require_type(where: str, value: Any, default: Any, least: int) -> None:
    """Raise a UserError unless a value is of the type of the default, and a whole number not less than `least`."""
    if isinstance(default, bool):
        valid, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, tuple):
        valid = isinstance(value, list) and bool(value) and all(type(x) is int and x > 0 for x in value)
        expected = "a list of whole numbers, at least 1"
    elif isinstance(default, int):
        valid, expected = type(value) is int and value >= least, f"a whole number, at least {least}"
    elif isinstance(default, str):
        valid, expected = isinstance(value, str), "text"
    else:
        valid, expected = type(value) in (int, float) and 0 <= value <= 1, "a number from 0 to 1"
    if not valid:
        raise UserError(f"{where} is {value!r}, expected {expected}")
