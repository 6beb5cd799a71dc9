"""Systems compared: the statistics against loops over rows, the command on workdirs and files, and what is refused."""

import csv
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from jaxpara.corpora.compare import TASKS
from jaxpara.corpora.corpus import Corpus
from jaxpara.evaluation import compare, intervals, paired, submission, tabular
from jaxpara.evaluation.intervals import PCC, UAR
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.rows import Rows
from jaxpara.evaluation.scores import cross_validation, score

BREATHING, MASK = TASKS["breathing"], TASKS["mask"]


def pearson(truth, prediction):
    return stats.pearsonr(truth, prediction)[0]


def rows(task, truth, scores, speakers):
    count = len(truth)
    numbers = np.unique(speakers, return_inverse=True)[1]
    return Rows(
        task, truth, scores, numbers, np.arange(count) / 25, np.full(count, "test"), speakers, np.full(count, -1)
    )


def two(task, speakers=5, size=40, gain=0.5, seed=0):
    """Two systems on the same rows; the second sees the truth so much better. Speakers differ in size and quality."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(speakers), rng.integers(size // 2, size * 2, speakers))
    skill = rng.uniform(0.5, 1.5, speakers)[who]
    names = np.char.add("s", who.astype(str))
    if task is BREATHING:
        truth = rng.standard_normal(len(who))
        shared = rng.standard_normal(len(who))
        both = [
            scale * ((skill + g) * truth + shared + rng.standard_normal(len(who))) for scale, g in ((1, 0), (50, gain))
        ]
        return tuple(rows(task, truth, scores[:, None], names) for scores in both)
    truth = rng.integers(2, size=len(who)).astype(float)
    margins = [(skill + g) * (2 * truth - 1) + 2 * rng.standard_normal(len(who)) for g in (0, gain)]
    return tuple(rows(task, truth, np.stack([-m, m], 1), names) for m in margins)


def guesses(system):
    return system.scores[:, 0] if system.task is BREATHING else system.scores.argmax(1)


BOTH = pytest.mark.parametrize(
    ("task", "measure", "by_rows"),
    [(BREATHING, PCC, pearson), (MASK, UAR, balanced_accuracy_score)],
    ids=["PCC", "UAR"],
)


@BOTH
def test_the_paired_bootstrap_equals_resampled_rows(task, measure, by_rows):
    first, second = two(task)
    units = paired.pair(first, second)
    drawn = intervals.draws(units, 60, np.random.default_rng(4))
    names = np.unique(first.speakers)
    expected = []
    for counts in drawn:
        picks = [
            np.flatnonzero(first.speakers == n) for n, times in zip(names, counts, strict=True) for _ in range(times)
        ]
        picks = np.concatenate(picks)
        of_first, of_second = (by_rows(s.truth[picks], guesses(s)[picks]) for s in (first, second))
        expected.append(of_first - of_second)
    values = intervals.bootstrap(units, paired.between(measure), seed=4, resamples=60)
    np.testing.assert_allclose(values, expected, atol=1e-12)


@BOTH
def test_the_paired_jackknife_equals_leaving_speakers_out(task, measure, by_rows):
    first, second = two(task)
    widest = 2 if task is BREATHING else 1

    def apart(mask):
        truth = first.truth[mask]
        return np.arctanh((by_rows(truth, guesses(first)[mask]) - by_rows(truth, guesses(second)[mask])) / widest)

    left_out = [apart(first.speakers != name) for name in np.unique(first.speakers)]
    error = np.sqrt(4 / 5 * np.sum((left_out - np.mean(left_out)) ** 2))
    expected = widest * np.tanh(apart(np.full(len(first), True)) + np.array([-1, 1]) * stats.t(4).ppf(0.975) * error)
    found = paired.difference(("a", "b"), first, second)
    np.testing.assert_allclose(found.interval_95, expected, atol=1e-12)
    assert found.value == pytest.approx(first.value() - second.value())


@BOTH
def test_all_swaps_equal_a_loop_over_rows(task, measure, by_rows):
    first, second = two(task, gain=0, seed=2)
    a, b = ((stats.zscore(guesses(s)) if task is BREATHING else guesses(s)) for s in (first, second))
    observed = abs(by_rows(first.truth, a) - by_rows(first.truth, b))
    names, as_large = np.unique(first.speakers), 0
    for sides in product([False, True], repeat=len(names)):
        swap = np.isin(first.speakers, names[np.array(sides)])
        value = by_rows(first.truth, np.where(swap, b, a)) - by_rows(first.truth, np.where(swap, a, b))
        as_large += abs(value) >= observed - 1e-12
    assert 2 < as_large < 32  # neither the smallest nor the largest p
    assert paired.permutation_p(paired.pair(first, second), measure) == as_large / 32


def test_p_of_equal_sizes_equals_scipys_on_the_speakers_own_values():
    # With as many rows of each class from every speaker, UAR is the mean of the speakers' values.
    rng = np.random.default_rng(0)
    truth = np.tile(np.repeat([0.0, 1.0], 20), 8)
    names = np.char.add("s", np.repeat(np.arange(8), 40).astype(str))
    wrong = [rng.random(320) < level for level in (0.3, 0.33)]
    first, second = (rows(MASK, truth, np.eye(2)[np.where(w, 1 - truth, truth).astype(int)], names) for w in wrong)
    means = [1 - w.reshape(8, 40).mean(1) for w in wrong]
    expected = stats.permutation_test(
        means, lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert 0.02 < expected < 0.9
    assert paired.permutation_p(paired.pair(first, second), UAR) == pytest.approx(expected, abs=1e-12)


@BOTH
def test_random_swaps_come_near_to_all(task, measure, by_rows, monkeypatch):
    units = paired.pair(*two(task, speakers=10, gain=0.12))
    exact = paired.permutation_p(units, measure)
    monkeypatch.setattr(paired, "MOST_UNITS_EXACT", 0)
    drawn = paired.permutation_p(units, measure)
    assert 0.01 < exact < 0.9
    assert abs(drawn - exact) < 4 * np.sqrt(exact * (1 - exact) / paired.SWAPS)
    assert drawn != exact
    assert (drawn * (paired.SWAPS + 1)) == pytest.approx(round(drawn * (paired.SWAPS + 1)), abs=1e-6)


def test_p_does_not_depend_on_the_scale_of_a_system():
    first, second = two(BREATHING, gain=0.2)
    other = replace(second, scores=3 + 1e-4 * second.scores)
    ps = [paired.permutation_p(paired.pair(first, system), PCC) for system in (second, other)]
    assert ps[0] == ps[1]


@BOTH
def test_where_nothing_differs_p_is_spread_evenly(task, measure, by_rows):
    ps = [paired.permutation_p(paired.pair(*two(task, speakers=9, gain=0, seed=seed)), measure) for seed in range(300)]
    # Systems are alike here, so that p must be uniform on the multiples of 1/512; UAR has ties, which make it larger.
    for level in (0.05, 0.1, 0.25, 0.5):
        assert np.mean(np.array(ps) <= level) < level + 3 * np.sqrt(level * (1 - level) / 300)
    assert stats.kstest(ps, "uniform").pvalue > 0.01


@BOTH
def test_what_differs_is_found(task, measure, by_rows):
    found = paired.difference(("a", "b"), *two(task, speakers=16, size=100, gain=1.5))
    assert found.value < 0
    assert found.interval_95[1] < 0
    assert found.interval_95_bootstrap[1] < 0
    assert found.p == pytest.approx(1 / 10_001)


@BOTH
def test_a_system_and_its_copy(task, measure, by_rows):
    first, _ = two(task)
    found = paired.difference(("a", "copy"), first, first)
    assert (found.value, found.p) == (0, 1)
    np.testing.assert_allclose([found.interval_95, found.interval_95_bootstrap], 0, atol=1e-12)


def test_with_few_speakers_the_jackknife_covers_where_the_percentiles_do_not():
    hits = np.zeros(2)
    for seed in range(300):
        found = paired.pair(*two(MASK, speakers=4, size=200, gain=0, seed=seed))
        both = paired.between(UAR)
        bounds = (
            intervals.jackknife_interval(found, both),
            intervals.bootstrap_interval(found, both, seed=seed, resamples=500),
        )
        hits += [low <= 0 <= high for low, high in bounds]
    jackknife, percentiles = hits / 300
    assert jackknife > 0.90
    assert percentiles < 0.85


@pytest.mark.parametrize("task", [BREATHING, MASK], ids=["PCC", "UAR"])
def test_without_speakers_samples_are_drawn_in_pairs(task):
    first, second = (replace(s, speakers=np.full(len(s), "")) for s in two(task, speakers=4, size=400))
    units = paired.pair(first, second)
    totals = np.split(units.copies @ units.sums, 2)
    measure = PCC if task is BREATHING else UAR
    for system, sums in zip((first, second), totals, strict=True):
        assert measure.of_sums(sums) == pytest.approx(system.value(), abs=1e-12)
    if task is BREATHING:
        assert len(units) == len(np.unique(np.stack([first.recordings, first.times_s // 10]), axis=1).T)
        return
    assert len(units) == len(first)
    # McNemar's exchangeable pairs, drawn one by one.
    rng = np.random.default_rng(0)
    picks = rng.integers(len(first), size=(3000, len(first)))
    recall = [np.array([(guesses(s)[p] == s.truth[p]) for p in picks]) for s in (first, second)]
    truth = first.truth[picks]
    uar = [0.5 * sum((r * (truth == c)).sum(1) / (truth == c).sum(1) for c in (0, 1)) for r in recall]
    values = intervals.bootstrap(units, paired.between(UAR), resamples=3000)
    assert np.std(values) == pytest.approx(np.std(uar[0] - uar[1]), rel=0.06)


def test_swapping_alike_rows_together_equals_swapping_each(monkeypatch):
    first, second = (replace(s.select(np.arange(9)), speakers=np.full(9, "")) for s in two(MASK, seed=3))
    units = paired.pair(first, second)
    assert (units.copies > 1).any()
    exact, observed, as_large = paired.permutation_p(units, UAR), abs(first.value() - second.value()), 0
    a, b = guesses(first), guesses(second)
    for sides in product([False, True], repeat=9):
        swap = np.array(sides)
        truth = first.truth
        value = balanced_accuracy_score(truth, np.where(swap, b, a)) - balanced_accuracy_score(
            truth, np.where(swap, a, b)
        )
        as_large += abs(value) >= observed - 1e-12
    assert exact == as_large / 2**9
    monkeypatch.setattr(paired, "MOST_UNITS_EXACT", 0)
    assert abs(paired.permutation_p(units, UAR) - exact) < 4 * np.sqrt(exact * (1 - exact) / paired.SWAPS) + 1e-4


def test_holm_on_known_numbers():
    # The worked example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm"), and one with the order mixed.
    assert paired.holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert paired.holm([0.04, 0.001, 0.3, 0.012]) == pytest.approx([0.08, 0.004, 0.3, 0.036])
    assert paired.holm([0.6, 0.7]) == [1, 1]
    assert paired.holm([0.2]) == [0.2]
    assert paired.holm([]) == []


def test_the_smallest_p():
    assert paired.smallest_p(5) == 2 / 32
    first, second = two(BREATHING, size=200, gain=3)
    assert paired.permutation_p(paired.pair(first, second), PCC) == paired.smallest_p(5)


def test_undefined_figures_have_reasons():
    first, second = two(BREATHING)
    constant = replace(second, scores=np.ones_like(second.scores))
    found = paired.difference(("a", "b"), first, constant)
    assert (found.value, found.interval_95, found.p) == (None, None, None)
    assert found.undefined["value"] == found.undefined["p"] == "b: the prediction is constant"
    found = paired.difference(("a", "b"), constant, second)
    assert found.undefined["p"] == "a: the prediction is constant"
    alone = paired.difference(("a", "b"), *(s.select(first.speakers == "s0") for s in (first, second)))
    assert alone.value is not None
    assert (alone.interval_95, alone.interval_95_bootstrap, alone.p) == (None, None, None)
    assert alone.undefined["p"] == "one unit only, nothing to swap"
    masks = two(MASK)
    one_class = paired.difference(("a", "b"), *(s.select(s.truth == 0) for s in masks))
    assert one_class.undefined["value"] == "a: no label of class 1 (of 2 classes)"
    with pytest.raises(Undefined, match="one unit only"):
        paired.permutation_p(paired.pair(*(s.select(s.speakers == "s1") for s in masks)), UAR)


def test_corpora_of_the_real_size_take_seconds():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(49 * 6000)
    who = np.repeat(np.arange(49), 6000).astype(str)
    belts = [rows(BREATHING, truth, truth[:, None] + rng.standard_normal((len(truth), 1)), who) for _ in range(2)]
    labels, clips = rng.integers(2, size=25_542).astype(float), rng.integers(32, size=25_542).astype(str)
    masks = [rows(MASK, labels, rng.random((25_542, 2)), clips) for _ in range(2)]
    for systems in (belts, masks):
        began = time.process_time()
        assert paired.difference(("a", "b"), *systems).undefined == {}
        assert time.process_time() - began < 5


# ---- the command


def write_corpus(root, corpus, speakers=True, truth=True):
    """A corpus in the challenge's layout; sequences with silence of their length, which is all that is read of it."""
    (root / "wav").mkdir(parents=True)
    (root / "lab").mkdir()
    sequence = corpus.task.kind == "sequence"
    header = "filename,timeFrame,upper_belt" if sequence else "file_name,label"
    lines = {"labels.csv": [header], "labels_confidential.csv": [header]}
    for recording in corpus.recordings:
        path = root / "wav" / recording.name
        if sequence:
            soundfile.write(path, np.zeros(640 * len(recording.times_s)), 16_000, "PCM_16")
        else:
            path.touch()
        for name, values in (("labels.csv", recording.labels), ("labels_confidential.csv", recording.truth)):
            texts = ["?" if np.isnan(v) else f"{v:.5f}" if sequence else corpus.task.classes[int(v)] for v in values]
            times = [f",{t:.2f}" if sequence else "" for t in recording.times_s]
            lines[name] += [f"{recording.name}{t},{text}" for t, text in zip(times, texts, strict=True)]
    if not truth:
        del lines["labels_confidential.csv"]
    if speakers:
        lines["speakers.csv"] = ["filename,speaker", *(f"{r.name},{r.speaker}" for r in corpus.recordings)]
    for name, text in lines.items():
        (root / "lab" / name).write_text("\n".join(text) + "\n")


def write_run(workdir, corpus, root, tune, test, task=None):
    """What of a workdir is read."""
    for part, predictions in (("tune", tune), ("test", test)):
        predictions.save(workdir / "predictions" / f"{part}.npz")
    results = {
        "task": task or corpus.task.name,
        "corpus": {"root": str(root)},
        "fusion": {"test": score(test, corpus), "cv": cross_validation(tune, corpus)},
    }
    (workdir / "results.json").write_text(json.dumps(results))


def make(folder, fakes, kind, systems=("one", "two"), skills=(0.6, 1.5, 1.2), truth=True, told=True, **sizes):
    """A corpus on the disk, and runs on it."""
    made = {"breathing": fakes.breathing, "mask": fakes.mask}[kind]
    if kind == "breathing":
        sizes = {"audio": False, "seconds": 20.0, **sizes}
    like = made(folder, test_truth=truth, **sizes)
    corpus = Corpus(TASKS[kind], folder / "corpus", like.recordings, like.label_rate_hz, True)
    write_corpus(corpus.root, corpus, told, truth)
    runs, tests = [], {}
    for number, (name, skill) in enumerate(zip(systems, skills, strict=False)):
        tests[name] = fakes.predict(corpus, corpus.partition("test"), skill, seed=number)
        tune = fakes.concatenate(fakes.predict_folds(corpus, 2, skill, seed=number))
        write_run(folder / name, corpus, corpus.root, tune, tests[name])
        runs.append(str(folder / name))
    return SimpleNamespace(corpus=corpus, root=corpus.root, runs=runs, tests=tests, folder=folder)


KINDS = pytest.mark.parametrize("kind", ["breathing", "mask"])


@KINDS
def test_workdirs(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind, ("one", "two_$", "thr&ee"))
    output = tmp_path / "out"
    assert compare.main([*made.runs, f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert printed == (output / "comparison.txt").read_text()
    assert "test partition" in printed
    with (output / "comparison.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["system"], row["against"]) for row in table] == [
        *[("one", ""), ("two_$", ""), ("thr&ee", "")],
        *[("one", "two_$"), ("one", "thr&ee"), ("two_$", "thr&ee")],
    ]
    scores = {name: score(test, made.corpus) for name, test in made.tests.items()}
    for row in table[:3]:
        assert float(row["value"]) == pytest.approx(scores[row["system"]]["pooled"])
        bounds = [float(row["low_95"]), float(row["high_95"])]
        assert bounds == pytest.approx(scores[row["system"]]["interval_95"])
    for row in table[3:]:
        expected = scores[row["system"]]["pooled"] - scores[row["against"]]["pooled"]
        assert float(row["value"]) == pytest.approx(expected)
        assert float(row["low_95"]) <= float(row["value"]) <= float(row["high_95"])
        assert row["over"] == "speakers"
    ps = [float(row["p"]) for row in table[3:]]
    assert [float(row["p_holm"]) for row in table[3:]] == pytest.approx(paired.holm(ps))
    tex = (output / "comparison.tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 2
    assert r"two\_\$ - thr\&ee" in tex
    assert "$-$" in tex
    assert "| two\\_$ - thr&ee |" in (output / "comparison.md").read_text()
    svg = ET.parse(output / "comparison.svg").getroot()
    words = " ".join(svg.itertext())
    assert "one - thr&ee" in words
    assert "no difference" in words


def test_the_words_and_figures_of_a_table(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    difference = 100 * np.subtract(*(score(made.tests[name], made.corpus)["pooled"] for name in ("one", "two")))
    line = next(line for line in printed.splitlines() if line.startswith("one - two"))
    assert line.split()[3] == f"{difference:+.1f}"
    assert "of 4 speakers" in printed
    assert "all 16 ways to swap" in printed
    # 2 / 2^4: no difference can be shown, and that is said.
    assert "p cannot fall below 0.1250" in printed


def test_a_simulated_corpus_is_stamped_on_everything(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    output = tmp_path / "out"
    for simulated in (False, True):
        if simulated:
            (made.root / "SIMULATED.json").write_text("{}")
        assert compare.main([*made.runs, f"--output={output}"]) == 0
        stamp = {".csv": ",True," if simulated else ",False,"}
        for path in output.iterdir():
            assert (stamp.get(path.suffix, "SIMULATED") in path.read_text()) == (simulated or path.suffix == ".csv")
        assert ("says anything about the real one" in capsys.readouterr().out) == simulated


@KINDS
def test_files_tell_the_same_as_workdirs(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind)
    files = []
    for name, test in made.tests.items():
        files.append(str(tmp_path / "csv" / f"{name}.csv"))
        submission.write(tmp_path / "csv" / f"{name}.csv", test, made.corpus)
    assert compare.main(made.runs) == 0
    expected = capsys.readouterr().out
    # What a folder is called says nothing, so that the columns and the classes have to tell the task.
    task = ["--task=mask"] if kind == "mask" else []
    assert compare.main([*files, f"--corpus={made.root}", *task]) == 0
    assert capsys.readouterr().out == expected
    assert compare.main([made.runs[0], files[1]]) == 0
    assert capsys.readouterr().out == expected


def test_the_classes_in_a_file_tell_the_task(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    files = [str(tmp_path / f"{name}.csv") for name in made.tests]
    for path, test in zip(files, made.tests.values(), strict=True):
        submission.write(tmp_path / path, test, made.corpus)
    assert compare.main([*files, f"--corpus={made.root}"]) == 0
    assert "ComParE2020_Mask" in capsys.readouterr().out
    for path in files:
        (tmp_path / path).write_text(
            (tmp_path / path).read_text().replace("mask", "positive").replace("clear", "negative")
        )
    assert "--task, one of covid_cough, covid_speech" in refused(capsys, *files, f"--corpus={made.root}")
    assert "--task=masc: expected one of" in refused(capsys, *files, f"--corpus={made.root}", "--task=masc")


@KINDS
def test_without_truth_the_tuned_on_recordings_are_compared(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind, truth=False)
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    assert "recordings that the folds were tuned on" in printed
    assert "every system is flattered" in printed
    told = [json.loads((tmp_path / name / "results.json").read_text())["fusion"]["cv"]["pooled"] for name in made.tests]
    scale, places = (100, 1) if kind == "mask" else (1, 3)
    assert f"{scale * (told[0] - told[1]):+.{places}f}" in printed
    submission.write(tmp_path / "one.csv", made.tests["one"], made.corpus)
    assert "the test partition has no truth" in refused(capsys, made.runs[1], str(tmp_path / "one.csv"))


def test_unknown_speakers_are_said(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", told=False, known=False)
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    assert "Speakers are unknown" in printed
    assert "95 % interval over samples" in printed
    assert "10,000 random ways to swap the two systems sample by sample" in printed


def test_a_constant_prediction_is_undefined_with_the_reason(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing", ("one", "two", "flat"))
    flat = made.tests["flat"]
    flat = replace(flat, scores=np.zeros_like(flat.scores))
    # The run says what it reached, or that it cannot be said.
    flat.save(tmp_path / "flat" / "predictions" / "test.npz")
    output = tmp_path / "out"
    assert compare.main([*made.runs, f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert "flat: undefined (value): the prediction is constant." in printed
    assert "one - flat: undefined (value, interval, bootstrap, p): flat: the prediction is constant." in printed
    with (output / "comparison.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table[4]["value"] == table[4]["p_holm"] == ""
    assert table[4]["undefined"].startswith("value: flat: the prediction is constant")
    assert table[3]["p"] == table[3]["p_holm"] != ""


def test_one_speaker(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing", speakers=(2, 2, 1))
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    assert "500 labels of 1 speaker." in printed
    assert "one: undefined (interval): one unit only, nothing to leave out." in printed
    assert "one - two: undefined (p): one unit only, nothing to swap." in printed


def test_one_class(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    path = made.root / "lab" / "labels_confidential.csv"
    path.write_text(re.sub(r"(test_.*),mask", r"\1,clear", path.read_text()))
    for run in made.runs:
        results = json.loads((tmp_path / run / "results.json").read_text())
        results["fusion"]["test"]["pooled"] = None
        (tmp_path / run / "results.json").write_text(json.dumps(results))
    output = tmp_path / "out"
    assert compare.main([*made.runs, f"--output={output}"]) == 0
    assert "one: undefined (value): no label of class 1 (of 2 classes)." in capsys.readouterr().out
    assert sorted(path.suffix for path in output.iterdir()) == [".csv", ".md", ".svg", ".tex", ".txt"]


# ---- what is refused


def refused(capsys, *arguments):
    assert compare.main([str(argument) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def spoil(predictions, how):
    every, names, scores = np.arange(len(predictions)), predictions.recordings.copy(), predictions.scores.copy()
    if how == "missing":
        return predictions.select(every[every != 7])
    if how == "extra":
        names[[7, 9]] = "train_00.wav"
        return replace(predictions, recordings=names)
    if how == "doubled":
        return predictions.select(np.r_[every, 7, 7])
    if how == "NaN":
        scores[[7, 8]] = np.nan
        return replace(predictions, scores=scores)
    return replace(predictions, scores=np.hstack([scores] * 3))


REFUSED = {
    "missing": "two: of the 1500 labels of the test partition and the 1499 predictions for them, 1 missing; the first"
    " missing is test_00.wav at 0.28 s",
    "extra": "2 missing, 2 of no such label; the first missing is test_00.wav at 0.28 s",
    "doubled": "and the 1502 predictions for them, 1 doubled; the first doubled is test_00.wav at 0.28 s",
    "NaN": "2 NaN or infinite; the first NaN or infinite is test_00.wav at 0.28 s",
    "wide": "3 scores a row, expected 1 for ComParE2020_Breathing; these are predictions for another task",
}


@pytest.mark.parametrize("how", REFUSED)
def test_predictions_that_do_not_fit(tmp_path, fakes, capsys, how):
    made = make(tmp_path, fakes, "breathing")
    spoil(made.tests["two"], how).save(tmp_path / "two" / "predictions" / "test.npz")
    assert REFUSED[how] in refused(capsys, *made.runs)


def test_tuned_on_recordings_that_differ(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", truth=False)
    path = tmp_path / "two" / "predictions" / "tune.npz"
    tune = fakes.concatenate(fakes.predict_folds(made.corpus, 2))
    tune.select(tune.partitions == "devel").save(path)
    devel, both = len(made.corpus.partition("devel")), len(tune)
    error = refused(capsys, *made.runs)
    assert f"of the {both} labels that {tmp_path / 'one'} was tuned on and the {devel} predictions" in error
    assert f"{both - devel} missing; the first missing is train_" in error


FILES = {
    "a row is missing": (lambda lines: lines[:8] + lines[9:], "1 missing; the first missing is test_00.wav at 0.28 s"),
    "a row stands twice": (lambda lines: [*lines, lines[8]], "1 doubled; the first doubled is test_00.wav at 0.28 s"),
    "another file": (
        lambda lines: [*lines, "nobody.wav,0.00,0.1"],
        "1 of no such label; the first of no such label is nobody.wav at 0 s",
    ),
    "NaN": (
        lambda lines: [line.replace(",0.28,", ",0.28,nan;").split(";")[0] for line in lines],
        "row 9: 'nan' for 'test_00.wav', expected a finite number (3 such rows)",
    ),
    "a comma": (lambda lines: [*lines[:8], lines[8] + ",5", *lines[9:]], "row 9: 4 columns, the header has 3"),
    "a word": (
        lambda lines: [*lines[:8], "test_00.wav,0.28,high", *lines[9:]],
        "row 9: 'high' for 'test_00.wav', expected a finite number (1 such rows)",
    ),
    "no time": (
        lambda lines: [*lines[:8], "test_00.wav,,0.5", *lines[9:]],
        "row 9: '' for 'test_00.wav', expected seconds (1 such rows)",
    ),
    "another task": (lambda lines: ["file_name,prediction", "test_00.wav,mask"], "no time column among"),
    "labels": (lambda lines: ["filename,timeFrame,upper_belt", *lines[1:]], "no prediction column among"),
    "nothing": (lambda lines: [], "the first line is empty"),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_do_not_fit(tmp_path, fakes, capsys, what):
    made = make(tmp_path, fakes, "breathing")
    change, message = FILES[what]
    path = tmp_path / "file.csv"
    submission.write(path, made.tests["two"], made.corpus)
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    error = refused(capsys, made.runs[0], path)
    assert str(path) in error
    assert message in error


def test_a_class_that_is_none(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    path = tmp_path / "file.csv"
    submission.write(path, made.tests["two"], made.corpus)
    lines = path.read_text().splitlines()
    name = lines[3].split(",")[0]
    path.write_text("\n".join([*lines[:3], f"{name},scarf", *lines[4:]]) + "\n")
    assert f"row 4: 'scarf' for '{name}', expected one of clear, mask (1 such rows)" in refused(
        capsys, made.runs[0], path
    )


def test_runs_that_do_not_belong_together(tmp_path, fakes, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    breathing, mask = make(tmp_path / "a", fakes, "breathing"), make(tmp_path / "b", fakes, "mask")
    assert "is a run on the task ComParE2020_Mask" in refused(capsys, breathing.runs[0], mask.runs[0])
    other = make(tmp_path / "c", fakes, "breathing", seed=5)
    error = refused(capsys, breathing.runs[0], other.runs[1])
    assert f"is a run on the corpus {other.root}" in error
    assert "give --corpus=ROOT" in error
    # The names of the recordings are the same, so that only the scores tell.
    error = refused(capsys, breathing.runs[0], other.runs[1], f"--corpus={breathing.root}")
    assert "its results.json says" in error
    assert compare.main([*breathing.runs, f"--corpus={breathing.root}"]) == 0


def test_paths_that_lead_nowhere(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing")
    one, two_ = made.runs
    assert "1 system to compare" in refused(capsys, one)
    assert "is given twice" in refused(capsys, one, two_, f"{one}/../one")
    assert f"{tmp_path / 'three'}: no such file or folder" in refused(capsys, one, tmp_path / "three")
    assert "results.json: no such file; give the workdir of a finished run" in refused(capsys, one, made.root)
    assert "no lab/ in this folder" in refused(capsys, one, two_, f"--corpus={tmp_path}")
    (tmp_path / "two" / "predictions" / "test.npz").unlink()
    error = refused(capsys, one, two_)
    assert "test.npz: no such predictions; run the command of that run once more" in error
    assert "written without training" in error
    (tmp_path / "two" / "results.json").write_text("{}")
    assert "not the results of a run (KeyError('fusion'))" in refused(capsys, one, two_)
    submission.write(tmp_path / "x.csv", made.tests["one"], made.corpus)
    submission.write(tmp_path / "y.csv", made.tests["two"], made.corpus)
    assert "no corpus: give --corpus=ROOT" in refused(capsys, tmp_path / "x.csv", tmp_path / "y.csv")
    made.root.rename(tmp_path / "moved")
    write_run(tmp_path / "two", made.corpus, made.root, made.tests["two"], made.tests["two"])
    assert f"its corpus {made.root} is not there; give --corpus=ROOT" in refused(capsys, one, two_)
    assert compare.main([one, two_, f"--corpus={tmp_path / 'moved'}"]) == 0


def test_systems_of_one_name_are_told_apart_by_their_folders(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", ("first/run", "second/run"))
    assert compare.main(made.runs) == 0
    assert f"{made.runs[0]} - {made.runs[1]}" in capsys.readouterr().out


def test_as_a_program(tmp_path, fakes):
    made = make(tmp_path, fakes, "mask")
    command = [sys.executable, "-m", "jaxpara.evaluation.compare", *made.runs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "one - two" in done.stdout
    assert done.stderr == ""


# ---- its tables


def test_latex_shows_what_was_written():
    grid = tabular.Grid(("a_b", "50 %"), [("[x]", "-0.1"), (r"\~^#{}", "a--b -3 to –")])
    assert tabular.latex(grid).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\hline",
        r"a\_b & 50 \% \\",
        r"\hline",
        r"{[}x] & $-$0.1 \\",
        r"\textbackslash{}\textasciitilde{}\textasciicircum{}\#\{\} & a-{}-b $-$3 to -- \\",
        r"\hline",
        r"\end{tabular}",
    ]


def test_markdown_keeps_its_columns():
    grid = tabular.Grid(("a|b", "*"), [("`x`", "1")])
    assert tabular.markdown(grid) == "| a\\|b | \\* |\n| --- | ---: |\n| \\`x\\` | 1 |\n"


def test_plain_columns_line_up():
    grid = tabular.Grid(("name", "x"), [("a", "10"), ("longer", "2")])
    assert tabular.plain(grid) == "name     x\n------  --\na       10\nlonger   2\n"
