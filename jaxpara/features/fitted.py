"""What a feature learned from the recordings that a fold is fitted on: found once and kept beside the fold."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxpara import processes
from jaxpara.errors import UserError
from jaxpara.files import replacing

FILE = "features.npz"


def fitted(folder: Path, names: Sequence[str], find: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays in a folder; found and written first, by the first process, where they are not there.

    Args:
      folder: of the fold.
      names: of the recordings to learn from; none for recordings that come after the training.
      find: makes the arrays.

    Raises:
      UserError: they are not there, and there is nothing to learn from.
    """
    path = folder / FILE
    if names:
        processes.on_main(lambda: _make_sure(path, find))
    return _read(path)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return dict(file)
    except Exception as error:  # NumPy and zipfile raise many kinds
        found = "no such file" if isinstance(error, FileNotFoundError) else "not readable"
    raise UserError(f"{path}: {found}; run the training command once more with --mode=evaluate, which writes it")


def _make_sure(path: Path, find: Callable[[], dict[str, np.ndarray]]) -> None:
    """Writes what is not there, or damaged."""
    try:
        _read(path)
    except UserError:
        arrays = find()
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
