"""The sizes of a speech encoder, as the `config.json` of a checkpoint gives them."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jaxpara.errors import UserError, reason
from jaxpara.registry import require_one_of

# Values of fields and of those that must have one value, because this network does not have the other computation.
CHOICES: dict[str, tuple[Any, ...]] = {
    "model_type": ("wav2vec2", "hubert", "wavlm"),
    "feat_extract_norm": ("group", "layer"),
    "feat_extract_activation": ("gelu", "relu"),
    "hidden_act": ("gelu", "relu"),
    "sampling_rate": (16_000,),
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
    """Read `config.json` and `preprocessor_config.json` of a checkpoint; fields of heads and of training are ignored.

    Raises:
      UserError: a file is missing or damaged, the architecture or the value of a field is not supported.
    """
    network = folder / "config.json"
    given = _read_json(network, "a checkpoint of `transformers` has it")
    _require(network, "model_type", given.get("model_type"), "")
    extractor = folder / "preprocessor_config.json"
    wanted = _read_json(extractor, "copy it from the checkpoint that this one was trained from")
    for field in ("sampling_rate", "do_normalize"):
        if field not in wanted:
            raise UserError(f"{extractor}: has no field {field!r}, expected that of a Wav2Vec2FeatureExtractor")
    origin = {**dict.fromkeys(given, network), "sampling_rate": extractor, "do_normalize": extractor}
    given |= {field: wanted[field] for field in ("sampling_rate", "do_normalize")}
    types = {field.name: field.default for field in fields(SpeechConfig)}
    for field, value in given.items():
        _require(origin[field], field, value, types.get(field))
    config = SpeechConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k in types})
    sizes = {len(config.conv_dim), len(config.conv_kernel), len(config.conv_stride)}
    if len(sizes) > 1:
        raise UserError(f"{network}: conv_dim, conv_kernel and conv_stride differ in length; expected one each per layer")
    for part in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if config.hidden_size % getattr(config, part):
            raise UserError(f"{network}: hidden_size is {config.hidden_size}, expected a multiple of {part}")
    return config


def _read_json(path: Path, hint: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {hint}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is a {type(content).__name__}, expected fields by name")
    return content


def _require(path: Path, field: str, value: Any, default: Any) -> None:
    """Raise a UserError unless a value is supported, and of the type of the default of its field (None: any)."""
    if field in CHOICES:
        require_one_of(f"{path}: {field}", value, CHOICES[field])
    elif isinstance(default, bool):
        valid, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, tuple):
        valid = isinstance(value, list) and bool(value) and all(type(x) is int and x > 0 for x in value)
        expected = "a list of whole numbers, at least 1"
    elif isinstance(default, int):
        least = 0 if field.endswith("min_masks") else 1
        valid, expected = type(value) is int and value >= least, f"a whole number, at least {least}"
    elif isinstance(default, float):
        valid = type(value) in (int, float) and 0 <= value <= 1
        expected = "a number from 0 to 1"
    else:
        return
    if field not in CHOICES and not valid:
        raise UserError(f"{path}: {field} is {value!r}, expected {expected}")
