"""Loading of pretrained weights into networks whose layers are named as in PyTorch."""

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from jaxpara.errors import Unavailable, UserError, reason
from jaxpara.models.torch_file import read_torch_file

# Networks whose ImageNet weights are on the Hugging Face hub: torchvision's own (BSD-3), republished by timm.
_ON_HUB = {name: f"timm/{name}.tv_in1k" for name in ("resnet18", "resnet34", "resnet50", "resnet101", "vgg16")}
# The others: torchvision's files; the name contains the first digits of the SHA-256.
_ON_WEB = {"alexnet": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"}
KNOWN = frozenset({*_ON_HUB, *_ON_WEB})
# Mean and standard deviation of ImageNet's colours in [0, 1], with which images are normalised for these weights.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# timm stores the dense layers of VGG as convolutions, with names that differ from torchvision's.
_TIMM_NAMES = {"pre_logits.fc1.": "classifier.0.", "pre_logits.fc2.": "classifier.3.", "head.fc.": "classifier.6."}
_HEADS = ("fc.", "classifier.")
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def load(spec: str, arch: str, variables: Mapping[str, Any], cache: Path) -> tuple[dict[str, Any], list[str]]:
    """Load pretrained weights into the variables of a network.

    Every tensor must fit, with two exceptions, which the notes report. Layers of the head that the file does not have,
    or has for other classes, keep their random start. A one-channel network gets the first kernels summed over red,
    green and blue, so that a grey image gives the output of the original for three equal channels.

    Args:
      spec: "imagenet" (downloaded on first use), or the path of a `.safetensors`, `.pth` or `.pt` file.
      arch: name of the network, as in the config: "resnet18", "alexnet", ...
      variables: "params", and "batch_stats" if the network has them, of a random start.
      cache: folder for files that do not come from the Hugging Face hub, which has its own cache.

    Returns:
      New variables of the same shapes (NumPy, float32), and notes, one line each.
    """
    path = fetch(arch, cache) if spec == "imagenet" else Path(spec)
    tensors = dict(_as_torchvision(name, tensor) for name, tensor in _read(path).items())
    starts = {torch_name(where): (where, np.asarray(x)) for where, x in traverse_util.flatten_dict(variables).items()}
    fresh = {  # layers of the head
        name.rpartition(".")[0]
        for name, (_, start) in starts.items()
        if name.startswith(_HEADS) and (name not in tensors or _as_flax(tensors[name]).shape != start.shape)
    }
    unknown = sorted(n for n in set(tensors) - set(starts) if not (n.startswith(_HEADS) or "num_batches_" in n))
    if unknown:
        raise UserError(f"{path}: has {len(unknown)} tensors that this network does not have, such as {unknown[0]!r}")
    loaded, notes = {}, []
    for name, (where, start) in starts.items():
        if name.rpartition(".")[0] in fresh:
            loaded[where] = start
            continue
        if name not in tensors:
            raise UserError(f"{path}: has no tensor {name!r}; expected the weights of this network")
        array = np.array(_as_flax(tensors[name]), np.float32)
        if array.shape[2:3] == (3,) and start.shape[2:3] == (1,):
            array = array.sum(2, keepdims=True)
            notes.append(f"{name}: kernels summed over 3 colours for 1 input channel")
        if array.shape != start.shape:
            raise UserError(
                f"{path}: {name!r} has the shape {list(tensors[name].shape)} in PyTorch's layout, which does not fit"
                f" {list(start.shape)} of this network"
            )
        loaded[where] = array
    if fresh:
        notes.append(f"{', '.join(sorted(fresh))}: random start (the file has other layers or classes there)")
    return traverse_util.unflatten_dict(loaded), notes


def fetch(arch: str, cache: Path) -> Path:
    """Return the local file with the ImageNet weights of `arch`; download it on first use."""
    if arch not in KNOWN:
        raise UserError(
            f"learner.pretrained='imagenet' is for {sorted(KNOWN)}, not for {arch!r}; give the path of a file"
        )
    try:
        if arch in _ON_HUB:
            from huggingface_hub import hf_hub_download

            return Path(hf_hub_download(_ON_HUB[arch], "model.safetensors"))
        path = cache / _ON_WEB[arch].rsplit("/", 1)[1]
        if not path.exists():
            _download(_ON_WEB[arch], path)
    except Exception as error:  # the hub's errors have no common base class
        fault = "without `pip install huggingface_hub`" if isinstance(error, ImportError) else f"({reason(error)})"
        source = _ON_WEB.get(arch) or f"model.safetensors of the Hugging Face repository {_ON_HUB[arch]}"
        raise Unavailable(
            f"learner.pretrained='imagenet': {arch} cannot be fetched {fault}; put {source} on this computer and set "
            "learner.pretrained to its path, or set it to None for a random start"
        ) from error
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    expected = path.stem.rsplit("-", 1)[1]
    if not digest.startswith(expected):
        raise UserError(f"{path}: SHA-256 starts with {digest[:8]}, expected {expected}; delete it and start again")
    return path


def _download(url: str, path: Path) -> None:
    partial = path.with_suffix(f".{os.getpid()}.part")  # several processes may download at once
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as answer, open(partial, "wb") as file:
            shutil.copyfileobj(answer, file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a `.safetensors`, `.pth` or `.pt` file by name."""
    if not path.is_file():
        raise UserError(
            f"learner.pretrained: {path} does not exist; expected a .safetensors or .pth file, or 'imagenet'"
        )
    if path.suffix in (".pth", ".pt"):
        return read_torch_file(path)
    if path.suffix != ".safetensors":
        raise UserError(f"learner.pretrained is {path}; expected a .safetensors, .pth or .pt file")
    return read_safetensors(path)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a `.safetensors` file by name."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error}); download it again") from error


def torch_name(path: tuple[str, ...]) -> str:
    """Return the name in a PyTorch state dict of the variable at `path`, such as ("params", "conv1", "kernel")."""
    if path[-1] not in _LEAVES:
        raise UserError(f"learner.pretrained: {'.'.join(path[1:])} has no name in PyTorch's files; set it to None")
    return ".".join((*path[1:-1], _LEAVES[path[-1]]))


def _as_torchvision(name: str, tensor: np.ndarray) -> tuple[str, np.ndarray]:
    for theirs, ours in _TIMM_NAMES.items():
        if name.startswith(theirs):
            flat = tensor.reshape(len(tensor), -1) if tensor.ndim == 4 else tensor
            return ours + name.removeprefix(theirs), flat
    return name, tensor


def _as_flax(tensor: np.ndarray) -> np.ndarray:
    return tensor.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim, range(tensor.ndim)))
