"""The feature files that the organisers of the challenges ship with the audio."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from jaxpara.corpora.corpus import PARTITIONS, Corpus
from jaxpara.errors import UserError
from jaxpara.registry import require_one_of


@dataclass(frozen=True)
class Format:
    """The file format of a feature set."""

    columns: int  # one per feature
    separator: str
    header: bool = True  # True if the first row contains the column names
    leading: int = 1  # columns before the first feature; the first of them is the recording


# As the organisers' baseline scripts of 2020 read them.
FORMATS: dict[str, Format] = {
    "ComParE": Format(6373, ";"),
    **{f"BoAW-{size}": Format(2 * size, ";", header=False) for size in (125, 250, 500, 1000, 2000)},
    **{f"auDeep-{level}": Format(1024, ",", leading=2) for level in (30, 45, 60, 75)},
    "auDeep-fused": Format(4096, ",", leading=2),
    "DeepSpectrum_resnet50": Format(2048, ","),
}

# Sets from codebooks and autoencoders that were trained on all of train.
FITTED_ON_TRAIN = ("BoAW", "auDeep")


def folder(corpus: Corpus) -> Path:
    """Return the folder of a corpus's feature files."""
    return corpus.root / "features"


def path_of(corpus: Corpus, name: str, partition: str) -> Path:
    """Return the path of a partition's file."""
    return folder(corpus) / f"{corpus.task.name}.{name}.{partition}.csv"


def available(corpus: Corpus, name: str, where: str) -> bool:
    """Return True if the corpus has a file of the set `name` for any partition.

    Raises:
      UserError: there is no such set; the message names the field `table` of the config path `where`.
    """
    require_one_of(f"config.{where}.table", name, FORMATS)
    return any(path_of(corpus, name, partition).exists() for partition in PARTITIONS)


def digest(corpus: Corpus, name: str) -> str:
    """Return the SHA-256 of the files of a set."""
    total = hashlib.sha256()
    for partition in PARTITIONS:
        path = path_of(corpus, name, partition)
        if path.exists():
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def read(corpus: Corpus, name: str) -> Mapping[str, np.ndarray]:
    """Read a feature set; the rows of a file may be in any order.

    Returns:
      `[feature]` float32 by recording.

    Raises:
      UserError: a file is missing, lacks a recording or has one that the label file does not name; a row is duplicated
        or has too many or too few columns; or a cell is not a finite number.
    """
    features: dict[str, np.ndarray] = {}
    for partition in PARTITIONS:
        recordings = corpus.partition(partition)
        if not recordings:
            continue
        path = path_of(corpus, name, partition)
        if not path.exists():
            raise UserError(f"{path}: missing, though {folder(corpus)} has {name} of another partition; copy it there")
        rows = _rows(path, FORMATS[name])
        # Feature extractors drop the extension or quote the name.
        known = {Path(recording.name).stem: recording.name for recording in recordings}
        for stem, (row, values) in rows.items():
            if stem not in known:
                raise UserError(
                    f"{path}, row {row}: {corpus.label_file} has no {partition} recording {stem!r}; delete the row"
                )
            features[known[stem]] = values
        if missing := known.keys() - rows.keys():
            raise UserError(
                f"{path}: no row for {min(missing)!r} and {len(missing) - 1} more recordings of {corpus.label_file};"
                " use the file that belongs to this corpus"
            )
    constant = np.ptp(np.stack([features[r.name] for r in corpus.partition("train")]), axis=0) == 0
    if constant.any():
        logging.warning("%s: %d of %d features are constant in train", folder(corpus), constant.sum(), len(constant))
    return features


def _rows(path: Path, form: Format) -> dict[str, tuple[int, np.ndarray]]:
    """Return the row number and the values by recording, without extension."""
    rows: dict[str, tuple[int, np.ndarray]] = {}
    # Bytes that are not UTF-8 become a name or a cell that fails below, with its row.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for row, line in enumerate(file, 1):
            if (row == 1 and form.header) or not line.strip():
                continue
            # Not with pandas or csv: NumPy parses the 6373 cells of a row at once and exactly, and row and column are
            # known for the messages.
            *leading, rest = line.rstrip("\r\n").split(form.separator, form.leading)
            stem = Path(leading[0].strip("'\"")).stem if leading else ""
            cells = rest.split(form.separator)
            if len(leading) < form.leading or len(cells) != form.columns:
                raise UserError(
                    f"{path}, row {row}: {len(leading) + len(cells)} columns, expected {form.leading + form.columns}"
                    f" separated by {form.separator!r}; use the file of the right set, or correct the row"
                )
            try:
                values = np.array(cells, np.float32)
            except ValueError as error:
                raise UserError(f"{path}, row {row}: {error}; correct the cell") from None
            if not np.isfinite(values).all():
                column = form.leading + int(np.argmin(np.isfinite(values))) + 1
                raise UserError(f"{path}, row {row}, column {column}: not a finite number; correct the cell")
            if stem in rows:
                raise UserError(f"{path}, row {row}: {stem!r} is also in row {rows[stem][0]}; delete one of the rows")
            rows[stem] = (row, values)
    return rows
