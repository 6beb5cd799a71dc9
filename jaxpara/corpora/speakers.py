"""Who speaks in which recording: `speakers.csv`, where the corpus has it."""

from collections.abc import Collection, Mapping
from pathlib import Path

from jaxpara.corpora import tables
from jaxpara.corpora.corpus import Task
from jaxpara.corpora.findings import Findings, quote


def speakers_of(
    partitions: Mapping[str, str], named: Collection[str], task: Task, path: Path | None, findings: Findings
) -> dict[str, str]:
    """The speaker of each recording; empty where nobody tells.

    Args:
      partitions: the recordings and their partitions.
      named: these, and what else the label files name.
      path: the table with the columns `file_name` and `speaker`; None where there is none.
      findings: takes what does not fit between the table and the recordings.

    Raises:
      Defect: the table cannot be read or has no speaker column.
    """
    speakers = {name: Path(name).stem if task.speaker_per_file else "" for name in partitions}
    if path is None:
        return speakers
    table = tables.load(path, findings)
    column = table.column(("speaker",), "speaker")
    told: set[str] = set()
    heard_in: dict[str, dict[str, str]] = {}
    for name, indices in table.recordings().items():
        row, speaker = table.rows[indices[0]], column[indices[0]]
        for again in indices[1:]:
            what = f"{quote(name)} stands here and in row {row}"
            findings.error("doubled rows", path, table.rows[again], what, "delete one of the rows")
        if name not in named:
            what, mend = f"no label file names {quote(name)}", "correct or delete the row"
            findings.warning("speakers of unknown files", path, row, what, mend)
        elif speaker and name in partitions:
            told.add(name)
            speakers[name] = speaker
            places = heard_in.setdefault(speaker, {})
            if places and partitions[name] not in places:
                other, first = next(iter(places.items()))
                what = (
                    f"speaker {quote(speaker)} is heard in {other} ({quote(first)}) and in {partitions[name]}"
                    f" ({quote(name)}): scores on known voices are better than on new ones"
                )
                mend = "correct the speaker, or read the scores with that in mind"
                findings.warning("speakers in two partitions", path, row, what, mend)
            places.setdefault(partitions[name], name)
    for name in partitions:
        if name not in told:
            what, mend = f"no speaker for {quote(name)}", "add a row for it, or delete the table"
            findings.warning("files without a speaker", path, None, what, mend)
    return speakers
