"""LSTM layers over a sequence of embeddings: the top of the 1D networks, and the embedding-fusion net."""

from flax import linen as nn

from jaxpara.models.dropout import Dropout
from jaxpara.models.recurrent import LSTM, glorot
from jaxpara.registry import require_one_of

OUTPUTS = {"tanh": nn.tanh, "linear": lambda x: x}


class SequenceLSTM(nn.Module):
    """LSTM layers with dropout between them and one output a step.

    The defaults are the deep-embedding fusion net of Breathing system 5 (3 411 201 parameters for 768 channels).

    Args:
      lstm: size of each LSTM layer.
      dropout: rate between two LSTM layers.
      output: activation of the last layer, "tanh" or "linear".

    Reference: paper, fusion of deep embeddings; dropout and output of the authors' published scripts.
    """

    lstm: tuple[int, ...] = (512, 256)
    dropout: float = 0.4
    output: str = "tanh"

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.output", self.output, OUTPUTS)

    def __call__(self, inputs, train: bool = False):
        """Predicts one value a step.

        Args:
          inputs: `[batch, label, channel]`.
          train: whether dropout acts (rng "dropout").

        Returns:
          `[batch, label]`.
        """
        return self.go_on(inputs, train=train)[0]

    @nn.compact
    def go_on(self, inputs, carries=None, train: bool = False):
        """Predicts the next part of a sequence.

        Args:
          inputs: `[batch, label, channel]`.
          carries: a carry a layer, as returned by the call before; None at the beginning.
          train: whether dropout acts (rng "dropout").

        Returns:
          `[batch, label]`, and the carries.
        """
        x, last = inputs, []
        for layer, size in enumerate(self.lstm):
            if layer:
                x = Dropout(self.dropout)(x, train)
            x, carry = LSTM(size, name=f"lstm{layer}")(x, None if carries is None else carries[layer])
            last.append(carry)
        x = nn.Dense(1, kernel_init=glorot, name="head")(x)[..., 0]
        return OUTPUTS[self.output](x), tuple(last)
