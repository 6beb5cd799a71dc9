"""The commands and scripts on the pages of the docs, and the sizes at which the tests run them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import tiny

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
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


def added(step):
    """Return whether tests/test_extending.py runs it, because it needs what docs/extending.md adds."""
    return "snore" in step.text or "breathing_loudness" in step.text


def launch_of(command):
    """The words from `launch.py` on, perhaps after what starts it on several hosts; none where it is no launch."""
    words = shlex.split(command.rpartition(" | ")[2])
    return words[words.index("launch.py") :] if "launch.py" in words else []


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
