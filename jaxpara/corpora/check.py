"""The check of a corpus before anything is computed from it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import numpy as np

from jaxpara.corpora.audio import check_file, in_threads, scan
from jaxpara.corpora.corpus import PARTITIONS, Corpus
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.read import read_contents
from jaxpara.corpora.source import SUB_CHALLENGE, Options
from jaxpara.corpora.tasks import Task

MAX_IMBALANCE = 4  # ratio of the sizes of the largest and the smallest class


def check(
    root: Path,
    task: Task,
    findings: Findings,
    progress: Callable[[int, int], None] | None = None,
    options: Options = SUB_CHALLENGE,
) -> Corpus:
    """Read a corpus and decode every audio file once.

    Args:
      root, task, options: see `jaxpara.corpora.read.read_contents`.
      findings: collects everything that is wrong with the corpus.
      progress: called with the number of scanned files and of all files.

    Raises:
      UserError: the first error, after the whole check.
    """
    corpus, extra = read_contents(Path(root), task, findings, options)
    complete = not findings.count("error")
    infos = in_threads(scan, [recording.path for recording in corpus.recordings], progress)
    recordings = tuple(replace(r, audio=info) for r, info in zip(corpus.recordings, infos, strict=True))
    corpus = replace(corpus, recordings=recordings)
    wrong_unit = _wrong_unit(corpus)
    if wrong_unit:
        findings.error("times in another unit", corpus.label_file, wrong_unit, "write the times in seconds")
    for recording, info in zip(recordings, infos, strict=True):
        check_file(recording.path, info, findings)
        labels, rate_hz = len(recording.labels), corpus.label_rate_hz
        # A file that is cut short, joined or empty also has another length than its labels; one error is enough.
        whole = info.frames and not info.missing and not info.more
        if wrong_unit or not (rate_hz and whole):
            pass
        elif abs(labels / rate_hz - info.seconds) > 1 / rate_hz + 1e-6:
            what = f"{info.seconds:.2f} s of audio, {labels} labels are {labels / rate_hz:.2f} s"
            fix = "copy the file again from the corpus, or correct its labels"
            findings.error("files of other lengths than their labels", recording.path, what, fix)
        if labels > 1 and np.all(recording.labels == recording.labels[0]):
            what = f"{recording.name} has the label {recording.labels[0]:g} from beginning to end"
            fix = "leave it out if the belt had come off: nothing correlates with a constant"
            findings.warning("constant labels", corpus.label_file, what, fix)
    _announce_changes(corpus, findings)
    _check_duplicates(corpus, findings)
    if corpus.task.kind == "classes":
        _check_lengths(corpus, findings)
    # A missing class may only be the result of errors in the label files.
    if corpus.task.classes and complete:
        _check_classes(corpus, findings)
    if options.own and len(extra) > 1:
        what = f"{len(extra)} audio files have no row, for example {extra[0].name!r}"
        findings.warning("files without rows", corpus.label_file, what, "add their rows if they belong to the corpus")
        extra = []
    for path in extra:
        findings.warning("files without rows", path, "no label file names it", "add its rows, or remove it")
    findings.require_no_error()
    return corpus


def _announce_changes(corpus: Corpus, findings: Findings) -> None:
    """Add how many files are resampled or mixed down when they are read."""
    target_hz, total = corpus.task.sample_rate_hz, len(corpus.recordings)
    rates_hz = Counter(r.audio.rate_hz for r in corpus.recordings if r.audio.frames)
    for rate_hz, count in sorted(rates_hz.items()):
        if rate_hz != target_hz:
            what = f"{count} of {total} files of another sample rate: {rate_hz} Hz, resampled to {target_hz} Hz"
            what += f", with nothing above {rate_hz // 2} Hz" if rate_hz < target_hz else ""
            fix = "nothing to do" if count == total else "if classes differ in the rate, a model learns the rate"
            findings.warning("sample rates", corpus.root, what, fix)
    for channels, count in sorted(Counter(r.audio.channels for r in corpus.recordings).items()):
        if channels > 1:
            what = f"{count} of {total} files of several channels: {channels}, mixed down to one"
            findings.warning("numbers of channels", corpus.root, what, "nothing to do, or keep the best channel")


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
        if first.partition == copy.partition:
            findings.warning("duplicated files", copy.path, what, fix)
        else:
            what = f"{copy.partition} has {what} in {first.partition}, so that scores would be too good"
            findings.error("duplicated files in two partitions", copy.path, what, fix)


def _check_lengths(corpus: Corpus, findings: Findings) -> None:
    """Add files whose length differs from that of most files."""
    seconds = {recording.path: round(recording.audio.seconds, 3) for recording in corpus.recordings}
    usual, count = max(Counter(seconds.values()).items(), key=itemgetter(1), default=(0, 0))
    for path, found in seconds.items() if count > len(seconds) / 2 else ():
        if found not in (0, usual):
            what = f"{found:.3f} s, most files have {usual:.3f} s"
            fix = "check that it is complete; with features.clip_s it is padded or cut into windows"
            findings.warning("files of unusual length", path, what, fix)


def _check_classes(corpus: Corpus, findings: Findings) -> None:
    """Add partitions that lack a class or a level, and a training set in which some are rare."""
    noun = "class" if corpus.task.kind == "classes" else "level"
    for partition in PARTITIONS:
        labels = np.array([recording.labels[0] for recording in corpus.partition(partition)])
        level, fix = "warning", "add examples, or its recall cannot be measured"
        if partition == "train" and corpus.task.kind == "classes":
            level, fix = "error", "add examples: a class without training data cannot be learned"
        for index, name in enumerate(corpus.task.classes if np.isfinite(labels).any() else ()):
            if index not in labels:
                what = f"no recording of the {noun} {name!r} in {partition}"
                findings.add(level, "missing classes", corpus.label_file, what, fix)
    train = np.array([recording.labels[0] for recording in corpus.partition("train")])
    counts = {name: int((train == index).sum()) for index, name in enumerate(corpus.task.classes)}
    rarest, most = min(counts, key=lambda c: counts[c]), max(counts, key=lambda c: counts[c])
    if 0 < counts[rarest] * MAX_IMBALANCE < counts[most]:
        what = f"train has {counts[most]} recordings of {most!r} and {counts[rarest]} of {rarest!r}"
        fix = (
            "weight them (class_weight='balanced' of a network's loss, or of an SVM), and read the recall of each class"
        )
        findings.warning("rare classes", corpus.label_file, what, fix)


def _wrong_unit(corpus: Corpus) -> str:
    """Return what shows that all times of labels are in milliseconds or samples, or an empty string."""
    known = [r for r in corpus.recordings if r.audio.frames and corpus.label_rate_hz]
    for unit in ("milliseconds", "samples"):
        at = {r.name: r.audio.seconds * (1000 if unit == "milliseconds" else r.audio.rate_hz) for r in known}
        if known and all(abs(len(r.labels) / corpus.label_rate_hz / at[r.name] - 1) < 0.1 for r in known):
            first = known[0]
            times = (
                f"the labels of {first.name!r} go to {first.times_s[-1]:g} s, its audio to {first.audio.seconds:.2f} s"
            )
            return f"{times}: did you mean {unit}?"
    return ""
