"""A short form of `python -m benchmarks.faults`; test_run.py tests kills and a second run in one workdir."""

import pytest

from benchmarks import faults
from benchmarks.tiny_run import Otherwise, fresh, undisturbed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("faults"))


def test_truncated_newest_checkpoint_resumes_from_the_previous_one_with_the_same_bits(whole):
    assert "identical" in faults.newest_truncated(whole)


def test_full_disk_is_an_error_and_nothing_is_lost(whole):
    assert "clear error at 1 of 1 sizes" in faults.full_disk(whole, fractions=(0.5,))


def test_a_clock_that_jumps_changes_nothing(whole):
    assert faults.jumping_clock(whole) == "identical result"


def test_unexpected_exit_status_is_reported(whole):
    other = fresh(whole, "other")
    process = other.start()
    process.kill()
    with pytest.raises(Otherwise, match="exit status -9, expected"):
        other.ended(process, (0,))
