"""jaxpara: computational paralinguistics in JAX."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxpara.inference.system import System

__version__ = "0.1.0"


def load(folder: str | Path) -> "System":
    """Read a trained system: `load(folder)(waveform, sample_rate_hz)` returns times and values.

    Args:
      folder: the workdir of a finished run, or an export of it.

    Raises:
      jaxpara.errors.UserError: the folder has no trained system, or one that cannot predict new audio.
    """
    from jaxpara.inference.system import System  # here, as it imports JAX

    return System(folder)
