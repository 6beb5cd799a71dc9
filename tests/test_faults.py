"""A short form of `python -m benchmarks.faults`; kills and a second run in one workdir are in test_run.py."""

import pytest

from benchmarks import faults
from benchmarks.tiny_run import Otherwise, fresh, undisturbed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("faults"))


def test_of_a_truncated_newest_checkpoint_the_one_before_gives_the_same_bits(whole):
    assert "identical" in faults.newest_truncated(whole)


def test_a_full_disk_is_refused_and_nothing_is_lost(whole):
    assert "refusal at 1 of 1 sizes" in faults.full_disk(whole, shares=(0.5,))


def test_a_clock_that_jumps_changes_nothing(whole):
    assert faults.jumping_clock(whole) == "identical result"


def test_what_ends_otherwise_is_told(whole):
    other = fresh(whole, "other")
    process = other.start()
    process.kill()
    with pytest.raises(Otherwise, match="exit status -9, expected"):
        other.ended(process, (0,))
