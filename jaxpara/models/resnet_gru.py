"""The network of Breathing system 4: log-Mel spectrogram -> ResNet18 over 1-s pieces -> GRU -> belt signal."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array, lax

from jaxpara.errors import UserError
from jaxpara.models.layers import Dropout
from jaxpara.models.pretrained import IMAGENET_MEAN, IMAGENET_STD
from jaxpara.models.recurrent import GRU, OUTPUTS, glorot
from jaxpara.models.resnet import PreActResNet18, ResNet18, StagedNet
from jaxpara.registry import require_one_of


class Backbone(NamedTuple):
    """A network for the pieces."""

    make: Callable[..., StagedNet]
    frozen: tuple[str, ...]  # by default
    halving: tuple[str, ...]  # the stages after the first convolution that halve time


BACKBONES = {
    "resnet18": Backbone(
        ResNet18, frozen=("conv1", "bn1", "layer1", "layer2"), halving=("bn1", "layer2", "layer3", "layer4")
    ),
    "preact_resnet18": Backbone(
        PreActResNet18,
        frozen=("bn_data", "conv0", "bn0", "stage1", "stage2"),
        halving=("bn0", "stage2", "stage3", "stage4"),
    ),
}


DENSE_REACH = 217  # frames on either side that a column of the dense trunk depends on


class ResNetGRU(nn.Module):
    """ResNet18 and GRU over a log-Mel spectrogram ("strip"), one output every two frames.

    The strip includes the context of its first and last labels: it has two frames per label and `context_frames` more.
    Label i is predicted from its piece, frames 2i to 2i + piece_frames, as a grey image with the bands as rows.

    The two trunks have the same parameters but are different functions; train and predict with the same one:
      - "pieces": each piece is a separate image. Pieces are processed in chunks, so that only one chunk is in memory.
        In training, BatchNorm uses and follows the statistics of each chunk in turn (Keras's `TimeDistributed` uses
        those of all pieces). All chunks have the same size: the largest divisor of the number of pieces up to `chunk`.
        Predictions do not depend on it.
      - "dense": the whole strip is one image, and every stride along time but the first keeps all phases, so that every
        second frame has its own column; a label is the mean of the columns of its piece (16 apart). This is several
        times cheaper. A column sees its surroundings (`DENSE_REACH`) where a piece is padded with zeros. BatchNorm uses
        the statistics of the whole strip.

    Reference: paper §3.2.2 ("ResNet18 + GRU"); backbone of the authors' published scripts. The activation of the output
    is not published: tanh as in the other systems.
    """

    backbone: str = "resnet18"  # torchvision's; or "preact_resnet18", the Keras port in the published scripts
    normalise: str = "imagenet"  # for torchvision's weights; "none", values of 0 to 255, for those of the Keras port
    frozen: Sequence[str] | None = None  # stages that are not trained, the first few; None for stem and stages 1 and 2
    trunk: str = "pieces"  # or "dense"
    piece_frames: int = 50  # 50 are 1 s
    chunk: int = 100  # largest number of pieces in memory at once
    gru: tuple[int, ...] = (512, 64)  # size of each layer
    dropout: float = 0.3  # rate before each GRU layer
    output: str = "tanh"  # activation of the last layer, "tanh" or "linear"
    axis_name: str | None = None  # device axis of synchronised BatchNorm
    samples_per_output: ClassVar[int] = 2  # frames of the strip

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.backbone", self.backbone, BACKBONES)
        require_one_of("model.normalise", self.normalise, ("imagenet", "none"))
        require_one_of("model.trunk", self.trunk, ("pieces", "dense"))
        require_one_of("model.output", self.output, OUTPUTS)
        if self.piece_frames < 2:
            raise UserError(f"model.piece_frames is {self.piece_frames}, expected at least 2")

    def setup(self):
        frozen = BACKBONES[self.backbone].frozen if self.frozen is None else tuple(self.frozen)
        self.resnet = BACKBONES[self.backbone].make(frozen=frozen, axis_name=self.axis_name)
        self.grus = [GRU(size) for size in self.gru]
        self.drop = Dropout(self.dropout)
        self.head = nn.Dense(1, kernel_init=glorot)

    @property
    def pretrained(self) -> tuple[str, str]:
        """Name of the network whose pretrained weights fit, and of the part that gets them."""
        return self.backbone, "resnet"

    @property
    def context_frames(self) -> int:
        """Frames of the strip beyond two per label."""
        return self.piece_frames - self.samples_per_output

    @property
    def margin(self) -> int:
        """Labels at either end of a strip whose `embed` depends on frames beyond it."""
        return -(-DENSE_REACH // self.samples_per_output) if self.trunk == "dense" else 0

    def embed(self, inputs: Array, train: bool = False) -> Array:
        """Map values of 0 to 255, `[batch, frame, band]`, to the input of the recurrent layers, `[batch, label, 512]`.

        The first band becomes the top row. With `train`, BatchNorm of the stages that are not frozen uses the
        statistics of the batch and updates "batch_stats".

        Raises:
          UserError: the number of frames is not 2 * label + `context_frames`.
        """
        labels, odd = divmod(inputs.shape[1] - self.context_frames, 2) if inputs.ndim == 3 else (0, 0)
        if labels < 1 or odd:
            raise UserError(
                f"the network got inputs of shape {inputs.shape}, expected [batch, frame, band] with 2 frames per "
                f"label and {self.context_frames} more: set a window of a whole number of labels, on a strip of 50 "
                "frames per second with mirrored edges"
            )
        if self.is_initializing():  # one piece is enough to create all parameters
            one = self.resnet.embed(self._images(inputs[:1, : self.piece_frames]))
            return jnp.broadcast_to(one, (len(inputs), labels, one.shape[-1]))
        trunk = self._dense if self.trunk == "dense" else self._pieces
        return trunk(inputs, labels, train)

    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """Map as `embed`, then to one value per label, `[batch, label]`; `train` turns dropout on (rng "dropout")."""
        return self.recur(self.embed(inputs, train), [None] * len(self.grus), train)[0]

    def recur(self, embedded: Array, carries: Sequence[Array | None], train: bool = False) -> tuple[Array, Any]:
        """Map the next part of what `embed` returns to one value per label and the carry of each GRU layer."""
        x, last = embedded, []
        for gru, carry in zip(self.grus, carries, strict=True):
            x, carry = gru(self.drop(x, train), carry)
            last.append(carry)
        return OUTPUTS[self.output](self.head(x)[..., 0]), tuple(last)

    def carry(self, batch: int) -> tuple[Array, ...]:
        """Return the carries of `recur` before the first part."""
        return tuple(jnp.zeros((batch, size)) for size in self.gru)

    def _images(self, strips: Array) -> Array:
        """Map `[batch, frame, band]` to images `[batch, band, frame, 3]`."""
        strips = strips if jnp.issubdtype(strips.dtype, jnp.floating) else jnp.asarray(strips, float)
        grey = strips.swapaxes(1, 2)[..., None]
        if self.normalise == "imagenet":
            return (grey / 255 - np.array(IMAGENET_MEAN, grey.dtype)) / np.array(IMAGENET_STD, grey.dtype)
        return jnp.repeat(grey, 3, axis=-1)

    def _pieces(self, inputs: Array, labels: int, train: bool) -> Array:
        """Map `[batch, frame, band]` to `[batch, label, channel]`, chunk by chunk."""
        frames = self.samples_per_output * np.arange(labels)[:, None] + np.arange(self.piece_frames)
        pieces = inputs[:, frames].reshape(-1, *frames.shape[1:], inputs.shape[2])
        chunk = max(size for size in range(1, self.chunk + 1) if len(pieces) % size == 0)

        # The backward pass stores the maps of the frozen stages and computes those of the others again.
        rest = nn.remat(lambda net, maps: net.rest(maps, train), prevent_cse=False)

        def step(net: StagedNet, carry: tuple, pieces: Array) -> tuple[tuple, Array]:
            return carry, rest(net, net.prefix(self._images(pieces)))

        # Running statistics pass from chunk to chunk; everything else is the same for all chunks.
        carried = "batch_stats" if self.is_mutable_collection("batch_stats") else False
        scan = nn.scan(step, variable_broadcast=nn.DenyList(carried), variable_carry=carried)
        _, features = scan(self.resnet, (), pieces.reshape(-1, chunk, *pieces.shape[1:]))
        return features.reshape(len(inputs), labels, -1)

    def _dense(self, inputs: Array, labels: int, train: bool) -> Array:
        """Map `[batch, frame, band]` to `[batch, label, channel]`, the whole strip at once."""
        # Time is halved five times: the last frame is repeated until all phases have the same length.
        maps = self._images(jnp.pad(inputs, ((0, 0), (0, -inputs.shape[1] % 32), (0, 0)), mode="edge"))
        for name, stage in self.resnet.stages().items():
            if name in BACKBONES[self.backbone].halving:
                # Twice the batch, the second copy one column later: the stage halves them to the even and odd columns.
                later = jnp.pad(maps[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))
                maps = jnp.concatenate([maps, later])
            frozen = name in self.resnet.frozen
            maps = stage(maps, train and not frozen)
            maps = lax.stop_gradient(maps) if frozen else maps
        # The batch has 16 phases after four halvings; interleaved, they are the columns in order.
        phases = maps.mean(1).reshape(16, inputs.shape[0], -1, maps.shape[-1])
        columns = phases.transpose(1, 2, 0, 3).reshape(inputs.shape[0], -1, maps.shape[-1])
        # The columns of a piece, 16 apart: two for 50 frames.
        own = [columns[:, first : first + labels] for first in range(0, -(-self.piece_frames // 2), 16)]
        return jnp.stack(own).mean(0)
