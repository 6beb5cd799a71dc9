"""The README's section on a model in use, word for word but for the names of folders and files, one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Use your model")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def folder(alone, tmp_path_factory):
    """Holds what the section takes as given: a trained system and recordings of several formats."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "runs").mkdir()
    (folder / "runs" / "breathing_e2e").symlink_to(alone)
    (folder / "recordings").mkdir()
    random = np.random.default_rng(0)
    for name, rate_hz, channels in (
        ("a.wav", 16_000, 1),
        ("b.flac", 44_100, 2),
        ("c.ogg", 48_000, 1),
        ("d.mp3", 44_100, 2),
    ):
        soundfile.write(folder / "recordings" / name, 0.05 * random.standard_normal((2 * rate_hz, channels)), rate_hz)
    soundfile.write(folder / "speech.wav", 0.05 * random.standard_normal(32_000), 16_000)
    return folder


def run(words, folder, **options):
    environment = {**os.environ, "XLA_FLAGS": "", "JAXPARA_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, timeout=300, check=False, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_commands_of_the_section_do_what_it_says(folder):
    kinds = [kind for kind, _ in BLOCKS]
    assert kinds == ["bash", "python", "bash"]
    (_, first), (_, script), (_, live) = BLOCKS
    for command in first.splitlines():
        words = command.replace("launch.py", str(ROOT / "launch.py")).split()
        run([sys.executable, *words[1:]], folder)
    rows = (folder / "belts.csv").read_text().splitlines()
    assert rows[0] == "file,time,value"
    assert {row.split(",")[0] for row in rows[1:]} == {"a.wav", "b.flac", "c.ogg", "d.mp3"}
    assert len(list((folder / "belts_pictures").iterdir())) == 4
    assert "0.04" in run([sys.executable, "-c", script], folder)
    sound, words = (
        live.partition(" | ")[0],
        live.partition(" | ")[2].replace("launch.py", str(ROOT / "launch.py")).split(),
    )
    assert sound.startswith("ffmpeg ")
    assert "-f s16le -ac 1 -ar 16000" in sound  # what is made here without it
    samples, _ = soundfile.read(folder / "speech.wav", dtype="int16")
    lines = run([sys.executable, *words[1:]], folder, input=samples.tobytes()).splitlines()
    assert len(lines) == 50
