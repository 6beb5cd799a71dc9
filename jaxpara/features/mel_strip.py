"""A recording as one long grey picture, from which networks cut a piece around every label (paper §3.2.2)."""

from dataclasses import dataclass, field

import numpy as np

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature
from jaxpara.features.mel import LogMel


def _published() -> LogMel:
    return LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True, levels="uint8_inverted", high_first=True)


@dataclass(frozen=True, kw_only=True)
class MelStrip(Feature):
    """Grey levels of a recording with mirrored ends, `[frame, band]` uint8, the lowest band last (bottom row).

    There is one frame for every whole hop of the recording, frame i centred on its start, and `mirror_frames` more at
    each end: those inside, in the opposite order and without the edge frame. (The frame centred on the very end of
    the recording stands before no label; it counts among the mirrored ones.)

    Reference: the authors' published scripts mirror 49 frames for pieces of, in all likelihood, 100 (2 s); they keep
    one frame more at the end, which no piece contains. The paper mirrors 0.5 s of the waveform for pieces of 1 s.

    Attributes:
      matrix: a LogMel; a config says `{"name": "log_mel", ...}`. It has to be centred, in levels and from high to
        low. `uint8_inverted` (loud 0, quiet 255) is the published choice of levels.
      mirror_frames: at each end. The network's context has to be twice as many: 24 for pieces of 50 frames, 49 for
        pieces of 100.
    """

    matrix: LogMel = field(default_factory=_published)
    mirror_frames: int = 24

    def __post_init__(self):
        self._build_matrix({"log_mel": LogMel})
        if not self.matrix.center or not self.matrix.high_first or self.matrix.levels == "db":
            raise UserError(
                f"MelStrip.matrix has center {self.matrix.center}, high_first {self.matrix.high_first} and levels"
                f" {self.matrix.levels!r}, expected True, True and 'uint8_inverted' (or 'uint8')"
            )
        if self.mirror_frames < 0:
            raise UserError(f"MelStrip.mirror_frames is {self.mirror_frames}, expected 0 or more")

    @property
    def frame_rate_hz(self) -> float:
        return self.matrix.frame_rate_hz

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        frames = self.matrix(waveform)
        if len(frames) <= self.mirror_frames:
            raise UserError(
                f"{len(frames)} frames, but mirroring {self.mirror_frames} needs one more; pad or leave out the"
                " recording, or set fewer mirror_frames"
            )
        ends = (self.mirror_frames, self.mirror_frames)
        return np.pad(frames, (ends, (0, 0)), mode="reflect")[:-1]
