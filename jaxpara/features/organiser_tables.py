"""The feature files that the organisers of the challenges ship beside the audio."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from jaxpara.corpora.corpus import PARTITIONS, Corpus
from jaxpara.errors import UserError
from jaxpara.registry import suggest


@dataclass(frozen=True)
class Format:
    """How a feature set is written.

    Attributes:
      columns: features.
      separator: between them.
      header: whether the first row names them.
      leading: columns before the first feature; the first of them is the recording.
    """

    columns: int
    separator: str
    header: bool = True
    leading: int = 1


# As the organisers' baseline scripts of 2020 read them.
FORMATS: dict[str, Format] = {
    "ComParE": Format(6373, ";"),
    **{f"BoAW-{size}": Format(2 * size, ";", header=False) for size in (125, 250, 500, 1000, 2000)},
    **{f"auDeep-{level}": Format(1024, ",", leading=2) for level in (30, 45, 60, 75)},
    "auDeep-fused": Format(4096, ",", leading=2),
    "DeepSpectrum_resnet50": Format(2048, ","),
}

# Codebooks and autoencoders that have seen all of train.
FITTED_ON_TRAIN = ("BoAW", "auDeep")


def folder(corpus: Corpus) -> Path:
    """Where a corpus has its feature files."""
    return corpus.root / "features"


def path_of(corpus: Corpus, name: str, partition: str) -> Path:
    """The file of a partition."""
    return folder(corpus) / f"{corpus.task.name}.{name}.{partition}.csv"


def available(corpus: Corpus, name: str, where: str) -> bool:
    """Whether the corpus has a file of this set for any of its partitions.

    Args:
      where: the config path of the features that name it, for the message.

    Raises:
      UserError: there is no such set.
    """
    if name not in FORMATS:
        raise UserError(
            f"config.{where}.table is {name!r}, expected one of {list(FORMATS)}{suggest(name, list(FORMATS))}"
        )
    return any(path_of(corpus, name, partition).exists() for partition in PARTITIONS)


def digest(corpus: Corpus, name: str) -> str:
    """Tells whether the files of a set have changed."""
    total = hashlib.sha256()
    for partition in PARTITIONS:
        path = path_of(corpus, name, partition)
        if path.exists():
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def read(corpus: Corpus, name: str) -> Mapping[str, np.ndarray]:
    """A feature set, `[feature]` float32 by recording; the rows of a file may stand in any order.

    Raises:
      UserError: a file is missing, lacks a recording or has one that the label file does not name, a row is doubled or
        has too many or too few columns, or a cell is no finite number.
    """
    features: dict[str, np.ndarray] = {}
    for partition in PARTITIONS:
        recordings = corpus.partition(partition)
        if not recordings:
            continue
        path = path_of(corpus, name, partition)
        if not path.exists():
            raise UserError(
                f"{path}: is missing, though {folder(corpus)} has {name} of another partition; copy it there"
            )
        rows = _rows(path, FORMATS[name])
        # Feature extractors drop the ending or put the name in quotes.
        known = {Path(recording.name).stem: recording.name for recording in recordings}
        for stem, (row, values) in rows.items():
            if stem not in known:
                raise UserError(
                    f"{path}, row {row}: {corpus.label_file} has no {partition} recording {stem!r}; delete it"
                )
            features[known[stem]] = values
        if missing := known.keys() - rows.keys():
            raise UserError(
                f"{path}: no row for {min(missing)!r} and {len(missing) - 1} more recordings of {corpus.label_file};"
                " take the file of this very corpus"
            )
    constant = np.ptp(np.stack([features[r.name] for r in corpus.partition("train")]), axis=0) == 0
    if constant.any():
        logging.warning("%s: %d of %d features of train never change", folder(corpus), constant.sum(), len(constant))
    return features


def _rows(path: Path, form: Format) -> dict[str, tuple[int, np.ndarray]]:
    """By recording without ending, the row in the file and the values."""
    rows: dict[str, tuple[int, np.ndarray]] = {}
    # What is no UTF-8 becomes a name or a cell that fails below, with its row.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for row, line in enumerate(file, 1):
            if (row == 1 and form.header) or not line.strip():
                continue
            # Not through csv.reader: the values of 10 000 rows and 6000 columns are read by NumPy at once.
            *leading, rest = line.rstrip("\r\n").split(form.separator, form.leading)
            stem = Path(leading[0].strip("'\"")).stem if leading else ""
            cells = rest.split(form.separator)
            if len(leading) < form.leading or len(cells) != form.columns:
                raise UserError(
                    f"{path}, row {row}: {len(leading) + len(cells)} columns, expected {form.leading + form.columns}"
                    f" separated by {form.separator!r}; take the file of another set, or correct the row"
                )
            try:
                values = np.array(cells, np.float32)
            except ValueError as error:
                raise UserError(f"{path}, row {row}: {error}; correct the cell") from None
            if not np.isfinite(values).all():
                column = form.leading + int(np.argmin(np.isfinite(values))) + 1
                raise UserError(f"{path}, row {row}, column {column}: not a finite number; correct the cell")
            if stem in rows:
                raise UserError(
                    f"{path}, row {row}: {stem!r} stands also in row {rows[stem][0]}; delete one of the rows"
                )
            rows[stem] = (row, values)
    return rows
