"""Reading of a PyTorch `.pth` file without PyTorch and without executing anything in the file."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from jaxpara.errors import UserError, reason

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class _Refused(Exception):
    """The file contains something that a file of tensors does not need."""


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a state dict, as `torch.save(module.state_dict(), path)` writes it, as read-only views.

    A `.pth` is a zip of a pickle and raw storages. The pickle may refer only to the storage types, the functions that
    make a tensor from a storage, and `OrderedDict`. This module uses its own versions of them and refuses all else.

    Raises:
      UserError: the file is older than PyTorch 1.6, truncated, hostile, or contains no state dict.
    """
    if not zipfile.is_zipfile(path):
        if path.read_bytes().startswith(b"PK\x03\x04"):
            raise UserError(f"{path}: truncated (a zip file without its end); download it again")
        raise UserError(
            f"{path}: not a zip file, so not a .pth of PyTorch 1.6 or later (older ones are not supported); convert it"
            " with PyTorch: torch.save(torch.load(old), new), or save it as .safetensors"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            content = _Reader(archive).load()
    except _Refused as error:
        raise UserError(
            f"{path}: refused: {error}; expected a plain state dict; nothing in the file was executed"
        ) from error
    except Exception as error:  # a broken pickle can raise nearly anything
        raise UserError(f"{path}: damaged ({reason(error)}); download it again") from error
    if not isinstance(content, dict) or not all(isinstance(value, np.ndarray) for value in content.values()):
        raise UserError(
            f"{path}: does not contain a state dict (tensors by name); save it with torch.save(net.state_dict(), path)"
        )
    return dict(content)


class _Reader(pickle.Unpickler):
    """Unpickler of `data.pkl` in the archive that accepts tensors and `OrderedDict` only."""

    def __init__(self, archive: zipfile.ZipFile):
        (name,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        super().__init__(archive.open(name))
        self._archive, self._folder = archive, name.removesuffix("data.pkl")
        if f"{self._folder}byteorder" in archive.namelist() and self._member("byteorder") != b"little":
            raise _Refused("its byte order is not little-endian")

    def _member(self, name: str, size: int | None = None) -> bytes:
        info = self._archive.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED or (size is not None and info.file_size != size):
            raise _Refused(f"storage {name} is compressed or does not have the size of its tensors")
        return self._archive.read(info)

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return name  # a string, which nothing in the file can call or change
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, requires_grad, hooks: tensor,
        }
        if (module, name) not in known:
            raise _Refused(f"it refers to {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _, count = pid
        if kind != "storage" or storage not in _DTYPES:
            raise _Refused(f"it refers to {kind!r} instead of a storage")
        dtype = np.dtype(_DTYPES[storage])
        return np.frombuffer(self._member(f"data/{key}", count * dtype.itemsize), dtype)


def _rebuild_tensor(storage, offset, size, strides, requires_grad=False, hooks=None, metadata=None) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(size, strides, strict=True))
    whole = storage.ndim == 1 and storage.flags.c_contiguous  # a tensor in its place could repeat elements
    if not whole or min((offset, *size, *strides)) < 0 or (0 not in size and last >= storage.size):
        raise _Refused("a tensor reaches outside its storage")
    strides = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
