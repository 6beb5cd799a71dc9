"""Options of the readers of corpora, and the rows that each of them yields."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxpara.corpora.labels import Rows
from jaxpara.corpora.tasks import TASKS


@dataclass(frozen=True)
class Options:
    """The fields of `config.corpus` that say how a corpus is read.

    Attributes:
      own: True for corpora of the user, False for the sub-challenges of `TASKS`, which have fixed partitions.
      table: a table of files and labels; of an audformat database, the names of one or more of its tables.
      columns: the names of columns that do not have the usual ones, by `file`, `split`, `speaker` and `time`.
      split: how recordings without a partition get one: `holdout`, `folds`, or the path of a split.csv.
    """

    own: bool = False
    table: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str = "holdout"

    @classmethod
    def of(cls, wanted: Mapping[str, Any]) -> "Options":
        """Return the options of `config.corpus`."""
        return cls(
            own=wanted["task"] not in TASKS,
            table=wanted.get("table") or "",
            columns={what: name for what, name in (wanted.get("columns") or {}).items() if name},
            split=wanted.get("split") or "holdout",
        )


SUB_CHALLENGE = Options()


@dataclass(frozen=True)
class Source:
    """The rows of a corpus, their labels still texts, and the files around them.

    Attributes:
      rows: see `jaxpara.corpora.labels`, with `partition`, None where a split has to be made.
      named: all recordings in the label files, including those with errors, which `rows` lacks.
      folder: to which the names are relative.
      audio: the audio files in it, True for regular files.
      label_file: the first one, for messages.
      target: the name of the label column in it.
      speakers, confidential: further files, if there are any.
    """

    rows: Rows
    named: Collection[str]
    folder: Path
    audio: Mapping[str, bool]
    label_file: Path
    target: str
    speakers: Path | None = None
    confidential: Path | None = None
