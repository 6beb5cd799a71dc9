"""Corpora in the layout of the ComParE challenges: `wav/` and `lab/`, in the root or in its `dist/` or `data/`."""

from pathlib import Path

import pandas as pd

from jaxpara.corpora import labels, names
from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.partitions import SYNONYMS
from jaxpara.corpora.source import Options, Source
from jaxpara.corpora.tasks import Task

BASES = ("", "dist", "data")


def has_layout(root: Path) -> bool:
    """Return True if a folder has the label files of a challenge."""
    return any((root / base / "lab").is_dir() for base in BASES)


def source(root: Path, task: Task, options: Options, findings: Findings) -> Source:
    """Read the label files and list the audio files.

    Raises:
      UserError: nothing can be read.
    """
    base = _find_base(root, findings)
    lab, wav = base / "lab", _first_of(base / "wav", base / "raw" / "wav") or base / "wav"
    files, audio = _label_files(lab, task, options, findings), names.audio_files(wav, findings)
    read = [labels.read_rows(path, task, findings, options.columns, own=options.own) for path in files]
    # The partition is None where the names of the recordings begin with it.
    tables = [table.assign(partition=part) for table, part in zip(read, files.values(), strict=True)]
    rows: labels.Rows = pd.concat(tables, ignore_index=True)
    twins = (lab / f"{task.name}.confidential.tsv", lab / f"{task.name}_confidential.tsv")  # those of 2018
    return Source(
        rows=_with_partition(rows, options, findings),
        named=set(rows["name"]),
        folder=wav,
        audio=audio,
        label_file=next(iter(files)),
        target=read[0].attrs["label"],
        speakers=_first_of(lab / "speakers.csv", base / "speakers.csv", root / "speakers.csv"),
        confidential=_first_of(lab / "labels_confidential.csv", lab / "test.unmasked.csv", *twins),
    )


def _first_of(*paths: Path) -> Path | None:
    return next(filter(Path.exists, paths), None)


def _find_base(root: Path, findings: Findings) -> Path:
    """Return the folder that contains `lab/`: the root, or one in it."""
    found, fix = "no lab/ in this folder", "give the folder that contains wav/ and lab/"
    if not root.is_dir():
        raise findings.fatal(root, "a file, not a folder" if root.exists() else "no such folder", fix)
    if base := next((root / base for base in BASES if (root / base / "lab").is_dir()), None):
        return base
    if inside := next((child for child in sorted(root.iterdir()) if (child / "lab").is_dir()), None):
        fix = f"did you mean {inside}?"
    elif not any(root.iterdir()):
        found = "an empty folder"
    raise findings.fatal(root, found, fix)


def _label_files(lab: Path, task: Task, options: Options, findings: Findings) -> dict[Path, str | None]:
    """Return the label files with their partition; None if the names of the recordings begin with it."""
    if whole := _first_of(lab / "labels.csv", lab / f"{task.name}.tsv"):
        return {whole: None}
    files = {part: lab / f"{part}.csv" for part in PARTITIONS if (lab / f"{part}.csv").exists()}
    required = ("train",) if options.own else ("train", "devel")
    if absent := [f"{part}.csv" for part in required if part not in files]:
        what = f"neither labels.csv nor {' and '.join(absent)}"
        raise findings.fatal(lab, what, "add labels.csv, or train.csv, devel.csv and test.csv")
    return {path: part for part, path in files.items()}


def _with_partition(rows: labels.Rows, options: Options, findings: Findings) -> labels.Rows:
    """Return the rows of recordings with one partition, in the order of the first row of each recording.

    The partition stays None if there is another way to find it: a column, or for a user's corpus no prefix at all.
    """
    first = rows.drop_duplicates("name").set_index("name")
    rows = rows.assign(**{f"first_{column}": rows["name"].map(first[column]) for column in ("path", "row")})
    elsewhere = rows["path"] != rows["first_path"]
    again = rows[elsewhere].drop_duplicates(["name", "path"])
    what, fix = "{name!r} appears here and in {first_path.name}, row {first_row}", "delete one of the rows"
    findings.add_rows("error", "duplicated rows", again, what, fix)
    rows = rows[~elsewhere]
    if rows["partition"].isna().any() and "split" not in rows:
        prefix = first.index.to_series().str.extract(r"^(?:.*/)?(train|devel|test)_", expand=False)
        if not (options.own and prefix.isna().all()):
            rows = rows.assign(partition=rows["partition"].where(rows["partition"].notna(), rows["name"].map(prefix)))
            unknown = rows["partition"].isna() & (rows["name"] != "")  # `names.with_audio` lists empty names
            _add_unknown(rows[unknown].drop_duplicates("name"), len(first), findings)
            rows = rows[~unknown]
    return labels.in_order(rows)


def _add_unknown(unknown: labels.Rows, count: int, findings: Findings) -> None:
    """Add names without a partition: one finding for all with the same other prefix, and for all names of a corpus."""
    parts = unknown["name"].str.extract(r"^(?P<folder>(?:.*/)?)(?P<prefix>[A-Za-z]+)(?P<rest>_.*)$").astype(object)
    unknown = unknown.assign(**parts, meant=[SYNONYMS.get(str(prefix).lower()) for prefix in parts["prefix"]])
    unknown["count"] = unknown.groupby("prefix")["name"].transform("count")
    kind, what, fix = "names without a partition", "{name!r} does not begin with ", "rename the file, here and in wav/"
    known = unknown[unknown["meant"].notna()].drop_duplicates("prefix")
    what_known = "{name!r} begins with {prefix}_, as {count} names do; did you mean '{folder}{meant}{rest}'?"
    findings.add_rows("error", kind, known, what_known, fix)
    unknown = unknown[unknown["meant"].isna()]
    if 1 < len(unknown) == count:
        what, fix = f"none of its {count} names begins with ", "rename the files, or, if this is no corpus of ComParE,"
        fix, unknown = f"{fix} set config.corpus.task to a kind of target, such as classes", unknown[:1]
    findings.add_rows("error", kind, unknown, f"{what}train_, devel_ or test_", fix)
