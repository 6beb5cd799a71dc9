"""Why a file is refused is said in the same words wherever it is read."""

import os

import numpy as np
import pytest

from jaxpara.corpora.check_audio import hear, reason
from jaxpara.corpora.corpus import Recording
from jaxpara.corpora.duplicates import shared_audio
from jaxpara.errors import UserError
from jaxpara.features import audio
from jaxpara.inference.audio_files import AudioFile


def test_everyone_who_reads_a_file_gives_the_same_reason(tmp_path):
    path = tmp_path / "a: b.wav"  # a reason is not what follows the last colon
    path.write_bytes(b"no audio at all")
    why = hear(path).failure
    assert why
    assert path.name not in why
    assert not why.endswith(".")
    nothing = np.zeros(1)
    recording = Recording(path.name, path, "train", "", nothing, nothing, nothing)
    for read in (
        lambda: audio.read(path, 16_000),
        lambda: shared_audio([recording]),
        lambda: list(AudioFile(path, path.name).read(16_000)),
    ):
        with pytest.raises(UserError) as refused:
            read()
        assert f"not readable as audio ({why})" in str(refused.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, os.strerror(13), "a.wav"), os.strerror(13)),
        (ValueError("one\n  line."), "one line"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_reason_is_one_line_without_the_file(error, words):
    assert reason(error) == words
