"""The network of Breathing system 4: log-Mel strip -> ResNet18 over 1-s pieces -> GRU -> belt signal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array, lax

from jaxpara.errors import UserError
from jaxpara.models.dropout import Dropout
from jaxpara.models.preact_resnet import PreActResNet18
from jaxpara.models.pretrained import IMAGENET_MEAN, IMAGENET_STD
from jaxpara.models.recurrent import GRU, glorot
from jaxpara.models.resnet import ResNet18, StagedNet
from jaxpara.models.sequence import OUTPUTS
from jaxpara.registry import require_one_of


class Backbone(NamedTuple):
    """A network for pieces, its stem and stages 1 and 2, and what halves time after its first convolution."""

    make: Callable[..., StagedNet]
    frozen: tuple[str, ...]
    halving: tuple[str, ...]


BACKBONES = {
    "resnet18": Backbone(
        ResNet18,
        frozen=("conv1", "bn1", "layer1", "layer2"),
        halving=("bn1", "layer2", "layer3", "layer4"),
    ),
    "preact_resnet18": Backbone(
        PreActResNet18,
        frozen=("bn_data", "conv0", "bn0", "stage1", "stage2"),
        halving=("bn0", "stage2", "stage3", "stage4"),
    ),
}


class ResNetGRU(nn.Module):
    """ResNet18 and GRU over a log-Mel strip, one output every `samples_per_output` frames.

    The strip brings the context of its first and last labels: `context_frames` more than two frames a label. Label i
    is told from the piece of frames 2i to 2i + piece_frames, a grey picture with the bands as rows.

    Two trunks have the same parameters but are two functions; train one and predict with the same:
      - "pieces": each piece is a picture of its own. Pieces go through in chunks, so that memory is that of one chunk.
        In training, BatchNorm takes the statistics of a chunk and follows them chunk by chunk (Keras's
        `TimeDistributed` takes those of all pieces at once). All chunks are of one size: the largest that divides
        the number of pieces and is at most `chunk`. Predictions do not depend on it.
      - "dense": the whole strip is one picture, and of every stride along time but the first all phases are kept, so
        that every second frame has a column of its own; a label is the mean of the columns that its piece would have
        (16 apart). Several times cheaper, but a column sees what is around (at most 217 frames on either side) where
        a piece ends in zeros, and BatchNorm takes the statistics of the whole strip.

    What the frozen stages make of pieces can be computed once and kept: `frozen_maps` gives it, and the network takes
    it instead of the strip.

    Attributes:
      backbone: "resnet18" (torchvision's), or "preact_resnet18" (the Keras port of the published scripts).
      normalise: "imagenet" for torchvision's weights; "none", values of 0 to 255, for those of the Keras port.
      frozen: the backbone's first few stages that are never trained; None for its stem and stages 1 and 2.
      trunk: "pieces" or "dense".
      piece_frames: frames in a piece; 50 are 1 s.
      chunk: pieces that are gone through at once, at most.
      gru: size of each GRU layer.
      dropout: rate before each GRU layer.
      output: activation of the last layer, "tanh" or "linear".
      axis_name: device axis of synchronised BatchNorm.

    Reference: paper §3.2.2 ("ResNet18 + GRU"); backbone of the authors' published scripts. The activation of the
    output is not published: tanh as in the other systems.
    """

    backbone: str = "resnet18"
    normalise: str = "imagenet"
    frozen: Sequence[str] | None = None
    trunk: str = "pieces"
    piece_frames: int = 50
    chunk: int = 100
    gru: tuple[int, ...] = (512, 64)
    dropout: float = 0.3
    output: str = "tanh"
    axis_name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.backbone", self.backbone, BACKBONES)
        require_one_of("model.normalise", self.normalise, ("imagenet", "none"))
        require_one_of("model.trunk", self.trunk, ("pieces", "dense"))
        require_one_of("model.output", self.output, OUTPUTS)
        if self.piece_frames < 2 or self.chunk < 1:
            raise UserError(
                f"model.piece_frames is {self.piece_frames} and model.chunk {self.chunk}, expected at least 2 and 1"
            )

    def setup(self):
        self.resnet = BACKBONES[self.backbone].make(frozen=self.frozen_stages, axis_name=self.axis_name)
        self.grus = [GRU(size) for size in self.gru]
        self.drop = Dropout(self.dropout)
        self.head = nn.Dense(1, kernel_init=glorot)

    @property
    def samples_per_output(self) -> int:
        """Frames from one output to the next."""
        return 2

    @property
    def frozen_stages(self) -> tuple[str, ...]:
        """The stages that are never trained, by name."""
        return BACKBONES[self.backbone].frozen if self.frozen is None else tuple(self.frozen)

    def frozen_of(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the part of the variables that `frozen_maps` depends on."""
        trees = {kind: tree["resnet"] for kind, tree in variables.items()}
        return {kind: {n: tree[n] for n in self.frozen_stages if n in tree} for kind, tree in trees.items()}

    @property
    def pretrained(self) -> tuple[str, str]:
        """The network whose pretrained weights it takes, and the part that takes them."""
        return self.backbone, "resnet"

    @property
    def context_frames(self) -> int:
        """Frames of the strip beyond two for each label."""
        return self.piece_frames - self.samples_per_output

    def embed(self, inputs: Array, train: bool = False) -> Array:
        """Returns what the recurrent layers see.

        Args:
          inputs: `[batch, frame, band]`, 2 * label + `context_frames` frames, the first band in the top row; values
            of 0 to 255. Or `[batch, label, height, width, channel]` from `frozen_maps`.
          train: whether BatchNorm of the stages that are not frozen takes the statistics of the batch (and updates
            "batch_stats").

        Returns:
          `[batch, label, 512]`.

        Raises:
          UserError: the frames are not those of a whole number of labels.
        """
        if inputs.ndim == 5:
            return self._chunked(inputs.reshape(-1, *inputs.shape[2:]), train, prefix=False).reshape(
                *inputs.shape[:2], -1
            )
        labels = self._labels(inputs)
        if self.is_initializing():  # one piece has all parameters
            one = self.resnet.embed(self._images(inputs[:1, : self.piece_frames]))
            return jnp.broadcast_to(one, (len(inputs), labels, one.shape[-1]))
        trunk = self._dense if self.trunk == "dense" else self._pieces
        return trunk(inputs, labels, train)

    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """Maps `[batch, frame, band]` to one value a label, `[batch, label]`; arguments as in `embed`."""
        x = self.embed(inputs, train)
        for gru in self.grus:
            x, _ = gru(self.drop(x, train))
        return OUTPUTS[self.output](self.head(x)[..., 0])

    def _images(self, strips: Array) -> Array:
        """`[batch, frame, band]` to `[batch, band, frame, 3]`."""
        strips = strips if jnp.issubdtype(strips.dtype, jnp.floating) else jnp.asarray(strips, float)
        grey = strips.swapaxes(1, 2)[..., None]
        if self.normalise == "imagenet":
            return (grey / 255 - np.array(IMAGENET_MEAN, grey.dtype)) / np.array(IMAGENET_STD, grey.dtype)
        return jnp.repeat(grey, 3, axis=-1)

    def frozen_maps(self, inputs: Array) -> Array:
        """Returns what the frozen stages make of every piece, `[batch, label, height, width, channel]`.

        Args:
          inputs: strips, as in `embed`.
        """
        labels = self._labels(inputs)
        maps = self.resnet.prefix(self._images(self._cut(inputs, labels)))
        return maps.reshape(len(inputs), labels, *maps.shape[1:])

    def _labels(self, inputs: Array) -> int:
        labels, odd = divmod(inputs.shape[1] - self.context_frames, 2) if inputs.ndim == 3 else (0, 0)
        if labels < 1 or odd:
            raise UserError(
                f"the network got inputs of shape {inputs.shape}, expected [batch, frame, band] with 2 frames a label "
                f"and {self.context_frames} more: set a window of a whole number of labels, on a strip of 50 frames "
                "a second with mirrored edges"
            )
        return labels

    def _cut(self, inputs: Array, labels: int) -> Array:
        """`[batch, frame, band]` to pieces, `[batch * label, piece_frames, band]`."""
        frames = self.samples_per_output * np.arange(labels)[:, None] + np.arange(self.piece_frames)
        return inputs[:, frames].reshape(-1, *frames.shape[1:], inputs.shape[2])

    def _pieces(self, inputs: Array, labels: int, train: bool) -> Array:
        features = self._chunked(self._cut(inputs, labels), train, prefix=True)
        return features.reshape(len(inputs), labels, -1)

    def _chunked(self, pieces: Array, train: bool, *, prefix: bool) -> Array:
        """Pieces `[piece, frame, band]`, or what the frozen stages made of them, to features `[piece, channel]`."""
        chunk = max(size for size in range(1, self.chunk + 1) if len(pieces) % size == 0)

        def rest(net: StagedNet, maps: Array) -> Array:
            return net.rest(maps, train)

        # The maps of the frozen stages are kept for the gradient, those of the others made anew.
        remade = nn.remat(rest, prevent_cse=False)

        def step(net: StagedNet, carry: tuple, pieces: Array) -> tuple[tuple, Array]:
            return carry, remade(net, net.prefix(self._images(pieces)) if prefix else pieces)

        followed = "batch_stats" if self.is_mutable_collection("batch_stats") else False
        scan = nn.scan(step, variable_broadcast=nn.DenyList(followed), variable_carry=followed)
        _, features = scan(self.resnet, (), pieces.reshape(-1, chunk, *pieces.shape[1:]))
        return features.reshape(len(pieces), -1)

    def _dense(self, inputs: Array, labels: int, train: bool) -> Array:
        # The strip's last frame is repeated, so that all phases are of one length.
        maps = self._images(jnp.pad(inputs, ((0, 0), (0, -inputs.shape[1] % 32), (0, 0)), mode="edge"))
        for name, stage in self.resnet.stages().items():
            if name in BACKBONES[self.backbone].halving:
                # Twice the batch, the second time one column later: halved, they are the even and the odd columns.
                later = jnp.pad(maps[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))
                maps = jnp.concatenate([maps, later])
            frozen = name in self.resnet.frozen
            maps = stage(maps, train and not frozen)
            maps = lax.stop_gradient(maps) if frozen else maps
        phases = maps.mean(1).reshape(16, inputs.shape[0], -1, maps.shape[-1])
        columns = phases.transpose(1, 2, 0, 3).reshape(inputs.shape[0], -1, maps.shape[-1])
        own = [columns[:, first : first + labels] for first in range(0, -(-self.piece_frames // 2), 16)]
        return jnp.stack(own).mean(0)
