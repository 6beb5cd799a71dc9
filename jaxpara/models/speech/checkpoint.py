"""Loading of the checkpoints of speech encoders that `transformers` writes, from a folder or the Hugging Face Hub."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxpara.errors import Unavailable, UserError, reason
from jaxpara.models.pretrained import read_safetensors
from jaxpara.models.speech.architecture import SpeechConfig, read_config
from jaxpara.models.speech.encoder import SpeechEncoder
from jaxpara.models.torch_file import read_torch_file

# Weights in the order of preference; an index lists the files of a large checkpoint.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# The licence of the published checkpoints of each family.
LICENCES = {
    "wav2vec2": "Apache-2.0 on the Hub for those of facebook/",
    "hubert": "Apache-2.0 on the Hub for those of facebook/",
    "wavlm": "MIT by its authors for those of microsoft/; their model cards on the Hub name no licence of their own",
}
_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
# New names in PyTorch of the two parts of a weight-normalised kernel.
_PARAMETRIZATIONS = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def load(source: str) -> tuple[SpeechConfig, dict[str, Any]]:
    """Load a pretrained encoder; nothing in its files is executed.

    Args:
      source: a folder as `save_pretrained` of a model and its feature extractor writes it; or a name on the Hugging
        Face Hub, such as "microsoft/wavlm-base-plus", which is downloaded into the Hub's own cache on first use.

    Returns:
      The configuration, and the variables of `SpeechEncoder(config)` (NumPy, float32). Heads are left out.

    Raises:
      Unavailable: the Hub cannot be reached, or has no such checkpoint.
      UserError: the architecture is not supported, or a file is damaged, or a tensor is missing, too many or misshapen.
    """
    folder = Path(source) if Path(source).is_dir() else fetch(source)
    config = read_config(folder)
    path = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if path is None:
        raise UserError(f"{folder}: has no weights, expected one of {list(WEIGHTS)}")
    return config, _as_variables(path, _read(path), config)


def fetch(name: str) -> Path:
    """Return the folder in the Hub's cache with the files of a checkpoint; download what is not there yet."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # without a network it warns before the error below

    def download(file: str) -> Path:
        path = Path(hf_hub_download(name, file))
        _require_digest(path)
        return path

    try:
        folder = download("config.json").parent
        download("preprocessor_config.json")
        for file in WEIGHTS:
            try:
                path = download(file)
            except EntryNotFoundError:  # also without a network, if the file is not in the cache
                if file == WEIGHTS[-1]:
                    raise
                continue
            for part in _parts(path) if path.suffix == ".json" else ():
                download(part)
            return folder
    except UserError:
        raise
    except Exception as error:  # the hub's errors have no common base class
        raise Unavailable(
            f"checkpoint {name!r}: neither a folder here nor to be had from the Hugging Face Hub ({reason(error)}); put"
            f" config.json, preprocessor_config.json and {WEIGHTS[0]} (or {WEIGHTS[2]}) of {name} into a folder on this"
            " computer and give its path"
        ) from error
    raise AssertionError


def _require_digest(path: Path) -> None:
    """Raise a UserError if a large file in the Hub's cache differs from its SHA-256, which is its name there."""
    stored = path.resolve()
    if len(stored.name) == 64:
        with open(stored, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != stored.name:
            raise UserError(f"{stored}: SHA-256 is {digest}, expected the file's name; delete it and start again")


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file, or of the files that an index lists, by name."""
    if path.suffix != ".json":
        return read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    tensors = {}
    for name in _parts(path):
        if not (path.parent / name).is_file():
            raise UserError(f"{path}: lists {name}, which is not in the folder; download it")
        tensors |= _read(path.parent / name)
    return tensors


def _parts(index: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        valid = all(name == Path(name).name and Path(name).suffix in (".safetensors", ".bin") for name in names)
    except Exception as error:  # other JSON than expected fails in many ways
        raise UserError(f"{index}: damaged ({reason(error)}); download it again") from error
    if not valid:
        raise UserError(f"{index}: lists {names}, expected names of .safetensors or .bin files in the same folder")
    return names


def _as_variables(path: Path, tensors: dict[str, np.ndarray], config: SpeechConfig) -> dict[str, Any]:
    """Rename and transpose the tensors of a checkpoint to the variables of its network; all must fit."""
    prefix = f"{config.model_type}."
    if any(name.startswith(prefix) for name in tensors):  # saved with a head, whose tensors have other prefixes
        tensors = {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
    for new, old in _PARAMETRIZATIONS.items():
        tensors = {name.replace(new, old): x for name, x in tensors.items()}
    expected = {_hub_name(where): (where, shape) for where, shape in _shapes(config).items()}
    # Only masking needs this vector, and some checkpoints have it without masking.
    unknown = sorted(set(tensors) - set(expected) - {"masked_spec_embed"})
    missing = sorted(set(expected) - set(tensors))
    kind = f"a {config.model_type} network with {config.num_hidden_layers} layers"
    for names, problem in ((missing, "has no"), (unknown, f"has what {kind} does not have:")):
        if names:
            shown = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise UserError(f"{path}: {problem} {shown}; expected the tensors of {kind} as in config.json")
    params = {}
    for name, (where, shape) in expected.items():
        tensor = tensors[name]
        params[where] = np.array(_turned(where, tensor), np.float32, order="C")
        if params[where].shape != shape:
            wanted = _turned(where, np.empty(shape, bool)).shape
            raise UserError(
                f"{path}: {name!r} has the shape {list(tensor.shape)}, expected {list(wanted)} by config.json"
            )
    return {"params": traverse_util.unflatten_dict(params)}


def _shapes(config: SpeechConfig) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Return the shape of each parameter by its path."""
    shortest = jnp.zeros((1, config.receptive_field))
    made: Any = jax.eval_shape(SpeechEncoder(config).init, jax.random.key(0), shortest)
    return {where: leaf.shape for where, leaf in dict[Any, Any](traverse_util.flatten_dict(made["params"])).items()}


def to_hub(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return parameters, or their gradients, with the names (the old ones of weight norm) and axes of a checkpoint."""
    flat: dict[Any, Any] = traverse_util.flatten_dict(params)
    return {_hub_name(where): np.ascontiguousarray(_turned(where, np.asarray(x))) for where, x in flat.items()}


def _hub_name(path: tuple[str, ...]) -> str:
    return ".".join((*path[:-1], _LEAVES.get(path[-1], path[-1])))


def _turned(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    """Reverse the axes of a kernel, whose outputs are last here and first in PyTorch."""
    return array.T if path[-1] in ("kernel", "weight_g", "weight_v") else array
