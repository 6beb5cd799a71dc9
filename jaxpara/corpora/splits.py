"""Folds: the training, validation and test sets of N-fold schemes.

Every split raises a UserError if the number `n` of folds is larger than the corpus allows; those of the paper also if
it is odd.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from jaxpara.corpora.corpus import PARTITIONS, Corpus, Recording
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.predictions import FoldSeed
from jaxpara.registry import build


@dataclass(frozen=True)
class Fold:
    """The names of the recordings in the training, validation and test set of one fold, for one seed."""

    index: int  # position in the split, from 0
    train_names: tuple[str, ...]
    val_names: tuple[str, ...]
    test_names: tuple[str, ...]
    seed: int = 0  # number of the repetition; with several seeds every fold is trained several times
    split_size: int = 1  # number of folds of the whole split

    @property
    def key(self) -> FoldSeed:
        """The key of the fold's trained model."""
        return self.index, self.seed

    @property
    def stream(self) -> int:
        """The number from which the random streams of this fold and seed are derived; unique in a split."""
        return self.index + self.seed * self.split_size


def official(corpus: Corpus) -> list[Fold]:
    """Return one fold with the challenge's own partitions: train is the training set, devel the validation set."""
    train, devel, test = (_names(corpus.partition(partition)) for partition in PARTITIONS)
    return [Fold(0, train, devel, test)]


def ordered(corpus: Corpus, n: int = 4) -> list[Fold]:
    """Return `n` folds that validate on consecutive parts of train, then of devel, in the order of the file names.

    Half of the folds validate on each partition; the last part of a partition includes the remainder.

    Reference: the authors' published scripts for Breathing.
    """

    def parts(recordings: Sequence[Recording], count: int) -> list[np.ndarray]:
        return np.split(np.arange(len(recordings)), len(recordings) // count * np.arange(1, count))

    return _folds(corpus, n, ("train", "devel"), parts)


def stratified(corpus: Corpus, n: int = 4, seed: int = 12) -> list[Fold]:
    """Return `n` folds that validate on random parts of devel, then of train, with the class proportions of each.

    The speakers of a validation set are also in the training set, so scores are better than on new speakers.

    Reference: the authors' published scripts for Mask: scikit-learn's StratifiedKFold with the seed 12 over the files
      sorted by class, then by name.
    """
    if corpus.task.kind != "classes":
        raise UserError("folds.name is 'stratified', which needs classes; use 'ordered' for a sequence")

    def parts(recordings: Sequence[Recording], count: int) -> Iterable[np.ndarray]:
        classes = _classes(recordings, count)
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
        return (part for _, part in splitter.split(classes, classes))

    # The authors split lists of files in a folder per class.
    def by_class(recording: Recording) -> tuple[str, str]:
        return corpus.task.classes[int(recording.labels[0])], recording.name

    return _folds(corpus, n, ("devel", "train"), parts, by_class)


def speaker_disjoint(corpus: Corpus, n: int = 4, seed: int = 12) -> list[Fold]:
    """Return folds as `stratified`, with all recordings of a speaker in the same part; also for sequences.

    A speaker in train and in devel is left out of the training set of the folds that validate on this speaker.
    """
    if unknown := [r.name for r in corpus.partition("train", "devel") if not r.speaker]:
        rest = f" and of {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UserError(
            f"folds.name is 'speaker_disjoint', but the speaker of {unknown[0]!r}{rest} is unknown; add"
            " lab/speakers.csv with the columns file_name,speaker"
        )

    def parts(recordings: Sequence[Recording], count: int) -> Iterable[np.ndarray]:
        speakers = [recording.speaker for recording in recordings]
        _require(len(set(speakers)), f"speakers in {recordings[0].partition}", count)
        classes = _classes(recordings, count) if corpus.task.kind == "classes" else np.zeros(len(recordings))
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        return (part for _, part in splitter.split(classes, classes, speakers))

    folds = []
    for fold in _folds(corpus, n, ("devel", "train"), parts):
        validated = set(leaks(corpus, fold))
        names = tuple(name for name in fold.train_names if corpus.by_name[name].speaker not in validated)
        folds.append(replace(fold, train_names=names))
    return folds


def speaker_disjoint_if_known(corpus: Corpus, n: int = 4, seed: int = 12) -> list[Fold]:
    """Return `speaker_disjoint` folds if every speaker is known, otherwise `stratified` ones."""
    return (speaker_disjoint if corpus.speakers_known else stratified)(corpus, n, seed)


def devel_or_folds(corpus: Corpus, n: int = 5, seed: int = 12) -> list[Fold]:
    """Return the `official` fold if the corpus has a devel partition, otherwise folds over train; for all tasks.

    The folds are those of the corpus if every recording of train has one; then there may be another number than `n`.
    Otherwise they share no known speaker, and have the proportions of the classes as well as possible.
    """
    if corpus.partition("devel"):
        return official(corpus)
    recordings = sorted(corpus.partition("train"), key=lambda recording: recording.name)
    if all(recording.fold for recording in recordings):
        own = sorted({r.fold for r in recordings}, key=lambda fold: (not fold.isdecimal(), fold.zfill(9)))
        part, n = np.array([own.index(recording.fold) for recording in recordings]), len(own)
    else:
        speakers = speaker_groups([r.speaker for r in recordings], [r.name for r in recordings])
        units, what = (len(recordings), "recordings") if speakers is None else (len(set(speakers)), "speakers")
        if n > units:
            raise UserError(f"folds.n is {n}, but there are {units} {what} in train; use fewer folds")
        labels = np.array([recording.labels[0] for recording in recordings])
        part = random_parts(labels, corpus.task, speakers, n, seed) if n > 1 else np.zeros(len(recordings), int)
    if n < 2:
        raise UserError(f"folds.n is {n}, expected at least 2, as the corpus has no devel partition to validate on")
    test = _names(corpus.partition("test"))
    sides = [
        [_names(r for r, at in zip(recordings, part == i, strict=True) if at == v) for v in (0, 1)] for i in range(n)
    ]
    return [Fold(index, train, val, test) for index, (train, val) in enumerate(sides)]


def speaker_groups(speakers: Iterable[str], names: Iterable[str]) -> list[str] | None:
    """Return `[recording]` the speakers, unknown ones named after their recording; None if no speaker is known."""
    speakers = list(speakers)
    return [speaker or name for speaker, name in zip(speakers, names, strict=True)] if any(speakers) else None


def random_parts(labels: np.ndarray, task: Task, speakers: Sequence[str] | None, count: int, seed: int) -> np.ndarray:
    """Divide recordings at random: `[recording]` the index of its part.

    Args:
      labels: `[recording]`, whose classes, or fifths of the numbers, have the same proportions in each part as well as
        possible; those of sequences do not count.
      speakers: `[recording]`, each of whom is in one part only; None where unknown.
      count: of the parts, at least 2.
    """
    strata = np.zeros(len(labels), int)
    if task.kind == "classes":
        strata = labels.astype(int)
    elif task.kind != "sequence" and np.ptp(labels):  # equal labels have no fifths
        # Each fifth needs at least a recording for each part.
        fifths = max(1, min(5, len(labels) // count))
        strata = np.asarray(pd.qcut(labels, fifths, labels=False, duplicates="drop"))
    if np.unique(strata, return_counts=True)[1].max() < count:  # no class is large enough, which is an error of sklearn
        strata = np.zeros(len(labels), int)
    splitter = (StratifiedKFold if speakers is None else StratifiedGroupKFold)(count, shuffle=True, random_state=seed)
    part = np.zeros(len(labels), int)
    with warnings.catch_warnings():
        # Of rare classes, which are in fewer parts; the check of the corpus lists what that leads to.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for index, (_, rows) in enumerate(splitter.split(strata, strata, speakers)):
            part[rows] = index
    return part


SPLITS: dict[str, Callable[..., list[Fold]]] = {
    split.__name__: split
    for split in (official, ordered, stratified, speaker_disjoint, speaker_disjoint_if_known, devel_or_folds)
}


def leaks(corpus: Corpus, fold: Fold) -> list[str]:
    """Return the known speakers who are both in the training and in the validation set of a fold."""
    train, val = ({corpus.by_name[name].speaker for name in names} for names in (fold.train_names, fold.val_names))
    return sorted((train & val) - {""})


def require_classes(corpus: Corpus, folds: Sequence[Fold], where: str, least: int) -> None:
    """Raise a UserError unless every training set has at least so many recordings of each class."""
    for fold in folds:
        if rare := _rare(corpus, fold.train_names, least):
            what = f"the training set of fold {fold.index} has fewer than {least} recordings of {', '.join(rare)}"
            fix = ", or set learner.probabilities to False" if least > 1 else ""
            raise UserError(f"{where}: {what}; add some, or use other folds{fix}")


def unscored_classes(corpus: Corpus, folds: Sequence[Fold]) -> list[str]:
    """Return a warning for each fold whose validation set lacks classes."""
    lacking = {fold.index: _rare(corpus, fold.val_names, 1) for fold in folds}
    effect = "its epoch or C is chosen by the other classes; use fewer folds"
    return [
        f"the validation set of fold {index} has no recording of {', '.join(names)}: {effect}"
        for index, names in lacking.items()
        if names
    ]


def _rare(corpus: Corpus, names: Iterable[str], least: int) -> list[str]:
    """Return the classes with fewer than `least` of these recordings; none for other kinds of target."""
    counts = Counter(float(corpus.by_name[name].labels[0]) for name in names)
    classes = corpus.task.classes if corpus.task.kind == "classes" else ()
    return [name for index, name in enumerate(classes) if counts[index] < least]


def _folds(
    corpus: Corpus,
    n: int,
    order: tuple[str, str],
    parts: Callable[[Sequence[Recording], int], Iterable[Sequence[int] | np.ndarray]],
    key: Callable[[Recording], Any] = lambda recording: recording.name,
) -> list[Fold]:
    """Return a fold per part of train and devel: the part is its validation set, all others are its training set.

    Args:
      parts: returns the indices of the recordings in each of two or more parts of a partition.
      key: sorts the recordings first.
    """
    if n < 2 or n % 2:
        raise UserError(f"folds.n is {n}, expected an even number: half the folds validate on each partition")
    count, test = n // 2, _names(corpus.partition("test"))
    both = sorted(corpus.partition(*order), key=key)
    folds = []
    for partition in order:
        recordings = [recording for recording in both if recording.partition == partition]
        _require(len(recordings), f"recordings in {partition}", count)
        for part in parts(recordings, count) if count > 1 else [range(len(recordings))]:
            validated = _names(recordings[index] for index in part)
            others = set(validated)
            folds.append(Fold(len(folds), _names(r for r in both if r.name not in others), validated, test))
    return folds


def _classes(recordings: Sequence[Recording], count: int) -> np.ndarray:
    """Return `[recording]` class indices, each at least `count` times."""
    classes = np.array([int(recording.labels[0]) for recording in recordings])
    rarest = int(np.unique(classes, return_counts=True)[1].min())
    _require(rarest, f"recordings of the rarest class in {recordings[0].partition}", count)
    return classes


def _require(found: int, what: str, count: int) -> None:
    if found < count:
        fix = "use fewer folds" if found else "choose other folds, such as devel_or_folds"
        raise UserError(f"folds.n is {2 * count}, but there are {found} {what}; {fix}")


def _names(recordings: Iterable[Recording]) -> tuple[str, ...]:
    return tuple(recording.name for recording in recordings)


def folds_of(spec: Mapping[str, Any], where: str, corpus: Corpus, seeds: int = 1) -> list[Fold]:
    """Return the folds that a config describes: those with seed 0, then those with seed 1 and so on.

    Args:
      spec: the name of the split and its fields; `only`, the indices of the folds to use (default: all); `leave_out`,
        recordings that are used neither for training nor for validation.
      where: the config path of `spec`, for messages.
    """
    if seeds < 1:
        raise UserError(f"config.seeds is {seeds}, expected at least 1")
    spec = dict(spec)
    only = tuple(spec.pop("only", ()))
    leave_out = set(corpus.known(spec.pop("leave_out", ()), f"config.{where}.leave_out"))
    folds: list[Fold] = build(SPLITS, spec, where, corpus=corpus)
    for index, fold in enumerate(folds):
        train, val = (tuple(n for n in names if n not in leave_out) for names in (fold.train_names, fold.val_names))
        folds[index] = replace(fold, train_names=train, val_names=val, split_size=len(folds))
    if empty := [fold.index for fold in folds if not (fold.train_names and fold.val_names)]:
        if leave_out:
            raise UserError(
                f"config.{where}.leave_out empties the training or validation set of folds {empty}; leave out fewer"
            )
        raise UserError(
            f"config.{where}: the training or validation set of folds {empty} is empty, as their speakers are on both"
            " sides; use more folds, or 'stratified' ('ordered' for a sequence)"
        )
    if unknown := set(only) - {fold.index for fold in folds}:
        raise UserError(f"config.{where}.only names folds {sorted(unknown)}, but there are {len(folds)}, from 0")
    return [replace(f, seed=seed) for seed in range(seeds) for f in folds if not only or f.index in only]
