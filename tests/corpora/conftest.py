"""Tiny corpora without errors, for tests to damage."""

import contextlib

import numpy as np
import pytest
import soundfile

from jaxpara.corpora.check import check
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError

RATE_HZ = 16_000


class Folder:
    """A corpus folder; `lines` are those of the label file, of which row 1 is the header."""

    def __init__(self, root, task, lines, seconds):
        self.root, self.task, self.lines = root, TASKS[task], lines
        (root / "wav").mkdir(parents=True)
        (root / "lab").mkdir()
        for name in dict.fromkeys(line.split(",")[0] for line in lines[1:]):
            self.wav(name, self.noise(name, seconds))
        self.write()

    def wav(self, name, samples, rate_hz=RATE_HZ, subtype="PCM_16"):
        soundfile.write(self.root / "wav" / name, samples, rate_hz, subtype=subtype)

    @staticmethod
    def noise(name, seconds):
        """Return noise that depends on the name, at 0.1 of full scale."""
        seed = np.frombuffer(name.encode(), np.uint8)
        return 0.1 * np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE_HZ))

    def write(self, name="lab/labels.csv", lines=None):
        (self.root / name).write_text("\n".join(self.lines if lines is None else lines) + "\n", encoding="utf-8")

    def set(self, row, line):
        """Replace a row by other lines."""
        self.lines[row - 1 : row] = line.split("\n") if line else []
        self.write()

    def check(self):
        return check(self.root, self.task, Findings())

    def findings(self):
        findings = Findings()
        with contextlib.suppress(UserError):
            check(self.root, self.task, findings)
        return findings

    def listed(self):
        return self.findings().listed()

    def found(self):
        """Return (level, file below the root, row) of each finding."""
        below = len(str(self.root)) + 1
        return [(f.level, f.file[below:], f.row) for f in self.listed()]


@pytest.fixture
def mask(tmp_path):
    """Rows 2 and 3 train, 4 and 5 devel, 6 test; 0.1 s each."""
    lines = ["file_name,label", "train_00001.wav,clear", "train_00002.wav,mask"]
    lines += ["devel_00001.wav,clear", "devel_00002.wav,mask", "test_00001.wav,?"]
    return Folder(tmp_path / "mask", "mask", lines, 0.1)


@pytest.fixture
def breathing(tmp_path):
    """Rows 2 to 26 train_00, 27 to 51 devel_00, 52 to 76 test_00; 1 s each."""
    lines = ["filename,timeFrame,upper_belt"]
    for name in ("train_00.wav", "devel_00.wav", "test_00.wav"):
        for index in range(25):
            label = "?" if name.startswith("test") else f"{np.sin(index / 4):.5f}"
            lines.append(f"{name},{index * 0.04:.2f},{label}")
    return Folder(tmp_path / "breathing", "breathing", lines, 1)
