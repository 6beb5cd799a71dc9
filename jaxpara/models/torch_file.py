"""Reading of a PyTorch `.pth` or `.pt` file without PyTorch and without executing anything in the file."""

import pickle
import zipfile
from collections import OrderedDict
from io import BufferedReader
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


# Files older than PyTorch 1.6 begin with this pickled number, `MAGIC_NUMBER` of torch/serialization.py.
_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


class _Refused(Exception):
    """The file contains something that a file of tensors does not need."""


def read_torch_file(path: Path, part: str = "") -> dict[str, np.ndarray]:
    """Return the tensors of a state dict, as `torch.save(module.state_dict(), path)` writes it, as read-only views.

    A file of PyTorch 1.6 or later is a zip of a pickle and raw storages; an older one has pickles, and the storages
    after them. The pickles may refer only to the storage types, the functions that make a tensor from a storage, and
    `OrderedDict`. This module uses its own versions of them and refuses all else.

    Args:
      part: key of the state dict in a checkpoint that has other entries too; empty if the file is the state dict.

    Raises:
      UserError: the file is not PyTorch's, truncated, hostile, or contains no state dict.
    """
    zipped = zipfile.is_zipfile(path)
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
        file.seek(0)
        if not zipped and head.startswith(b"PK\x03\x04"):
            raise UserError(f"{path}: truncated (a zip file without its end); download it again")
        if not zipped and head != _MAGIC:
            raise UserError(
                f"{path}: not a file of PyTorch; save it with torch.save(net.state_dict(), path), or as .safetensors"
            )
        try:
            if zipped:
                with zipfile.ZipFile(file) as archive:
                    content = _ZipReader(archive).load()
            else:
                content = _read_before_1_6(file, path.stat().st_size)
        except _Refused as error:
            raise UserError(
                f"{path}: refused: {error}; expected a plain state dict; nothing in the file was executed"
            ) from error
        except Exception as error:  # a broken pickle can raise nearly anything
            raise UserError(f"{path}: damaged ({reason(error)}); download it again") from error
    if part:
        content = content.get(part) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not all(isinstance(value, np.ndarray) for value in content.values()):
        what, to_save = ("state dict", "net.state_dict()")
        if part:
            what, to_save = (f"state dict {part!r}", f"{{{part!r}: net.state_dict()}}")
        raise UserError(
            f"{path}: does not contain a {what} (tensors by name); save it with torch.save({to_save}, path)"
        )
    return dict(content)


def _read_before_1_6(file: BufferedReader, size: int) -> Any:
    """Return the content of a file older than PyTorch 1.6: five pickles, and storages, each after its length."""
    _, protocol, system = (_Reader(file).load() for _ in range(3))  # the first is _MAGIC
    if protocol != 1001 or system["little_endian"] is not True:
        raise _Refused(f"it has protocol {protocol!r} or is not little-endian")
    reader = _StreamReader(file, size)
    content, keys = reader.load(), _Reader(file).load()
    if sorted(keys) != sorted(reader.storages):
        raise _Refused("its storages are not those of its tensors")
    for key in keys:
        storage = reader.storages[key]
        if len(length := file.read(8)) == 8 and int.from_bytes(length, "little") != len(storage):
            raise _Refused(f"storage {key} does not have the size of its tensors")
        if len(numbers := file.read(storage.nbytes)) != storage.nbytes:
            raise EOFError(f"storage {key} is truncated")
        storage[:] = np.frombuffer(numbers, storage.dtype)
    return content


class _Reader(pickle.Unpickler):
    """Unpickler that accepts tensors and `OrderedDict` only; a subclass finds their storages."""

    def _storage(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        raise _Refused("a tensor is in the wrong place")

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
        kind, storage, key, _, count, *view = pid
        if kind != "storage" or storage not in _DTYPES or any(view):
            raise _Refused(f"it refers to {kind!r} instead of a storage")
        return self._storage(key, np.dtype(_DTYPES[storage]), count)


class _ZipReader(_Reader):
    """Reader of `data.pkl` in an archive, which has a member per storage."""

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

    def _storage(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        return np.frombuffer(self._member(f"data/{key}", count * dtype.itemsize), dtype)


class _StreamReader(_Reader):
    """Reader of a pickle whose storages come after it in the file, and are made here to be filled.

    Attributes:
      storages: by key.
    """

    def __init__(self, file: BufferedReader, size: int):
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}
        self._left = size  # bytes in the file that no storage has taken yet

    def _storage(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        if key not in self.storages:
            self._left -= count * dtype.itemsize
            if count < 0 or self._left < 0:
                raise EOFError(f"storage {key} is larger than the rest of the file")
            self.storages[key] = np.zeros(count, dtype)
        storage = self.storages[key]
        if storage.dtype != dtype or len(storage) != count:
            raise _Refused(f"storage {key} has two sizes or types")
        return storage


def _rebuild_tensor(storage, offset, size, strides, requires_grad=False, hooks=None, metadata=None) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(size, strides, strict=True))
    whole = storage.ndim == 1 and storage.flags.c_contiguous  # a tensor in its place could repeat elements
    if not whole or min((offset, *size, *strides)) < 0 or (0 not in size and last >= storage.size):
        raise _Refused("a tensor reaches outside its storage")
    strides = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
