"""`--mode=predict`: files in, one table out, and a picture of each where they are asked for."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxpara.corpora.simulated import STAMP
from jaxpara.errors import UserError
from jaxpara.inference import audio_files, manifest, plot, table
from jaxpara.inference.audio_files import AudioFile
from jaxpara.inference.files import predicted
from jaxpara.inference.heard import SHORTEST_S
from jaxpara.inference.parts import Part, Parts
from jaxpara.inference.system import Estimate, System, load
from jaxpara.progress import Progress

LONGEST_NAME = 250  # bytes, of a picture's file


def predict(workdir: Path, given: str, output: Path, *, pictures: bool = False) -> None:
    """Predicts files and writes the table; what was finished before a stop is not done again.

    Args:
      workdir: of a finished run.
      given: a file, a folder or a pattern.
      output: the CSV.
      pictures: whether to draw each file, in a folder beside the CSV.

    Raises:
      UserError: something the user can mend; of files that cannot be predicted only when all others are written.
    """
    with Progress() as progress:
        files = audio_files.found(given)
        _require(output, files)
        system = load(workdir)
        stamp = STAMP if system.about["simulated"] else ""
        if stamp:
            progress.say(f"trained on a {stamp}")
        # Reads all weights now, so that what is wrong with them is no file's fault.
        system.predict([np.zeros(round(SHORTEST_S * system.task.sample_rate_hz), np.float32)])
        parts = Parts(output.with_name(f"{output.name}.parts"), _identity(workdir), system.task.classes)
        kept = {file.path: parts.path(file) for file in files}
        failures: dict[str, str] = {}
        finished = {file.path for file in files if parts.load(kept[file.path]) is not None}
        todo = [file for file in files if file.path not in finished]
        if len(todo) < len(files):
            progress.say(f"{len(files) - len(todo)} of {len(files)} files are there from before, in {parts.folder}")

        def draw(file: AudioFile) -> None:
            path = _picture(output, file.name)
            if pictures and not path.exists():
                plot.write(path, file.name, _of(parts, kept[file.path], file), stamp)

        with progress.task("files", len(files), done=len(files) - len(todo)) as bar:

            def failed(file: AudioFile, reason: str) -> None:
                failures[file.name] = reason
                bar.advance(f"{file.name}: {reason}")

            def heard(file: AudioFile) -> None:
                bar.advance(f"{file.name}: {file.seconds / 60:.0f} min heard", by=0)

            for file in files:
                if file.path in finished:
                    draw(file)
            for file, estimate in predicted(system, todo, failed, heard):
                parts.save(kept[file.path], file, estimate)
                file.levels.clear()
                draw(file)
                bar.advance(file.name)
        good = [file for file in files if file.name not in failures]
        if good:
            notes = _Notes()

            def rows() -> Iterator[tuple[str, Estimate]]:
                for file in good:
                    part = _of(parts, kept[file.path], file)
                    notes.add(part, system)
                    yield file.name, part.estimate

            table.write(output, rows(), system.task.classes, system.about["label_rate_hz"])
            if line := notes.line(system):
                progress.say(f"of {len(good)} files {line}")
            progress.say(f"{output}: {len(good)} files" + (f"; pictures: {_picture(output, '')}" if pictures else ""))
        if failures:
            for name, reason in failures.items():
                progress.say(f"{name!r}: {reason}")
            name, reason = next(iter(failures.items()))
            rest = f"; those of the others are in {output}" if good else ""
            raise UserError(
                f"{len(failures)} of {len(files)} files could not be predicted, the first of them {name!r}: {reason};"
                f" mend or remove them and run the same command again{rest}"
            )
        shutil.rmtree(parts.folder, ignore_errors=True)


def _require(output: Path, files: list[AudioFile]) -> None:
    """Raises a UserError unless the table can be written without harm."""
    if output.suffix.lower() != ".csv":
        raise UserError(f"--output={output}: expected a file whose name ends in .csv")
    if output.is_dir():
        raise UserError(f"--output={output}: is a folder, expected the name of the table")
    names = Counter(file.name for file in files)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(f"--input: two files are called {twice[0]!r}; rename one of them")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = output.with_name(f"{output.name}.parts")
        folder.mkdir(exist_ok=True)
        (folder / ".try").touch()
        (folder / ".try").unlink()
        if not any(folder.iterdir()):  # nothing may come of this call; what is written makes it again
            folder.rmdir()
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written ({error.strerror}); choose another") from error


def _identity(workdir: Path) -> str:
    """Changes with the system."""
    path = workdir / manifest.FILE
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"


def _picture(output: Path, name: str) -> Path:
    """Where the picture of a file lies, or where all do."""
    folder = output.with_name(f"{output.stem}_pictures")
    if not name:
        return folder
    path = folder / f"{name}.png"
    if len(path.name.encode()) > LONGEST_NAME:
        path = path.with_name(f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.png")
    return path


def _of(parts: Parts, path: Path, file: AudioFile) -> Part:
    part = parts.load(path)
    if part is None:
        raise UserError(f"{path}: is gone or damaged, expected what was predicted of {file.name!r}; run again")
    return part


class _Notes:
    """Counts what was done to files before they were predicted."""

    def __init__(self):
        self._rates_hz, self._counts = Counter[int](), Counter[str]()

    def add(self, part: Part, system: System) -> None:
        wanted_hz = system.task.sample_rate_hz
        if part.rate_hz != wanted_hz:
            self._rates_hz[part.rate_hz] += 1
        self._counts["mixed"] += part.channels > 1
        self._counts["filled"] += part.seconds < SHORTEST_S
        self._counts["cut"] += round(part.seconds * wanted_hz) > system.blocks.size

    def line(self, system: System) -> str:
        """In words; empty where nothing was done."""
        wanted_hz = system.task.sample_rate_hz
        rates = ", ".join(f"{rate_hz}" for rate_hz in sorted(self._rates_hz))
        said = {
            f"resampled to {wanted_hz} Hz (from {rates})": self._rates_hz.total(),
            "mixed down to one channel": self._counts["mixed"],
            f"filled up with silence to {SHORTEST_S:g} s": self._counts["filled"],
            f"predicted in blocks of {system.blocks.size / wanted_hz:g} s": self._counts["cut"],
        }
        return ", ".join(f"{count} {'was' if count == 1 else 'were'} {what}" for what, count in said.items() if count)
