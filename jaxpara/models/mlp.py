"""Dense layers on one vector per recording."""

from flax import linen as nn

from jaxpara.models.layers import BatchNorm, Dropout, LayerWeights, Linear


class MLP(nn.Module):
    """Dense layers on one vector per recording, or on one per layer of a speech encoder, whose weights are learned.

    Channels are normalised first, because those of pretrained encoders differ in scale by orders of magnitude.
    """

    classes: int = 2
    units: tuple[int, ...] = (256,)  # of each layer before the last
    dropout: float = 0.2  # rate after each of them
    axis_name: str | None = None  # device axis of the normalisation's statistics

    @nn.compact
    def __call__(self, x, train: bool = False):
        """Map `[batch, channel]` or `[batch, layer, channel]` to `[batch, class]`; `train` turns dropout on."""
        if x.ndim == 3:
            x = LayerWeights(name="layers")(x)
        x = BatchNorm(self.axis_name, name="norm")(x, train)
        for index, size in enumerate(self.units):
            x = Dropout(self.dropout)(nn.relu(Linear(size, name=f"dense{index}")(x)), train)
        return Linear(self.classes, name="head")(x)
