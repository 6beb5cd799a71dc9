"""openSMILE's feature sets, the baseline of the ComParE challenges."""

import importlib.util
import threading
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature, samples

LLD_RATE_HZ = 100.0
MIN_S = 0.06  # the frame of the pitch detector in both sets

# An extractor must not be used by two threads at once, and half a second is needed to build one.
_of_this_thread = threading.local()


@dataclass(frozen=True, kw_only=True)
class OpenSmile(Feature):
    """Functionals, `[feature]` or `[time, feature]` float32, or low-level descriptors, `[time, feature]` float32.

    openSMILE is free for research, not for commercial use. The package truncates all samples to 16 bits.

    Reference: Eyben et al., ACM Multimedia 2010 and 2013; the package `opensmile`.

    Attributes:
      feature_set: `ComParE_2016` (6373 functionals of 65 descriptors and their deltas) or `eGeMAPSv02` (88).
      level: `functionals`, one vector for a stretch of speech; `lld`, the low-level descriptors 100 times a second, for
        ComParE_2016 with their deltas to the right of them (130).
      window_s, hop_s: functionals of windows around the times 0, hop_s, 2 hop_s ..., cut off at the ends of the
        recording; 0: of the whole recording.
    """

    feature_set: Literal["ComParE_2016", "eGeMAPSv02"] = "ComParE_2016"
    level: Literal["functionals", "lld"] = "functionals"
    window_s: float = 0.0
    hop_s: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if bool(self.window_s) != bool(self.hop_s) or min(self.window_s, self.hop_s) < 0:
            raise UserError(
                f"OpenSmile.window_s is {self.window_s:g} and hop_s {self.hop_s:g}: set both, or 0 and 0 for the"
                " whole recording"
            )
        if self.window_s and self.level == "lld":
            raise UserError("OpenSmile.window_s is for functionals; descriptors have a fixed rate, set it to 0")

    @property
    def frame_rate_hz(self) -> float:
        if self.level == "lld":
            return LLD_RATE_HZ
        return 1 / self.hop_s if self.hop_s else 0.0

    def require(self) -> None:
        if importlib.util.find_spec("opensmile") is None:
            raise UserError("openSMILE is not installed: pip install 'jaxpara[opensmile]' (free for research only)")

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        if self.level == "lld":
            parts = [self._values(extractor, waveform) for extractor in self._extractors()]
            # Deltas have a few frames more than their descriptors.
            frames = min(len(part) for part in parts)
            return np.concatenate([part[:frames] for part in parts], axis=1)
        (extractor,) = self._extractors()
        if not self.window_s:
            return self._values(extractor, waveform)[0]
        half = samples(self.window_s, self.sample_rate_hz, "OpenSmile.window_s") // 2
        hop = samples(self.hop_s, self.sample_rate_hz, "OpenSmile.hop_s")
        middles = range(0, len(waveform), hop)
        windows = [waveform[max(0, middle - half) : middle + half] for middle in middles]
        return np.concatenate([self._values(extractor, window) for window in windows])

    def _values(self, extractor: Any, waveform: np.ndarray) -> np.ndarray:
        """Return `[time, feature]`; one row for functionals."""
        # Checked here, because the package warns and returns NaN, and warnings cannot be silenced in one thread.
        if len(waveform) < MIN_S * self.sample_rate_hz:
            fix = "lengthen window_s (the first window is half of it)" if self.window_s else "leave the recording out"
            raise UserError(
                f"{len(waveform) / self.sample_rate_hz:g} s are too short for openSMILE's {self.feature_set}"
                f" ({MIN_S:g} s at least); {fix}"
            )
        return extractor.process_signal(waveform, self.sample_rate_hz).to_numpy(np.float32)

    def _extractors(self) -> list[Any]:
        """Return the extractors whose outputs are concatenated, built once per thread."""
        built: dict[Any, list[Any]] = _of_this_thread.__dict__.setdefault("built", {})
        key = (self.feature_set, self.level)
        if key not in built:
            self.require()
            import opensmile

            known = opensmile.FeatureLevel
            levels = [known.Functionals] if self.level == "functionals" else [known.LowLevelDescriptors]
            if self.level == "lld" and self.feature_set == "ComParE_2016":
                levels.append(known.LowLevelDescriptors_Deltas)
            built[key] = [opensmile.Smile(opensmile.FeatureSet[self.feature_set], level) for level in levels]
        return built[key]
