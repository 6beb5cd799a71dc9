import math

import pytest

from jaxpara import limits
from jaxpara.errors import UserError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0), ("lr", math.nan), ("lr", -1e-3), ("batch", 0), ("batch", 1.5), ("batch", True), ("filters", (4, 0)),
        ("filters", ("4",)), ("dropout", 1.0), ("dropout", -0.1), ("window_s", math.inf), ("anything", math.nan),
        ("anything", (1.0, -math.inf)), ("points", ((1.0, math.nan),)),
        ("gru", (4.5, 64)), ("chunk", 1.5), ("piece_frames", 0), ("plateau_factor", -0.5), ("plateau_factor", 0),
        ("plateau_factor", 1), ("warmup_steps", -1), ("decay_steps", 0.5), ("plateau_patience", -1),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_named(field, value):
    with pytest.raises(UserError, match=rf"config\.members\.a\.{field} is .*, expected a (whole|finite) number"):
        limits.require("members.a", field, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", 1e-4), ("batch", 1), ("filters", (4, 8)), ("dropout", 0), ("window_s", 0.0), ("anything", -3),
     ("name", "x"), ("epochs", 0), ("of", ("a", "b")), ("flag", True), ("pretrained", None),
     ("gru", (512, 64)), ("chunk", 100), ("piece_frames", 50), ("plateau_factor", 0.1), ("warmup_steps", 0)],
)  # fmt: skip
def test_numbers_that_can_be_pass(field, value):
    limits.require("members.a", field, value)
