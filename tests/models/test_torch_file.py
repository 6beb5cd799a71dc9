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
    with pytest.raises(UserError, match="not a file of PyTorch; save it with"):
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


# Files older than PyTorch 1.6: make_speaker.py wrote this one, a state dict next to the state of an optimizer.

OLD = GOLDEN / "speaker.pt"


def test_an_old_file_of_torch():
    tensors = read_torch_file(OLD, "model_state")
    assert tensors["lstm.weight_ih_l0"].shape == (24, 40)
    assert not tensors["lstm.weight_ih_l0"].flags.writeable
    np.testing.assert_allclose(tensors["similarity_weight"], [10], atol=2e-3)  # after a step of Adam
    torch = pytest.importorskip("torch")
    expected = torch.load(OLD, weights_only=True)["model_state"]
    assert tensors.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(tensors[name], values.numpy())


def test_only_the_asked_part_has_to_be_a_state_dict():
    for part in ("", "step", "optimizer_state", "nothing"):
        with pytest.raises(UserError, match="does not contain a state dict"):
            read_torch_file(OLD, part)


def test_truncated_old_files(tmp_path):
    path, whole = tmp_path / "net.pt", OLD.read_bytes()
    for size in range(30, len(whole), 101):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="damaged"):
            read_torch_file(path, "model_state")


def write_old(path, content, storages, keys=None, protocol=1001, little_endian=True):
    """Write what `_legacy_save` of torch/serialization.py writes; keys and sizes may be wrong."""
    with path.open("wb") as file:
        for each in (OLD_MAGIC, protocol, {"little_endian": little_endian}):
            pickle.dump(each, file, protocol=2)
        OldWriter(file, protocol=2).dump(content)
        pickle.dump([storage.key for storage in storages] if keys is None else keys, file, protocol=2)
        for storage in storages:
            file.write(len(storage.values).to_bytes(8, "little") + storage.values.tobytes())
    return path


OLD_MAGIC = 0x1950A86A20F9469CFC6C


class OldWriter(Writer):
    def persistent_id(self, obj):
        pid = super().persistent_id(obj)
        return pid and (*pid, None)


def test_views_of_a_storage_in_an_old_file(tmp_path):
    storage, other = Storage(np.arange(12, dtype=np.float32)), Storage(np.arange(2), "LongStorage", key="1")
    content = {
        "a": tensor(storage, (3, 2), (1, 4), 2),
        "b": tensor(storage, (2,), (1,)),
        "c": tensor(other, (2,), (1,)),
    }
    found = read_torch_file(write_old(tmp_path / "net.pt", content, [other, storage]))
    np.testing.assert_array_equal(found["a"], [[2, 6], [3, 7], [4, 8]])
    np.testing.assert_array_equal(found["b"], [0, 1])
    np.testing.assert_array_equal(found["c"], [0, 1])


def test_a_hostile_old_file_is_refused_and_not_run(tmp_path):
    ran = tmp_path / "ran"
    path = write_old(tmp_path / "net.pt", {"a": Global("os", "system", (f"touch {ran}",))}, [])
    with pytest.raises(UserError, match=r"refused: it refers to os\.system; .* nothing in the file was executed"):
        read_torch_file(path)
    storage = Storage(np.zeros(4, np.float32))
    content = {"a": tensor(storage, (4,), (1,))}
    for wrong, message in [
        ({"storages": []}, "not those of its tensors"),
        ({"storages": [storage], "keys": ["0", "0"]}, "not those of its tensors"),
        ({"storages": [Storage(np.zeros(3, np.float32))]}, "does not have the size"),
        ({"storages": [storage], "protocol": 1002}, "protocol 1002"),
        ({"storages": [storage], "little_endian": False}, "little-endian"),
    ]:
        with pytest.raises(UserError, match=message):
            read_torch_file(write_old(path, content, **wrong))
    # A length that would fill the memory.
    huge = Storage(range(10**12))
    pieces = {"a": tensor(huge, (4,), (1,))}
    with pytest.raises(UserError, match="larger than the rest of the file"):
        read_torch_file(write_old(path, pieces, [], keys=["0"]))
    assert not ran.exists()
