"""The feature files that the organisers of the challenges ship with the audio."""

import hashlib
from collections.abc import Iterator, Mapping
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
    """Return True if the corpus has a file of a set for any partition; a UserError if there is no such set."""
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
    """Read a feature set, `[feature]` float32 by recording; the rows of a file may be in any order.

    Raises:
      UserError: a file is missing, lacks a recording or has one that the label file does not name; a row is duplicated
        or has too many or too few columns; or a cell is not a finite number.
    """
    features: dict[str, np.ndarray] = {}
    for partition in PARTITIONS:
        # Feature extractors drop the extension or quote the name.
        known = {Path(recording.name).stem: recording.name for recording in corpus.partition(partition)}
        if not known:
            continue
        path = path_of(corpus, name, partition)
        if not path.exists():
            raise UserError(f"{path}: missing, though {folder(corpus)} has {name} of another partition; copy it there")
        rows: dict[str, int] = {}
        for row, stem, values in _rows(path, FORMATS[name]):
            if stem not in known:
                raise UserError(
                    f"{path}, row {row}: {corpus.label_file} has no {partition} recording {stem!r}; delete the row"
                )
            if stem in rows:
                raise UserError(f"{path}, row {row}: {stem!r} is also in row {rows[stem]}; delete one of the rows")
            rows[stem], features[known[stem]] = row, values
        if missing := known.keys() - rows.keys():
            more = f" and {len(missing) - 1} more recordings" if len(missing) > 1 else ""
            raise UserError(
                f"{path}: no row for {min(missing)!r}{more} of {corpus.label_file}; use the file that belongs to this"
                " corpus"
            )
    constant = np.ptp(np.stack([features[r.name] for r in corpus.partition("train")]), axis=0) == 0
    if constant.any():
        logging.warning("%s: %d of %d features are constant in train", folder(corpus), constant.sum(), len(constant))
    return features


def _rows(path: Path, form: Format) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield the number of each row, its recording without extension, and its values, `[feature]` float32."""
    # Bytes that are not UTF-8 become a name or a cell that fails, with its row.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for row, line in enumerate(file, 1):
            if (row == 1 and form.header) or not line.strip():
                continue
            # Not with pandas or csv: NumPy parses the 6373 cells of a row at once and exactly, and row and column are
            # known for the messages.
            cells = line.rstrip("\r\n").split(form.separator)
            if len(cells) != form.leading + form.columns:
                raise UserError(
                    f"{path}, row {row}: {len(cells)} columns, expected {form.leading + form.columns} separated by"
                    f" {form.separator!r}; use the file of the right set, or correct the row"
                )
            try:
                values = np.array(cells[form.leading :], np.float32)
                if not np.isfinite(values).all():
                    raise ValueError(f"not a finite number in column {form.leading + np.isfinite(values).argmin() + 1}")
            except ValueError as error:
                raise UserError(f"{path}, row {row}: {error}; correct the cell") from None
            yield row, Path(cells[0].strip("'\"")).stem, values
