"""The names of recordings in label files, and the audio files that they name."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

import soundfile

from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.labels import Rows
from jaxpara.registry import suggest

# Of files that libsndfile reads without being given their sample rate, and other endings of the same formats.
SUFFIXES = frozenset({f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"})
SUFFIXES |= {".aif", ".aifc", ".oga", ".opus", ".snd", ".sph", ".wave"}
MAX_SUGGESTED = 10_000  # names that are compared letter by letter


def audio_files(folder: Path, findings: Findings, *, by_suffix: bool = False) -> dict[str, bool]:
    """Return the files below a folder except hidden ones, True for regular files; links are not followed.

    Args:
      by_suffix: True to leave out files without a suffix of audio.

    Raises:
      UserError: there are none.
    """
    if not folder.is_dir():
        raise findings.fatal(folder, "no such folder", "put the audio there")
    audio, folders = {}, [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{prefix}{entry.name}/")
                elif not by_suffix or Path(entry.name).suffix.lower() in SUFFIXES:
                    audio[prefix + entry.name] = entry.is_file(follow_symlinks=False)
    if not audio:
        what = "no audio files in it or below it" if by_suffix else "an empty folder"
        raise findings.fatal(folder, what, "put the audio there")
    return audio


def with_audio(
    rows: Rows, folder: Path, audio: Mapping[str, bool], findings: Findings, *, own: bool = False
) -> tuple[Rows, set[str]]:
    """Return the rows whose name is a file in the folder, and the files that other rows may have meant.

    Args:
      own: True if a name may be an absolute path in the folder, or a link to a file elsewhere.
    """
    names = rows["name"].unique()
    problems = {name: "" if audio.get(name) else _problem_of(name, folder, own) for name in names}
    if not (absent := [name for name, problem in problems.items() if problem]):
        return rows, set()
    known = _by_key(audio)
    meant = {name: _meant(name, audio, known) for name in absent}
    rows = rows.assign(problem=rows["name"].map(problems), hint=rows["name"].map(lambda n: _hint(n, meant.get(n))))
    first = rows[rows["problem"] != ""].drop_duplicates("name")
    fix, what = f"put the file into {folder}, or correct or delete its rows", "{name!r} {problem}{hint}"
    if 1 < len(absent) == len(names):
        example = first.iloc[0]
        what = f"none of its {len(names)} names is a file in {folder}; {quote(example['name'])} {example['problem']}"
        seen = example["hint"] or f"; there are {', '.join(quote(name) for name in sorted(audio)[:3])}"
        fix = "correct the names, or config.corpus.root"
        findings.error("rows without audio", example["path"], what + seen, fix, example["row"])
        return rows[:0], set(audio)
    findings.add_rows("error", "rows without audio", first, what, fix)
    return rows[rows["problem"] == ""].reset_index(drop=True), {file for file in meant.values() if file}


def _problem_of(name: str, folder: Path, own: bool) -> str:
    """Return why a name in a label file is not a file in the folder; empty if it is."""
    pure, where = PurePosixPath(name), f"the {folder.name} folder"
    if not name:
        return "is not a file name"
    windows = PureWindowsPath(name)
    if ".." in windows.parts or windows.drive or ((pure.is_absolute() or windows.root) and not own):
        return f"leads out of {where}"
    if str(pure) != name:
        return f"is not spelled in the shortest way, expected {str(pure)!r}"
    try:
        path = (folder / name).resolve(strict=True)
    except FileNotFoundError:
        return f"is not in {where}"
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a null character, a loop of links
        return "cannot be opened"
    if not path.is_relative_to(folder.resolve()) and not (own and not pure.is_absolute()):
        return f"{'leads' if pure.is_absolute() else 'is a link that leads'} out of {where}"
    return "" if path.is_file() else "is not a file"


def _key(name: str) -> str:
    """Return a name without what people and file systems confuse: case, Unicode form, backslashes, the suffix."""
    return unicodedata.normalize("NFC", os.path.splitext(name)[0]).replace("\\", "/").casefold()


def _by_key(audio: Iterable[str]) -> dict[str, str]:
    """Return the files by the key of their path, and of their last part where that is unique."""
    paths, last = {_key(file): file for file in audio}, {}
    for file in audio:
        key = _key(file).rpartition("/")[2]
        last[key] = "" if key in last else file
    return {key: file for key, file in (last | paths).items() if file}


def _meant(name: str, audio: Mapping[str, bool], known: Mapping[str, str]) -> str:
    """Return the file that a name probably means, without its first folders if necessary; empty if there is none."""
    parts = PurePosixPath(name.replace("\\", "/")).parts if len(name) < 1000 else ()
    tails = ["/".join(parts[first:]) for first in range(len(parts))]
    exact = (tail for tail in tails if tail in audio)
    return next(exact, "") or next((known[_key(tail)] for tail in tails if _key(tail) in known), "")


def _hint(name: str, file: str | None) -> str:
    if file in (None, "", name):  # the file itself cannot be opened
        return ""
    same = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", file)
    return f"; did you mean {quote(file)}{', which has another Unicode normalisation' * same}?"


def did_you_mean(name: str, files: Iterable[str]) -> str:
    """Return ``; did you mean 'x.wav'?`` for the file that a name probably means, or an empty string."""
    audio = dict.fromkeys(files, True)
    return _hint(name, _meant(name, audio, _by_key(audio))) or suggest(name, list(audio)[:MAX_SUGGESTED])
