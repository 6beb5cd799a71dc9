"""Checkpoints of speech encoders: both forms of weights, several files, the Hub, and files that do not fit."""

import json
from pathlib import Path

import huggingface_hub
import jax
import numpy as np
import pytest
from golden1d import load
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.numpy import save_file
from test_torch_file import Global, Storage, write_pth
from test_torch_file import tensor as torch_tensor
from tiny_speech import VARIANTS, save, tensor

from jaxpara.errors import Unavailable, UserError
from jaxpara.models import speech

FIELDS = VARIANTS["wavlm_base"]


@pytest.fixture(scope="module")
def tensors():
    shapes = json.loads(str(load("speech")["wavlm_base/shapes"]))
    return {name: tensor(name, shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def expected(tensors, tmp_path_factory):
    return speech.load(str(save(tmp_path_factory.mktemp("plain"), FIELDS, tensors)))


def assert_loads_as(expected, folder):
    config, variables = speech.load(str(folder))
    assert config == expected[0]
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, expected[1]))


def test_tensors_are_in_their_places(tensors, expected):
    config, variables = expected
    assert (config.model_type, config.hidden_size, config.conv_kernel) == ("wavlm", 16, (10, 3, 2))
    params = variables["params"]
    conv = params["feature_extractor"]["conv_layers.1"]["conv"]["kernel"]
    assert conv[2, 3, 5] == tensors["feature_extractor.conv_layers.1.conv.weight"][5, 3, 2]
    layer = params["encoder"]["layers.0"]
    query = tensors["encoder.layers.0.attention.q_proj.weight"]
    np.testing.assert_array_equal(layer["attention"]["q_proj"]["kernel"], query.T)
    embed = tensors["encoder.layers.0.attention.rel_attn_embed.weight"]
    np.testing.assert_array_equal(layer["attention"]["rel_attn_embed"]["embedding"], embed)
    start = jax.eval_shape(speech.SpeechEncoder(config).init, jax.random.key(0), np.zeros((1, 100), np.float32))
    assert jax.tree.structure(start) == jax.tree.structure(variables)


def test_old_names_of_weight_norm_and_a_head(tmp_path, tensors, expected):
    new, old = "parametrizations.weight.original", ("weight_g", "weight_v")
    renamed = {f"wavlm.{k.replace(new + '0', old[0]).replace(new + '1', old[1])}": v for k, v in tensors.items()}
    renamed |= {"lm_head.weight": np.zeros((5, 16), np.float32), "project_q.bias": np.zeros(5, np.float32)}
    assert any("weight_g" in name for name in renamed)
    assert_loads_as(expected, save(tmp_path, FIELDS, renamed))


def write_bin(path, tensors):
    storages = {k: Storage(v.ravel(), key=str(i)) for i, (k, v) in enumerate(tensors.items())}
    content = {
        k: torch_tensor(storages[k], v.shape, tuple(s // v.itemsize for s in v.strides)) for k, v in tensors.items()
    }
    write_pth(path, content, storages.values())


def test_a_file_of_pytorch(tmp_path, tensors, expected):
    write_bin(save(tmp_path, FIELDS, None) / "pytorch_model.bin", tensors)
    assert_loads_as(expected, tmp_path)


@pytest.mark.parametrize(("suffix", "index"), [("safetensors", "model"), ("bin", "pytorch_model")])
def test_several_files(tmp_path, tensors, expected, suffix, index):
    save(tmp_path, FIELDS, None)
    names = sorted(tensors)
    parts = {f"part-1.{suffix}": names[:20], f"part-2.{suffix}": names[20:]}
    for file, part in parts.items():
        write = save_file if suffix == "safetensors" else lambda tensors, path: write_bin(path, tensors)
        write({name: tensors[name] for name in part}, tmp_path / file)
    where = {name: file for file, part in parts.items() for name in part}
    (tmp_path / f"{index}.{suffix}.index.json").write_text(json.dumps({"weight_map": where}))
    assert_loads_as(expected, tmp_path)
    (tmp_path / f"part-2.{suffix}").unlink()
    with pytest.raises(UserError, match=rf"lists part-2\.{suffix}, which is not in the folder"):
        speech.load(str(tmp_path))


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": {"a": "../elsewhere.bin"}}', '{"weight_map": {"a": 3}}'])
def test_a_bad_index(tmp_path, index):
    save(tmp_path, FIELDS, None)
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UserError, match=r"index\.json: (damaged|lists \['\.\./elsewhere\.bin'\])"):
        speech.load(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.layer_norm.bias": None}, r"has no 'encoder\.layer_norm\.bias'; expected the tensors of a wavlm"),
        ({"encoder.layers.2.x": np.zeros(1)}, r"has what .* 2 layers does not have: 'encoder\.layers\.2\.x'"),
        (
            {"feature_extractor.conv_layers.1.conv.weight": np.zeros((16, 16, 4))},
            r"'feature_extractor\.conv_layers\.1\.conv\.weight' has the shape \[16, 16, 4\], expected \[16, 16, 3\]",
        ),
        ({"encoder.layers.0.attention.rel_attn_embed.weight": np.zeros((3, 2))}, r"shape \[3, 2\], expected \[16, 2\]"),
        ({f"more{i}": np.zeros(1) for i in range(5)}, r"'more0', 'more1', 'more2' and 2 more; expected"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, tensors, change, message):
    changed = {k: v for k, v in (tensors | change).items() if v is not None}
    with pytest.raises(UserError, match=message) as error:
        speech.load(str(save(tmp_path, FIELDS, changed)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "config",
            {"model_type": "whisper"},
            r"config\.json: model_type is 'whisper', expected 'wav2vec2' or 'hubert' or ",
        ),
        ("config", {"add_adapter": True}, r"config\.json: add_adapter is True, expected False"),
        ("config", {"adapter_attn_dim": 16}, "adapter_attn_dim is 16"),
        ("config", {"conv_pos_batch_norm": True}, "conv_pos_batch_norm is True"),
        ("config", {"feat_extract_norm": "batch"}, "feat_extract_norm is 'batch'"),
        ("config", {"hidden_act": "swish"}, "hidden_act is 'swish', expected 'gelu' or 'relu'"),
        ("config", {"hidden_size": "16"}, "hidden_size is '16', expected a whole number, at least 1"),
        ("config", {"hidden_size": 15}, "hidden_size is 15, expected a multiple of num_attention_heads"),
        ("config", {"conv_bias": 1}, "conv_bias is 1, expected true or false"),
        ("config", {"conv_dim": [16, 0, 16]}, r"conv_dim is \[16, 0, 16\], expected a list of whole numbers"),
        ("config", {"conv_stride": [5, 2]}, "conv_dim, conv_kernel and conv_stride differ in length"),
        ("config", {"layerdrop": 2}, "layerdrop is 2, expected a number from 0 to 1"),
        (
            "preprocessor_config",
            {"sampling_rate": 8000},
            r"preprocessor_config\.json: sampling_rate is 8000, expected 16000",
        ),
        ("preprocessor_config", {"do_normalize": "yes"}, "do_normalize is 'yes', expected true or false"),
        ("preprocessor_config", {"feature_extractor_type": "Mel"}, "feature_extractor_type is 'Mel'"),
    ],
)
def test_fields_that_are_not_supported(tmp_path, file, change, message):
    path = save(tmp_path, FIELDS, None) / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message) as error:
        speech.load(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_config_of_all_fields_that_transformers_writes_is_read(tmp_path):
    # Fields of heads, losses and tokens do not matter.
    others = {"architectures": ["WavLMForCTC"], "vocab_size": 32, "tdnn_dim": [512, 1500], "add_adapter": False}
    save(tmp_path, FIELDS | others | {"adapter_attn_dim": None, "final_dropout": 0.1}, None)
    with pytest.raises(UserError, match=r"has no weights, expected one of \['model\.safetensors'"):
        speech.load(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", '{"model_type": "wav', "damaged"),
        ("config.json", "[]", "has no field 'model_type'"),
        ("config.json", None, r"config\.json: not found"),
        ("preprocessor_config.json", None, r"preprocessor_config\.json: not found; it is the feature extractor's"),
        ("preprocessor_config.json", '{"sampling_rate": 16000}', "has no field"),
        ("model.safetensors", "x" * 100, "damaged, or not a safetensors file"),
        ("pytorch_model.bin", "PK\x03\x04", "truncated"),
    ],
)
def test_damaged_files(tmp_path, file, content, message):
    save(tmp_path, FIELDS, None)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        speech.load(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_truncated_file(tmp_path, tensors):
    path = save(tmp_path, FIELDS, tensors) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        speech.load(str(tmp_path))


def test_hostile_weights_are_refused_and_not_run(tmp_path):
    ran = tmp_path / "ran"
    write_pth(save(tmp_path, FIELDS, None) / "pytorch_model.bin", {"a": Global("os", "system", (f"touch {ran}",))})
    with pytest.raises(UserError, match=r"refused: it refers to os\.system"):
        speech.load(str(tmp_path))
    assert not ran.exists()


def fake_hub(monkeypatch, folder, asked):
    def download(repository, file):
        asked.append((repository, file))
        if not (folder / file).exists():
            raise LocalEntryNotFoundError(f"no {file}")
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


def test_the_hub(monkeypatch, tmp_path, tensors, expected):
    asked = []
    fake_hub(monkeypatch, save(tmp_path, FIELDS, None), asked)
    write_bin(tmp_path / "pytorch_model.bin", tensors)
    assert_loads_as(expected, "someone/wavlm")
    files = ["config.json", "preprocessor_config.json", "model.safetensors", "model.safetensors.index.json"]
    assert asked == [("someone/wavlm", file) for file in [*files, "pytorch_model.bin"]]


def test_several_files_on_the_hub(monkeypatch, tmp_path, tensors, expected):
    asked = []
    fake_hub(monkeypatch, save(tmp_path, FIELDS, None), asked)
    save_file(tensors, tmp_path / "all.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "all.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_loads_as(expected, "someone/wavlm")
    assert asked[-1] == ("someone/wavlm", "all.safetensors")


def test_no_network_and_no_folder(monkeypatch, tmp_path):
    fake_hub(monkeypatch, tmp_path, [])
    with pytest.raises(
        Unavailable, match=r"'someone/wavlm': neither a folder here nor .* \(no config\.json\); put"
    ) as e:
        speech.load("someone/wavlm")
    assert "\n" not in str(e.value)
    save(tmp_path, FIELDS, None)
    with pytest.raises(Unavailable, match=r"no pytorch_model\.bin\.index\.json"):
        speech.load("someone/wavlm")


def test_checksum_of_a_download(monkeypatch, tmp_path):
    save(tmp_path, FIELDS, None)
    blob = tmp_path / ("0" * 64)  # the Hub names large files after their SHA-256
    blob.write_bytes(b"weights")
    (tmp_path / "model.safetensors").symlink_to(blob)
    fake_hub(monkeypatch, tmp_path, [])
    with pytest.raises(UserError, match=r"SHA-256 is [0-9a-f]{64}, expected the file's name; delete it"):
        speech.load("someone/wavlm")


def test_a_name_that_is_none(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="neither a folder here nor"):
        speech.load(str(Path("no") / "such" / "folder"))
