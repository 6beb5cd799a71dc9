"""Fine-tuning of the speech encoder whose states are the features: the layers above them, and their initial weights."""

from typing import Any

import jax
import numpy as np

from jaxpara.errors import UserError
from jaxpara.features.speech_encoder import RATE_HZ, EncoderStates
from jaxpara.models.speech import SpeechConfig


def upper_layers(feature: Any, where: str) -> tuple[SpeechConfig, int]:
    """Return the sizes of the encoder whose states are a feature, and its first layer above them.

    Raises:
      UserError: the feature is another one, or not the states of one layer below others; `where` is the learner's path.
    """
    where = f"config.{where}.model.name is 'tuned_encoder'"
    if not isinstance(feature, EncoderStates):
        raise UserError(f"{where}, which needs features.name 'speech_encoder'; change one of the two")
    config = feature.encoder.config
    if feature.pooling != "none" or len(feature.numbers) != 1 or feature.rate_hz != RATE_HZ / config.hop:
        raise UserError(
            f"{where}, which needs all states of one layer, but features.layer is {feature.layer!r}, pooling"
            f" {feature.pooling!r} and rate_hz {feature.rate_hz:g}; set them to a number, 'none' and"
            f" {RATE_HZ / config.hop:g}"
        )
    if (first := feature.numbers[0]) >= config.num_hidden_layers:
        raise UserError(
            f"{where}, which trains the layers above features.layer, but {feature.checkpoint} has none above {first};"
            f" set it to 0 to {config.num_hidden_layers - 1}"
        )
    return config, first


def upper_weights(feature: EncoderStates) -> dict[str, Any]:
    """Return copies of the parameters of the layers above a feature, as `TunedEncoder` names them."""
    config, params, first = feature.encoder.config, feature.encoder.params["encoder"], feature.numbers[0]
    upper = {name: params[name] for name in (f"layers.{n}" for n in range(first, config.num_hidden_layers))}
    if config.do_stable_layer_norm:
        upper["layer_norm"] = params["layer_norm"]
    if config.model_type == "wavlm":  # its lowest layer makes the position bias of all
        embedding, lowest = params["layers.0"]["attention"]["rel_attn_embed"], upper[f"layers.{first}"]
        upper[f"layers.{first}"] = lowest | {"attention": lowest["attention"] | {"rel_attn_embed": embedding}}
    return jax.tree.map(np.array, upper)  # copies, because training reuses the memory of its state
