"""How the scores of members meet; NumPy only."""

from jaxpara.fusion.mean import Mean

FUSIONS = {"mean": Mean}
