"""PyTorch files: their tensors are read, and hostile content is refused without being executed."""

import io
import pickle
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_net import load, saved, start, state

from jaxpara.errors import UserError
from jaxpara.models.torch_file import read_torch_file

GOLDEN = Path(__file__).parent / "golden"


class Global:
    """A reference to `module.name` in a pickle, called with `arguments` unless they are None."""

    def __init__(self, module, name, arguments=None):
        self.module, self.name, self.arguments = module, name, arguments


class Storage:
    def __init__(self, values, kind="FloatStorage", key="0"):
        self.values, self.kind, self.key = values, kind, key


class Writer(pickle._Pickler):
    """A pickler that can refer to any name."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
            if obj.arguments is not None:
                self.save(obj.arguments)
                self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", Global("torch", obj.kind), obj.key, "cpu", len(obj.values))
        return None


def write_pth(path, content, storages=(), compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    Writer(buffer, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("net/data.pkl", buffer.getvalue())
        for storage in storages:
            archive.writestr(f"net/data/{storage.key}", storage.values.tobytes())
    return path


def tensor(storage, size, strides, offset=0):
    return Global("torch._utils", "_rebuild_tensor_v2", (storage, offset, size, strides, False, None))


def test_a_file_that_torch_saved():
    # make_pth.py wrote it, and the same tensors with NumPy.
    tensors, expected = read_torch_file(GOLDEN / "tiny.pth"), np.load(GOLDEN / "tiny.npz")
    assert set(tensors) == set(expected.files)
    for name in expected.files:
        np.testing.assert_array_equal(tensors[name].astype(np.float64), expected[name])


def test_a_pth_loads_as_a_safetensors_file_does(tmp_path):
    tensors = {k: v for k, v in state().items() if v.ndim}
    storages = {k: Storage(v.ravel(), key=str(i)) for i, (k, v) in enumerate(tensors.items())}
    content = {k: tensor(storages[k], v.shape, tuple(s // v.itemsize for s in v.strides)) for k, v in tensors.items()}
    path = write_pth(tmp_path / "net.pth", content, storages.values())
    by_torch, _ = load(path, start())
    by_safetensors, _ = load(saved(tmp_path, state()), start())
    assert jax.tree.all(jax.tree.map(np.array_equal, by_torch, by_safetensors))


def test_views_of_a_storage(tmp_path):
    storage = Storage(np.arange(12, dtype=np.float32))
    path = write_pth(tmp_path / "net.pth", {"a": tensor(storage, (3, 2), (1, 4), 2)}, [storage])
    np.testing.assert_array_equal(read_torch_file(path)["a"], [[2, 6], [3, 7], [4, 8]])


@pytest.mark.parametrize(
    "name",
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("numpy", "fromfile"),
        ("collections", "OrderedDict.fromkeys"),
    ],
)
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, name):
    ran = tmp_path / "ran"
    path = write_pth(tmp_path / "net.pth", {"a": Global(*name, (f"touch {ran}",))})
    with pytest.raises(
        UserError, match=rf"refused: it refers to {name[0]}\.{name[1]}; .* nothing in the file was executed"
    ):
        read_torch_file(path)
    assert not ran.exists()


def test_tensors_outside_of_their_storage_are_refused(tmp_path):
    storage = Storage(np.arange(12, dtype=np.float32))
    for size, strides, offset in [((13,), (1,), 0), ((3, 4), (4, 2), 0), ((2,), (-1,), 5), ((1,), (1,), -1)]:
        path = write_pth(tmp_path / "net.pth", {"a": tensor(storage, size, strides, offset)}, [storage])
        with pytest.raises(UserError, match="reaches outside"):
            read_torch_file(path)


def test_tensors_in_the_place_of_a_storage_are_refused(tmp_path):
    storage = Storage(np.arange(2, dtype=np.float32))
    repeated = tensor(storage, (1000,), (0,))  # more elements than the file has
    path = write_pth(tmp_path / "net.pth", {"a": tensor(repeated, (1000,), (1,))}, [storage])
    with pytest.raises(UserError, match="reaches outside"):
        read_torch_file(path)


def test_storages_with_a_wrong_size_are_refused(tmp_path):
    storage = Storage(np.zeros(1000, np.float32))
    content = {"a": tensor(Storage(np.zeros(999, np.float32)), (999,), (1,))}
    with pytest.raises(UserError, match="does not have the size"):
        read_torch_file(write_pth(tmp_path / "net.pth", content, [storage]))
    content = {"a": tensor(storage, (1000,), (1,))}
    with pytest.raises(UserError, match="compressed"):
        read_torch_file(write_pth(tmp_path / "net.pth", content, [storage], zipfile.ZIP_DEFLATED))


def test_other_pth_files(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="older ones are not supported"):
        read_torch_file(path)
    whole = (GOLDEN / "tiny.pth").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="truncated"):
        read_torch_file(path)
    with pytest.raises(UserError, match="does not contain a state dict"):
        read_torch_file(write_pth(path, {"epoch": 3}))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/readme.txt", "")
    with pytest.raises(UserError, match="damaged"):
        read_torch_file(path)
