"""Corpora in the layout of the ComParE challenges: `wav/` and `lab/`, in the root or in its `dist/`."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import soundfile

from jaxpara.corpora import labels
from jaxpara.corpora.audio import AUDIO_ERRORS, add_unreadable, reason
from jaxpara.corpora.corpus import PARTITIONS, Corpus, Recording
from jaxpara.corpora.findings import Defect, Findings, first_error, quote
from jaxpara.corpora.tasks import Task

MARKER = "SIMULATED.json"  # in the root of simulated corpora only


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus."""

    wav: Path
    labels: dict[Path, str | None]  # with their partition; None if the names of the recordings begin with it
    confidential: Path | None  # the labels of the test partition
    speakers: Path | None
    audio: dict[str, bool]  # the contents of the wav folder, relative to it; True for a regular file


def read(root: Path, task: Task) -> Corpus:
    """Read a corpus without decoding its audio: the label files and, for sequences, the headers of the audio.

    Args:
      root: the folder that contains `wav/` and `lab/`, or whose `dist/` does.

    Raises:
      UserError: the first of the errors that `check` lists about the label files.
    """
    findings = Findings()
    corpus, _ = read_contents(Path(root), task, findings)
    if task.kind == "sequence":
        for recording in corpus.recordings:
            try:
                info = soundfile.info(recording.path)
            except AUDIO_ERRORS as error:
                add_unreadable(recording.path, reason(error), findings)
            else:
                compare_length(recording, info.frames / info.samplerate, corpus.label_rate_hz, findings)
    if errors := findings.count("error"):
        raise first_error(findings.listed(), errors)
    return corpus


def compare_length(recording: Recording, duration_s: float, label_rate_hz: float, findings: Findings) -> None:
    """Add an error unless labels and audio are equally long, up to one label."""
    labelled_s = len(recording.labels) / label_rate_hz
    if abs(labelled_s - duration_s) > 1 / label_rate_hz + 1e-6:
        what = f"{duration_s:.2f} s of audio, {len(recording.labels)} labels are {labelled_s:.2f} s"
        fix = "copy the file again from the corpus, or correct its labels"
        findings.error("files of other lengths than their labels", recording.path, None, what, fix)


def read_contents(root: Path, task: Task, findings: Findings) -> tuple[Corpus, list[Path]]:
    """Read as much of a corpus as possible, without opening its audio.

    Args:
      findings: collects everything that is wrong with the label files.

    Returns:
      The corpus, without the recordings that have no audio or wrong times, and the audio files that no label file
      names.

    Raises:
      Defect: nothing can be read.
    """
    try:
        files = find_files(root)
        rows: labels.Rows = pd.concat(
            [labels.read_rows(path, task, findings).assign(partition=part) for path, part in files.labels.items()],
            ignore_index=True,
        )
        named = set(rows["name"])
        rows = _with_audio(_with_partition(rows, findings), files, findings)
        speakers = _speakers(rows, named, task, files.speakers, findings)
        if task.kind == "classes":
            rows, rate_hz = labels.one_row_each(rows, findings).assign(time_s=0.0), 0.0
        else:
            rows["time_s"], rate_hz = _times(rows, findings)
        rows["value"] = labels.values(rows, task, (rows["partition"] == "test").to_numpy(), findings)
        rows = rows[rows["time_s"].notna()].reset_index(drop=True)
        rows["truth"] = rows["value"]
        if files.confidential is not None:
            rows["truth"] = labels.truth(rows, files.confidential, task, named, findings)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise Defect(Path(error.filename or root), None, what, "make it readable") from error
    starts = np.flatnonzero(~rows["name"].duplicated())
    columns = (np.split(rows[column].to_numpy(float), starts)[1:] for column in ("time_s", "value", "truth"))
    recordings = [
        Recording(row.name, files.wav / row.name, row.partition, speakers[row.name], *arrays)
        for row, *arrays in zip(rows.iloc[starts].itertuples(), *columns, strict=True)
    ]
    label_file = next(iter(files.labels))
    # An empty partition may only be the result of the errors before it.
    for partition in PARTITIONS if not findings.count("error") else ():
        if not any(recording.partition == partition for recording in recordings):
            add = findings.warning if partition == "test" else findings.error
            what = f"no recordings in the partition {partition}"
            add("empty partitions", label_file, None, what, "add their rows")
    corpus = Corpus(task, root, tuple(recordings), rate_hz, (root / MARKER).exists(), label_file)
    return corpus, [files.wav / name for name in files.audio if name not in named]


def find_files(root: Path) -> CorpusFiles:
    """Find the files of a corpus.

    Raises:
      Defect: the folder, its `lab/`, its label files or its `wav/` are missing or empty.
    """
    fix = "give the folder that contains wav/ and lab/"
    if not root.exists():
        raise Defect(root, None, "no such folder", fix)
    if not root.is_dir():
        raise Defect(root, None, "a file, not a folder", fix)
    base = next((base for base in (root, root / "dist") if (base / "lab").is_dir()), None)
    if base is None:
        inside = next((child for child in sorted(root.iterdir()) if (child / "lab").is_dir()), None)
        found = "an empty folder" if not any(root.iterdir()) else "no lab/ in this folder"
        raise Defect(root, None, found, f"did you mean {inside}?" if inside else fix)
    lab, wav = base / "lab", base / "wav"
    if (lab / "labels.csv").exists():
        label_files: dict[Path, str | None] = {lab / "labels.csv": None}
    else:
        label_files = {lab / f"{part}.csv": part for part in PARTITIONS if (lab / f"{part}.csv").exists()}
        absent = [f"{part}.csv" for part in ("train", "devel") if lab / f"{part}.csv" not in label_files]
        if absent:
            what = f"neither labels.csv nor {' and '.join(absent)}"
            raise Defect(lab, None, what, "add labels.csv, or train.csv, devel.csv and test.csv")
    if not wav.is_dir():
        raise Defect(wav, None, "no such folder", "put the audio there")
    audio = _list(wav)
    if not audio:
        raise Defect(wav, None, "an empty folder", "put the audio there")
    confidential = (lab / "labels_confidential.csv", lab / "test.unmasked.csv")
    speakers = (lab / "speakers.csv", base / "speakers.csv", root / "speakers.csv")
    return CorpusFiles(
        wav=wav,
        labels=label_files,
        confidential=next((path for path in confidential if path.exists()), None),
        speakers=next((path for path in speakers if path.exists()), None),
        audio=audio,
    )


def _list(wav: Path) -> dict[str, bool]:
    """Return the files below a folder except hidden ones, True for regular files; links are not followed."""
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
    return audio


def _problem_of(name: str, files: CorpusFiles) -> str:
    """Return why a name in a label file is not a file in the wav folder; empty if it is."""
    if files.audio.get(name):
        return ""
    pure = PurePosixPath(name)
    if not name:
        return "the file name is empty"
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or name[1:2] == ":":
        return "leads out of the wav folder"
    if str(pure) != name:
        return f"is not spelled in the shortest way, expected {str(pure)!r}"
    try:
        path = (files.wav / name).resolve(strict=True)
        if not path.is_relative_to(files.wav.resolve()):
            return "is a link that leads out of the wav folder"
        return "" if path.is_file() else "is not a file"
    except FileNotFoundError:
        return "is not in the wav folder"
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a null character, a loop of links
        return "cannot be opened"


def _with_partition(rows: labels.Rows, findings: Findings) -> labels.Rows:
    """Return the rows of recordings with one partition, in the order of the first row of each recording."""
    per_file = rows.drop_duplicates(["name", "path"])
    first = per_file.drop_duplicates("name").set_index("name")
    for row in per_file[per_file["name"].duplicated()].itertuples():
        other = first.loc[row.name]
        what = f"{quote(row.name)} appears here and in {other['path'].name}, row {other['row']}"
        findings.error("duplicated rows", row.path, row.row, what, "delete one of the rows")
    prefix = first.index.to_series().str.extract(r"^(?:.*/)?(train|devel|test)_", expand=False)
    first["partition"] = first["partition"].where(first["partition"].notna(), prefix)
    unknown = first["partition"].isna() & (first.index != "")  # `_with_audio` lists empty names
    for row in first[unknown].reset_index().itertuples():
        what = f"{quote(row.name)} does not begin with train_, devel_ or test_"
        findings.error("names without a partition", row.path, row.row, what, "rename the file, here and in wav/")
    rows = rows.assign(partition=rows["name"].map(first["partition"]))
    rows = rows[(rows["path"] == rows["name"].map(first["path"])) & ~rows["name"].map(unknown)]
    return rows.iloc[np.argsort(pd.factorize(rows["name"])[0], kind="stable")].reset_index(drop=True)


def _with_audio(rows: labels.Rows, files: CorpusFiles, findings: Findings) -> labels.Rows:
    """Return the rows of recordings whose name is a file in the wav folder."""
    absent = set()
    for row in rows.drop_duplicates("name").itertuples():
        if problem := _problem_of(row.name, files):
            absent.add(row.name)
            what = f"{quote(row.name)} {problem}" if row.name else problem
            fix = f"put the file into {files.wav}, or correct or delete its rows"
            findings.error("rows without audio", row.path, row.row, what, fix)
    return rows[~rows["name"].isin(absent)].reset_index(drop=True)


def _times(rows: labels.Rows, findings: Findings) -> tuple[np.ndarray, float]:
    """Return `[row]` seconds, NaN for recordings whose times are wrong, and the labels per second of the corpus."""
    seconds = labels.times(rows, findings)
    period_s = labels.period_s(rows, seconds)
    if period_s:
        return np.where(labels.on_grid(rows, seconds, period_s, findings), seconds, np.nan), 1 / period_s
    for row in rows[np.isfinite(seconds)].drop_duplicates("name").itertuples():
        what = f"{quote(row.name)} has one label, and no other file has more to derive the label rate from"
        findings.error("missing rows", row.path, row.row, what, "add the missing rows")
    return np.full(len(rows), np.nan), 0.0


def _speakers(
    rows: labels.Rows, named: Collection[str], task: Task, path: Path | None, findings: Findings
) -> dict[str, str]:
    """Return the speaker of each recording; empty if unknown.

    Args:
      rows: of the label files.
      named: all recordings in the label files, including those with errors.
      path: the table of speakers, with the columns `file_name` and `speaker`.

    Raises:
      Defect: the table cannot be read or has no speaker column.
    """
    recordings = rows.drop_duplicates("name")[["name", "partition"]]
    speakers = {name: Path(name).stem if task.speaker_per_file else "" for name in recordings["name"]}
    if path is None:
        return speakers
    table = labels.one_row_each(labels.read_table(path, findings, speaker=("speaker",)), findings)
    for row in table[~table["name"].isin(named)].itertuples():
        what = f"no label file names {quote(row.name)}"
        findings.warning("speakers of unknown files", path, row.row, what, "correct or delete the row")
    table = table[table["speaker"] != ""].merge(recordings, on="name", validate="one_to_one")
    per_partition = table.drop_duplicates(["speaker", "partition"])
    first = per_partition.drop_duplicates("speaker").set_index("speaker")
    for row in per_partition[per_partition["speaker"].duplicated()].itertuples():
        other = first.loc[row.speaker]
        what = (
            f"speaker {quote(row.speaker)} is in {other['partition']} ({quote(other['name'])}) and in {row.partition}"
            f" ({quote(row.name)}): scores on known speakers are better than on new ones"
        )
        fix = "correct the speaker, or read the scores with that in mind"
        findings.warning("speakers in two partitions", path, row.row, what, fix)
    speakers |= dict(zip(table["name"], table["speaker"], strict=True))
    for name in recordings["name"][~recordings["name"].isin(table["name"])]:
        what = f"no speaker for {quote(name)}"
        findings.warning("files without a speaker", path, None, what, "add a row for it, or delete the table")
    return speakers
