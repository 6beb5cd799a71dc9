"""Self-supervised speech encoders: wav2vec 2.0, HuBERT and WavLM.

config, variables = speech.load("microsoft/wavlm-base-plus")
states, frames = SpeechEncoder(config).apply(variables, waveforms, lengths)
"""

from jaxpara.models.speech.architecture import SpeechConfig
from jaxpara.models.speech.checkpoint import LICENCES, load
from jaxpara.models.speech.encoder import SpeechEncoder, normalise, whole_moments
from jaxpara.models.speech.tuned import TunedEncoder

__all__ = ["LICENCES", "SpeechConfig", "SpeechEncoder", "TunedEncoder", "load", "normalise", "whole_moments"]
