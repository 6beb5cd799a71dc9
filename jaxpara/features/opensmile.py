"""openSMILE's feature sets, the baseline of the ComParE challenges."""

import importlib.util
import threading
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxpara.errors import Unavailable, UserError
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
        if bool(self.window_s) != bool(self.hop_s) or (self.window_s and self.level == "lld"):
            raise UserError(
                f"OpenSmile.window_s is {self.window_s:g} and hop_s {self.hop_s:g} for {self.level}: set both for"
                " functionals of windows, or 0 and 0 for the whole recording and for descriptors, whose rate is fixed"
            )

    @property
    def frame_rate_hz(self) -> float:
        if self.level == "lld":
            return LLD_RATE_HZ
        return 1 / self.hop_s if self.hop_s else 0.0

    def require(self) -> None:
        if importlib.util.find_spec("opensmile") is None:
            raise Unavailable("openSMILE is not installed: pip install 'jaxpara[opensmile]' (free for research only)")

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        windows = [waveform]
        if self.window_s:
            half = samples(self.window_s, self.sample_rate_hz, "OpenSmile.window_s") // 2
            hop = samples(self.hop_s, self.sample_rate_hz, "OpenSmile.hop_s")
            windows = [waveform[max(0, i - half) : i + half] for i in range(0, len(waveform), hop)]
        # Checked here, because the package warns and returns NaN, and warnings cannot be silenced in one thread.
        shortest, needed = min(map(len, windows)), MIN_S * self.sample_rate_hz
        if shortest < needed:
            enough = len(waveform) >= needed
            fix = "lengthen window_s (the first window is half of it)" if enough else "leave the recording out"
            raise UserError(
                f"{shortest / self.sample_rate_hz:g} s are too short for openSMILE's {self.feature_set}"
                f" ({MIN_S:g} s at least); {fix}"
            )
        columns = [
            np.concatenate([extractor.process_signal(window, self.sample_rate_hz) for window in windows])
            for extractor in self._extractors()
        ]
        # Deltas have a few frames more than their descriptors.
        frames = min(map(len, columns))
        joined = np.concatenate([part[:frames] for part in columns], axis=1, dtype=np.float32)
        return joined if self.frame_rate_hz else joined[0]

    def _extractors(self) -> list[Any]:
        """Return the extractors whose outputs are concatenated, built once per thread."""
        built, key = vars(_of_this_thread), f"{self.feature_set} {self.level}"
        if key not in built:
            self.require()
            import opensmile

            levels = ["Functionals"] if self.level == "functionals" else ["LowLevelDescriptors"]
            if key == "ComParE_2016 lld":
                levels.append("LowLevelDescriptors_Deltas")
            feature_set = opensmile.FeatureSet[self.feature_set]
            built[key] = [opensmile.Smile(feature_set, opensmile.FeatureLevel[level]) for level in levels]
        return built[key]
