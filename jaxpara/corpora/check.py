"""Checks a corpus before anything is computed from it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpara.corpora.challenge import compare_length, scan
from jaxpara.corpora.check_audio import Sound, check_alike, check_file, hear
from jaxpara.corpora.corpus import PARTITIONS, Corpus, Task
from jaxpara.corpora.findings import Defect, Finding, Findings, refusal
from jaxpara.corpora.threads import in_threads


@dataclass(frozen=True, eq=False)
class Report:
    """What `check` has to say.

    Attributes:
      findings: the errors, then the warnings; of each kind as many as anybody reads.
      errors, warnings: how many there are, listed or not.
      corpus: as `challenge.read` reads it; None where there are errors.
      fingerprint: tells whether the corpus has changed; empty where there are errors.
    """

    findings: tuple[Finding, ...]
    errors: int
    warnings: int
    corpus: Corpus | None = None
    fingerprint: str = ""

    def sound(self) -> Corpus:
        """The corpus; raises a UserError that is the first error where there is one."""
        if self.corpus is None:
            raise refusal(self.findings, self.errors)
        return self.corpus


def check(root: Path, task: Task, progress: Callable[[int, int], None] | None = None) -> Report:
    """Finds what is wrong with a corpus; raises for nothing that a corpus may hold.

    Args:
      root: the folder that holds `wav/` and `lab/`.
      progress: called with the files heard so far and their number.
    """
    findings = Findings()
    try:
        contents = scan(Path(root), task, findings)
    except Defect as defect:
        listed = (defect.finding, *findings.listed())
        return Report(listed, findings.count("error") + 1, findings.count("warning"))
    corpus, readable = contents.corpus, not findings.count("error")
    heard = in_threads(hear, [recording.path for recording in corpus.recordings], progress)
    sounds = {recording.name: sound for recording, sound in zip(corpus.recordings, heard, strict=True)}
    for recording in corpus.recordings:
        sound = sounds[recording.name]
        check_file(recording.path, sound, task, findings)
        # What is cut short or empty is said to be so; that it has too many labels goes without saying.
        if task.kind == "sequence" and sound.frames and not sound.missing:
            compare_length(recording, sound.frames / sound.rate_hz, corpus.label_rate_hz, findings)
    check_alike(corpus.recordings, sounds, task, findings)
    # Where rows had to be left out, that a class is missing says nothing.
    if readable:
        check_spread(corpus, findings)
    for path in contents.extra:
        what, mend = "no label file names it", "add its rows, or take it away"
        findings.warning("files without rows", path, None, what, mend)
    errors, warnings = findings.count("error"), findings.count("warning")
    if errors:
        return Report(findings.listed(), errors, warnings)
    return Report(findings.listed(), errors, warnings, corpus, fingerprint(corpus, sounds))


def check_spread(corpus: Corpus, findings: Findings) -> None:
    """Adds partitions that lack a class, and sequences that never change."""
    if corpus.task.kind == "sequence":
        for recording in corpus.recordings:
            if len(recording.labels) > 1 and np.all(recording.labels == recording.labels[0]):
                what = f"{recording.name} has the label {recording.labels[0]:g} from beginning to end"
                mend = "leave it out if the belt had come off: it has no correlation with anything"
                findings.warning("constant labels", corpus.label_file, None, what, mend)
        return
    for partition in PARTITIONS:
        labels = np.array([recording.labels[0] for recording in corpus.partition(partition)])
        if not np.isfinite(labels).any():
            continue
        for index, name in enumerate(corpus.task.classes):
            if not np.any(labels == index):
                add = findings.error if partition == "train" else findings.warning
                what = f"no recording of the class {name!r} in {partition}"
                mend = "add some: what is not there is not learnt, nor can its recall be known"
                add("missing classes", corpus.label_file, None, what, mend)


def fingerprint(corpus: Corpus, sounds: Mapping[str, Sound]) -> str:
    """SHA-256 over the names, partitions, speakers, labels and samples of a corpus, wherever it lies.

    Args:
      sounds: by recording.
    """
    total = hashlib.sha256()
    for recording in corpus.recordings:
        texts = (recording.name, recording.partition, recording.speaker, sounds[recording.name].digest)
        total.update(repr(texts).encode())
        for values in (recording.times_s, recording.labels):
            total.update(values.astype("<f8").tobytes())
    return total.hexdigest()
