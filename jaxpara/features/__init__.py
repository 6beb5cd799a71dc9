"""Features: arrays computed from the audio of recordings, on the host, and kept on disk; or made elsewhere."""

from collections.abc import Callable

from jaxpara.features.boaw import Bags
from jaxpara.features.embeddings import Embeddings
from jaxpara.features.feature import Feature
from jaxpara.features.functionals import LogMelFunctionals
from jaxpara.features.image import MelImage, MelStrip
from jaxpara.features.imported import Imported
from jaxpara.features.mel import MFCC, LogMel
from jaxpara.features.opensmile import OpenSmile
from jaxpara.features.speaker_encoder import SpeakerEncoder
from jaxpara.features.speech_encoder import EncoderStates
from jaxpara.features.waveform import Waveform

FEATURES: dict[str, Callable[..., Feature | Embeddings | Bags | Imported]] = {
    "waveform": Waveform,
    "log_mel": LogMel,
    "log_mel_functionals": LogMelFunctionals,
    "mfcc": MFCC,
    "mel_image": MelImage,
    "mel_strip": MelStrip,
    "embeddings": Embeddings,
    "opensmile": OpenSmile,
    "speaker_encoder": SpeakerEncoder,
    "speech_encoder": EncoderStates,
    "boaw": Bags,
    "import": Imported,
}
