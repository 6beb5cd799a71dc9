"""What a fold's features have learned is found once, by the first process, and read by all."""

import numpy as np
import pytest

from jaxpara import processes
from jaxpara.errors import UserError
from jaxpara.features.fitted import FILE, fitted

MEAN = np.arange(3, dtype=np.float32)


def never():
    raise AssertionError("it was there")


@pytest.fixture
def as_another(monkeypatch):
    """Makes this process one that is not the first; what the first does meanwhile can be said."""

    def be(meanwhile):
        monkeypatch.setattr(processes, "on_main", lambda work: meanwhile())

    return be


def test_it_is_found_once_and_read_again(tmp_path):
    for find in (lambda: {"mean": MEAN}, never):
        found = fitted(tmp_path, ["a"], find)
        assert found.keys() == {"mean"}
        np.testing.assert_array_equal(found["mean"], MEAN)
        assert found["mean"].dtype == np.float32


def test_what_is_damaged_is_found_again(tmp_path):
    fitted(tmp_path, ["a"], lambda: {"mean": MEAN})
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:50])
    np.testing.assert_array_equal(fitted(tmp_path, ["a"], lambda: {"mean": MEAN + 1})["mean"], MEAN + 1)


def test_with_nothing_to_learn_from_it_has_to_be_there(tmp_path):
    with pytest.raises(UserError, match=r"features\.npz: no such file; run the training command once more"):
        fitted(tmp_path, [], never)
    (tmp_path / FILE).write_text("no arrays")
    with pytest.raises(UserError, match=r"features\.npz: not readable; run"):
        fitted(tmp_path, [], never)


def test_a_process_that_is_not_the_first_waits_and_reads(tmp_path, as_another):
    first = tmp_path / "first"
    fitted(first, ["a"], lambda: {"mean": MEAN})
    shared = tmp_path / "shared"
    as_another(meanwhile=lambda: first.rename(shared))
    np.testing.assert_array_equal(fitted(shared, ["a"], never)["mean"], MEAN)


def test_a_process_that_is_not_the_first_writes_nothing(tmp_path, as_another):
    as_another(meanwhile=lambda: None)
    with pytest.raises(UserError, match="no such file"):
        fitted(tmp_path, ["a"], never)
    assert list(tmp_path.iterdir()) == []
