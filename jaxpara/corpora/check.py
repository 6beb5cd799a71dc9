"""The check of a corpus before anything is computed from it."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import numpy as np

from jaxpara.corpora.audio import check_file, in_threads, scan
from jaxpara.corpora.challenge import compare_length, read_contents
from jaxpara.corpora.corpus import PARTITIONS, Corpus, Recording
from jaxpara.corpora.findings import Defect, Finding, Findings, first_error
from jaxpara.corpora.tasks import Task


@dataclass(frozen=True, eq=False)
class Report:
    """The result of `check`.

    Attributes:
      findings: the errors, then the warnings; at most 20 of each kind, and the number of the others.
      errors, warnings: the number of all of them, listed or not.
      corpus: with every audio file scanned; None if there are errors.
      fingerprint: of names, partitions, speakers, labels and samples; empty if there are errors.
    """

    findings: tuple[Finding, ...]
    errors: int
    warnings: int
    corpus: Corpus | None = None
    fingerprint: str = ""

    @property
    def further_findings(self) -> tuple[Finding, ...]:
        """The findings except the error that `require_valid` raises, so that nothing is printed twice."""
        return self.findings[1:] if self.errors else self.findings

    def require_valid(self) -> Corpus:
        """Return the corpus, or raise the first error as a UserError."""
        if self.corpus is None:
            raise first_error(self.findings, self.errors)
        return self.corpus


def check(root: Path, task: Task, progress: Callable[[int, int], None] | None = None) -> Report:
    """Read a corpus and list everything that is wrong with it; every audio file is decoded once.

    Args:
      root: the folder that contains `wav/` and `lab/`.
      progress: called with the number of scanned files and of all files.
    """
    findings = Findings()
    try:
        corpus, extra = read_contents(Path(root), task, findings)
    except Defect as defect:
        listed = (defect.finding, *findings.listed())
        return Report(listed, findings.count("error") + 1, findings.count("warning"))
    complete = not findings.count("error")
    infos = in_threads(scan, [recording.path for recording in corpus.recordings], progress)
    recordings = tuple(replace(r, audio=info) for r, info in zip(corpus.recordings, infos, strict=True))
    corpus = replace(corpus, recordings=recordings)
    for recording, info in zip(recordings, infos, strict=True):
        check_file(recording.path, info, task, findings)
        # A file that is cut short or empty also has too many labels; one error is enough.
        if task.kind == "sequence" and info.frames and not info.missing:
            compare_length(recording, info.seconds, corpus.label_rate_hz, findings)
    _check_duplicates(corpus, findings)
    if task.kind == "classes":
        _check_lengths(recordings, findings)
    # A missing class may only be the result of the errors before it.
    if complete:
        _check_labels(corpus, findings)
    for path in extra:
        findings.warning("files without rows", path, None, "no label file names it", "add its rows, or remove it")
    errors, warnings = findings.count("error"), findings.count("warning")
    if errors:
        return Report(findings.listed(), errors, warnings)
    return Report(findings.listed(), errors, warnings, corpus, _fingerprint(corpus))


def _check_duplicates(corpus: Corpus, findings: Findings) -> None:
    """Add files with the same samples: an error if they are in two partitions."""
    names = corpus.by_name
    reported = set()
    for one, other in corpus.duplicates(names, names):
        if other in reported:  # as a copy of the first of several equal files
            continue
        reported.add(other)
        first, copy = names[one], names[other]
        what, fix = f"the same audio as {first.path}", "copy the right file, or leave one of them out"
        if first.partition != copy.partition:
            what = f"{copy.partition} has {what} in {first.partition}, so that scores would be too good"
            findings.error("duplicated files in two partitions", copy.path, None, what, fix)
        else:
            findings.warning("duplicated files", copy.path, None, what, fix)


def _check_lengths(recordings: tuple[Recording, ...], findings: Findings) -> None:
    """Add files whose length differs from that of most files."""
    frames = [recording.audio.frames for recording in recordings if recording.audio]
    usual, count = max(Counter(frames).items(), key=itemgetter(1), default=(0, 0))
    if count <= len(frames) / 2:
        return
    for recording, found in zip(recordings, frames, strict=True):
        if found not in (0, usual):
            what = f"{found} samples, most files have {usual}"
            fix = "check that it is complete; with features.clip_s it is padded or cut into windows"
            findings.warning("files of unusual length", recording.path, None, what, fix)


def _check_labels(corpus: Corpus, findings: Findings) -> None:
    """Add sequences that never change, and partitions that lack a class."""
    if corpus.task.kind == "sequence":
        for recording in corpus.recordings:
            if len(recording.labels) > 1 and np.all(recording.labels == recording.labels[0]):
                what = f"{recording.name} has the label {recording.labels[0]:g} from beginning to end"
                fix = "leave it out if the belt had come off: nothing correlates with a constant"
                findings.warning("constant labels", corpus.label_file, None, what, fix)
        return
    for partition in PARTITIONS:
        labels = np.array([recording.labels[0] for recording in corpus.partition(partition)])
        if not np.isfinite(labels).any():
            continue
        for index, name in enumerate(corpus.task.classes):
            if not np.any(labels == index):
                add = findings.error if partition == "train" else findings.warning
                what = f"no recording of the class {name!r} in {partition}"
                fix = "add examples: a class without training data cannot be learned"
                if partition != "train":
                    fix = "add examples, or its recall cannot be measured"
                add("missing classes", corpus.label_file, None, what, fix)


def _fingerprint(corpus: Corpus) -> str:
    """Return the SHA-256 of the names, partitions, speakers, labels and samples of a corpus."""
    total = hashlib.sha256()
    for recording in corpus.recordings:
        texts = (recording.name, recording.partition, recording.speaker, recording.digest)
        total.update(repr(texts).encode())
        for values in (recording.times_s, recording.labels):
            total.update(values.astype("<f8").tobytes())
    return total.hexdigest()
