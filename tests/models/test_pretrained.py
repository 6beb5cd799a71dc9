"""Weights from files: what fits goes in, what does not is told, what is hostile is refused."""

import hashlib
import io
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxpara.errors import UserError
from jaxpara.models import pretrained
from jaxpara.models.batchnorm import BatchNorm
from jaxpara.models.heads import make_head
from jaxpara.models.torch_file import read_torch_file

GOLDEN = Path(__file__).parent / "golden"


class Tiny(nn.Module):
    """The parts that a state dict can have, at the smallest size."""

    head: str = "v2"
    classes: int = 2

    def setup(self):
        self.conv1 = nn.Conv(4, (3, 3), use_bias=False)
        self.bn1 = BatchNorm()
        self.fc = make_head(self.head, self.classes)

    def __call__(self, x):
        return self.fc(self.bn1(self.conv1(x)).mean((1, 2)))


def start(channels=3, **fields):
    """Variables of a random start."""
    shapes = jax.eval_shape(Tiny(**fields).init, jax.random.key(0), jnp.zeros((1, 5, 5, channels)))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes)


def state(classes=2):
    rng = np.random.default_rng(0)
    shapes = {
        "conv1.weight": (4, 3, 3, 3),
        "bn1.weight": (4,),
        "bn1.bias": (4,),
        "bn1.running_mean": (4,),
        "bn1.running_var": (4,),
        "fc.weight": (classes, 4),
        "fc.bias": (classes,),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()} | {
        "bn1.num_batches_tracked": np.array(3)
    }


def load(path, variables):
    return pretrained.load(str(path), "tiny", variables, path.parent)


def saved(tmp_path, tensors, name="net.safetensors"):
    save_file(tensors, tmp_path / name)
    return tmp_path / name


def test_every_tensor_lands_where_it_belongs(tmp_path):
    tensors = state()
    loaded, notes = load(saved(tmp_path, tensors), start())
    params = loaded["params"]
    np.testing.assert_array_equal(params["conv1"]["kernel"][1, 2, 0, 3], tensors["conv1.weight"][3, 0, 1, 2])
    np.testing.assert_array_equal(params["fc"]["kernel"], tensors["fc.weight"].T)
    np.testing.assert_array_equal(params["bn1"]["scale"], tensors["bn1.weight"])
    np.testing.assert_array_equal(params["bn1"]["bias"], tensors["bn1.bias"])
    np.testing.assert_array_equal(loaded["batch_stats"]["bn1"]["mean"], tensors["bn1.running_mean"])
    np.testing.assert_array_equal(loaded["batch_stats"]["bn1"]["var"], tensors["bn1.running_var"])
    assert jax.tree.structure(loaded) == jax.tree.structure(start())
    assert notes == []


@pytest.mark.parametrize("fields", [{"classes": 2}, {"head": "v1"}])
def test_head_of_other_classes_keeps_its_start_and_says_so(tmp_path, fields):
    variables = start(**fields)
    loaded, notes = load(saved(tmp_path, state(classes=1000)), variables)
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded["params"]["fc"], variables["params"]["fc"]))
    assert not np.array_equal(loaded["params"]["conv1"]["kernel"], variables["params"]["conv1"]["kernel"])
    (note,) = notes
    assert note.startswith("fc")
    assert "random start" in note


def test_one_channel_takes_the_sum_of_the_colours(tmp_path):
    tensors = state()
    loaded, (note,) = load(saved(tmp_path, tensors), start(channels=1))
    np.testing.assert_allclose(
        loaded["params"]["conv1"]["kernel"][:, :, 0], tensors["conv1.weight"].sum(1).transpose(1, 2, 0), rtol=1e-6
    )
    assert "summed over 3 colours" in note


def test_timm_names_of_vgg():
    fc1, fc2 = np.arange(2 * 3 * 7 * 7).reshape(2, 3, 7, 7), np.ones((5, 2, 1, 1))
    name, tensor = pretrained._as_torchvision("pre_logits.fc1.weight", fc1)
    assert name == "classifier.0.weight"
    np.testing.assert_array_equal(tensor, fc1.reshape(2, -1))  # channels first, as our embedding
    assert pretrained._as_torchvision("pre_logits.fc2.weight", fc2)[1].shape == (5, 2)
    assert pretrained._as_torchvision("pre_logits.fc2.bias", fc2[:, 0, 0, 0])[0] == "classifier.3.bias"
    assert pretrained._as_torchvision("head.fc.weight", fc2[:, :, 0, 0])[0] == "classifier.6.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn1.bias": None}, "has no tensor 'bn1.bias'"),
        ({"layer9.weight": np.zeros(1)}, "has 1 tensors that this network has not, such as 'layer9.weight'"),
        ({"conv1.weight": np.zeros((4, 3, 5, 5))}, r"'conv1.weight' is \[4, 3, 5, 5\]"),
        ({"bn1.running_var": np.zeros(5)}, r"'bn1.running_var' is \[5\]"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, change, message):
    tensors = {k: v for k, v in (state() | change).items() if v is not None}
    with pytest.raises(UserError, match=message):
        load(saved(tmp_path, tensors), start())


def test_four_channels_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"'conv1.weight' is \[4, 3, 3, 3\]"):
        load(saved(tmp_path, state()), start(channels=4))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*net\.pth"):
        load(tmp_path / "net.pth", {})
    (tmp_path / "net.h5").touch()
    with pytest.raises(UserError, match=r"none of \.safetensors, \.pth, \.pt"):
        load(tmp_path / "net.h5", {})
    whole = saved(tmp_path, state()).read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:cut])
        with pytest.raises(UserError, match="damaged"):
            load(tmp_path / "cut.safetensors", {})


# --- .pth ---------------------------------------------------------------------------------------------------------


class Global:
    """Pickles as a reference to `module.name`, called with `arguments`; a name alone where they are None."""

    def __init__(self, module, name, arguments=None):
        self.module, self.name, self.arguments = module, name, arguments


class Storage:
    def __init__(self, values, kind="FloatStorage", key="0"):
        self.values, self.kind, self.key = values, kind, key


class Writer(pickle._Pickler):
    """Writes the pickle of a `.pth` by hand, so that any name can be in it."""

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
    # make_pth.py wrote it, and beside it the same tensors as NumPy has them.
    tensors, expected = read_torch_file(GOLDEN / "tiny.pth"), np.load(GOLDEN / "tiny.npz")
    assert set(tensors) == set(expected.files)
    for name in expected.files:
        np.testing.assert_array_equal(tensors[name].astype(np.float64), expected[name])


def test_a_pth_goes_through(tmp_path):
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
    with pytest.raises(UserError, match=rf"refused, it names {name[0]}\.{name[1]}; nothing in it was executed"):
        read_torch_file(path)
    assert not ran.exists()


def test_tensors_outside_of_their_storage_are_refused(tmp_path):
    storage = Storage(np.arange(12, dtype=np.float32))
    for size, strides, offset in [((13,), (1,), 0), ((3, 4), (4, 2), 0), ((2,), (-1,), 5), ((1,), (1,), -1)]:
        path = write_pth(tmp_path / "net.pth", {"a": tensor(storage, size, strides, offset)}, [storage])
        with pytest.raises(UserError, match="reaches outside"):
            read_torch_file(path)


def test_storages_that_lie_about_their_size_are_refused(tmp_path):
    storage = Storage(np.zeros(1000, np.float32))
    content = {"a": tensor(Storage(np.zeros(999, np.float32)), (999,), (1,))}
    with pytest.raises(UserError, match="not of the size"):
        read_torch_file(write_pth(tmp_path / "net.pth", content, [storage]))
    content = {"a": tensor(storage, (1000,), (1,))}
    with pytest.raises(UserError, match="compressed"):
        read_torch_file(write_pth(tmp_path / "net.pth", content, [storage], zipfile.ZIP_DEFLATED))


def test_other_pth_files(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="older ones are not read"):
        read_torch_file(path)
    whole = (GOLDEN / "tiny.pth").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="truncated"):
        read_torch_file(path)
    with pytest.raises(UserError, match="holds no state dict"):
        read_torch_file(write_pth(path, {"epoch": 3}))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/readme.txt", "")
    with pytest.raises(UserError, match="damaged"):
        read_torch_file(path)


# --- fetching -----------------------------------------------------------------------------------------------------


def fake_hub(monkeypatch, download):
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=download))


def test_imagenet_comes_from_the_hub(monkeypatch, tmp_path):
    asked = []
    fake_hub(monkeypatch, lambda *which: asked.append(which) or str(saved(tmp_path, state())))
    assert pretrained.fetch("resnet50", tmp_path) == tmp_path / "net.safetensors"
    assert asked == [("timm/resnet50.tv_in1k", "model.safetensors")]


def test_no_network(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise ConnectionError("no route to host\nand more")

    fake_hub(monkeypatch, fail)
    with pytest.raises(
        UserError, match=r"no route to host\); put model.safetensors .* timm/resnet18.* set learner.pre"
    ) as e:
        pretrained.load("imagenet", "resnet18", {}, tmp_path)
    assert "\n" not in str(e.value)
    monkeypatch.setattr(pretrained.urllib.request, "urlopen", fail)
    with pytest.raises(UserError, match=r"alexnet-owt-7be5be79.pth cannot be fetched to .*; put it there by hand"):
        pretrained.load("imagenet", "alexnet", {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_huggingface_hub(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        pretrained.fetch("vgg16", tmp_path)


def test_checksum_of_a_download(monkeypatch, tmp_path):
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(pretrained.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(content))
    monkeypatch.setitem(pretrained._ON_WEB, "alexnet", f"https://example.org/alexnet-{digest[:8]}.pth")
    path = pretrained.fetch("alexnet", tmp_path / "cache")
    assert path.read_bytes() == content
    path.write_bytes(b"other")
    with pytest.raises(UserError, match=f"expected {digest[:8]}; delete it"):
        pretrained.fetch("alexnet", tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == [path.name]


def test_networks_without_published_weights(tmp_path):
    with pytest.raises(UserError, match=r"is for \['alexnet', .*\], not for 'preact_resnet18'; give the path"):
        pretrained.fetch("preact_resnet18", tmp_path)
