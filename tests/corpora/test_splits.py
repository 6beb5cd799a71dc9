from pathlib import Path

import numpy as np
import pytest

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import SPLITS, Fold, folds_of, leaks
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.registry import build


def corpus(task, recordings):
    """Return a corpus in memory; `recordings` are (name, label, speaker)."""
    return Corpus(
        TASKS[task],
        Path(),
        tuple(
            Recording(n, Path(n), n.split("_")[0], s, np.zeros(1), np.array([x], float), np.array([x], float))
            for n, x, s in recordings
        ),
        label_rate_hz=0,
    )


@pytest.fixture(scope="module")
def breathing():
    sizes = {"train": 17, "devel": 16, "test": 16}
    names = [f"{part}_{index:02d}" for part, size in sizes.items() for index in range(size)]
    # The label file may have any order.
    return corpus("breathing", [(f"{name}.wav", 0.5, name) for name in reversed(names)])


@pytest.fixture(scope="module")
def mask():
    """The challenge's counts: train 5353 clear and 5542 mask, devel 6666 and 7981, test 11012."""
    rng = np.random.default_rng(0)
    recordings = []
    for part, clear, masked in (("train", 5353, 5542), ("devel", 6666, 7981), ("test", 11012, 0)):
        labels = rng.permutation(np.repeat([0.0, 1.0], [clear, masked]))
        labels = labels if part != "test" else np.full(11012, np.nan)
        recordings += [(f"{part}_{i + 1:05d}.wav", label, "") for i, label in enumerate(labels)]
    return corpus("mask", recordings)


def clear_and_mask(corpus, names):
    labels = [corpus.by_name[name].labels[0] for name in names]
    return labels.count(0), labels.count(1)


def names(part, first, last):
    return tuple(f"{part}_{index:02d}.wav" for index in range(first, last + 1))


def is_partition(corpus, folds):
    """Assert that every train and devel recording is in one validation set and in all other training sets."""
    known = {r.name for r in corpus.partition("train", "devel")}
    assert sorted(name for fold in folds for name in fold.val_names) == sorted(known)
    for fold in folds:
        assert set(fold.train_names) == known - set(fold.val_names)
        assert len(fold.train_names) == len(set(fold.train_names))
        assert fold.test_names == tuple(r.name for r in corpus.partition("test"))
    assert [fold.index for fold in folds] == list(range(len(folds)))


def test_official(breathing):
    (fold,) = SPLITS["official"](breathing)
    assert (set(fold.train_names), set(fold.val_names)) == (set(names("train", 0, 16)), set(names("devel", 0, 15)))
    assert len(fold.test_names) == 16


def test_ordered_is_the_table_of_the_published_scripts(breathing):
    folds = SPLITS["ordered"](breathing, n=4)
    assert [fold.val_names for fold in folds] == [
        names("train", 0, 7),
        names("train", 8, 16),
        names("devel", 0, 7),
        names("devel", 8, 15),
    ]
    assert [len(fold.train_names) for fold in folds] == [25, 24, 25, 25]
    is_partition(breathing, folds)


def test_stratified_has_the_sizes_of_the_published_scripts(mask):
    folds = SPLITS["stratified"](mask, n=4)
    assert [len(fold.val_names) for fold in folds] == [7324, 7323, 5448, 5447]
    assert [len(fold.train_names) for fold in folds] == [18218, 18219, 20094, 20095]
    assert clear_and_mask(mask, folds[0].val_names) == (3333, 3991)
    assert clear_and_mask(mask, folds[2].val_names) == (2677, 2771)
    assert {name[:5] for name in folds[1].val_names} == {"devel"}
    assert {name[:5] for name in folds[2].val_names} == {"train"}
    is_partition(mask, folds)


def test_the_seed_of_the_published_scripts_is_the_default(mask):
    assert SPLITS["stratified"](mask) == SPLITS["stratified"](mask, seed=12)


def test_stratified_with_ten_folds(mask):
    folds = SPLITS["stratified"](mask, n=10)
    assert sorted({len(fold.val_names) for fold in folds[:5]}) == [2929, 2930]
    assert {len(fold.train_names) for fold in folds[:5]} == {22612, 22613}
    assert {len(fold.val_names) for fold in folds[5:]} == {2179}
    assert {len(fold.train_names) for fold in folds[5:]} == {23363}
    is_partition(mask, folds)


def test_stratified_depends_on_the_seed_and_not_on_the_label_file(mask):
    turned = Corpus(mask.task, mask.root, mask.recordings[::-1], 0)
    one, same, other = (
        [set(fold.val_names) for fold in SPLITS["stratified"](c, seed=seed)]
        for c, seed in ((mask, 12), (turned, 12), (mask, 13))
    )
    assert one == same
    assert one != other


def speakers(task, per_part):
    rng = np.random.default_rng(1)
    return corpus(
        task,
        [
            (f"{part}_{s:02d}{i:02d}.wav", float(rng.integers(2)) if part != "test" else np.nan, f"{part}{s}")
            for part, count in per_part.items()
            for s in range(count)
            for i in range(10 + 5 * s)
        ],
    )


@pytest.mark.parametrize("task", ["mask", "breathing"])
@pytest.mark.parametrize("n", [2, 4, 10])
def test_speaker_disjoint(task, n):
    known = speakers(task, {"train": 12, "devel": 10, "test": 4})
    folds = SPLITS["speaker_disjoint"](known, n=n)
    assert [leaks(known, fold) for fold in folds] == [[]] * n
    assert [{name[:5] for name in fold.val_names} for fold in folds] == [{"devel"}] * (n // 2) + [{"train"}] * (n // 2)
    assert all(fold.val_names for fold in folds)
    is_partition(known, folds)


def test_speaker_disjoint_keeps_a_speaker_of_two_partitions_apart():
    known = [(r.name, r.labels[0], r.speaker) for r in speakers("mask", {"train": 4, "devel": 4}).recordings]
    known = corpus("mask", [(n, x, "both" if s.endswith("0") else s) for n, x, s in known])
    for fold in SPLITS["speaker_disjoint"](known):
        assert leaks(known, fold) == []


def test_speakers_who_are_all_in_both_partitions_need_more_folds():
    known = [(r.name, r.labels[0], r.speaker[-1]) for r in speakers("mask", {"train": 4, "devel": 4}).recordings]
    known = corpus("mask", known)
    with pytest.raises(UserError, match=r"config\.folds: .* folds \[0, 1\] is empty, .* use more folds"):
        folds_of({"name": "speaker_disjoint", "n": 2}, "folds", known)
    assert len(folds_of({"name": "speaker_disjoint", "n": 4}, "folds", known)) == 4
    with pytest.raises(UserError, match=r"config\.folds\.leave_out empties .* of folds \[0\]"):
        folds_of({"name": "official", "leave_out": [r.name for r in known.partition("devel")]}, "folds", known)


def test_speaker_disjoint_if_known():
    known = speakers("mask", {"train": 4, "devel": 4})
    assert SPLITS["speaker_disjoint_if_known"](known, n=4, seed=3) == SPLITS["speaker_disjoint"](known, n=4, seed=3)
    some = [(r.name, r.labels[0], r.speaker if i else "") for i, r in enumerate(known.recordings)]
    some = corpus("mask", some)
    assert SPLITS["speaker_disjoint_if_known"](some, n=4, seed=3) == SPLITS["stratified"](some, n=4, seed=3)


def test_leaks():
    known = speakers("mask", {"train": 4, "devel": 4})
    assert leaks(known, SPLITS["stratified"](known)[0]) == ["devel0", "devel1", "devel2", "devel3"]
    nobody = corpus("mask", [(r.name, 0, "") for r in known.recordings])
    assert leaks(nobody, Fold(0, known_names(nobody), known_names(nobody), ())) == []


def known_names(corpus):
    return tuple(recording.name for recording in corpus.recordings)


@pytest.mark.parametrize("n", [0, 1, 3, -2])
@pytest.mark.parametrize("name", ["ordered", "stratified"])
def test_odd_folds(mask, name, n):
    with pytest.raises(UserError, match=f"folds.n is {n}, expected an even number"):
        SPLITS[name](mask, n=n)


def test_splits_that_a_corpus_does_not_allow(breathing, mask):
    with pytest.raises(UserError, match="needs classes"):
        SPLITS["stratified"](breathing)
    with pytest.raises(UserError, match="there are 16 recordings in devel"):
        SPLITS["ordered"](breathing, n=34)
    with pytest.raises(UserError, match=r"'train_00001\.wav' and of 25541 more is unknown"):
        SPLITS["speaker_disjoint"](mask)
    known = [(r.name, 0, r.speaker) for r in speakers("mask", {"train": 2, "devel": 2}).recordings]
    with pytest.raises(UserError, match=r"the speaker of 'devel_1\.wav' is unknown; add lab/speakers\.csv"):
        SPLITS["speaker_disjoint"](corpus("mask", [*known, ("devel_1.wav", 0, "")]))
    few = speakers("mask", {"train": 4, "devel": 2})
    with pytest.raises(UserError, match="there are 2 speakers in devel"):
        SPLITS["speaker_disjoint"](few, n=6)
    rare = corpus("mask", [(f"{p}_{i}.wav", float(i == 0), str(i)) for p in ("train", "devel") for i in range(9)])
    for name in ("stratified", "speaker_disjoint"):
        with pytest.raises(UserError, match="1 recordings of the rarest class in devel"):
            SPLITS[name](rare)


def test_from_a_config(mask):
    assert len(build(SPLITS, {"name": "stratified", "n": 2, "seed": 3}, "folds", corpus=mask)) == 2
    with pytest.raises(UserError, match=r"config.folds.n is not a field of 'official'"):
        build(SPLITS, {"name": "official", "n": 2}, "folds", corpus=mask)


def test_seeds_repeat_the_folds_with_other_random_streams(breathing):
    spec = {"name": "ordered", "n": 4, "only": (1, 2)}
    once, folds = folds_of(spec, "folds", breathing), folds_of(spec, "folds", breathing, seeds=3)
    assert folds[:2] == once
    assert [(fold.index, fold.seed) for fold in folds] == [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2)]
    assert [fold.stream for fold in folds] == [1, 2, 5, 6, 9, 10]
    for fold in folds:
        same = once[fold.index - 1]
        assert (fold.train_names, fold.val_names, fold.test_names) == (
            same.train_names,
            same.val_names,
            same.test_names,
        )


def test_no_seed_is_refused(breathing):
    with pytest.raises(UserError, match=r"config.seeds is 0, expected at least 1"):
        folds_of({"name": "official"}, "folds", breathing, seeds=0)
