"""`--mode=predict`: predict audio files into one table, with `--plot` also an image of each file."""

import csv
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jaxpara.corpora.simulated import STAMP
from jaxpara.errors import UserError
from jaxpara.files import replacing
from jaxpara.inference import audio_files, plot, system_file
from jaxpara.inference.audio_files import AudioFile
from jaxpara.inference.system import MAX_BATCH_S, SHORTEST_S, TOO_SHORT, Estimate, System
from jaxpara.progress import Progress

MAX_NAME_BYTES = 250  # of an image's file name; file systems allow 255


@dataclass(frozen=True, eq=False)
class PredictedFile:
    """The prediction of an audio file; for the other attributes see `AudioFile`."""

    estimate: Estimate
    levels: np.ndarray
    rate_hz: int
    channels: int
    seconds: float


class FinishedFiles:
    """The predictions of finished files on disk, from which an interrupted command resumes.

    They are keyed by the system and by the path, size and modification time of the file.
    """

    def __init__(self, folder: Path, workdir: Path, classes: tuple[str, ...], files: Sequence[AudioFile]):
        self.folder, self._classes = folder, classes
        description = workdir / system_file.FILE
        system = f"{hashlib.sha256(description.read_bytes()).hexdigest()} {description.stat().st_mtime_ns}"
        self._paths = {file.name: folder / f"{_key(system, file.path)}.npz" for file in files}

    def save(self, file: AudioFile, estimate: Estimate) -> None:
        """Write a prediction, whole or not at all."""
        with replacing(self._paths[file.name]) as part, part.open("wb") as raw:
            np.savez(
                raw,
                times_s=estimate.times_s,
                values=estimate.values,
                levels=np.concatenate(file.levels).astype(np.float16),
                about=np.array([file.rate_hz, file.channels, file.seconds]),
            )

    def load(self, file: AudioFile) -> PredictedFile | None:
        """Return a prediction; None if it is missing or damaged."""
        try:
            with self._paths[file.name].open("rb") as raw, np.load(raw, allow_pickle=False) as kept:
                rate_hz, channels, seconds = kept["about"].tolist()
                estimate = Estimate(kept["times_s"], kept["values"], self._classes)
                levels = kept["levels"].astype(np.float32)
                return PredictedFile(estimate, levels, int(rate_hz), int(channels), seconds)
        except Exception:  # NumPy and zipfile raise many types; the file is predicted again
            return None

    def require(self, file: AudioFile) -> PredictedFile:
        """Return a prediction that was saved before; raise a UserError if it is missing or damaged."""
        if (predicted := self.load(file)) is None:
            path = self._paths[file.name]
            raise UserError(f"{path}: is missing or damaged, expected the prediction of {file.name!r}; run again")
        return predicted


def _key(system: str, path: Path) -> str:
    status = path.stat()
    key = repr((system, str(path.absolute()), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def predict(workdir: Path, given: str, output: Path, *, images: bool = False) -> None:
    """Predict files and write the table; files that were finished before an interruption are not predicted again.

    Args:
      workdir: of a finished run, or an export.
      given: a file, a folder or a pattern.
      output: the CSV file.
      images: draw each file into a folder next to the CSV file.

    Raises:
      UserError: an invalid argument or system; or some files cannot be predicted, after all others are written.
    """
    with Progress() as progress:
        files = audio_files.find(given)
        _require_writable(output, files)
        system = System(workdir)
        notice = STAMP if system.about["simulated"] else ""
        if notice:
            progress.say(f"trained on a {notice}")
        # Read all weights now, so that an error in them is not reported as an error in an audio file.
        system.predict([np.zeros(round(SHORTEST_S * system.task.sample_rate_hz), np.float32)])
        finished = FinishedFiles(output.with_name(f"{output.name}.parts"), workdir, system.task.classes, files)

        def draw(file: AudioFile) -> None:
            path = _image(output, file.name)
            if images and not path.exists():
                predicted = finished.require(file)
                plot.write(path, file.name, predicted.estimate, predicted.levels, predicted.seconds, notice)

        todo: list[AudioFile] = []
        for file in files:
            if finished.load(file) is None:
                todo.append(file)
            else:
                draw(file)
        if done := len(files) - len(todo):
            progress.say(f"{done} of {len(files)} files are already predicted, in {finished.folder}")
        failures: dict[str, str] = {}
        with progress.task("files", len(files), done=done) as bar:

            def note(file: AudioFile) -> None:
                bar.advance(f"{file.name}: {file.seconds / 60:.0f} min read", by=0)

            for file, estimate in predict_files(system, todo, note):
                if isinstance(estimate, Estimate):
                    finished.save(file, estimate)
                    file.levels.clear()
                    draw(file)
                    bar.advance(file.name)
                else:
                    failures[file.name] = estimate
                    bar.advance(f"{file.name}: {estimate}")
        good = [file for file in files if file.name not in failures]
        if good:
            if changes := _write_table(output, good, finished, system):
                progress.say(f"of {len(good)} files {changes}")
            progress.say(f"{output}: {len(good)} files" + (f"; images: {_images_folder(output)}" if images else ""))
        if failures:
            for name, reason in failures.items():
                progress.say(f"{name!r}: {reason}")
            name, reason = next(iter(failures.items()))
            rest = f"; the predictions of the others are in {output}" if good else ""
            raise UserError(
                f"{len(failures)} of {len(files)} files could not be predicted, the first of them {name!r}: {reason};"
                f" fix or remove them and run the same command again{rest}"
            )
        shutil.rmtree(finished.folder, ignore_errors=True)


def _require_writable(output: Path, files: Sequence[AudioFile]) -> None:
    if output.suffix.lower() != ".csv":
        raise UserError(f"--output={output}: expected a file whose name ends in .csv")
    if output.is_dir():
        raise UserError(f"--output={output}: is a folder, expected the name of the table")
    names = Counter(file.name for file in files)
    if duplicates := [name for name, count in names.items() if count > 1]:
        raise UserError(f"--input: two files are called {duplicates[0]!r}; rename one of them")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written ({error.strerror}); choose another") from error


@dataclass(eq=False)
class _Job:
    """A file in progress: the starts of the blocks read so far, and their predictions."""

    file: AudioFile
    starts: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    read: bool = False
    failure: str = ""


def predict_files(
    system: System, files: Sequence[AudioFile], note: Callable[[AudioFile], None]
) -> Iterator[tuple[AudioFile, Estimate | str]]:
    """Predict files: short ones in one batch, long ones block by block.

    Args:
      note: called after each batch with the file being read.

    Yields:
      Each file with its estimate, or with the reason why it cannot be predicted.
    """
    jobs: list[_Job] = []
    batch: list[tuple[_Job, np.ndarray]] = []
    seconds = 0.0

    def predicted() -> Iterator[tuple[AudioFile, Estimate | str]]:
        _predict_batch(system, batch)
        batch.clear()
        for job in jobs[:]:
            if job.failure or job.read:
                yield job.file, job.failure or system.join(job.starts, job.values)
                jobs.remove(job)

    for file in files:
        job = _Job(file)
        jobs.append(job)
        try:
            for start, block in system.blocks.cut(file.read(system.task.sample_rate_hz)):
                if job.failure:
                    break
                job.starts.append(start)
                batch.append((job, block))
                seconds += max(SHORTEST_S, len(block) / system.task.sample_rate_hz)
                if seconds >= MAX_BATCH_S:
                    yield from predicted()
                    seconds = 0.0
                    note(file)
        except UserError as error:
            job.failure = str(error)
        job.read = True
        job.failure = job.failure or ("" if job.starts else TOO_SHORT)
    yield from predicted()


def _predict_batch(system: System, batch: Sequence[tuple[_Job, np.ndarray]]) -> None:
    """Predict blocks at once; if that fails, file by file, to find the file with the error."""
    batch = [(job, block) for job, block in batch if not job.failure]
    if not batch:
        return
    try:
        values = system.predict([block for _, block in batch])
    except UserError as error:
        jobs = list(dict.fromkeys(job for job, _ in batch))
        if len(jobs) == 1:
            jobs[0].failure = str(error)
            return
        for job in jobs:
            _predict_batch(system, [pair for pair in batch if pair[0] is job])
        return
    for (job, _), value in zip(batch, values, strict=True):
        job.values.append(value)


def _write_table(path: Path, files: Sequence[AudioFile], finished: FinishedFiles, system: System) -> str:
    """Write the CSV file, whole or not at all: `file,time,value`, or `file,label` and the probability of each class.

    Returns:
      A sentence on how files were changed before they were predicted; empty if none was.
    """
    classes, rate_hz = system.task.classes, system.task.sample_rate_hz
    decimals = 2 if not 100 % (system.about["label_rate_hz"] or 1) else 6
    rates_hz, counts = set[int](), Counter[str]()
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as raw:
        writer = csv.writer(raw, lineterminator="\n")  # quotes names with commas, quotes and line breaks
        writer.writerow(("file", "label", *classes) if classes else ("file", "time", "value"))
        for file in files:
            predicted = finished.require(file)
            estimate = predicted.estimate
            if classes:
                probabilities = (f"{value:.5f}" for value in estimate.probabilities.tolist())
                writer.writerow((file.name, estimate.label, *probabilities))
            else:
                pairs = zip(estimate.times_s.tolist(), estimate.values.tolist(), strict=True)
                writer.writerows((file.name, f"{time_s:.{decimals}f}", f"{value:.5f}") for time_s, value in pairs)
            if predicted.rate_hz != rate_hz:
                rates_hz.add(predicted.rate_hz)
                counts["resampled"] += 1
            counts["mixed"] += predicted.channels > 1
            counts["padded"] += predicted.seconds < SHORTEST_S
            counts["cut"] += round(predicted.seconds * rate_hz) > system.blocks.size
    changes = {
        f"resampled to {rate_hz} Hz (from {', '.join(map(str, sorted(rates_hz)))})": counts["resampled"],
        "mixed down to one channel": counts["mixed"],
        f"padded with silence to {SHORTEST_S:g} s": counts["padded"],
        f"predicted in blocks of {system.blocks.size / rate_hz:g} s": counts["cut"],
    }
    return ", ".join(f"{count} {'was' if count == 1 else 'were'} {what}" for what, count in changes.items() if count)


def _images_folder(output: Path) -> Path:
    return output.with_name(f"{output.stem}_images")


def _image(output: Path, name: str) -> Path:
    path = _images_folder(output) / f"{name}.png"
    if len(path.name.encode()) > MAX_NAME_BYTES:
        path = path.with_name(f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.png")
    return path
