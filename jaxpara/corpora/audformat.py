"""Databases in the format of audformat (audeering), with the extra `jaxpara[audformat]`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jaxpara.corpora import labels, names
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.partitions import SYNONYMS
from jaxpara.corpora.source import Options, Source
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError, reason
from jaxpara.registry import suggest

HEADER = "db.yaml"


def source(root: Path, task: Task, options: Options, findings: Findings) -> Source:
    """Read the tables that `options.table` names, separated by commas, or else the only table.

    Speakers come from a column of the table or of another table of files, splits from a column or from the split of
    the table. Segments are read as the times of a sequence.

    Raises:
      UserError: audformat is not installed, or there is no such table or column.
    """
    try:
        import audformat
    except ImportError as error:
        raise UserError(
            f"{root / HEADER}: reading this database needs audformat, which is not installed;"
            " pip install 'jaxpara[audformat]', or export a CSV and give it as config.corpus.table"
        ) from error
    if pickles := sorted(root.glob("db.*.pkl")):
        fix = "delete it if there is a CSV or Parquet file of the table, or else save the database with one"
        raise findings.fatal(pickles[0], "a pickle, which can execute code when it is read", fix)
    try:
        database = audformat.Database.load(str(root), load_data=False, num_workers=1)
        wanted = _tables(root, list(database.tables), options.table, findings)
        read = [_rows(root, database, table, task, options, findings) for table in wanted]
    except (ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
        raise findings.fatal(root / HEADER, f"not readable as a database ({reason(error)})", "save it again") from error
    rows: labels.Rows = labels.in_order(pd.concat(read, ignore_index=True)).assign(partition=None)
    if (rows["split"] == "").all():
        rows = rows.drop(columns="split")
    audio = names.audio_files(root, findings, by_suffix=True)
    return Source(rows, set(rows["name"]), root, audio, _path(root, wanted[0]), read[0].attrs["label"])


def _path(root: Path, table: str) -> Path:
    """Return the file of a table, for messages."""
    paths = [root / f"db.{table}.{suffix}" for suffix in ("csv", "parquet")]
    return next((path for path in paths if path.exists()), paths[0])


def _tables(root: Path, known: list[str], wanted: str, findings: Findings) -> list[str]:
    chosen = [name.strip() for name in wanted.split(",")] if wanted else known
    if not wanted and len(known) != 1:
        what, fix = f"its tables are {', '.join(known) or 'none'}", "choose one or more of them as config.corpus.table"
        raise findings.fatal(root / HEADER, what, fix)
    for name in chosen:
        if name not in known:
            what = f"no table {name!r} among {', '.join(known)}{suggest(name, known)}"
            raise findings.fatal(root / HEADER, what, "correct config.corpus.table")
    return chosen


def _rows(root: Path, database: Any, table_id: str, task: Task, options: Options, findings: Findings) -> labels.Rows:
    """Return the rows of one table, all cells as texts, empty where there is none."""
    table, path = database[table_id], _path(root, table_id)
    cells = table.get()
    index = cells.index.to_frame(index=False)

    def column(what: str, given: str, spellings: Sequence[str], *, required: bool = False) -> str:
        found = next((name for name in ([given] if given else spellings) if name in cells), "")
        if not found and (required or given):
            found = f"no {what} column among {', '.join(cells.columns)}{suggest(given, list(cells.columns))}"
            field = labels.FIELDS.get(what, f"columns.{what}")
            raise findings.fatal(path, found, f"give the name of one as config.corpus.{field}")
        return found

    target = column("label", task.target, labels.TARGET_COLUMNS, required=True)
    rows = pd.DataFrame(
        {"name": index["file"].astype(str), "path": path, "row": range(2, len(index) + 2)}, dtype=object
    )
    rows["label"] = _texts(cells[target])
    if "start" in index:
        whole = (index["start"] == pd.Timedelta(0)) & index["end"].isna()
        if task.kind == "sequence":
            rows["time"] = index["start"].dt.total_seconds().map("{:.6f}".format)
        elif not whole.all():
            what = f"row {int((~whole).argmax()) + 2} labels a segment, expected labels of whole files"
            raise findings.fatal(path, what, "cut the audio into segments, or choose another table")
    elif task.kind == "sequence":
        what = "labels of whole files, expected segments, whose starts are the times"
        raise findings.fatal(path, what, "choose another table")
    speaker = column("speaker", options.columns.get("speaker", ""), labels.OPTIONAL_COLUMNS["speaker"])
    if speaker:
        rows["speaker"] = _texts(cells[speaker])
    else:
        known = _speakers(database)
        rows["speaker"] = [known.get(name, "") for name in rows["name"]]
    split = column("split", options.columns.get("split", ""), labels.OPTIONAL_COLUMNS["split"])
    if split:
        rows["split"] = _texts(cells[split])
    else:
        split = str(table.split_id or "")
        kind = str(database.splits[split].type) if split in database.splits else split
        rows["split"] = kind if kind in SYNONYMS else ""
    rows.attrs = {"label": target}
    return rows


def _speakers(database: Any) -> dict[str, str]:
    """Return the speakers of all files, from the first table of files that has them."""
    for name in labels.OPTIONAL_COLUMNS["speaker"]:
        for table in database.tables.values():
            if table.is_filewise and name in table.columns:
                cells = table.get()
                return dict(zip(cells.index.astype(str), _texts(cells[name]), strict=True))
    return {}


def _texts(cells: Any) -> list[str]:
    return ["" if pd.isna(cell) else str(cell) for cell in cells]
