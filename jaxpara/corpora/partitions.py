"""Partitions: those that a table gives, those of a split.csv, and those that are made where there are none."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.corpora import labels
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.labels import Rows
from jaxpara.corpora.source import Options
from jaxpara.corpora.splits import folds_of, random_parts, speaker_groups
from jaxpara.corpora.tasks import Task
from jaxpara.corpora.values import UNLABELLED
from jaxpara.errors import UserError
from jaxpara.files import write_text
from jaxpara.registry import suggest

SYNONYMS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("devel", "dev", "val", "valid", "validation"), "devel"),
    **dict.fromkeys(("test", "eval"), "test"),
}
HOLDOUT_PARTS = 5  # of a holdout: one is devel, one is test
HOLDOUT_SEED = 12
FEW_SPEAKERS = 5  # in a test partition: below it, intervals over speakers are very wide
MADE = ("holdout", "folds")


def from_column(rows: Rows, findings: Findings) -> Rows:
    """Return the rows with the partition that their column `split` gives."""
    rows = rows.assign(
        partition=rows["partition"].where(rows["partition"].notna(), rows["split"].str.lower().map(SYNONYMS))
    )
    unknown = rows[rows["partition"].isna()].drop_duplicates("name")
    unknown = unknown.assign(hint=[suggest(text[:60].lower(), list(SYNONYMS)) for text in unknown["split"]])
    what = "{name!r} has the split {split!r}, expected train, devel or test{hint}"
    if 1 < len(unknown) == rows["name"].nunique():
        what, unknown = "none of its splits is train, devel or test, for example {split!r}{hint}", unknown[:1]
    findings.add_rows(
        "error", "rows without a split", unknown, what, "correct the split, or config.corpus.columns.split"
    )
    rows = rows[rows["partition"].notna()]
    first = rows.groupby("name")["partition"].transform("first")
    again = rows[rows["partition"] != first].drop_duplicates("name")
    findings.add_rows("error", "rows without a split", again, "{name!r} is in two splits", "correct one of the rows")
    return rows[rows["partition"] == first].reset_index(drop=True)


def from_file(rows: Rows, split: str, findings: Findings) -> Rows:
    """Return the rows with partition, fold and, where it was unknown, speaker from a split.csv.

    Raises:
      UserError: there is no such file, or it cannot be read.
    """
    path = Path(split)
    if not path.is_file():
        near = suggest(split, list(MADE))
        raise UserError(f"config.corpus.split is {split!r}, expected holdout, folds or the path of a split.csv{near}")
    table = labels.read_table(path, findings, {what: (what,) for what in ("speaker", "fold")}, split=("split",))
    table = from_column(labels.one_row_each(table, findings).assign(partition=None), findings).set_index("name")
    unknown = table[~table.index.isin(rows["name"])].reset_index()
    what, fix = "no recording of the corpus is named {name!r}", "correct or delete the row"
    findings.add_rows("warning", "splits of unknown files", unknown, what, fix)
    for column in ("partition", "fold"):
        if column in table:
            rows[column] = rows["name"].map(table[column])
    if "speaker" in table:
        rows["speaker"] = rows["speaker"].where(rows["speaker"] != "", rows["name"].map(_known(table["speaker"])))
    absent = rows[rows["partition"].isna()].drop_duplicates("name")
    findings.add_rows("error", "rows without a split", absent, f"{{name!r}} is not in {path}", "add a row for it there")
    return rows[rows["partition"].notna()].fillna({"fold": "", "speaker": ""}).reset_index(drop=True)


def made(rows: Rows, task: Task, options: Options, findings: Findings) -> Rows:
    """Return the rows with new partitions.

    `folds` has everything in train, and so has a corpus with folds of its own. `holdout` has 60 % of the speakers in
    train, and 20 % in devel and in test; of the recordings, with the proportions of the classes, if no speaker is
    known. The split does not depend on `config.seed`, so that runs with several seeds have the same test partition.
    """
    if options.split == "folds" or ("fold" in rows and (rows["fold"] != "").all()):
        return rows.assign(partition="train")
    recordings = rows.drop_duplicates("name").sort_values("name")
    speakers = speaker_groups(recordings["speaker"], recordings["name"])
    units = len(recordings) if speakers is None else len(set(speakers))
    if units < 3:
        what = f"{units} {'recordings' if speakers is None else 'speakers'}, too few for train, devel and test"
        raise findings.fatal(recordings["path"].iloc[0], what, "add some, or set config.corpus.split=folds")
    count = min(HOLDOUT_PARTS, units)
    part = random_parts(recordings["value"].to_numpy(), task, speakers, count, HOLDOUT_SEED)
    if speakers is not None and (fewest := round(units / count)) < FEW_SPEAKERS:
        what = f"{units} speakers, of whom the test partition gets about {fewest}: scores on so few are uncertain"
        fix = "set config.corpus.split=folds, which scores all of them by cross-validation"
        findings.warning("few test speakers", recordings["path"].iloc[0], what, fix)
    names = np.array(["test", "devel", *["train"] * (count - 2)], object)
    return rows.assign(partition=rows["name"].map(dict(zip(recordings["name"], names[part], strict=True))))


def add_speakers_of_two(rows: Rows, findings: Findings) -> None:
    """Add the speakers who are in two partitions; the rows are one per recording."""
    table = rows[rows["speaker"] != ""]
    first = table.groupby("speaker")[["partition", "name"]].transform("first")
    table = table.assign(first_in=first["partition"], first=first["name"])
    again = table[table["partition"] != table["first_in"]].drop_duplicates(["speaker", "partition"])
    what = "speaker {speaker!r} is in {first_in} ({first!r}) and in {partition} ({name!r})"
    what += ": scores on known speakers are better than on new ones"
    fix = "correct the speaker, or read the scores with that in mind"
    findings.add_rows("warning", "speakers in two partitions", again, what, fix)


def speakers(rows: Rows, named: Collection[str], task: Task, path: Path | None, findings: Findings) -> Rows:
    """Return `[row]` the speakers, empty where unknown: from the column of the rows, or from the table `path`.

    Args:
      named: all recordings of the corpus, including those with errors.
    """
    if "speaker" in rows:
        return _known(rows["speaker"])
    names = rows["name"].drop_duplicates()
    known = {name: Path(name).stem if task.speaker_per_file else "" for name in names}
    if path is None:
        return rows["name"].map(known)
    table = labels.one_row_each(labels.read_table(path, findings, speaker=("speaker",)), findings)
    unknown = table[~table["name"].isin(named)]
    what, fix = "no label file names {name!r}", "correct or delete the row"
    findings.add_rows("warning", "speakers of unknown files", unknown, what, fix)
    table = table[(_known(table["speaker"]) != "") & table["name"].isin(names)]
    known |= dict(zip(table["name"], table["speaker"], strict=True))
    for name in names[~names.isin(table["name"])]:
        what = f"no speaker for {quote(name)}"
        findings.warning("files without a speaker", path, what, "add a row for it, or delete the table")
    return rows["name"].map(known)


def _known(speakers: Rows) -> Rows:
    """Return the speakers, empty where a table marks them as unknown."""
    return speakers.mask(speakers.isin(UNLABELLED), "")


def write(path: Path, corpus: Corpus, specs: Iterable[Mapping[str, Any]]) -> None:
    """Write the split.csv of a run: file, speaker, split and, in the first of `specs` with several folds, the fold.

    Args:
      specs: the `folds` of each member's config.
    """
    whole = ({key: value for key, value in spec.items() if key not in ("only", "leave_out")} for spec in specs)
    several = next((folds for spec in whole if len(folds := folds_of(spec, "folds", corpus)) > 1), [])
    fold_of = {name: str(fold.index) for fold in several for name in fold.val_names}
    rows = [(r.name, r.speaker, r.partition, fold_of.get(r.name, "")) for r in corpus.recordings]
    table = pd.DataFrame(rows, columns=["file", "speaker", "split", "fold"])
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
