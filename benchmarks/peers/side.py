"""One side of a comparison, ours or a peer's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Side:
    """What a worker times and checks.

    Attributes:
      run: the work of one call; it returns when the work is done.
      check: arrays that both sides have, compared name by name. Those that begin with `weight/`, and the inputs as the
        network gets them, `prepared`, are handed to the peer instead.
      flop: floating-point operations of one call, by the way of counting; None where nobody counts them.
    """

    run: Callable[[], Any]
    check: Callable[[], Arrays]
    flop: Callable[[], Mapping[str, float]] | None = None
