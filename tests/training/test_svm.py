"""The SVM learner against scikit-learn and SciPy used by hand on the same matrices."""

import io
import re
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from svms import GRID, corpus, learner, predicted, quiet, run_of, said, trained

from jaxpara.corpora.corpus import Recording
from jaxpara.corpora.tasks import TASKS, Task
from jaxpara.errors import UserError
from jaxpara.predictions import scores_of
from jaxpara.training.fold_run import summary_of
from jaxpara.training.svm import SVM

PARTS = {"train": 60, "devel": 40, "test": 30}


@pytest.fixture
def mask(tmp_path):
    return classes(TASKS["mask"], tmp_path)


def classes(task, folder, parts=PARTS, unknown=("train_3.wav", "devel_1.wav")):
    """Return vectors that correlate with the class, on different scales; the fifth feature is constant."""
    rng = np.random.default_rng(3)
    recordings, features = [], {}
    for part, count in parts.items():
        for i in range(count):
            name, label = f"{part}_{i}.wav", float(i % len(task.classes))
            vector = rng.standard_normal(12) + 0.7 * label * (np.arange(12) % 3 == 0)
            vector[4] = 0.5
            features[name] = (vector * 10.0 ** np.arange(-3, 3).repeat(2)).astype(np.float32)
            seen = np.array([np.nan if part == "test" or name in unknown else label])
            recordings.append(Recording(name, Path(), part, "", np.zeros(1), seen, np.array([label])))
    return run_of(corpus(task, recordings), features, folder)


def matrix(run, names):
    """Return the inputs of the recordings that have a label, and the labels."""
    labels = np.array([run.corpus.by_name[name].labels[0] for name in names])
    inputs = np.stack([run.features[name] for name in names])
    return inputs[np.isfinite(labels)], labels[np.isfinite(labels)].astype(int)


def stack(run, names):
    return np.stack([run.features[name] for name in names])


# "scale" of a part of the rows would be another gamma than that of all, so Platt's fits compare with a number.
LAST = {
    "linear": lambda c, gamma="scale": LinearSVC(C=c, max_iter=100_000),
    "rbf": lambda c, gamma="scale": SVC(C=c, gamma=gamma),
}


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_balanced_classes_weigh_as_in_scikit_learn(kernel):
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(60, 3)).astype(np.float32), np.repeat([0.0, 1.0], (50, 10))
    inputs += targets[:, None].astype(np.float32)
    fields = {"task": TASKS["mask"], "frame_rate_hz": 0.0, "where": "svm", "c": (1.0,), "scale": "none", "gamma": 0.5}
    outputs = []
    for class_weight in ("balanced", "none"):
        svm = SVM(kernel=kernel, class_weight=class_weight, **fields)
        ((pipeline, converged),) = svm.fit(inputs, targets, (1.0,), 3)
        assert converged
        outputs.append(pipeline.decision_function(inputs))
    by_hand = {"linear": LinearSVC(class_weight="balanced"), "rbf": SVC(class_weight="balanced", gamma=0.5)}[kernel]
    expected = by_hand.fit(inputs, targets).decision_function(inputs)
    np.testing.assert_allclose(outputs[0], expected, atol=1e-3)
    assert np.abs(outputs[1] - expected).max() > 0.1


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize(
    ("scale", "scaler"),
    [("minmax", MinMaxScaler), ("minmax_clipped", partial(MinMaxScaler, clip=True)), ("standard", StandardScaler)],
)
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_svm_is_scikit_learns(mask, kernel, scale, scaler, refit):
    def by_hand(c, names):
        return make_pipeline(scaler(), LAST[kernel](c)).fit(*matrix(mask, names))

    inputs, labels = matrix(mask, mask.fold.val_names)
    recalls = [recall_score(labels, by_hand(c, mask.fold.train_names).predict(inputs), average="macro") for c in GRID]
    best = GRID[int(np.argmax(recalls))]
    _, summary, validation, test = trained(mask, kernel=kernel, scale=scale, refit=refit)
    np.testing.assert_allclose([tried["score"] for tried in summary["tried"]], recalls, rtol=1e-12)
    assert [tried["c"] for tried in summary["tried"]] == list(GRID)
    assert summary["chosen"] == {"c": best, "score": max(recalls)}
    assert len(set(recalls)) > 1  # or choosing would not be tested

    for predictions, names, seen in (
        (validation, mask.fold.val_names, mask.fold.train_names),
        (
            test,
            mask.fold.test_names,
            (*mask.fold.train_names, *mask.fold.val_names) if refit else mask.fold.train_names,
        ),
    ):
        # LIBSVM's own kernel differs in the last digits, and with it its solution.
        margins = by_hand(best, seen).decision_function(stack(mask, names))
        tolerance = {"linear": 1e-9, "rbf": 1e-6}[kernel]
        np.testing.assert_allclose(scores_of(predictions)[:, 1], 1 / (1 + np.exp(-margins)), rtol=tolerance)
        np.testing.assert_allclose(scores_of(predictions).sum(1), 1, rtol=1e-12)
        np.testing.assert_array_equal(scores_of(predictions).argmax(1), by_hand(best, seen).predict(stack(mask, names)))
        assert predictions["recording"].tolist() == list(names)
        assert (predictions["time_s"] == 0).all()
        assert predictions["partition"].tolist() == [name.split("_")[0] for name in names]
        assert (predictions[["fold", "seed"]] == 0).all(axis=None)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_probabilities_are_platts(mask, kernel):
    by_hand = make_pipeline(MinMaxScaler(), CalibratedClassifierCV(LAST[kernel](1.0, 0.2), cv=5, ensemble=False))
    by_hand.fit(*matrix(mask, mask.fold.train_names))
    _, _, validation, _ = trained(mask, kernel=kernel, gamma=0.2, probabilities=True, c=(1.0,))
    expected = by_hand.predict_proba(stack(mask, mask.fold.val_names))
    np.testing.assert_allclose(scores_of(validation), expected, rtol={"linear": 1e-9, "rbf": 1e-5}[kernel])


def test_gamma_of_rbf_may_be_a_number(mask):
    by_hand = make_pipeline(MinMaxScaler(), SVC(gamma=0.3)).fit(*matrix(mask, mask.fold.train_names))
    _, _, validation, _ = trained(mask, kernel="rbf", gamma=0.3, c=(1.0,))
    margins = by_hand.decision_function(stack(mask, mask.fold.val_names))
    np.testing.assert_allclose(scores_of(validation)[:, 1], 1 / (1 + np.exp(-margins)), rtol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("probabilities", [False, True])
def test_more_classes_than_two(tmp_path, kernel, probabilities):
    run = classes(TASKS["escalation"], tmp_path)
    _, _, validation, _ = trained(run, kernel=kernel, gamma=0.2, probabilities=probabilities, c=(1.0,))
    last = LAST[kernel](1.0, 0.2)
    last = CalibratedClassifierCV(last, cv=5, ensemble=False) if probabilities else last
    by_hand = make_pipeline(MinMaxScaler(), last).fit(*matrix(run, run.fold.train_names))
    assert scores_of(validation).shape == (40, 3)
    np.testing.assert_allclose(scores_of(validation).sum(1), 1, rtol=1e-12)
    rows = stack(run, run.fold.val_names)
    if probabilities:
        np.testing.assert_allclose(scores_of(validation), by_hand.predict_proba(rows), rtol=1e-5)
    else:
        margins = by_hand.decision_function(rows)
        np.testing.assert_allclose(
            np.log(scores_of(validation)[:, 1:] / scores_of(validation)[:, :1]),
            margins[:, 1:] - margins[:, :1],
            atol=1e-5,
        )


def test_only_the_training_set_reaches_the_svm_that_predicts_validation(mask, tmp_path):
    wild = {n: v * (1 if n in mask.fold.train_names else 1000) for n, v in mask.features.items()}
    other = replace(mask, features=wild, folder=tmp_path / "other")
    for run in (mask, other):
        trained(run, refit=True, c=(0.01,))
    models = [skops.io.load(run.folder / "fitted.skops") for run in (mask, other)]
    for name in ("data_min_", "data_max_"):
        np.testing.assert_array_equal(*(getattr(model["scale"], name) for model in models))
    np.testing.assert_array_equal(*(model["solver"].coef_ for model in models))
    inputs, _ = matrix(mask, mask.fold.train_names)
    np.testing.assert_array_equal(models[0]["scale"].data_max_, inputs.max(0))
    both, _ = matrix(other, (*mask.fold.train_names, *mask.fold.val_names))
    np.testing.assert_array_equal(skops.io.load(other.folder / "refitted.skops")["scale"].data_max_, both.max(0))


def test_of_equal_scores_the_first_c_is_chosen(mask):
    _, summary, _, _ = trained(mask, c=(0.01, 0.010000001))
    scores = [tried["score"] for tried in summary["tried"]]
    assert scores[0] == scores[1]
    assert summary["chosen"]["c"] == 0.01


def test_of_errors_the_smallest_is_chosen(tmp_path):
    task = Task("ages", "values", target="age", measure="RMSE", limits=(0.0, 1.0))
    run = classes(TASKS["mask"], tmp_path)
    run = replace(run, corpus=replace(run.corpus, task=task))
    _, summary, _, _ = trained(run)
    scores = {tried["c"]: tried["score"] for tried in summary["tried"]}
    assert summary["chosen"] == {"c": min(scores, key=scores.get), "score": min(scores.values())}
    assert min(scores.values()) > 0


def test_without_one_of_the_classes_c_is_chosen_by_the_others(mask):
    only = tuple(name for name in mask.fold.val_names if mask.corpus.by_name[name].labels[0] == 0)
    svm, summary, _, _ = trained(replace(mask, fold=replace(mask.fold, val_names=only)))
    assert summary["chosen"]["score"] == max(tried["score"] for tried in summary["tried"])
    predicted = svm.predict(mask, only, svm.load(mask, summary["chosen"], part="validation"))
    assert summary["chosen"]["score"] == np.mean(predicted[["score_0", "score_1"]].to_numpy().argmax(1) == 0)


def test_a_finished_run_is_not_trained_again(mask):
    svm, summary, _, _ = trained(mask, refit=True)
    assert summary.keys() == {"seconds", "chosen", "tried"}
    before = {path: path.stat().st_mtime_ns for path in mask.folder.iterdir()}
    assert {path.name for path in before} == {"summary.json", "fitted.skops", "refitted.skops"}
    svm.train([replace(mask, features={})], quiet())
    assert {path: path.stat().st_mtime_ns for path in mask.folder.iterdir()} == before


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("scale", ["minmax", "standard", "none"])
def test_every_svm_predicts_the_same_bits_from_the_folder_alone(mask, kernel, probabilities, scale):
    unscaled = {n: v * 10.0 ** -np.arange(-3, 3).repeat(2).astype(np.float32) for n, v in mask.features.items()}
    run = replace(mask, features=unscaled)
    fields = {"kernel": kernel, "probabilities": probabilities, "scale": scale, "c": (0.01,)}
    _, _, validation, _ = trained(run, **fields)
    again = learner(run, **fields)
    np.testing.assert_array_equal(scores_of(predicted(again, run)), scores_of(validation))


def test_a_damaged_svm_is_named_and_no_foreign_type_is_loaded(mask):
    svm, _, _, _ = trained(mask)
    path = mask.folder / "fitted.skops"
    whole = path.read_bytes()
    message = rf"^{re.escape(str(path))}: not readable .*to train it again, rename {re.escape(str(mask.folder))}"
    for spoiled in (whole[:-100], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], b"nonsense"):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match=message):
            predicted(svm, mask)
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(
                name, old.read(name).replace(b'"LinearSVC"', b'"Popen"').replace(b"sklearn.svm._classes", b"subprocess")
            )
    with pytest.raises(UserError, match=r"Untrusted types found in the file: .*subprocess\.Popen"):
        predicted(svm, mask)
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        predicted(svm, mask)


@pytest.mark.parametrize("fields", [{}, {"kernel": "rbf"}, {"probabilities": True}])
def test_a_solver_that_stops_early_is_reported_and_not_fatal(mask, fields):
    progress = quiet()
    learner(mask, c=(1.0, 1e-9), max_iter=2, scale="standard", **fields).train([mask], progress)
    summary = summary_of(mask.folder)
    stopped = [line for line in said(progress).splitlines() if "stopped at max_iter, 2," in line]
    assert len(stopped) == sum(not tried["converged"] for tried in summary["tried"]) >= 1
    assert stopped[0].startswith("svm, fold 0: with C 1 the solver")


def test_progress_counts_the_grid(mask):
    progress = quiet()
    learner(mask).train([mask], progress)
    assert re.search(r"svm, fold 0: C 3/3  1: 0\.\d{3}", said(progress))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel": "lineal"}, r"config\.members\.svm\.learner\.kernel is 'lineal', expected .* did you mean 'linear'"),
        ({"kernel": None}, "kernel is None"),
        ({"scale": "max"}, r"scale is 'max', expected one of \['minmax', .* 'standard', 'none'\]"),
        ({"c": ()}, r"c is \(\)"),
        ({"c": 1.0}, r"c is 1\.0, expected one or more"),
        ({"c": (0.1, -1.0)}, r"c is \(0\.1, -1\.0\)"),
        ({"c": ("1",)}, r"c is \('1',\)"),
        ({"gamma": "auto"}, "gamma is 'auto', expected 'scale' or a number"),
        ({"gamma": 0.0}, r"gamma is 0\.0"),
        ({"max_iter": 0}, "max_iter is 0, expected at least 1"),
        ({"frame_rate_hz": 100.0}, "are 100 frames per second, but ComParE2020_Mask needs one vector per recording"),
        ({"task": TASKS["breathing"]}, "are one vector per recording, but ComParE2020_Breathing needs frames"),
        ({"task": TASKS["breathing"], "kernel": "rbf"}, "kernel is 'rbf', which needs classes"),
        ({"task": TASKS["breathing"], "probabilities": True}, "probabilities is True, which needs classes"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    arguments = {"task": TASKS["mask"], "frame_rate_hz": 0.0, "where": "members.svm.learner", "c": GRID}
    with pytest.raises(UserError, match=message):
        SVM(**(arguments | fields))


@pytest.mark.parametrize(
    ("name", "feature", "message"),
    [
        ("train_7.wav", np.full(12, np.nan), r"^train_7\.wav: feature 0 \(counted from 0\) is nan; a support"),
        ("devel_2.wav", np.array([0, 1, np.inf] * 4), r"^devel_2\.wav: feature 2 .* is inf"),
        ("train_7.wav", np.zeros(11), r"^train_7\.wav: 11 features, but train_0\.wav has 12"),
        ("train_7.wav", np.zeros((3, 12)), r"features are \[3, 12\], but .* expects \[feature\]"),
    ],
)
def test_impossible_features_are_refused(mask, name, feature, message):
    with pytest.raises(UserError, match=message):
        learner(mask).train([replace(mask, features=mask.features | {name: feature})], quiet())
    assert not list(mask.folder.iterdir())


def test_it_has_no_embeddings(mask):
    with pytest.raises(UserError, match="has no embeddings"):
        _ = learner(mask).embedding_rate_hz
