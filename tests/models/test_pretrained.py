"""Pretrained weights: conversion by name, notes, downloads, and files that do not fit."""

import hashlib
import io
import os
import sys
import types

import jax
import numpy as np
import pytest
from tiny_net import load, saved, start, state

from jaxpara.errors import UserError
from jaxpara.models import pretrained


def test_every_tensor_is_loaded_into_its_variable(tmp_path):
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
def test_head_of_other_classes_keeps_its_random_start(tmp_path, fields):
    variables = start(**fields)
    loaded, notes = load(saved(tmp_path, state(classes=1000)), variables)
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded["params"]["fc"], variables["params"]["fc"]))
    assert not np.array_equal(loaded["params"]["conv1"]["kernel"], variables["params"]["conv1"]["kernel"])
    (note,) = notes
    assert note.startswith("fc")
    assert "random start" in note


def test_one_channel_gets_the_sum_of_the_colours(tmp_path):
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
        ({"layer9.weight": np.zeros(1)}, "has 1 tensors that this network does not have, such as 'layer9.weight'"),
        ({"conv1.weight": np.zeros((4, 3, 5, 5))}, r"'conv1.weight' has the shape \[4, 3, 5, 5\]"),
        ({"bn1.running_var": np.zeros(5)}, r"'bn1.running_var' has the shape \[5\]"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, change, message):
    tensors = {k: v for k, v in (state() | change).items() if v is not None}
    with pytest.raises(UserError, match=message):
        load(saved(tmp_path, tensors), start())


def test_four_channels_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"'conv1.weight' has the shape \[4, 3, 3, 3\]"):
        load(saved(tmp_path, state()), start(channels=4))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"net\.pth does not exist; expected"):
        load(tmp_path / "net.pth", {})
    (tmp_path / "net.h5").touch()
    with pytest.raises(UserError, match=r"net\.h5; expected a \.safetensors, \.pth or \.pt file"):
        load(tmp_path / "net.h5", {})
    whole = saved(tmp_path, state()).read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:cut])
        with pytest.raises(UserError, match="damaged"):
            load(tmp_path / "cut.safetensors", {})


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
    with pytest.raises(UserError, match=r"alexnet cannot be fetched \(no route to host\); put https:.*be5be79.pth on"):
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
