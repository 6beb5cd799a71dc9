"""Tiny speech encoders of each kind: their `config.json`, weights that follow from their names, and recordings."""

import json

import numpy as np
from golden1d import fixed
from safetensors.numpy import save_file

# Three convolutions with 80 samples under a frame and 20 from a frame to the next; few buckets, so that the logarithmic
# ones are used.
TINY = {
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
BUCKETS = {"num_buckets": 16, "max_bucket_distance": 24}
# By name: the base and large size of each family, and DistilHuBERT.
VARIANTS = {
    "wav2vec2_base": {"model_type": "wav2vec2"},
    "wav2vec2_large": {"model_type": "wav2vec2", **LARGE, "num_conv_pos_embeddings": 7},
    "hubert_base": {"model_type": "hubert"},
    "hubert_large": {"model_type": "hubert", **LARGE, "mask_time_prob": 0.0},
    "distilhubert": {"model_type": "hubert", "feat_proj_layer_norm": False},
    "wavlm_base": {"model_type": "wavlm", **BUCKETS},
    "wavlm_large": {"model_type": "wavlm", **BUCKETS, **LARGE},
}
VARIANTS = {name: {**TINY, **fields} for name, fields in VARIANTS.items()}
LENGTHS = (900, 500)  # samples
RECORDINGS = [fixed(f"recording{n}", n, 0.1).astype(np.float32) + np.float32(0.05) for n in LENGTHS]


def tensor(name, shape):
    """Return a tensor of a checkpoint: scales around 1, the rest around 0, with activations of the order of 1."""
    if "norm" in name and name.endswith("weight"):
        return np.exp(fixed(name, shape, 0.2)).astype(np.float32)
    if name.endswith(("original0", "weight_g", "gru_rel_pos_const")):
        return np.exp(fixed(name, shape, 0.2)).astype(np.float32)
    scale = 1.5 / np.sqrt(np.prod(shape[1:])) if name.endswith(("weight", "original1")) else 0.2
    return fixed(name, shape, 1.0 if "rel_attn_embed" in name else scale).astype(np.float32)


def padded(fill=0.0):
    """Return `RECORDINGS` in a batch `[recording, sample]`."""
    batch = np.full((len(LENGTHS), max(LENGTHS)), fill, np.float32)
    for row, recording in zip(batch, RECORDINGS, strict=True):
        row[: len(recording)] = recording
    return batch


def save(folder, fields, tensors):
    """Write a checkpoint as `transformers` does."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields))
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    if tensors is not None:
        save_file(tensors, folder / "model.safetensors")
    return folder
