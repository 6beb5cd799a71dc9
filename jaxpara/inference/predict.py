"""`--mode=predict`: predict audio files into one table, with `--plot` also an image of each file."""

import csv
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path, PurePath

import numpy as np

from jaxpara.corpora.audio import AudioInfo, check_file
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.simulated import STAMP
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.files import replacing
from jaxpara.inference import audio_files, plot, system_file
from jaxpara.inference.audio_files import AudioFile
from jaxpara.inference.system import MAX_BATCH_S, SHORTEST_S, TOO_SHORT, Estimate, System
from jaxpara.progress import Bar, Progress

MAX_NAME_BYTES = 250  # of an image's file name; file systems allow 255


class FinishedFiles:
    """The predictions of finished files on disk, from which an interrupted command resumes.

    They are keyed by the system and by the path, size and modification time of the file.
    """

    def __init__(self, folder: Path, workdir: Path, task: Task, files: Sequence[AudioFile]):
        self.folder, self._task, self.paths = folder, task, {}
        description = workdir / system_file.FILE
        system = f"{hashlib.sha256(description.read_bytes()).hexdigest()} {description.stat().st_mtime_ns}"
        for file in files:
            status = file.path.stat()
            key = repr((system, str(file.path.absolute()), status.st_size, status.st_mtime_ns))
            self.paths[file.path] = folder / f"{_digest(key)}.npz"

    def save(self, file: AudioFile, estimate: Estimate) -> None:
        """Write a prediction, whole or not at all."""
        with replacing(self.paths[file.path]) as part, part.open("wb") as raw:
            np.savez(
                raw,
                times_s=estimate.times_s,
                values=estimate.values,
                levels=np.concatenate(file.levels).astype(np.float16),
                info=np.array(json.dumps(asdict(file.info))),
            )

    def load(self, file: AudioFile) -> tuple[Estimate, np.ndarray]:
        """Return a prediction and the levels of the audio, and set the properties of the file.

        Raises:
          UserError: it is missing or damaged.
        """
        path = self.paths[file.path]
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as kept:
                estimate = Estimate(kept["times_s"], kept["values"], self._task)
                levels, info = kept["levels"].astype(np.float32), AudioInfo(**json.loads(str(kept["info"])))
        except Exception:  # NumPy and zipfile raise many types
            raise UserError(
                f"{path}: is missing or damaged, expected the prediction of {file.name!r}; run again"
            ) from None
        file.info = info
        return estimate, levels


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def predict(workdir: Path, given: str, output: Path, *, images: bool = False) -> None:
    """Predict files and write the table; files that were finished before an interruption are not predicted again.

    Args:
      given: a file, a folder, a pattern, or a table of files, whose other columns the output keeps.
      images: draw each file into a folder next to `output`, the CSV file.

    Raises:
      UserError: an invalid argument or system; or some files cannot be predicted, after all others are written.
    """
    with Progress() as progress:
        files = audio_files.find(given, progress.say)
        _require_writable(output)
        if output.resolve() == Path(given).resolve():
            raise UserError(f"--output={output}: is also the --input, which it would replace; choose another")
        if {"start", "end"} <= files[0].columns.keys():
            progress.say(f"{given}: files are predicted whole; their start and end are only copied")
        system = System(workdir)
        notice = STAMP if system.about["simulated"] else ""
        if notice:
            progress.say(f"trained on a {notice}")
        # Read all weights now, so that an error in them is not reported as an error in an audio file.
        system.predict([np.zeros(round(SHORTEST_S * system.task.sample_rate_hz), np.float32)])
        present = [file for file in files if not file.failure]
        finished = FinishedFiles(output.with_name(f"{output.name}.parts"), workdir, system.task, present)
        images_folder = output.with_name(f"{output.stem}_images")

        def load_and_draw(file: AudioFile) -> None:
            estimate, levels = finished.load(file)
            path = images_folder / f"{file.name}.png"
            inside = not PurePath(file.name).is_absolute() and ".." not in PurePath(file.name).parts
            if not inside or len(path.name.encode()) > MAX_NAME_BYTES:
                path = images_folder / f"{_digest(file.name)}.png"
            # An image that is older than the prediction is one of another system or of other audio.
            drawn = path.exists() and path.stat().st_mtime_ns >= finished.paths[file.path].stat().st_mtime_ns
            if images and not drawn:
                plot.write(path, file.name, estimate, levels, file.info.seconds, notice)

        todo: list[AudioFile] = []
        for file in present:
            try:
                load_and_draw(file)
            except UserError:
                todo.append(file)
        if done := len(present) - len(todo):
            progress.say(f"{done} of {len(present)} files are already predicted, in {finished.folder}")
        with progress.task("files", len(present), done=done) as bar:
            for file in predict_files(system, todo, bar):
                if not file.failure:
                    finished.save(file, system.join(file.starts, file.values))
                    load_and_draw(file)
                file.levels, file.starts, file.values = [], [], []  # they are on disk now
                bar.advance(f"{file.name}: {file.failure}" if file.failure else file.name)
        good, failed = [file for file in files if not file.failure], [file for file in files if file.failure]
        if good:
            for column, renamed in _write_table(output, good, finished, system).items():
                progress.say(f"column {column!r} of {given} is {renamed!r} in {output}, where {column!r} is predicted")
            if changes := _changes(good, system):
                progress.say(f"of {len(good)} files {changes}")
            for warning in _warnings(good):
                progress.say(f"warning: {warning}")
            progress.say(f"{output}: {len(good)} files" + (f"; images: {images_folder}" if images else ""))
        if failed:
            for file in failed:
                progress.say(f"{file.place}: {file.failure}")
            rest = f"; the predictions of the others are in {output}" if good else ""
            raise UserError(
                f"{len(failed)} of {len(files)} files could not be predicted, the first of them {failed[0].place}:"
                f" {failed[0].failure}; fix or remove them and run the same command again{rest}"
            )
        shutil.rmtree(finished.folder, ignore_errors=True)


def _require_writable(output: Path) -> None:
    if output.suffix.lower() != ".csv" or output.is_dir():
        raise UserError(f"--output={output}: expected a file whose name ends in .csv")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written ({error.strerror}); choose another") from error


def predict_files(system: System, files: Sequence[AudioFile], bar: Bar) -> Iterator[AudioFile]:
    """Predict files: short ones in one batch, long ones block by block.

    Yields:
      Each file with all its `starts` and `values`, or with the reason why it cannot be predicted in `failure`.
    """
    batch: list[tuple[AudioFile, np.ndarray]] = []
    read: list[AudioFile] = []  # files whose last blocks are in the batch
    seconds = 0.0
    for file in files:
        try:
            for start, block in system.blocks.cut(file.read(system.task.sample_rate_hz)):
                if file.failure:
                    break
                file.starts.append(start)
                batch.append((file, block))
                seconds += max(SHORTEST_S, len(block) / system.task.sample_rate_hz)
                if seconds >= MAX_BATCH_S:
                    _predict_batch(system, batch)
                    yield from read
                    batch, read, seconds = [], [], 0.0
                    bar.advance(f"{file.name}: {start / system.task.sample_rate_hz / 60:.0f} min read", by=0)
        except UserError as error:
            file.failure = str(error)
        file.failure = file.failure or ("" if file.starts else TOO_SHORT)
        read.append(file)
    _predict_batch(system, batch)
    yield from read


def _predict_batch(system: System, batch: Sequence[tuple[AudioFile, np.ndarray]]) -> None:
    """Predict blocks at once; if that fails, file by file, to find the file with the error."""
    batch = [(file, block) for file, block in batch if not file.failure]
    try:
        values = system.predict([block for _, block in batch]) if batch else []
    except UserError as error:
        by_file = [list(blocks) for _, blocks in groupby(batch, key=lambda pair: pair[0])]
        if len(by_file) == 1:
            batch[0][0].failure = str(error)
        else:
            for blocks in by_file:
                _predict_batch(system, blocks)
        return
    for (file, _), value in zip(batch, values, strict=True):
        file.values.append(value)


def _write_table(path: Path, files: Sequence[AudioFile], finished: FinishedFiles, system: System) -> dict[str, str]:
    """Write the CSV file, whole or not at all, and return the columns of the input that had to be renamed in it.

    A row has the columns of its file, then `label` and the probability of each class; or, for sequences, `time,value`,
    and for other numbers `value` and, where levels have names, the nearest as `label`.
    """
    task = system.task
    numbers = ("time", "value") if task.kind == "sequence" else ("value", "label") if task.classes else ("value",)
    decimals = 2 if not 100 % (system.about["label_rate_hz"] or 1) else 6
    predicted = ("label", *task.classes) if task.kind == "classes" else numbers
    header = list(files[0].columns)
    for index in range(len(header)):
        while header[index] in predicted or header[index] in header[:index]:
            header[index] += "_in_input"
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as raw:
        writer = csv.writer(raw, lineterminator="\n")  # quotes names with commas, quotes and line breaks
        writer.writerow((*header, *predicted))
        for file in files:
            estimate, _ = finished.load(file)
            kept = file.columns.values()
            if task.kind == "classes":
                probabilities = (f"{value:.5f}" for value in estimate.probabilities.tolist())
                writer.writerow((*kept, estimate.label, *probabilities))
            elif task.kind != "sequence":
                writer.writerow((*kept, f"{estimate.number:.5f}", *([estimate.label] if task.classes else [])))
            else:
                pairs = zip(estimate.times_s.tolist(), estimate.values.tolist(), strict=True)
                writer.writerows((*kept, f"{time_s:.{decimals}f}", f"{value:.5f}") for time_s, value in pairs)
    return {old: new for old, new in zip(files[0].columns, header, strict=True) if old != new}


def _warnings(files: Sequence[AudioFile]) -> list[str]:
    """Return what the check of a corpus finds in files that can be read: silence, channels that cancel, clipping."""
    findings = Findings()
    for file in files:
        check_file(Path(file.name), file.info, findings)
    return [str(finding) for finding in findings.listed()]


def _changes(files: Sequence[AudioFile], system: System) -> str:
    """Return how files were changed before they were predicted; empty if none was."""
    rate_hz, size = system.task.sample_rate_hz, system.blocks.size
    rates_hz = [file.info.rate_hz for file in files if file.info.rate_hz != rate_hz]
    counts = {
        f"resampled to {rate_hz} Hz (from {', '.join(map(str, sorted(set(rates_hz))))})": len(rates_hz),
        "mixed down to one channel": sum(file.info.channels > 1 for file in files),
        f"padded with silence to {SHORTEST_S:g} s": sum(file.info.seconds < SHORTEST_S for file in files),
        f"predicted in blocks of {size / rate_hz:g} s": sum(
            round(file.info.seconds * rate_hz) > size for file in files
        ),
    }
    return ", ".join(f"{count} {'was' if count == 1 else 'were'} {what}" for what, count in counts.items() if count)
