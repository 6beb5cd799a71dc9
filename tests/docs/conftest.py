"""A corpus in the place of /data, a server for the commands of the docs, and runs that pages take as given."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import SHARED_PROGRAMS, ended, serving, started
from pages import BY_CI, SIZES, Step, added, launch_of, small, taken

from jaxpara.corpora.simulated import writing


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Stands for /data: simulated corpora under the names that the pages give, and recordings of several formats."""
    folder = tmp_path_factory.mktemp("data")
    for task, names in {"breathing": ("ComParE2020_Breathing", "MyCorpus"), "mask": ("ComParE2020_Mask",)}.items():
        for name in names:
            writing.write(task, folder / name, **SIZES[task])
    shutil.copytree(folder / "ComParE2020_Mask", folder / "ComParE2021_ESS")
    for path in (folder / "ComParE2021_ESS" / "lab").glob("labels*.csv"):
        rows = list(csv.reader(path.read_text().splitlines()))
        classes = [[name, label if label == "?" else str(i % 3)] for i, (name, label) in enumerate(rows[1:])]
        path.write_text("\n".join(",".join(row) for row in [rows[0], *classes]) + "\n")
    (folder / "recordings").mkdir()
    random = np.random.default_rng(0)
    for name, rate_hz, shape in (
        ("recordings/a.wav", 16_000, (32_000,)),
        ("recordings/b.flac", 44_100, (88_200, 2)),
        ("recordings/c.ogg", 48_000, (96_000,)),
        ("recordings/d.mp3", 44_100, (88_200, 2)),
        ("speech.wav", 16_000, (32_000,)),
    ):
        soundfile.write(folder / name, 0.05 * random.standard_normal(shape), rate_hz)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def commands(cache):
    with serving(cache, **SHARED_PROGRAMS) as commands:
        yield commands


@pytest.fixture(scope="session")
def follow(data, cache, commands):
    """Does a step of a page in a folder."""

    def follow(step, folder):
        text = step.text.replace("/data/", f"{data}/")
        argv = launch_of(text)
        if argv:
            done = commands.at(folder)(*small(argv[1:]))
        elif step.kind == "python":
            done = ended(started("-c", text, cache=cache, cwd=folder))
        else:
            assert text.startswith(BY_CI), text
            return
        assert done.status == 0, f"{step.text}\n{done.out}\n{done.err}"

    return follow


@pytest.fixture(scope="session")
def trained(follow, tmp_path_factory):
    """Trains an experiment that a page takes as given; `trained("runs/mask_s1")` is its workdir."""
    folder = tmp_path_factory.mktemp("trained")

    def workdir(name):
        if not (folder / name).exists():
            launch = f"python launch.py --config=configs/{Path(name).name}.py"
            follow(Step("", "", "bash", launch, None), folder)
        return folder / name

    return workdir


@pytest.fixture
def follow_page(follow, trained, data, tmp_path):
    """Does the steps of a page in a folder of its own, and returns the folder."""

    def follow_page(steps):
        shutil.copytree(data / "recordings", tmp_path / "recordings")
        for name in ("speech.wav", "somebody.wav"):
            shutil.copy(data / "speech.wav", tmp_path / name)
        for step in steps:
            if step.needs or added(step):
                continue
            for name in taken(step):
                if not (tmp_path / name).exists():
                    shutil.copytree(trained(name), tmp_path / name)
            follow(step, tmp_path)
        return tmp_path

    return follow_page
