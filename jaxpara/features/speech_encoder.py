"""Hidden states of a pretrained speech encoder, such as wav2vec 2.0, HuBERT or WavLM."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache, partial
from threading import Lock
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.errors import Unavailable, UserError
from jaxpara.features import windows
from jaxpara.features.feature import Feature
from jaxpara.models import speech
from jaxpara.models.speech import SpeechConfig

RATE_HZ = 16_000
TINY = "tiny"
# The hop and the receptive field of the pretrained encoders. Normalised before each part, so that the loudness is not
# lost as early as in the first layer.
TINY_CONFIG = SpeechConfig(
    conv_dim=(16, 24, 24, 24, 24, 24, 24),
    feat_proj_layer_norm=False,
    do_stable_layer_norm=True,
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=48,
)
TINY_NOTE = "come from a tiny encoder with random weights: they show that the program works, and nothing about speech"
# One recording at a time uses the device. A second one would need as much memory again, hundreds of megabytes.
_device = Lock()


class LoadedEncoder(NamedTuple):
    """A loaded checkpoint."""

    config: SpeechConfig
    params: Any
    sha256: str  # of the sizes and weights, however they are stored


@dataclass(frozen=True, kw_only=True)
class EncoderStates(Feature):
    """Hidden states of a self-supervised speech encoder whose weights stay as they are.

    By frame `[time, channel]`, or with a pooling one vector `[channel]` per recording. With `layer="weighted"` both
    have an axis more, `[..., layer, channel]`, for networks that learn the weights of the layers (`sequence_lstm` and
    `mlp`).

    Recordings up to `chunk_s` are encoded whole. Longer ones are encoded in chunks of that length, of which the first
    and last `context_s` are dropped, except at the ends of the recording. The convolutions, their normalisation and
    that of the waveform are those of the whole recording; the positional convolution too, if `context_s` covers its
    reach (1.28 s in the base and large sizes). Only the attention is limited to the chunk.

    Reference: Yang et al., SUPERB, Interspeech 2021.

    Attributes:
      checkpoint: a folder that `save_pretrained` of `transformers` wrote; a name on the Hugging Face Hub, such as
        "microsoft/wavlm-base-plus", which is downloaded on first use; or "tiny", an encoder with random weights that
        shows that the program works. Empty: none, which leaves an optional member out.
      layer: a layer, from 0 (the input of the transformer) to their number (its output); several, whose channels are
        concatenated, as (6, 9) or on the command line "6,9"; or "weighted", all of them.
      pooling: over time, for each layer: the `mean`; the mean and the standard deviation, concatenated (`mean_std`); or
        `none`.
      rate_hz: frames per second; those of the encoder, 50 per second, are averaged in groups.
      storage: type of the numbers on disk; `float16` needs half the space.
      chunk_s, context_s: see above; memory grows with the square of `chunk_s`.
      sha256: the content that the checkpoint must have, or its first digits; empty for any. A trained system stores it.
    """

    checkpoint: str
    layer: int | tuple[int, ...] | str = "weighted"
    pooling: Literal["none", "mean", "mean_std"] = "none"
    rate_hz: float = 50.0
    storage: Literal["float32", "float16"] = "float32"
    chunk_s: float = 30.0
    context_s: float = 2.0
    sha256: str = ""

    def __post_init__(self):
        super().__post_init__()
        if self.sample_rate_hz != RATE_HZ:
            raise UserError(f"EncoderStates.sample_rate_hz is {self.sample_rate_hz}, expected {RATE_HZ}; remove it")
        if not isinstance(self.checkpoint, str):
            raise UserError(f"EncoderStates.checkpoint is {self.checkpoint!r}, expected a folder, a name, or 'tiny'")
        object.__setattr__(self, "layer", _layers(self.layer))
        if not self.rate_hz > 0:
            raise UserError(f"EncoderStates.rate_hz is {self.rate_hz!r}, expected a number above 0, such as 50 or 25")
        if not 0 <= 2 * self.context_s < self.chunk_s:
            raise UserError(
                f"EncoderStates.chunk_s is {self.chunk_s:g} and context_s {self.context_s:g}: nothing is left of a"
                " chunk; make chunk_s more than twice as long as context_s"
            )

    @property
    def frame_rate_hz(self) -> float:
        return self.rate_hz if self.pooling == "none" else 0.0

    @property
    def note(self) -> str:
        """The fact that a reader of scores has to know, after "The features ..."; empty for a real checkpoint."""
        return TINY_NOTE if self.checkpoint == TINY else ""

    @property
    def encoder(self) -> LoadedEncoder:
        """The checkpoint, which is loaded for it; raise Unavailable if it is not there."""
        return _encoder(self.checkpoint)

    @property
    def licence(self) -> str:
        """The licence of the checkpoint, as far as its family determines it."""
        return speech.LICENCES[self.encoder.config.model_type]

    @property
    def digest(self) -> str:
        """The SHA-256 of the checkpoint's content, which is loaded for it."""
        return self.encoder.sha256

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the layers; empty for all."""
        return self.layer if isinstance(self.layer, tuple) else ()

    def require(self) -> None:
        """Load the checkpoint; raise Unavailable if it is not there, or a UserError if the fields do not fit it."""
        config = self.encoder.config
        if not self.digest.startswith(self.sha256.lower()):
            raise UserError(
                f"checkpoint {self.checkpoint!r}: the SHA-256 of its content starts with {self.digest[:16]}, expected"
                f" {self.sha256[:16]}, with which this system was trained; put that checkpoint there, and give its"
                " path or name in features.checkpoint"
            )
        if (highest := max(self.numbers, default=0)) > config.num_hidden_layers:
            raise UserError(
                f"features.layer is {highest}, but {self.checkpoint} has {config.num_hidden_layers} layers; expected 0"
                f" to {config.num_hidden_layers}"
            )
        _group(config, self.rate_hz)

    def description(self) -> dict[str, Any]:
        # A checkpoint is known by its content; where it is makes no difference.
        known = {key: value for key, value in super().description().items() if key != "checkpoint"}
        return known | {"sha256": self.digest}

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        self.require()
        encoder = self.encoder
        if len(waveform) < (shortest := encoder.config.receptive_field):
            raise UserError(
                f"{len(waveform) / RATE_HZ:.3f} s are too short for {self.checkpoint}, which needs"
                f" {shortest / RATE_HZ:g} s; leave the recording out"
            )
        waveform = speech.normalise(waveform) if encoder.config.do_normalize else waveform.astype(np.float32)
        parts = self._parts(encoder, waveform)
        if self.pooling == "none":
            group = _group(encoder.config, self.rate_hz)
            array = np.concatenate([self._checked(_averaged(part, group)) for part in parts])
        else:
            array = self._checked(_pooled(parts, deviation=self.pooling == "mean_std"))
        if self.layer == "weighted":
            return array
        return array.reshape(*array.shape[:-2], -1)

    def _parts(self, encoder: LoadedEncoder, waveform: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the states of a recording part by part, `[frame, layer, channel]`."""
        config, group = encoder.config, _group(encoder.config, self.rate_hz)
        frames, total = _whole(self.chunk_s * RATE_HZ / config.hop, group), config.frames(len(waveform))
        context = _whole(self.context_s * RATE_HZ / config.hop, group) if self.context_s else 0
        moments = speech.whole_moments(config, encoder.params, waveform)
        done = 0
        for start in windows.starts(total, frames, max(group, frames - 2 * context)).tolist():
            # Every regular part ends at a multiple of `group`, so that groups do not depend on the chunks.
            end = total if start + frames >= total else start + frames - context
            last = min(start + frames, total)
            chunk = waveform[start * config.hop : (last - 1) * config.hop + config.receptive_field]
            size = (min(_bucket(last - start), frames) - 1) * config.hop + config.receptive_field
            padded = np.pad(chunk, (0, max(0, size - len(chunk))))[None]
            variables, lengths = {"params": encoder.params, **moments}, np.array([len(chunk)])
            with _device, jax.default_matmul_precision("highest"):  # the default of some GPUs has 10 bits
                states = np.asarray(_states(config, self.numbers, variables, padded, lengths))
            yield states[:, 0, done - start : end - start].swapaxes(0, 1)
            done = end

    def _checked(self, array: np.ndarray) -> np.ndarray:
        """Cast to the type on disk; a UserError if a number is too large for it."""
        with np.errstate(over="ignore"):
            stored = array.astype(self.storage)
        if not np.isfinite(stored).all():
            raise UserError(f"states of {self.checkpoint} are not finite in {self.storage}; set storage to float32")
        return stored


@partial(jax.jit, static_argnums=(0, 1))
def _states(
    config: SpeechConfig, layers: tuple[int, ...], variables: Any, waveforms: jax.Array, lengths: jax.Array
) -> jax.Array:
    """Return some of the hidden states or all, `[layer, batch, frame, channel]`; unused layers are not computed."""
    states, _ = speech.SpeechEncoder(config).apply(variables, waveforms, lengths)
    return jnp.stack([states[layer] for layer in layers]) if layers else states


def _layers(value: Any) -> tuple[int, ...] | str:
    """Return "weighted", or the numbers of layers, which are words on the command line."""
    if value == "weighted":
        return value
    numbers: Any = value.strip("()").split(",") if isinstance(value, str) else value
    numbers = tuple(numbers) if isinstance(numbers, (tuple, list)) else (numbers,)
    if isinstance(value, str):
        numbers = tuple(int(word) if word.strip().isdigit() else word for word in numbers)
    if not numbers or not all(type(n) is int and n >= 0 for n in numbers):
        raise UserError(
            f"EncoderStates.layer is {value!r}, expected 'weighted', the number of a layer from 0, or several"
        )
    return numbers


def _averaged(states: np.ndarray, group: int) -> np.ndarray:
    """Average groups of frames, `[frame, layer, channel]`; the last group may be smaller."""
    starts = np.arange(0, len(states), group)
    counts = np.diff(np.append(starts, len(states)))
    return np.add.reduceat(states, starts) / counts[:, None, None].astype(np.float32)


def _pooled(parts: Iterator[np.ndarray], *, deviation: bool) -> np.ndarray:
    """Return the mean over all frames of `[frame, layer, channel]` parts, and the deviation: `[layer, channel]`."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for part in parts:
        wide = part.astype(np.float64)
        count, total, squares = count + len(part), total + wide.sum(0), squares + (wide**2).sum(0)
    mean = np.asarray(total / count)
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return np.concatenate([mean, std], axis=-1) if deviation else mean


def _group(config: SpeechConfig, rate_hz: float) -> int:
    """Return the number of the encoder's frames per frame at a rate; a UserError if it is not whole."""
    own = RATE_HZ / config.hop
    group = round(own / rate_hz)
    if group < 1 or abs(own / rate_hz - group) > 1e-6:
        raise UserError(
            f"features.rate_hz is {rate_hz:g}, expected the encoder's {own:g} divided by a whole number, such as"
            f" {own:g} or {own / 2:g}"
        )
    return group


def _whole(frames: float, group: int) -> int:
    """Round a number of frames to whole groups, at least one."""
    return max(1, round(frames / group)) * group


def _bucket(frames: int) -> int:
    """Return the padded number of frames, one of four per octave: few programs serve recordings of any length."""
    step = max(1, 1 << max(0, (frames - 1).bit_length() - 3))
    return -(-frames // step) * step


@cache  # read once, for all recordings and threads
def _encoder(checkpoint: str) -> LoadedEncoder:
    """Load an encoder."""
    if not checkpoint:
        raise Unavailable(
            "features.checkpoint is not set; set it to a folder or a name on the Hugging Face Hub, such as"
            " microsoft/wavlm-base-plus"
        )
    if checkpoint == TINY:
        config = TINY_CONFIG
        shortest = jnp.zeros((1, config.receptive_field))
        params = jax.device_get(jax.jit(speech.SpeechEncoder(config).init)(jax.random.key(0), shortest))["params"]
    else:
        config, variables = speech.load(checkpoint)
        params = variables["params"]
    # Fields with defaults are left out, so that a later version with more fields knows the same checkpoint.
    sizes = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}
    content = hashlib.sha256(repr(sizes).encode())
    # The random weights of the tiny one may differ in the last bits from computer to computer.
    for path, leaf in jax.tree_util.tree_leaves_with_path(params) if checkpoint != TINY else ():
        content.update(f"{jax.tree_util.keystr(path)} {leaf.shape}".encode())
        content.update(np.ascontiguousarray(leaf).data)
    return LoadedEncoder(config, jax.device_put(params), content.hexdigest())
