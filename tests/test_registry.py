"""Configs are checked against the signatures of constructors and the limits of numbers."""

import math

import pytest

from jaxpara.errors import Unavailable, UserError
from jaxpara.registry import build, require_within_limits


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0), ("lr", math.nan), ("lr", -1e-3), ("batch", 0), ("batch", 1.5), ("batch", True), ("filters", (4, 0)),
        ("filters", ("4",)), ("dropout", 1.0), ("dropout", -0.1), ("window_s", math.inf), ("anything", math.nan),
        ("anything", (1.0, -math.inf)), ("points", ((1.0, math.nan),)),
        ("gru", (4.5, 64)), ("chunk", 1.5), ("piece_frames", 0), ("plateau_factor", -0.5), ("plateau_factor", 0),
        ("plateau_factor", 1), ("warmup_steps", -1), ("decay_steps", 0.5),
    ],
)  # fmt: skip
def test_impossible_numbers_are_refused(field, value):
    with pytest.raises(UserError, match=rf"config\.members\.a\.{field} is .*, expected a (whole|finite) number"):
        require_within_limits("members.a", field, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", 1e-4), ("batch", 1), ("filters", (4, 8)), ("dropout", 0), ("window_s", 0.0), ("anything", -3),
     ("name", "x"), ("epochs", 0), ("of", ("a", "b")), ("flag", True), ("pretrained", None),
     ("gru", (512, 64)), ("chunk", 100), ("piece_frames", 50), ("plateau_factor", 0.1), ("warmup_steps", 0)],
)  # fmt: skip
def test_possible_numbers_pass(field, value):
    require_within_limits("members.a", field, value)


def unavailable(where, size=1):
    raise Unavailable(f"config.{where}.size: {size} is not available" if size > 1 else "no file /w.pth; fetch it")


@pytest.mark.parametrize(
    ("size", "message"),
    [(1, "config.a.b: no file /w.pth; fetch it"), (2, "config.a.b.size: 2 is not available")],
)
def test_the_error_of_a_constructor_gets_the_config_path_once_and_keeps_its_type(size, message):
    with pytest.raises(Unavailable) as error:
        build({"x": unavailable}, {"name": "x", "size": size}, "a.b")
    assert str(error.value) == message


def test_a_field_is_an_argument_of_the_constructor_and_nothing_else():
    registry = {"x": lambda size, where, rate=2: (size, where, rate)}
    assert build(registry, {"name": "x", "size": 3}, "a", rate=5) == (3, "a", 5)
    for spec, message in (
        ({"name": "y"}, r"config\.a\.name is 'y', expected one of \['x'\]"),
        ({"name": "x"}, r"config\.a\.size is missing: 'x' needs it"),
        ({"name": "x", "sise": 3}, r"config\.a\.sise is not a field of 'x', .*; did you mean 'size'"),
        ({"name": "x", "size": 3, "rate": 1}, r"config\.a\.rate is not a field of 'x'"),
    ):
        with pytest.raises(UserError, match=message):
            build(registry, spec, "a", rate=5)
