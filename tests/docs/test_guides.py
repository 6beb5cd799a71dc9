"""The README and the guides, page by page: every command and script is run in its order at small sizes, word for word
but for these, or has a mark that says what it needs, and is parsed with its config.
"""

import copy
import re
import shlex

import pytest
import soundfile
from absl import flags
from commands import ended, started
from ml_collections import config_flags
from pages import BY_CI, PAGES, ROOT, STEPS, launch_of

from jaxpara import __main__ as main

NEEDY = [step for steps in STEPS.values() for step in steps if step.needs]
FOLLOWED = [page for page, steps in STEPS.items() if steps and page != "reproduce.md"]  # which has its own file


def test_there_are_commands():
    assert sum(len(steps) for steps in STEPS.values()) > 30


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_can_be_followed(page, follow_page, cache):
    folder = follow_page(STEPS[page])
    if page == "README.md":
        the_model_of_the_readme_is_in_use(folder, cache)


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
