"""Corpora in the layout of the ComParE challenges: `wav/`, `lab/`, and the tasks that come in it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from jaxpara.corpora import labels, layout, tables
from jaxpara.corpora.check_audio import REFUSALS, reason, unreadable
from jaxpara.corpora.corpus import PARTITIONS, Corpus, Recording, Task
from jaxpara.corpora.findings import Defect, Findings, quote, refusal
from jaxpara.corpora.labels import Rows
from jaxpara.corpora.speakers import speakers_of
from jaxpara.corpora.truth import truth_of
from jaxpara.errors import UserError
from jaxpara.registry import suggest


def _nominal(name: str, *classes: str) -> Task:
    return Task(name, "classes", target="label", measure="UAR", classes=classes)


# Class names as the organisers' baselines and auDeep's parsers spell them.
TASKS: dict[str, Task] = {
    "breathing": Task("ComParE2020_Breathing", "sequence", target="upper_belt", measure="PCC", speaker_per_file=True),
    "mask": _nominal("ComParE2020_Mask", "clear", "mask"),
    "baby_sounds": _nominal("ComParE2019_BabySounds", "Canonical", "Crying", "Junk", "Laughing", "Non-canonical"),
    "styrian_dialects": _nominal("ComParE2019_StyrianDialects", "EasternS", "NorthernS", "UrbanS"),
    "covid_cough": _nominal("ComParE2021_CCS", "negative", "positive"),
    "covid_speech": _nominal("ComParE2021_CSS", "negative", "positive"),
    "escalation": _nominal("ComParE2021_ESS", "0", "1", "2"),
    "primates": _nominal("ComParE2021_PRS", "background", "chimpanze", "geunon", "mandrille", "redcap"),
    "stuttering": _nominal(
        "ComParE2022_KSF",
        *("Block", "Fillers", "Garbage", "Modified", "Prolongation", "SoundRepetition", "WordRepetition"),
        "no_disfluencies",
    ),
}


def task_named(name: str, where: str) -> Task:
    """The task of a name; `where` it was given is for the message of the UserError that it is none."""
    if name not in TASKS:
        raise UserError(f"{where} is {name!r}, expected one of {', '.join(TASKS)}{suggest(name, list(TASKS))}")
    return TASKS[name]


@dataclass(frozen=True, eq=False)
class Contents:
    """What a corpus folder holds, before anybody listened.

    Attributes:
      corpus: its recordings; those that have no audio or no sound labels are left out.
      extra: files in the wav folder that no label file names.
    """

    corpus: Corpus
    extra: tuple[Path, ...]


def read(root: Path, task: Task) -> Corpus:
    """Reads a corpus: its label files, and the headers of the audio where labels have times.

    Args:
      root: the folder that holds `wav/` and `lab/`, or whose `dist/` does.

    Raises:
      UserError: the first of the errors that `check` lists about the label files.
    """
    findings = Findings()
    corpus = scan(Path(root), task, findings).corpus
    if task.kind == "sequence":
        for recording in corpus.recordings:
            try:
                info = soundfile.info(recording.path)
            except REFUSALS as error:
                unreadable(recording.path, reason(error), findings)
            else:
                compare_length(recording, info.frames / info.samplerate, corpus.label_rate_hz, findings)
    if findings.count("error"):
        raise refusal(findings.listed(), findings.count("error"))
    return corpus


def compare_length(recording: Recording, duration_s: float, label_rate_hz: float, findings: Findings) -> None:
    """Adds an error where labels and audio are not equally long, one label more or less allowed."""
    labelled_s = len(recording.labels) / label_rate_hz
    if abs(labelled_s - duration_s) > 1 / label_rate_hz + 1e-6:
        what = f"{duration_s:.2f} s of audio, {len(recording.labels)} labels are {labelled_s:.2f} s"
        mend = "copy the file anew from the corpus, or correct its labels"
        findings.error("files of other lengths than their labels", recording.path, None, what, mend)


def scan(root: Path, task: Task, findings: Findings) -> Contents:
    """Reads a corpus as far as it can be read, without opening its audio.

    Args:
      findings: takes everything that is wrong with the label files.

    Raises:
      Defect: nothing can be read.
    """
    try:
        found = layout.find(root)
        rows: dict[str, tuple[str, Rows]] = {}
        named: set[str] = set()
        for path, partition in found.labels.items():
            for name, of_name in labels.group(tables.load(path, findings), task).items():
                named.add(name)
                _enter(rows, name, of_name, partition, findings)
        sound = {name: entry for name, entry in rows.items() if _leads_to_audio(*entry, found, findings)}
        partitions = {name: partition for name, (partition, _) in sound.items()}
        speakers = speakers_of(partitions, named, task, found.speakers, findings)
        times, rate_hz = _times([entry for _, entry in sound.values()], task, findings)
        values = {}
        for name, (partition, entry) in sound.items():
            read_labels = labels.sequence if task.kind == "sequence" else labels.classes
            values[name] = read_labels(entry, task, partition == "test", findings)
        truth = truth_of(values, times, named, task, found.confidential, findings)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise Defect(Path(error.filename or root), None, what, "permit it") from error
    recordings = [
        Recording(
            name=name,
            path=found.wav / name,
            partition=partitions[name],
            speaker=speakers[name],
            times_s=times[name],
            labels=values[name],
            truth=truth[name],
        )
        for name in times
    ]
    label_file = next(iter(found.labels))
    # Where rows had to be left out, that a partition is empty says nothing.
    for partition in PARTITIONS if not findings.count("error") else ():
        if not any(entry[0] == partition for entry in rows.values()):
            add = findings.warning if partition == "test" else findings.error
            what = f"no recordings in the partition {partition}"
            add("empty partitions", label_file, None, what, "add their rows")
    corpus = Corpus(
        task=task,
        root=root,
        recordings=tuple(recordings),
        label_rate_hz=rate_hz,
        simulated=(root / layout.MARKER).exists(),
        label_file=label_file,
    )
    return Contents(corpus, tuple(found.wav / name for name in found.audio if name not in named))


def _enter(
    rows: dict[str, tuple[str, Rows]], name: str, of_name: Rows, partition: str | None, findings: Findings
) -> None:
    """Enters the rows of a recording under its partition."""
    path, row = of_name.table.path, of_name.rows[0]
    if name in rows:
        first = rows[name][1]
        what = f"{quote(name)} stands here and in {first.table.path.name}, row {first.rows[0]}"
        findings.error("doubled rows", path, row, what, "delete one of the rows")
        return
    prefix = re.match(r"(?:.*/)?(train|devel|test)_", name)
    if partition is None and prefix is None and name:
        what = f"{quote(name)} begins with none of train_, devel_, test_"
        findings.error("names without a partition", path, row, what, "rename the file, here and in wav/")
        return
    rows[name] = (partition or (prefix[1] if prefix else ""), of_name)


def _leads_to_audio(partition: str, entry: Rows, found: layout.Layout, findings: Findings) -> bool:
    """Whether the recording's name is a file in the wav folder."""
    trouble = layout.trouble(entry.name, found)
    if trouble:
        mend = f"put the file into {found.wav}, or correct or delete its rows"
        kind, what = "rows without audio", f"{quote(entry.name)} {trouble}" if entry.name else trouble
        findings.error(kind, entry.table.path, entry.rows[0], what, mend)
    return not trouble


def _times(entries: Iterable[Rows], task: Task, findings: Findings) -> tuple[dict[str, np.ndarray], float]:
    """`[label]` seconds of each recording whose times are sound, and the labels per second of the corpus."""
    if task.kind == "classes":
        return {entry.name: np.zeros(1) for entry in entries}, 0.0
    rising = {entry.name: (entry, labels.times(entry, findings)) for entry in entries}
    known = {name: (entry, times) for name, (entry, times) in rising.items() if times is not None}
    period_s = labels.period_s([times for _, times in known.values()])
    if not period_s:
        for entry, _ in known.values():
            what = f"{quote(entry.name)} has one label, and no other file tells how far labels are apart"
            findings.error("missing rows", entry.table.path, entry.rows[0], what, "add the missing rows")
        return {}, 0.0
    times = {name: t for name, (entry, t) in known.items() if labels.on_grid(entry, t, period_s, findings)}
    return times, 1 / period_s
