import pytest

from jaxpara.errors import UserError
from jaxpara.training.dependencies import in_order


def members(**of):
    return {
        name: {"features": {"name": "embeddings", "of": sources}, "folds": {}, "learner": {}}
        for name, sources in of.items()
    }


def test_members_follow_those_they_use_and_are_otherwise_in_the_order_of_their_numbers():
    wanted = members(fused=("w16", "a"), w16=(), w2=(), w1=(), a=("z",), z=())
    assert in_order(wanted) == ["z", "a", "w16", "fused", "w1", "w2"]
    assert in_order(members(w10=(), w9=(), w1=())) == ["w1", "w9", "w10"]
    assert in_order(members(a=("d",), b=("c", "a"), c=("a",), d=())) == ["d", "a", "c", "b"]
    wide = {f"{60 - n}": (f"{61 - n}",) * 2 if n else () for n in range(1, 60)} | {"60": ()}
    assert in_order(members(**wide)) == [f"{n}" for n in range(60, 0, -1)]  # 2^59 ways from the first to the last


def test_an_unknown_member_is_named():
    with pytest.raises(UserError, match=r"members\.lstm\.features\.of names 'cn', .* did you mean 'cnn'"):
        in_order(members(lstm=("cn",), cnn=()))


@pytest.mark.parametrize(
    ("of", "circle"),
    [
        ({"a": ("b",), "b": ("a",)}, "a uses the embeddings of b uses the embeddings of a"),
        ({"a": ("a",)}, "a uses the embeddings of a"),
        ({"a": ("b",), "b": ("c",), "c": ("b",)}, "b uses the embeddings of c uses the embeddings of b"),
    ],
)
def test_members_that_use_each_other_are_refused(of, circle):
    with pytest.raises(UserError, match=rf"^config\.members: {circle}, which is a circle$"):
        in_order(members(**of))


def test_a_member_needs_all_parts():
    for member, absent in (
        (3, "no features and no folds and no learner"),
        ({"features": {}, "folds": {}}, "no learner"),
    ):
        with pytest.raises(UserError, match=rf"^config\.members\.a has {absent}, which every member needs"):
            in_order({"a": member})
