"""The best of random weights (paper §3.2.3, Breathing system 5)."""

import numpy as np

from jaxpara.errors import UserError
from jaxpara.fusion.weighted import Tried


class Dirichlet(Tried):
    """The best of random mixes of any number of members; every fold chooses from the same ones.

    Attributes:
      draws: mixes tried.
      alpha: concentration of the distribution, for all members; 1 draws evenly from all mixes. (The paper gives none.)
      seed: of the draws.

    Reference: paper §3.2.3, `numpy.random.dirichlet`, 1000 draws.
    """

    def __init__(self, draws: int = 1000, alpha: float = 1.0, *, seed: int):
        if draws < 1 or not alpha > 0:
            raise UserError(f"config.fusion has draws {draws} and alpha {alpha:g}: expected both above 0")
        self._draws = draws
        self._alpha = alpha
        self._seed = seed

    def candidates(self, members: int) -> np.ndarray:
        return np.random.default_rng(self._seed).dirichlet(np.full(members, self._alpha), self._draws)
