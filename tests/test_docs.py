"""The README and the guides, page by page: every command and script is run in its order at small sizes, word for word
but for these, or stands under a mark that says what it needs, and is parsed with its config.
"""

import copy
import csv
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from absl import flags
from commands import SHARED_PROGRAMS, ended, serving, started
from ml_collections import config_flags

from jaxpara import __main__ as main
from jaxpara.corpora.simulated import writing

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST = "reproduce.md"  # its sections use no results of one another
# The beginnings of commands that set up an environment.
BY_CI = ("python3 -m venv", "pip install -e", "pytest")
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>[^>]+) -->\n)?```(?P<kind>bash|python)\n(?P<text>.*?)```", re.DOTALL)
SIZES = {"breathing": {"speakers": (2, 2, 2), "seconds": 12.0}, "mask": {"speakers": (2, 2, 2), "seconds": 8.0}}


@dataclass(frozen=True)
class Step:
    """A command, or a whole `python` script; `needs`: what the page says that it needs."""

    page: str
    section: str
    kind: str
    text: str
    needs: str | None


def steps_of(page):
    for section in re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        yield from steps_in(section, page.name, section.partition("\n")[0].strip("# "))


def steps_in(text, *where):
    for block in BLOCK.finditer(text):
        if block["kind"] == "python":
            yield Step(*where, "python", block["text"], block["needs"])
            continue
        for line in block["text"].replace("\\\n", " ").splitlines():
            for command in line.partition("  #")[0].split(" && "):
                if command.strip() and not command.startswith(". "):
                    yield Step(*where, "bash", command.strip(), block["needs"])


STEPS = {page.name: list(steps_of(page)) for page in PAGES}
NEEDY = [step for steps in STEPS.values() for step in steps if step.needs]


def test_there_are_commands():
    assert sum(len(steps) for steps in STEPS.values()) > 30


def added(step):
    """Return whether tests/test_extending.py runs it, because it needs what docs/extending.md adds."""
    return "snore" in step.text or "breathing_loudness" in step.text


def launch_of(command):
    """The words from `launch.py` on, perhaps after what starts it on several hosts; none where it is no launch."""
    words = shlex.split(command.rpartition(" | ")[2])
    return words[words.index("launch.py") :] if "launch.py" in words else []


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


def experiment(argv):
    """The config that a launch names, as `breathing_e2e` or `mask_s1:paper`; an empty string where it names none."""
    return next((f[len("--config=configs/") :].replace(".py", "") for f in argv if f.startswith("--config=")), "")


def trains(argv):
    return bool(argv) and not any(flag.startswith("--mode=") for flag in argv)


def taken(step):
    """The workdirs that a step takes as given."""
    argv = launch_of(step.text)
    if "--mode=evaluate" in argv:
        return [f"runs/{experiment(argv)}"]
    return [] if trains(argv) else re.findall(r"\bruns/\w+", step.text)


def small(argv):
    """A launch at small sizes; what the page sets itself stands."""
    config = experiment(argv)
    if not config or "--mode=show" in argv:
        return argv
    sizes = [] if "--mode=check" in argv else tiny.flags(config)
    if not any(flag.startswith("--config.corpus.root=") for flag in argv):
        corpus = SIZES[config.partition("_")[0]]
        sizes += [f"--config.corpus.{field}={value}".replace(" ", "") for field, value in corpus.items()]
    given = {flag.partition("=")[0] for flag in argv}
    return [*argv, *(flag for flag in sizes if flag.partition("=")[0] not in given)]


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


def parts():
    """The pages, the longest one in sections; several workers share them out."""
    for page, steps in STEPS.items():
        sections = list(dict.fromkeys(step.section for step in steps))
        for part in [[section] for section in sections] if page == LONGEST else [sections] if steps else []:
            name = f"{page}, {part[0]}" if page == LONGEST else page
            yield pytest.param(page, part, id=name, marks=pytest.mark.xdist_group(name))


@pytest.mark.parametrize(("page", "sections"), list(parts()))
def test_a_page_can_be_followed(page, sections, follow, trained, data, cache, tmp_path):
    shutil.copytree(data / "recordings", tmp_path / "recordings")
    for name in ("speech.wav", "somebody.wav"):
        shutil.copy(data / "speech.wav", tmp_path / name)
    for step in STEPS[page]:
        if step.needs or added(step) or step.section not in sections:
            continue
        for name in taken(step):
            if not (tmp_path / name).exists():
                shutil.copytree(trained(name), tmp_path / name)
        follow(step, tmp_path)
    if page == "README.md":
        the_model_of_the_readme_is_in_use(tmp_path, cache)


def the_model_of_the_readme_is_in_use(folder, cache):
    rows = (folder / "belts.csv").read_text().splitlines()
    assert rows[0] == "file,time,value"
    assert {row.split(",")[0] for row in rows[1:]} == {"a.wav", "b.flac", "c.ogg", "d.mp3"}
    assert len(list((folder / "belts_images").iterdir())) == 4
    (live,) = (step.text for step in STEPS["README.md"] if "--mode=live" in step.text)
    assert live.startswith("ffmpeg ")
    assert "-f s16le -ac 1 -ar 16000" in live  # what is made here without it
    samples, _ = soundfile.read(folder / "speech.wav", dtype="int16")
    done = ended(started("-m", "jaxpara", *launch_of(live)[1:], cache=cache, cwd=folder), samples.tobytes())
    assert done.status == 0, done.err
    assert len(done.out.splitlines()) == 50


@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")  # how ml_collections reads a config file
@pytest.mark.parametrize("step", NEEDY, ids=[f"{step.page}: {step.text[:70]}" for step in NEEDY])
def test_what_is_not_run_is_parsed(step, monkeypatch):
    """Flags, config, and every field that a launch sets; a script has to be there."""
    monkeypatch.chdir(ROOT)
    argv = launch_of(step.text)
    if not argv:
        words = shlex.split(step.text)
        script = ROOT / f"{words[2].replace('.', '/')}.py"
        assert step.text.startswith(BY_CI) or (words[:2] == ["python", "-m"] and script.is_file())
        return
    known = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=known, lock_config=True, sys_argv=argv)
    for flag in flags.FLAGS.flags_by_module_dict()[main.__name__]:
        if flag.name != "config" and not flag.name.startswith("config."):
            flags.DEFINE_flag(copy.deepcopy(flag), known)
    assert known(argv) == argv[:1]


def test_guides_are_short():
    assert {page.name: n for page in PAGES[2:] if (n := len(page.read_text().splitlines())) >= 200} == {}


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
