"""Checkpoints of speech encoders with random weights, as `transformers` writes them."""

import json
from dataclasses import asdict

import jax
import numpy as np
from safetensors.numpy import save_file

from jaxpara.features.speech_encoder import TINY_CONFIG, _encoder
from jaxpara.models.speech.checkpoint import to_hub


def write_checkpoint(folder, factor=1.0, *, sampling_rate=16_000):
    """Write the tiny encoder, with all weights of its last layer times a factor."""
    folder.mkdir(parents=True, exist_ok=True)
    params = dict(_encoder("tiny").params)
    last = f"layers.{TINY_CONFIG.num_hidden_layers - 1}"
    scaled = jax.tree.map(lambda x: np.asarray(x) * np.float32(factor), params["encoder"][last])
    params["encoder"] = {**params["encoder"], last: scaled}
    save_file(to_hub(params), folder / "model.safetensors")
    fields = asdict(TINY_CONFIG)
    extractor = {"sampling_rate": sampling_rate, "do_normalize": fields.pop("do_normalize")}
    del fields["sampling_rate"]
    (folder / "config.json").write_text(json.dumps(fields))
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    return str(folder)
