"""The paper's N-fold schemes: who is fitted on, who is tuned on, in each fold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.errors import UserError
from jaxpara.registry import build


@dataclass(frozen=True)
class Fold:
    """The names of the recordings that a fold is fitted on, tuned on and tested on.

    Attributes:
      index: tells the fold from all others of its member; its randomness follows from it.
      seed: folds that differ in nothing but their randomness are numbered by it, from 0.
    """

    index: int
    train_names: tuple[str, ...]
    val_names: tuple[str, ...]
    test_names: tuple[str, ...]
    seed: int = 0


def official(corpus: Corpus) -> list[Fold]:
    """The challenge's own partitions: fitted on train, tuned on devel; one fold."""
    fit, tune = corpus.partition("train"), corpus.partition("devel")
    return [Fold(0, _names(fit), _names(tune), _names(corpus.partition("test")))]


def ordered(corpus: Corpus, n: int = 4) -> list[Fold]:
    """Tunes on consecutive parts of train, then of devel, in the order of the file names.

    Args:
      n: the number of folds, half of them per partition. What does not divide goes to the last part.

    Raises:
      UserError: `n` is odd, or larger than the corpus allows.

    Reference: the authors' published scripts for Breathing.
    """

    def parts(recordings: Sequence[Recording], count: int) -> Iterator[list[int]]:
        length = len(recordings) // count
        for part in range(count):
            end = (part + 1) * length if part < count - 1 else len(recordings)
            yield list(range(part * length, end))

    return _folds(corpus, n, ("train", "devel"), parts)


def stratified(corpus: Corpus, n: int = 4, seed: int = 12) -> list[Fold]:
    """Tunes on random parts of devel, then of train, with equal shares of each class.

    The speakers of a part are also in the rest, so scores on it are better than on new speakers.

    Args:
      n: the number of folds, half of them per partition.
      seed: of the shuffling; 12 in the authors' scripts.

    Raises:
      UserError: the labels are no classes; `n` is odd, or larger than the corpus allows.

    Reference: the authors' published scripts for Mask: scikit-learn's StratifiedKFold over the files sorted
      by class, then by name.
    """
    if corpus.task.kind != "classes":
        raise UserError("folds.name is 'stratified', which needs classes; take 'ordered' for a sequence")

    def parts(recordings: Sequence[Recording], count: int) -> Iterator[np.ndarray]:
        classes = _classes(recordings, count)
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
        yield from (part for _, part in splitter.split(classes, classes))

    # The order of image folders, which is what the authors split.
    def by_class(recording: Recording) -> tuple[str, str]:
        return corpus.task.classes[int(recording.labels[0])], recording.name

    return _folds(corpus, n, ("devel", "train"), parts, by_class)


def speaker_disjoint(corpus: Corpus, n: int = 4, seed: int = 12) -> list[Fold]:
    """As `stratified`, with all recordings of a speaker in the same part; also for sequences.

    A speaker who is in train and in devel is left out of the fit where he is tuned on.

    Args:
      n: the number of folds, half of them per partition.
      seed: of the shuffling.

    Raises:
      UserError: a speaker is unknown; `n` is odd, or there are fewer speakers than parts.
    """
    unknown = [r.name for r in corpus.partition("train", "devel") if not r.speaker]
    if unknown:
        rest = f" and of {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UserError(
            f"folds.name is 'speaker_disjoint', but the speaker of {unknown[0]!r}{rest} is unknown; add"
            " lab/speakers.csv with the columns file_name,speaker"
        )

    def parts(recordings: Sequence[Recording], count: int) -> Iterator[np.ndarray]:
        speakers = [recording.speaker for recording in recordings]
        _require(len(set(speakers)), f"speakers in {recordings[0].partition}", count)
        sequence = corpus.task.kind == "sequence"
        classes = np.zeros(len(recordings)) if sequence else _classes(recordings, count)
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        yield from (part for _, part in splitter.split(classes, classes, speakers))

    folds = []
    for fold in _folds(corpus, n, ("devel", "train"), parts):
        tuned = {corpus.by_name[name].speaker for name in fold.val_names}
        fit = tuple(name for name in fold.train_names if corpus.by_name[name].speaker not in tuned)
        folds.append(Fold(fold.index, fit, fold.val_names, fold.test_names))
    return folds


def speaker_disjoint_if_known(corpus: Corpus, n: int = 4, seed: int = 12) -> list[Fold]:
    """`speaker_disjoint` where every speaker is known, else `stratified`, which lets speakers be on both sides.

    Args:
      n: the number of folds, half of them per partition.
      seed: of the shuffling.
    """
    return (speaker_disjoint if corpus.speakers_known else stratified)(corpus, n, seed)


SPLITS: dict[str, Callable[..., list[Fold]]] = {
    "official": official,
    "ordered": ordered,
    "stratified": stratified,
    "speaker_disjoint": speaker_disjoint,
    "speaker_disjoint_if_known": speaker_disjoint_if_known,
}


def leaks(corpus: Corpus, fold: Fold) -> list[str]:
    """The speakers, of those that are known, whom a fold is both fitted and tuned on."""
    fit, tune = ({corpus.by_name[name].speaker for name in names} for names in (fold.train_names, fold.val_names))
    return sorted((fit & tune) - {""})


def _folds(
    corpus: Corpus,
    n: int,
    order: tuple[str, str],
    parts: Callable[[Sequence[Recording], int], Iterator[Sequence[int] | np.ndarray]],
    key: Callable[[Recording], Any] = lambda recording: recording.name,
) -> list[Fold]:
    """One fold per part of a partition; the rest of train and devel is fitted on.

    Args:
      order: the partitions in the order in which their parts are tuned on.
      parts: the indices of the recordings in each of so many parts of a partition, two at least.
      key: by what the recordings are sorted first.
    """
    if n < 2 or n % 2:
        raise UserError(f"folds.n is {n}, expected an even number: half the folds tune on each partition")
    count, test = n // 2, _names(corpus.partition("test"))
    both = sorted(corpus.partition(*order), key=key)
    folds = []
    for partition in order:
        recordings = [recording for recording in both if recording.partition == partition]
        _require(len(recordings), f"recordings in {partition}", count)
        for part in parts(recordings, count) if count > 1 else [range(len(recordings))]:
            tune = {recordings[index].name for index in part}
            fit = tuple(recording.name for recording in both if recording.name not in tune)
            folds.append(Fold(len(folds), fit, _names([recordings[index] for index in part]), test))
    return folds


def _classes(recordings: Sequence[Recording], count: int) -> np.ndarray:
    """`[recording]` class indices, each at least `count` times."""
    classes = np.array([int(recording.labels[0]) for recording in recordings])
    rarest = int(np.unique(classes, return_counts=True)[1].min())
    _require(rarest, f"recordings of the rarest class in {recordings[0].partition}", count)
    return classes


def _require(found: int, what: str, count: int) -> None:
    if found < count:
        raise UserError(f"folds.n is {2 * count}, but there are {found} {what}; take fewer folds")


def _names(recordings: Sequence[Recording]) -> tuple[str, ...]:
    return tuple(recording.name for recording in recordings)


def folds_of(spec: Mapping[str, Any], where: str, corpus: Corpus, seeds: int = 1) -> list[Fold]:
    """The folds of a split; those in `only`, if it names any, without the recordings that `leave_out` names.

    Args:
      spec: the name of the split and its fields, `only` and `leave_out`.
      where: of `spec` in the config.
      corpus: what is split.
      seeds: how often every fold stands there, under an index of its own each time; the first of them keep theirs.
    """
    if seeds < 1:
        raise UserError(f"config.seeds is {seeds}: expected at least 1 fit of every fold")
    spec = dict(spec)
    only = tuple(spec.pop("only", ()))
    leave_out = set(corpus.known(spec.pop("leave_out", ()), f"config.{where}.leave_out"))
    folds: list[Fold] = build(SPLITS, spec, where, corpus=corpus)
    if leave_out:
        folds = [
            replace(
                fold, train_names=_without(fold.train_names, leave_out), val_names=_without(fold.val_names, leave_out)
            )
            for fold in folds
        ]
    if empty := [fold.index for fold in folds if not (fold.train_names and fold.val_names)]:
        if leave_out:
            raise UserError(f"config.{where}.leave_out leaves folds {empty} nothing to fit or to tune on")
        raise UserError(
            f"config.{where}: folds {empty} have nothing to fit or to tune on, as their speakers are on both sides;"
            " take more folds, or 'stratified' ('ordered' for a sequence)"
        )
    if unknown := set(only) - {fold.index for fold in folds}:
        raise UserError(f"config.{where}.only names folds {sorted(unknown)}, but there are {len(folds)}, from 0")
    taken = [fold for fold in folds if not only or fold.index in only]
    return [replace(fold, index=fold.index + seed * len(folds), seed=seed) for seed in range(seeds) for fold in taken]


def _without(names: tuple[str, ...], left_out: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in left_out)
