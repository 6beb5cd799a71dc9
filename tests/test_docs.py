"""Every command of the README and the guides is parsed with its config here, run by a test, or says what it needs."""

import copy
import re
import shlex
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from jaxpara import __main__ as main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Commands that are no launch, by their beginning: the file that runs them or what they call.
RUN_BY = {
    "python -m jaxpara.evaluation.compare": "tests/evaluation/test_compare_systems.py",
    "python -m jaxpara.export": "tests/trained/test_export.py",
    "python3 -m venv": ".ci/run",
    "pip install -e": ".ci/run",
    "pytest": ".ci/run",
}
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>[^>]+) -->\n)?```bash\n(?P<text>.*?)```", re.DOTALL)


def commands():
    """Page, command, and what the page says that it needs."""
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            for line in block["text"].replace("\\\n", " ").splitlines():
                for command in line.partition("  #")[0].split(" && "):
                    if command.strip() and not command.startswith(". "):
                        yield page.relative_to(ROOT), command.strip(), block["needs"]


COMMANDS = list(commands())


def test_there_are_commands():
    assert len(COMMANDS) > 30


@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")  # how ml_collections reads a config file
@pytest.mark.parametrize(("page", "command", "needs"), COMMANDS, ids=[f"{p.stem}: {c[:70]}" for p, c, _ in COMMANDS])
def test_a_command_of_the_docs(page, command, needs, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.rpartition(" | ")[2])
    if "launch.py" in words:  # perhaps after what starts it on several hosts
        require_known(words[words.index("launch.py") :], needs)
    elif words[0] == "python" and words[1].startswith("benchmarks/"):
        assert needs
        assert (ROOT / words[1]).is_file()
    else:
        (runner,) = (file for start, file in RUN_BY.items() if command.startswith(start))
        assert (ROOT / runner).is_file()


def require_known(argv, needs):
    """Parses a launch as the command line does: its flags, its config, and every field that it sets."""
    if any(path in command for path in ("snore", "breathing_loudness") for command in argv):
        return  # what docs/extending.md adds, run by tests/test_extending.py
    known = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=known, lock_config=True, sys_argv=argv)
    for flag in flags.FLAGS.flags_by_module_dict()[main.__name__]:
        if flag.name != "config" and not flag.name.startswith("config."):
            flags.DEFINE_flag(copy.deepcopy(flag), known)
    assert known(argv) == argv[:1]
    assert known.config is not None or needs or known.mode in ("predict", "live")


def test_guides_are_short():
    assert {page.name: n for page in PAGES[2:] if (n := len(page.read_text().splitlines())) >= 200} == {}


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
