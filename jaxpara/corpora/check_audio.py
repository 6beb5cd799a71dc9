"""What is wrong with the audio of a corpus, of which every file is read once."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from jaxpara.corpora.corpus import Recording, Task
from jaxpara.corpora.findings import Findings

# libsndfile's errors are RuntimeErrors; the others are odd names and headers that promise terabytes.
REFUSALS = (OSError, RuntimeError, TypeError, ValueError, MemoryError)
ANEW = "copy it anew from the corpus"
# In 16 bits.
FULL_SCALE = 32767 / 32768
CLIPPED_SHARE = 1e-3
# Writers into a pipe do not know the length and write the largest one.
UNKNOWN_LENGTH_BYTES = 0x7FFF0000


def reason(error: BaseException) -> str:
    """Why a file was refused, in one line, without its name and a full stop."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


@dataclass(frozen=True)
class Sound:
    """One audio file, heard.

    Attributes:
      failure: why it cannot be read; the rest is then empty.
      digest: of the samples, whatever the header says and the width they are stored in.
      missing: how much the header promises beyond what is there, in words; empty where nothing.
      bad_samples: NaN or infinite.
      clipped_share: of samples at full scale.
      peak: the largest amplitude; 1 is full scale.
    """

    failure: str = ""
    digest: str = ""
    frames: int = 0
    rate_hz: int = 0
    channels: int = 0
    missing: str = ""
    bad_samples: int = 0
    silent: bool = False
    clipped_share: float = 0.0
    peak: float = 0.0


def hear(path: Path) -> Sound:
    """Reads one file in whatever format and width libsndfile knows."""
    try:
        with soundfile.SoundFile(path) as file:
            samples = file.read(dtype="float32", always_2d=True)
            rate_hz, frames, log = file.samplerate, file.frames, file.extra_info
    except REFUSALS as error:
        return Sound(failure=reason(error))
    # libsndfile mends a wrong length silently and only its log tells.
    told = re.search(r"^\s*data\s*: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    promised, held = (int(told[1]), int(told[2])) if told else (0, 0)
    missing = f"{promised - held} bytes" if held < promised < UNKNOWN_LENGTH_BYTES else ""
    if len(samples) < frames:
        missing = f"{frames - len(samples)} samples"
    empty = not samples.size
    return Sound(
        digest=hashlib.sha256(samples.tobytes()).hexdigest(),
        frames=len(samples),
        rate_hz=rate_hz,
        channels=samples.shape[1],
        missing=missing,
        bad_samples=int(samples.size - np.count_nonzero(np.isfinite(samples))),
        silent=not empty and bool(samples.max() == samples.min()),
        clipped_share=0.0 if empty else float(np.mean(np.abs(samples) >= FULL_SCALE)),
        peak=0.0 if empty else float(np.abs(samples).max()),
    )


def unreadable(path: Path, failure: str, findings: Findings) -> None:
    """Adds that a file is no audio, and the `reason`."""
    what = f"not readable as audio ({failure})"
    findings.error("unreadable files", path, None, what, ANEW)


def check_file(path: Path, sound: Sound, task: Task, findings: Findings) -> None:
    """Adds what is wrong with one file by itself."""
    if sound.failure:
        unreadable(path, sound.failure, findings)
        return
    if not sound.frames:
        findings.error("empty files", path, None, "no samples", ANEW)
        return
    if sound.missing:
        what = f"cut short: {sound.missing} of audio less than its header promises"
        findings.error("truncated files", path, None, what, ANEW)
    if sound.rate_hz != task.sample_rate_hz:
        what, mend = f"{sound.rate_hz} Hz, expected {task.sample_rate_hz} Hz", "resample it"
        findings.error("files of another sample rate", path, None, what, mend)
    if sound.channels != 1:
        what, mend = f"{sound.channels} channels, expected one", "keep one channel, or mix them"
        findings.error("files of several channels", path, None, what, mend)
    if sound.bad_samples:
        what, mend = f"{sound.bad_samples} samples are NaN or infinite", ANEW
        findings.error("files with non-finite samples", path, None, what, mend)
    elif sound.silent:
        what, mend = "silent: every sample is the same", "listen to it; leave it out if that is not meant"
        findings.warning("silent files", path, None, what, mend)
    if sound.peak > 1 and not sound.bad_samples:
        what, mend = f"float samples reach {sound.peak:g}, expected -1 to 1", "rescale the file"
        findings.error("files beyond full scale", path, None, what, mend)
    elif sound.clipped_share > CLIPPED_SHARE:
        what = f"clipped: {sound.clipped_share:.1%} of the samples are at full scale"
        mend = "export it anew at a lower level"
        findings.warning("clipped files", path, None, what, mend)


def check_alike(recordings: Sequence[Recording], sounds: Mapping[str, Sound], task: Task, findings: Findings) -> None:
    """Adds files with the same samples and, where a label holds for a whole file, those of unusual length."""
    first_with: dict[str, Recording] = {}
    for recording in recordings:
        sound = sounds[recording.name]
        if sound.silent or not sound.frames:
            continue
        first = first_with.setdefault(sound.digest, recording)
        if first is recording:
            continue
        what, mend = f"the same audio as {first.path}", "copy the right file, or leave one of them out"
        if first.partition != recording.partition:
            what = f"{recording.partition} has {what} in {first.partition}: what is tested has been learnt"
            findings.error("files that two partitions share", recording.path, None, what, mend)
        else:
            findings.warning("doubled files", recording.path, None, what, mend)
    lengths = Counter(sound.frames for sound in sounds.values() if sound.frames)
    if task.kind == "sequence" or not lengths:
        return
    usual, times = lengths.most_common(1)[0]
    if times <= len(sounds) / 2:
        return
    for recording in recordings:
        frames = sounds[recording.name].frames
        if frames not in (0, usual):
            what = f"{frames} samples, most files have {usual}"
            mend = "see that it is whole; a config's clip_s says whether it is padded and cut into windows"
            findings.warning("files of unusual length", recording.path, None, what, mend)
