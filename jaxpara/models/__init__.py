"""The networks: Flax Linen modules that do not depend on corpora, configs or devices."""

from jaxpara.models.autoencoder import SequenceAutoencoder
from jaxpara.models.cnn1d import CNN1DLSTM
from jaxpara.models.convnets import VGG16, AlexNet
from jaxpara.models.mlp import MLP
from jaxpara.models.recurrent import SequenceLSTM
from jaxpara.models.resnet import ResNet18, ResNet34, ResNet50, ResNet101
from jaxpara.models.resnet1d import ResNet1DLSTM
from jaxpara.models.resnet_gru import ResNetGRU
from jaxpara.models.speech import TunedEncoder
from jaxpara.models.tcn import TCN
from jaxpara.models.tdnn import TDNN

MODELS = {
    "cnn1d_lstm": CNN1DLSTM,
    "resnet1d_lstm": ResNet1DLSTM,
    "resnet_gru": ResNetGRU,
    "sequence_lstm": SequenceLSTM,
    "sequence_autoencoder": SequenceAutoencoder,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "resnet101": ResNet101,
    "vgg16": VGG16,
    "alexnet": AlexNet,
    "mlp": MLP,
    "tuned_encoder": TunedEncoder,
    "tcn": TCN,
    "tdnn": TDNN,
}
