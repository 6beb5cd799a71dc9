import pytest

from jaxpara.errors import UserError
from jaxpara.training.dependencies import after_sources, in_order


def members(**of):
    return {
        name: {"features": {"name": "embeddings", "of": sources}, "folds": {}, "learner": {}}
        for name, sources in of.items()
    }


def test_members_come_after_those_they_need_and_else_in_the_order_of_their_numbers():
    wanted = members(fused=("w16", "a"), w16=(), w2=(), w1=(), a=("z",), z=())
    assert in_order(wanted) == ["z", "a", "w16", "fused", "w1", "w2"]
    assert in_order(members(w10=(), w9=(), w1=())) == ["w1", "w9", "w10"]


def test_an_unknown_member_is_named():
    with pytest.raises(UserError, match=r"members\.lstm\.features\.of names 'cn', .* did you mean 'cnn'"):
        in_order(members(lstm=("cn",), cnn=()))


def test_members_that_need_each_other_are_refused():
    with pytest.raises(UserError, match="a uses the embeddings of b uses the embeddings of a, which is a circle"):
        in_order(members(a=("b",), b=("a",)))


def test_what_comes_after_its_sources_is_otherwise_as_given():
    assert after_sources({"b": (), "d": ("c", "a"), "a": (), "c": ("a",)}, "") == ["b", "a", "c", "d"]
    wide = {"0": ()} | {str(n): (str(n - 1),) * 2 for n in range(1, 60)}  # 2^59 ways from the last to the first
    assert after_sources(dict(reversed(wide.items())), "") == list(wide)
    with pytest.raises(UserError, match=r"^here: a uses the embeddings of a, which is a circle$"):
        after_sources({"a": ("a",)}, "here")
