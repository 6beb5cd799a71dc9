"""Tables that people make: CSV or TSV, with a header, a column of file names and any other columns."""

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from jaxpara.corpora.findings import quote
from jaxpara.errors import UserError
from jaxpara.registry import suggest

FILE_COLUMNS = ("file", "filename", "file_name", "path", "name")  # the first of them that a table has is used
SEPARATORS = (",", ";", "\t")


def read(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the header of a table, then its rows: the line on which each begins, from 1, and its cells.

    Raises:
      UserError: the file is not readable as UTF-8, its header has no file column or a column twice, or a row does not
        fit the header.
    """
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, separator = _header(path, file.readline())
            yield line, header
            reader = csv.reader(file, delimiter=separator, strict=True)
            line = 2
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if len(cells) != len(header):
                        raise UserError(
                            f"{path}, row {line}: {len(cells)} columns, expected {len(header)} as in the header,"
                            f" separated by {separator!r}; correct or delete the row"
                        )
                    yield line, [cell.strip() for cell in cells]
                line = reader.line_num + 2
    except UnicodeDecodeError as error:
        line += error.object[: error.start].count(b"\n")  # the file is decoded piece by piece
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise UserError(f"{path}, row {line} or later: {byte} is not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        fix = "correct the row, for example a quotation mark that is not closed"
        raise UserError(f"{path}, row {line}: not readable as a table ({error}); {fix}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it a readable file") from None


def _header(path: Path, line: str) -> tuple[list[str], str]:
    """Return the column names and the separator of the first line."""
    headers = {separator: _cells(line, separator) for separator in SEPARATORS}
    found = [separator for separator, header in headers.items() if any(name in FILE_COLUMNS for name in header)]
    if not found:
        longest = max(headers.values(), key=len)
        hint = next(filter(None, (suggest(name.lower(), list(FILE_COLUMNS)) for name in longest if name)), "")
        if len(longest) > 1 and not longest[0]:
            hint = "; the first column has no name: are these the files?"
        what = f"the header is {quote(line.strip())}" if line.strip() else "the first line is empty"
        raise UserError(f"{path}, row 1: {what}; name the column of the files {' or '.join(FILE_COLUMNS)}{hint}")
    header = headers[found[0]]
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{path}, row 1: column {quote(name)} appears twice; delete or rename one of them")
    return header, found[0]


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=separator), [])]


def file_column(columns: Sequence[str]) -> str:
    """Return the column of the file names; empty if there is none."""
    return next((name for name in FILE_COLUMNS if name in columns), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for a file name, or an empty string.

    It is the known name that differs only in case, extension, folders, backslashes or Unicode normalisation, or else
    the nearest one.
    """
    known = list(known)
    same = [other for other in known if _bare(other) == _bare(name)]
    if not same:
        return suggest(name, known[:10_000])  # it compares letter by letter
    form = unicodedata.normalize("NFC", same[0]) == unicodedata.normalize("NFC", name)
    return f"; did you mean {same[0]!r}{' (in another Unicode normalisation)' if form else ''}?"


def _bare(name: str) -> str:
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/").casefold()).stem
