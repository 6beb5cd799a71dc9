"""Networks: Flax Linen modules that know no corpus, no config and no device."""

from jaxpara.models.cnn1d import CNN1DLSTM
from jaxpara.models.sequence import SequenceLSTM

MODELS = {
    "cnn1d_lstm": CNN1DLSTM,
    "sequence_lstm": SequenceLSTM,
}
