"""How the scores of members meet; NumPy and SciPy only."""

from jaxpara.fusion.convex import Convex
from jaxpara.fusion.dirichlet import Dirichlet
from jaxpara.fusion.mean import Mean
from jaxpara.fusion.select import Select
from jaxpara.fusion.weighted import Best, Weighted

FUSIONS = {
    "mean": Mean,
    "best": Best,
    "weighted": Weighted,
    "select": Select,
    "dirichlet": Dirichlet,
    "convex": Convex,
}
