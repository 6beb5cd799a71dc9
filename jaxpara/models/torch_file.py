"""Reading of a PyTorch `.pth` file without PyTorch and without executing anything in the file."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

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


class _StorageType(NamedTuple):
    dtype: Any


class _Refused(Exception):
    """The file contains something that a file of tensors does not need."""


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a state dict by name, as read-only views.

    A `.pth` is a zip of a pickle and raw storages. The pickle may refer only to the storage types, the functions that
    make a tensor from a storage, and `OrderedDict`. This module uses its own versions of them and refuses all else.

    Args:
      path: a file of `torch.save(module.state_dict(), path)`.

    Raises:
      UserError: the file is older than PyTorch 1.6, truncated, hostile, or contains no state dict.
    """
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            start = file.read(4)
        if start == b"PK\x03\x04":
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
        (self._pickle,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        super().__init__(archive.open(self._pickle))
        self._archive = archive
        self._folder = self._pickle.removesuffix("data.pkl")
        if f"{self._folder}byteorder" in archive.namelist() and self._member("byteorder") != b"little":
            raise _Refused("its byte order is not little-endian")

    def _member(self, name: str, size: int | None = None) -> bytes:
        info = self._archive.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED or (size is not None and info.file_size != size):
            raise _Refused(f"storage {name} is compressed or does not have the size of its tensors")
        return self._archive.read(info)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise _Refused(f"it refers to {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _StorageType):
            raise _Refused(f"it refers to {kind!r} instead of a storage")
        dtype = np.dtype(storage.dtype)
        return np.frombuffer(self._member(f"data/{key}", count * dtype.itemsize), dtype)


def _rebuild_tensor(storage, offset, size, strides, requires_grad=False, hooks=None, metadata=None) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(size, strides, strict=True))
    if min((offset, *size, *strides)) < 0 or (0 not in size and last >= storage.size):
        raise _Refused("a tensor reaches outside its storage")
    strides = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _rebuild_parameter(data, requires_grad=False, hooks=None) -> np.ndarray:
    return data
