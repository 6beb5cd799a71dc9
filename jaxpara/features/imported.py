"""Features made elsewhere: a file with the vector of every recording."""

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import logging

from jaxpara.corpora import labels
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.names import did_you_mean
from jaxpara.errors import UserError, reason

TABLES, PARQUET, ARRAYS = (".csv", ".tsv", ".txt"), (".parquet", ".pq"), (".npz",)
SEGMENT = ["start", "end"]  # the columns of audformat and openSMILE next to the file; they are no features
TOLERANCE_S, TOLERANCE = 1.0, 0.1  # of the duration of a recording: many extractors leave out the ends

# The place in the file (for messages), the file name and the values of each vector.
Vectors = Iterator[tuple[str, str, np.ndarray]]


class Imported:
    """Vectors of a file, `[feature]` float32 by recording; with a `frame_rate_hz` sequences, `[frame, feature]`.

    File names must be those of the labels. The file is one of
      - a CSV or TSV table with a header: a column `file`, `filename`, `file_name` or `path`, and one column of
        numbers per feature;
      - a Parquet file of such a table, or with the files as index, as audformat and openSMILE write it;
      - an NPZ file with one array per file name, or with `names`, `[recording]`, and `features`,
        `[recording, feature]`. Only this may have sequences.

    Nothing is known about how they were made, so a system that uses them cannot predict new audio.

    Attributes:
      digest: SHA-256 of the vectors.
    """

    leak = ""  # not known

    def __init__(self, path: str, corpus: Corpus, where: str, frame_rate_hz: float = 0.0):
        """Read and check the file now, so that an error in it is not found after hours of training other members.

        Args:
          path: of the file, relative to the corpus folder or to the current one.
          corpus, where: not in the config: the recordings, and the config path for messages.
          frame_rate_hz: frames per second of sequences, the first of them at 0 s; 0 for one vector per recording.

        Raises:
          UserError: the file cannot be read; a recording has no vector; a file is named twice; a value is not a finite
            number; or vectors differ in length.
        """
        if not path or not isinstance(path, str):
            raise UserError(f"config.{where}.path is {path!r}, expected the path of a CSV, Parquet or NPZ file")
        file = corpus.root / path if (corpus.root / path).exists() else Path(path)
        if not file.is_file():
            raise UserError(f"config.{where}.path is {path!r}: no such file, in {corpus.root} or elsewhere; correct it")
        self.path, self.frame_rate_hz = file, frame_rate_hz
        vectors = self._checked(corpus, f"config.{where}")
        self._vectors = {recording.name: vectors[recording.name] for recording in corpus.recordings}
        total = hashlib.sha256()
        for name, values in self._vectors.items():
            total.update(repr((name, values.shape)).encode())
            total.update(values.astype("<f4").tobytes())
        self.digest = total.hexdigest()

    @property
    def note(self) -> str:
        """The end of a sentence about these features, for readers of the scores."""
        return (
            f"were made elsewhere ({self.path}); it is not known here whether they contain information about the"
            " recordings that are scored"
        )

    def require(self) -> None:
        """Do nothing: the file has been read."""

    def arrays(self, *_: Any) -> Mapping[str, np.ndarray]:
        """Return the vectors of all recordings; the arguments are those of `Embeddings.arrays`."""
        return self._vectors

    def _checked(self, corpus: Corpus, where: str) -> dict[str, np.ndarray]:
        """Read the vectors of all recordings."""
        columns, rows = _vectors_in(self.path, where)
        expected = "[frame, feature]" if self.frame_rate_hz else "[feature]"
        places: dict[str, str] = {}
        vectors: dict[str, np.ndarray] = {}
        width = 0
        for place, name, values in rows:
            if name in places:
                raise UserError(
                    f"{place}: {name!r} is also in {places[name]}; expected one vector per file: delete one, or combine"
                    " those of its parts"
                )
            places[name] = place
            if name not in corpus.by_name:
                continue
            if values.ndim != (2 if self.frame_rate_hz else 1) or not values.size:
                fix = f"set {where}.frame_rate_hz for frames, to 0 for one vector per recording, or correct the file"
                raise UserError(f"{place}: {name!r} is {list(values.shape)}, expected {expected}; {fix}")
            width = width or values.shape[-1]
            if values.shape[-1] != width:
                first = next(iter(vectors))
                raise UserError(
                    f"{place}: {name!r} has {values.shape[-1]} features, but {first!r} has {width}; make them equal"
                )
            with np.errstate(over="ignore"):
                vectors[name] = values.astype(np.float32)
            if len(bad := np.argwhere(~np.isfinite(vectors[name]))):
                at, index = tuple(bad[0]), bad[0][-1]
                what = f"column {quote(columns[index])}" if columns else f"feature {index} (counted from 0)"
                in_frame = f" in frame {at[0]}" if self.frame_rate_hz else ""
                fix = "correct the value, or leave the feature or the recording out"
                raise UserError(f"{place}: {what} of {name!r} is {values[at]:g}{in_frame}, expected a number; {fix}")
            seconds = corpus.by_name[name].audio.seconds  # 0 if unknown
            lasts_s = len(values) / self.frame_rate_hz if self.frame_rate_hz and seconds else seconds
            if abs(lasts_s - seconds) > max(TOLERANCE_S, TOLERANCE * seconds):
                raise UserError(
                    f"{place}: {name!r} has {len(values)} frames, {lasts_s:.1f} s at {self.frame_rate_hz:g} frames per"
                    f" second, but its audio has {seconds:.1f} s; did you mean {where}.frame_rate_hz ="
                    f" {len(values) / seconds:.3g}?"
                )
        unknown = [name for name in places if name not in corpus.by_name]
        if missing := [recording.name for recording in corpus.recordings if recording.name not in vectors]:
            more = f" and {len(missing) - 1} more recordings" if len(missing) > 1 else ""
            raise UserError(
                f"{self.path}: no vector for {missing[0]!r}{more} of {corpus.label_file}, which has"
                f" {len(corpus.recordings)}; add them, and write file names as it does"
                f"{did_you_mean(missing[0], unknown)}"
            )
        if unknown:
            logging.warning(
                "%s has %d vectors of files that are not in the corpus; they are not used, as is %r",
                places[unknown[0]],
                len(unknown),
                unknown[0],
            )
        return vectors


def _vectors_in(path: Path, where: str) -> tuple[list[str], Vectors]:
    """Return the names of the features, empty if they have none, and the vectors."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        findings = Findings()
        rows = labels.records(path, findings)
        _, header = next(rows)
        key = labels.file_column(header)
        chosen = _features_of(path, header, key)
        return [header[i] for i in chosen], _table_rows(path, rows, header, key, chosen, findings)
    if suffix in PARQUET:
        return _parquet(path)
    if suffix in ARRAYS:
        return [], _arrays(path)
    known = ", ".join((*TABLES, *PARQUET, *ARRAYS))
    raise UserError(f"{where}.path is {str(path)!r}, expected a file whose name ends in one of {known}")


def _features_of(path: Path, columns: list[str], key: int) -> list[int]:
    """Return the indices of the columns that are features; `key` is that of the files."""
    other = SEGMENT if set(SEGMENT) <= set(columns) else ()
    if chosen := [i for i, column in enumerate(columns) if i != key and column not in other]:
        return chosen
    raise UserError(f"{path}: no columns but {', '.join(columns)}, expected one per feature; add them")


def _table_rows(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    header: list[str],
    key: int,
    chosen: list[int],
    findings: Findings,
) -> Vectors:
    for line, cells in rows:
        findings.require_no_error()
        try:
            # One call for a row: NumPy parses thousands of cells at once.
            values = np.array([cells[i] for i in chosen], np.float64)
        except ValueError:
            at = next(i for i in chosen if not _is_number(cells[i]))
            fix = "correct the cell, or delete the column if it is no feature"
            if _is_number(cells[at].replace(",", ".")):
                fix = "write a decimal point"
            raise UserError(
                f"{path}, row {line}: column {quote(header[at])} is {quote(cells[at])}, expected a number; {fix}"
            ) from None
        yield f"{path}, row {line}", cells[key], values
    findings.require_no_error()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> tuple[list[str], Vectors]:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{path}: Parquet files need pyarrow: pip install 'jaxpara[parquet]', or save a CSV file")
    try:
        table: Any = pd.read_parquet(path, engine="pyarrow")
    except Exception as error:  # pyarrow raises many kinds
        raise UserError(f"{path}: not readable as Parquet ({reason(error)}); save it again") from None
    if table.index.names != [None]:
        table = table.reset_index()
    elif labels.file_column([str(column) for column in table.columns]) < 0 and not pd.api.types.is_numeric_dtype(
        table.index.dtype
    ):
        table = table.reset_index(names="file")
    columns = [str(column) for column in table.columns]
    if (key := labels.file_column(columns)) < 0:
        fix = f"name the column or the index of the files {' or '.join(labels.NAME_COLUMNS)}"
        raise UserError(f"{path}: columns {quote(', '.join(columns))}; {fix}")
    chosen = _features_of(path, columns, key)
    for i in chosen:
        if not pd.api.types.is_numeric_dtype(table.dtypes.iloc[i]):
            cell = quote(str(table.iloc[0, i])) if len(table) else "text"
            fix = "delete it if it is no feature; a vector needs one column per feature"
            raise UserError(f"{path}, row 1: column {quote(columns[i])} is {cell}, expected a number; {fix}")
    values = table.iloc[:, chosen].to_numpy(np.float64, na_value=np.nan)
    names = table.iloc[:, key].astype(str)
    rows = ((f"{path}, row {i}", name, row) for i, (name, row) in enumerate(zip(names, values, strict=True), 1))
    return [columns[i] for i in chosen], rows


def _arrays(path: Path) -> Vectors:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # NumPy and zipfile raise many kinds
        fix = "save it with np.savez, names as text and one array of numbers per recording"
        raise UserError(f"{path}: not readable as NPZ ({reason(error)}); {fix}") from None
    if arrays.keys() == {"names", "features"}:
        names, features = arrays["names"], arrays["features"]
        if names.ndim != 1 or names.dtype.kind != "U" or not features.ndim or len(features) != len(names):
            raise UserError(
                f"{path}: names is {list(names.shape)} of {names.dtype} and features {list(features.shape)}, expected"
                " [recording] text and [recording, feature]; save them again"
            )
        rows = [
            (f"features[{i}]", name, row) for i, (name, row) in enumerate(zip(names.tolist(), features, strict=True))
        ]
    else:
        rows = [(f"array {name!r}", name, values) for name, values in arrays.items()]
    for place, name, values in rows:
        at = f"{path}, {place}"
        if values.dtype.kind not in "biuf":
            raise UserError(f"{at}: an array of {values.dtype}, expected numbers; correct or delete it")
        yield at, name, values
