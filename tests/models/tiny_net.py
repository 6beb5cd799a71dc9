"""A tiny network with all parts that a state dict can have, and such a state dict."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from jaxpara.models import pretrained
from jaxpara.models.layers import BatchNorm, make_head


class Tiny(nn.Module):
    """A convolution, BatchNorm and a head."""

    head: str = "v2"
    classes: int = 2

    def setup(self):
        self.conv1 = nn.Conv(4, (3, 3), use_bias=False)
        self.bn1 = BatchNorm()
        self.fc = make_head(self.head, self.classes)

    def __call__(self, x):
        return self.fc(self.bn1(self.conv1(x)).mean((1, 2)))


def start(channels=3, **fields):
    """Return variables of a random start."""
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
