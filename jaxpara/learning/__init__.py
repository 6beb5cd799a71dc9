"""Everything that fits: networks, and later classical learners."""

from jaxpara.learning.net import Net

LEARNERS = {"net": Net}
