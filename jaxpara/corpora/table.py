"""Corpora that are described by a table of files and labels, or by a folder per class."""

from pathlib import Path, PurePosixPath

import pandas as pd

from jaxpara.corpora import labels, names
from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.partitions import SYNONYMS
from jaxpara.corpora.source import Options, Source
from jaxpara.corpora.tasks import Task
from jaxpara.registry import suggest

METADATA = "metadata.csv"  # of the AudioFolder convention, in the root or in a folder per split


def source(root: Path, task: Task, options: Options, findings: Findings) -> Source:
    """Read the table that the options name, or else metadata.csv or a folder per class.

    Raises:
      UserError: nothing can be read.
    """
    if not root.is_dir():
        found = "a file, not a folder" if root.exists() else "no such folder"
        raise findings.fatal(root, found, "give the folder that contains the audio")
    audio = names.audio_files(root, findings, by_suffix=True)
    tables = {"": _find(root, options.table, findings)} if options.table else _metadata(root)
    if not tables:
        rows = _folders(root, task, audio, findings)
        return Source(rows, set(audio), root, audio, label_file=root, target=task.target or "class")
    read = []
    for folder, path in tables.items():
        rows = labels.read_rows(path, task, findings, options.columns, own=True)
        if folder:
            rows = rows.assign(name=f"{folder}/" + rows["name"], split=folder)
        read.append(rows)
    rows = labels.in_order(pd.concat(read, ignore_index=True)).assign(partition=None)
    return Source(rows, set(rows["name"]), root, audio, next(iter(tables.values())), read[0].attrs["label"])


def _find(root: Path, table: str, findings: Findings) -> Path:
    """Return the path of a table, relative to the root or else to the current folder."""
    if path := next((path for path in (root / table, Path(table)) if path.is_file()), None):
        return path
    near = suggest(table, [path.name for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv", ".txt")])
    raise findings.fatal(
        root / table, f"no such file, and none in the current folder{near}", "correct config.corpus.table"
    )


def _metadata(root: Path) -> dict[str, Path]:
    """Return the metadata.csv of the root, or those of the folders of its splits."""
    if (root / METADATA).is_file():
        return {"": root / METADATA}
    return {
        path.parent.name: path for path in sorted(root.glob(f"*/{METADATA}")) if path.parent.name.lower() in SYNONYMS
    }


def _folders(root: Path, task: Task, audio: dict[str, bool], findings: Findings) -> labels.Rows:
    """Return a row for each audio file in `CLASS/` or, where all folders are splits, in `train/CLASS/`."""
    files: labels.Rows = pd.DataFrame({"name": sorted(audio)}, dtype=object)
    parts = files["name"].map(lambda name: PurePosixPath(name).parts)
    split = parts.str[0].str.lower().isin(SYNONYMS).all()
    expected = f"{parts.iloc[0][0]}/CLASS/file" if split else "CLASS/file"
    wrong = files["name"][parts.str.len() != (3 if split else 2)]
    tables = [quote(path.name) for path in sorted(root.iterdir()) if path.suffix.lower() in (".csv", ".tsv")]
    fix = f"give a table of files and labels as config.corpus.table{f' ({tables[0]}?)' if tables else ''}"
    if task.kind == "sequence":
        raise findings.fatal(root, "without a table there are no times and labels for a sequence", fix)
    if len(wrong) == len(files):
        what = f"no folder per class: there are files such as {quote(wrong.iloc[0])}, expected {expected}"
        raise findings.fatal(root, what, fix)
    for name in wrong:
        findings.error("files outside the folders", root / name, f"not in a folder per class, expected {expected}", fix)
    rows = files.assign(path=root, row=None, label=parts.str[-2], partition=None)
    rows = rows.assign(split=parts.str[0]) if split else rows
    return rows[~files["name"].isin(wrong)].reset_index(drop=True)
