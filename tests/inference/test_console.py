"""Live as a filter: bytes in, lines out, whatever the two ends do."""

import io

import numpy as np
import pytest
from ensembles import HERE, ensemble, offline, speech

from jaxpara.errors import UserError
from jaxpara.inference import console


@pytest.fixture(scope="module")
def some():
    return ensemble(HERE, networks=1, sample_rate_hz=1000)


class Source:
    """Gives what was written to a pipe, in the parts in which it was written."""

    def __init__(self, *parts):
        self._parts = list(parts)

    def read(self, size):
        part = self._parts.pop(0) if self._parts else b""
        if isinstance(part, BaseException):
            raise part
        assert len(part) <= size
        return part


class Target(io.BytesIO):
    """A pipe that takes little at once, and whose reader leaves after some lines."""

    def __init__(self, at_most=1 << 30, lines=1 << 30):
        super().__init__()
        self._at_most, self._lines = at_most, lines

    def write(self, data):
        if self.getvalue().count(b"\n") >= self._lines:
            raise BrokenPipeError
        return super().write(bytes(data[: self._at_most]))


def pcm(waveform):
    return (waveform * 32768).astype("<i2").tobytes()


def run(some, *parts, target=None):
    target, notes = target or Target(), io.StringIO()
    try:
        console.run(some, Source(*parts), target, notes)
    finally:
        run.notes = notes.getvalue()
    rows = [line.split(" ") for line in target.getvalue().decode().splitlines()]
    return np.array([[float(value) for value in row] for row in rows]).reshape(-1, 2)


def test_every_line_is_a_time_and_the_offline_prediction(some):
    waveform = speech(4000)
    data = pcm(waveform)
    rows = run(some, data[:1], data[1:4001], data[4001:])
    np.testing.assert_allclose(rows[:, 0], np.arange(500) * 0.008, rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows[:, 1], offline(some, waveform), rtol=0, atol=1e-5)
    assert "a value every 8 ms" in run.notes
    assert "the first ones after 1 s" in run.notes
    assert "4.0 s heard, 500 values; a value took" in run.notes
    assert "real-time factor" in run.notes


def test_an_end_within_a_hop_and_within_a_sample_is_told(some):
    waveform = speech(2003)
    rows = run(some, pcm(waveform) + b"x")
    np.testing.assert_allclose(rows[:, 1], offline(some, waveform), rtol=0, atol=1e-5)
    assert "its last byte is left out" in run.notes
    assert "silence fills them up" in run.notes


def test_what_a_full_pipe_did_not_take_is_written_again(some):
    data = pcm(speech(2000))
    np.testing.assert_array_equal(run(some, data, target=Target(at_most=3)), run(some, data))


def test_a_reader_that_leaves_ends_it(some):
    rows = run(some, pcm(speech(1500)), pcm(speech(1500)), AssertionError("read on"), target=Target(lines=2))
    assert len(rows) == 1500 // 8
    assert "nobody reads the values" in run.notes
    assert "real-time factor" in run.notes


def test_a_user_who_stops_it_gets_the_figures(some):
    with pytest.raises(KeyboardInterrupt):
        run(some, pcm(speech(3000)), KeyboardInterrupt())
    assert "3.0 s heard, 375 values" in run.notes
    with pytest.raises(KeyboardInterrupt):
        run(some, pcm(speech(30)), KeyboardInterrupt())
    assert "no value" in run.notes


@pytest.mark.parametrize(
    ("parts", "words"),
    [((), "ended before its first sample"), ((b"x",), "ended before"), ((b"RIFF\x00\x00",), "like a WAV file")],
)
def test_what_is_no_sound_is_one_line(some, parts, words):
    with pytest.raises(UserError, match=words):
        run(some, *parts)
