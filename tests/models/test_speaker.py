"""The weights of the speaker encoder: what fits is loaded, and what does not is named."""

from pathlib import Path

import jax
import numpy as np
import pytest
from test_torch_file import Storage, tensor, write_pth

from jaxpara.errors import UserError
from jaxpara.models import speaker
from jaxpara.models.torch_file import read_torch_file

SMALL = Path(__file__).parent / "golden" / "speaker.pt"  # made by make_speaker.py


def written(path, change):
    """Write the tensors of SMALL after a change, in the format of PyTorch 1.6 and later."""
    tensors = dict(read_torch_file(SMALL, "model_state"))
    change(tensors)
    storages = {k: Storage(np.ascontiguousarray(v).ravel(), key=str(i)) for i, (k, v) in enumerate(tensors.items())}
    state = {
        k: tensor(storages[k], v.shape, tuple(s // v.itemsize for s in np.ascontiguousarray(v).strides))
        for k, v in tensors.items()
    }
    return write_pth(path, {"model_state": state}, storages.values())


def test_both_formats_of_pytorch_give_the_same_encoder(tmp_path):
    old, new = speaker.load(SMALL), speaker.load(written(tmp_path / "new.pt", lambda tensors: None))
    assert old[0] == new[0] == speaker.GE2E(layers=2, units=6, size=7)
    assert jax.tree.all(jax.tree.map(np.array_equal, old[1], new[1]))


def test_the_default_has_the_size_of_the_pretrained_encoder():
    shapes = jax.eval_shape(speaker.GE2E().init, jax.random.key(0), np.zeros((1, 160, 40)))
    # 4 x 256 gates x (inputs + 256 states + 1 bias; PyTorch's second bias is added to it), and the dense layer
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 1024 * (40 + 256 + 1 + 2 * (512 + 1)) + 257 * 256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("lstm.bias_hh_l1"), r"has no tensor 'lstm\.bias_hh_l1'; expected the weights of a GE2E"),
        (lambda t: t.pop("linear.bias"), r"has no tensor 'linear\.bias'"),
        (lambda t: t.pop("lstm.weight_hh_l0"), "has no tensor 'lstm"),
        (
            lambda t: t.update({"conv.weight": np.zeros((2, 2), np.float32)}),
            r"1 tensors that a GE2E speaker encoder lacks, such as 'conv\.weight'",
        ),
        (
            lambda t: t.update({"lstm.weight_ih_l0": np.zeros((24, 80), np.float32)}),
            r"'lstm\.weight_ih_l0' has the shape \[24, 80\], expected \[24, 40\] .* 40 Mel bands, 6 units",
        ),
        (lambda t: t.update({"linear.weight": np.zeros((7, 9), np.float32)}), r"\[7, 9\], expected \[7, 6\]"),
        (lambda t: t.clear(), "has no tensor"),
    ],
)
def test_other_tensors_are_refused(tmp_path, change, message):
    path = written(tmp_path / "net.pt", change)
    with pytest.raises(UserError, match=message):
        speaker.load(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"does not contain a state dict 'model_state' .* torch\.save\(\{'model_state'"):
        speaker.load(Path(__file__).parent / "golden" / "tiny.pth")
