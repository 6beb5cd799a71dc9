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
    own_tables(folder, random)
    for name, rate_hz, shape in (
        ("recordings/a.wav", 16_000, (32_000,)),
        ("recordings/b.flac", 44_100, (88_200, 2)),
        ("recordings/c.ogg", 48_000, (96_000,)),
        ("recordings/d.mp3", 44_100, (88_200, 2)),
        ("speech.wav", 16_000, (32_000,)),
    ):
        soundfile.write(folder / name, 0.05 * random.standard_normal(shape), rate_hz)
    return folder


def own_tables(folder, random):
    """Write recordings and tables that nobody prepared for jaxpara: /data/emodb, voices, belts and by_class."""
    tables = {"emodb/labels.csv": "file,emotion,speaker", "voices/meta.tsv": "filename\tvalence\tsubject"}
    rows = {name: [header] for name, header in (tables | {"belts/belt.csv": "file,time,belt,speaker"}).items()}
    for name in ("emodb", "voices", "belts", "by_class/calm", "by_class/tense"):
        (folder / name).mkdir(parents=True)
    for number in range(36):
        noise = 0.05 * random.standard_normal(16_000)
        emotion, speaker = "abcdef"[number % 6], f"s{number // 6}"
        soundfile.write(folder / "emodb" / f"{number}.flac", noise, 16_000)
        rows["emodb/labels.csv"].append(f"{number}.flac,{emotion},{speaker}")
        soundfile.write(folder / "voices" / f"{number}.wav", noise, 22_050)
        rows["voices/meta.tsv"].append(f"{number}.wav\t{random.uniform(1, 5):.2f}\t{speaker}")
        soundfile.write(folder / "by_class" / ("calm", "tense")[number % 2] / f"{number}.wav", noise, 16_000)
    for number in range(6):
        soundfile.write(folder / "belts" / f"{number}.wav", 0.05 * random.standard_normal(8 * 16_000), 16_000)
        belt = [(i / 25, 500 + 100 * np.sin(i / 25 + number)) for i in range(200)]
        rows["belts/belt.csv"] += [f"{number}.wav,{time:.2f},{value:.1f},s{number}" for time, value in belt]
    for name, lines in rows.items():
        (folder / name).write_text("\n".join(lines) + "\n")


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
