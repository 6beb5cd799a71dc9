"""Corpora in the layout of the ComParE challenges: `wav/` and `lab/`, in the root or in its `dist/`."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from jaxpara.corpora import labels
from jaxpara.corpora.corpus import PARTITIONS, Corpus, recordings_of
from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.tasks import Task

MARKER = "SIMULATED.json"  # in the root of simulated corpora only


def read(root: Path, task: Task) -> Corpus:
    """Read a corpus without opening its audio; raise the first of the errors that `check` lists about its labels."""
    findings = Findings()
    corpus, _ = read_contents(Path(root), task, findings)
    findings.require_no_error()
    return corpus


def read_contents(root: Path, task: Task, findings: Findings) -> tuple[Corpus, list[Path]]:
    """Read as much of a corpus as possible, without opening its audio.

    Returns:
      The corpus, without the recordings that have no audio or wrong times, and the audio files that no label file
      names.

    Raises:
      UserError: nothing can be read.
    """
    try:
        base = _find_base(root, findings)
        lab, wav = base / "lab", base / "wav"
        files, audio = _label_files(lab, findings), _audio_files(wav, findings)
        tables = [labels.read_rows(path, task, findings).assign(partition=part) for path, part in files.items()]
        rows: labels.Rows = pd.concat(tables, ignore_index=True)
        named = set(rows["name"])
        rows = _with_audio(_with_partition(rows, findings), wav, audio, findings)
        speakers = _first_of(lab / "speakers.csv", base / "speakers.csv", root / "speakers.csv")
        rows["speaker"] = rows["name"].map(_speakers(rows, named, task, speakers, findings))
        rows = labels.with_values(rows, task, rows["name"][rows["partition"] == "test"], findings)
        rows, rate_hz = labels.on_grid(rows, findings) if task.kind == "sequence" else (rows, 0.0)
        rows["truth"] = rows["value"]
        if confidential := _first_of(lab / "labels_confidential.csv", lab / "test.unmasked.csv"):
            rows["truth"] = labels.truth(rows, confidential, task, named, findings)
    except OSError as error:
        file = Path(error.filename or root)
        raise findings.fatal(file, f"cannot be read ({error.strerror})", "make it readable") from error
    corpus = Corpus(task, root, recordings_of(rows, wav), rate_hz, (root / MARKER).exists(), next(iter(files)))
    # An empty partition may only be the result of the errors before it.
    for partition in PARTITIONS if not findings.count("error") else ():
        if not corpus.partition(partition):
            level, what = "warning" if partition == "test" else "error", f"no recordings in the partition {partition}"
            findings.add(level, "empty partitions", corpus.label_file, what, "add their rows")
    return corpus, [wav / name for name in audio if name not in named]


def _first_of(*paths: Path) -> Path | None:
    return next(filter(Path.exists, paths), None)


def _find_base(root: Path, findings: Findings) -> Path:
    """Return the folder that contains `lab/`: the root or its `dist/`."""
    found, fix = "no lab/ in this folder", "give the folder that contains wav/ and lab/"
    if not root.is_dir():
        raise findings.fatal(root, "a file, not a folder" if root.exists() else "no such folder", fix)
    if base := next((base for base in (root, root / "dist") if (base / "lab").is_dir()), None):
        return base
    if inside := next((child for child in sorted(root.iterdir()) if (child / "lab").is_dir()), None):
        fix = f"did you mean {inside}?"
    elif not any(root.iterdir()):
        found = "an empty folder"
    raise findings.fatal(root, found, fix)


def _label_files(lab: Path, findings: Findings) -> dict[Path, str | None]:
    """Return the label files with their partition; None if the names of the recordings begin with it."""
    if (lab / "labels.csv").exists():
        return {lab / "labels.csv": None}
    files = {part: lab / f"{part}.csv" for part in PARTITIONS if (lab / f"{part}.csv").exists()}
    if absent := [f"{part}.csv" for part in ("train", "devel") if part not in files]:
        what = f"neither labels.csv nor {' and '.join(absent)}"
        raise findings.fatal(lab, what, "add labels.csv, or train.csv, devel.csv and test.csv")
    return {path: part for part, path in files.items()}


def _audio_files(wav: Path, findings: Findings) -> dict[str, bool]:
    """Return the files below a folder except hidden ones, True for regular files; links are not followed."""
    if not wav.is_dir():
        raise findings.fatal(wav, "no such folder", "put the audio there")
    audio, folders = {}, [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(wav / prefix) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{prefix}{entry.name}/")
                else:
                    audio[prefix + entry.name] = entry.is_file(follow_symlinks=False)
    if not audio:
        raise findings.fatal(wav, "an empty folder", "put the audio there")
    return audio


def _with_partition(rows: labels.Rows, findings: Findings) -> labels.Rows:
    """Return the rows of recordings with one partition, in the order of the first row of each recording."""
    first = rows.drop_duplicates("name").set_index("name")
    rows = rows.assign(**{f"first_{column}": rows["name"].map(first[column]) for column in ("path", "row")})
    elsewhere = rows["path"] != rows["first_path"]
    again = rows[elsewhere].drop_duplicates(["name", "path"])
    what, fix = "{name!r} appears here and in {first_path.name}, row {first_row}", "delete one of the rows"
    findings.add_rows("error", "duplicated rows", again, what, fix)
    prefix = first.index.to_series().str.extract(r"^(?:.*/)?(train|devel|test)_", expand=False)
    rows["partition"] = rows["partition"].where(rows["partition"].notna(), rows["name"].map(prefix))
    unknown = rows["partition"].isna() & (rows["name"] != "")  # `_with_audio` lists empty names
    what, fix = "{name!r} does not begin with train_, devel_ or test_", "rename the file, here and in wav/"
    findings.add_rows("error", "names without a partition", rows[unknown].drop_duplicates("name"), what, fix)
    rows = rows[~elsewhere & ~unknown]
    return rows.iloc[np.argsort(pd.factorize(rows["name"])[0], kind="stable")].reset_index(drop=True)


def _with_audio(rows: labels.Rows, wav: Path, audio: Mapping[str, bool], findings: Findings) -> labels.Rows:
    """Return the rows of recordings whose name is a file in the wav folder."""
    problems = {name: "" if audio.get(name) else _problem_of(name, wav) for name in rows["name"].unique()}
    rows = rows.assign(problem=rows["name"].map(problems))
    absent = rows["problem"] != ""
    fix = f"put the file into {wav}, or correct or delete its rows"
    findings.add_rows("error", "rows without audio", rows[absent].drop_duplicates("name"), "{name!r} {problem}", fix)
    return rows[~absent].reset_index(drop=True)


def _problem_of(name: str, wav: Path) -> str:
    """Return why a name in a label file is not a file in the wav folder; empty if it is."""
    pure = PurePosixPath(name)
    if not name:
        return "is not a file name"
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or name[1:2] == ":":
        return "leads out of the wav folder"
    if str(pure) != name:
        return f"is not spelled in the shortest way, expected {str(pure)!r}"
    try:
        path = (wav / name).resolve(strict=True)
    except FileNotFoundError:
        return "is not in the wav folder"
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a null character, a loop of links
        return "cannot be opened"
    if not path.is_relative_to(wav.resolve()):
        return "is a link that leads out of the wav folder"
    return "" if path.is_file() else "is not a file"


def _speakers(
    rows: labels.Rows, named: Collection[str], task: Task, path: Path | None, findings: Findings
) -> dict[str, str]:
    """Return the speaker of each recording, empty if unknown, from the table `path`; `named` are all recordings."""
    recordings = rows.drop_duplicates("name")[["name", "partition"]]
    speakers = {name: Path(name).stem if task.speaker_per_file else "" for name in recordings["name"]}
    if path is None:
        return speakers
    table = labels.one_row_each(labels.read_table(path, findings, speaker=("speaker",)), findings)
    unknown = table[~table["name"].isin(named)]
    what, fix = "no label file names {name!r}", "correct or delete the row"
    findings.add_rows("warning", "speakers of unknown files", unknown, what, fix)
    table = table[table["speaker"] != ""].merge(recordings, on="name", validate="one_to_one")
    first = table.groupby("speaker")[["partition", "name"]].transform("first")
    table = table.assign(first_in=first["partition"], first=first["name"])
    again = table[table["partition"] != table["first_in"]].drop_duplicates(["speaker", "partition"])
    what = "speaker {speaker!r} is in {first_in} ({first!r}) and in {partition} ({name!r})"
    what += ": scores on known speakers are better than on new ones"
    fix = "correct the speaker, or read the scores with that in mind"
    findings.add_rows("warning", "speakers in two partitions", again, what, fix)
    speakers |= dict(zip(table["name"], table["speaker"], strict=True))
    for name in recordings["name"][~recordings["name"].isin(table["name"])]:
        what = f"no speaker for {quote(name)}"
        findings.warning("files without a speaker", path, what, "add a row for it, or delete the table")
    return speakers
