"""The page of `python -m benchmarks.ablation` and `benchmarks.systems`, from made-up runs on small corpora."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from benchmarks import ablation, over_seeds, systems
from jaxpara.config import as_run
from jaxpara.corpora.read import read
from jaxpara.corpora.simulated import writing
from jaxpara.corpora.tasks import TASKS
from jaxpara.evaluation.results import keep_others
from jaxpara.predictions import predictions_of, save
from jaxpara.training.member import Member

VARIANTS = {"without the SVM": {"only": ("mlp", "tdnn")}, "loud": {"members.svm.features.ref": "max"}}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Simulated corpora by seed, of a few clips of each speaker."""
    roots = {seed: tmp_path_factory.mktemp("corpora") / f"seed_{seed}" for seed in (1, 3)}
    for seed, root in roots.items():
        writing.write("mask", root, seed=seed, speakers=(2, 2, 1), seconds=8)
    return roots


@pytest.fixture
def runs(corpora, monkeypatch):
    """Make `run` write predictions that depend on the variant; return the calls, and the UAR of each."""
    monkeypatch.setattr(ablation, "VARIANTS", {"mask_best": VARIANTS})
    calls, truths, scores = [], {}, {}

    def run(config, *, overrides, name, workdir, mode):
        seed, variant = overrides["seed"], workdir.parent.name
        recordings = read(corpora[seed], TASKS["mask"]).partition("train", "devel")
        rng = np.random.default_rng([seed, *variant.encode()])
        drawn = rng.uniform(size=(len(recordings), 2))
        truths.setdefault(variant, []).extend(r.labels[0] for r in recordings)
        scores.setdefault(variant, []).extend(drawn.argmax(1))
        save(predictions_of(recordings, drawn, 0, 0), workdir / "predictions" / "validation.npz")
        for member in ("svm", "mlp", "tdnn"):
            (workdir / "members" / member).mkdir(parents=True, exist_ok=True)
        results = {"experiment": name, "corpus": {"root": str(corpora[seed])}, "seconds": seed}
        (workdir / "results.json").write_text(json.dumps(results))
        calls.append((variant, seed, sorted(path.name for path in workdir.glob("members/*/copied"))))
        if variant == "full":
            for member in ("svm", "mlp", "tdnn"):
                (workdir / "members" / member / "copied").touch()

    monkeypatch.setattr(over_seeds, "run", run)
    return calls, lambda variant: balanced_accuracy_score(truths[variant], scores[variant])


def test_the_page_has_every_variant_and_its_difference(tmp_path, monkeypatch, runs):
    calls, uar = runs
    page = tmp_path / "best.md"
    page.write_text("# Old title\n\n## Breathing\n\nkept\n\n## Ingredients of mask_best\n\nold\n", encoding="utf-8")
    command = ["ablation", "mask_best", "--seeds=1,3", f"--runs={tmp_path / 'runs'}", f"--out={page}"]
    monkeypatch.setattr("sys.argv", command)
    ablation.main()
    text = page.read_text(encoding="utf-8")
    assert text.startswith(over_seeds.HEAD)
    assert "## Breathing\n\nkept\n\n## Ingredients of mask_best\n\nWith 2 seeds, each" in text
    assert "`python -m benchmarks.ablation mask_best --seeds=1,3`" in text
    assert "old" not in text.split("## Ingredients of mask_best")[1]
    assert "over 8 speakers" in text  # four in each of two corpora
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["full", "without the SVM", "loud"]
    percent = "\N{NO-BREAK SPACE}%"
    assert rows[2][1:] == [f"{100 * uar('full'):.1f}{percent}", "", ""]
    for row, variant in zip(rows[3:], ("without_the_SVM", "loud"), strict=True):
        assert row[1] == f"{100 * uar(variant):.1f}{percent}"
        assert row[2] == f"{100 * (uar('full') - uar(variant)):+.1f}"
        low, high = map(float, row[3].split(" to "))
        assert low < float(row[2]) < high
    # Finished runs are only read.
    assert len(calls) == 6
    ablation.main()
    assert len(calls) == 6
    assert page.read_text(encoding="utf-8") == text


def test_a_variant_starts_with_the_members_that_it_shares(tmp_path, runs):
    text = ablation.section("mask_best", VARIANTS, [1], tmp_path / "runs")
    assert text.startswith("## Ingredients of mask_best, seed 1\n")
    folder = tmp_path / "runs" / "mask_best"
    shared = {
        variant: {path.parent.name for path in (folder / variant).glob("seed_1/members/*/copied")}
        for variant in ("without_the_SVM", "loud")
    }
    assert shared == {"without_the_SVM": {"svm", "mlp", "tdnn"}, "loud": {"mlp", "tdnn"}}


def test_systems_are_compared_on_the_test_partitions_of_all_seeds(corpora, tmp_path, monkeypatch):
    right = {"mask_best": 0.9, "mask_s4": 0.6, "mask_s5": 0.7, "baseline": 0.5}  # the chance that a clip is right
    truths, scores = {name: [] for name in right}, {name: [] for name in right}

    def save_made_up(name, seed, path):
        rng, recordings = np.random.default_rng([seed, *name.encode()]), read(corpora[seed], TASKS["mask"])
        recordings = recordings.partition("test")
        table = pd.read_csv(corpora[seed] / "lab" / "labels_confidential.csv", index_col="file_name")
        truth = np.array([table.loc[r.name, "label"] == "mask" for r in recordings], int)
        said = np.where(rng.uniform(size=len(truth)) < right[name], truth, 1 - truth)
        truths[name].extend(truth)
        scores[name].extend(said)
        save(predictions_of(recordings, np.eye(2)[said], 0, 0), path)

    def run(config, *, overrides, name, workdir, mode):
        seed = overrides["seed"]
        assert overrides == {"seed": seed, "seeds": 2} | ({"sizes": "full"} if name == "mask_best" else {})
        results = {"experiment": name, "corpus": {"root": str(corpora[seed])}, "seconds": 90 * seed}
        results["fusion"] = {"cv": {"pooled": 0.25, "mean_of_folds": right[name]}}
        keep_others(workdir, name)
        save_made_up(name, seed, workdir / "predictions" / "test.npz")
        if name == "mask_best":
            save_made_up("baseline", seed, workdir / "baseline" / "0.npz")
        (workdir / "results.json").write_text(json.dumps(results))

    monkeypatch.setattr(over_seeds, "run", run)
    made_up = systems.Comparison("Made up", ("mask_best", "mask_s4", "mask_s5"), {"seeds": 2}, {"sizes": "full"})
    monkeypatch.setitem(systems.COMPARISONS, "mask", made_up)
    page = tmp_path / "best.md"
    page.write_text("## Made up, seed 3\n\nold\n\n## Made up, too\n\nkept\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["systems", "mask", "--seeds=1,3", f"--runs={tmp_path}", f"--out={page}"])
    systems.main()
    text = page.read_text(encoding="utf-8")
    assert "## Made up\n\nUAR with 2 seeds, each with a simulated corpus of its own" in text
    assert "(`python -m benchmarks.systems mask --seeds=1,3`): 2 test speakers in all" in text
    assert "Validation scores and minutes are means over seeds." in text
    assert "Made up, seed 3" not in text
    assert text.endswith("## Made up, too\n\nkept\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")][2:]
    assert [row[0].replace("\\", "") for row in rows] == ["mask_best", "mask_s4", "mask_s5", "simple baseline"]
    uar = {name: 100 * balanced_accuracy_score(truths[name], scores[name]) for name in right}
    for row, name in zip(rows, right, strict=True):
        assert row[2] == f"{uar[name]:.1f}\N{NO-BREAK SPACE}%"
        if name != "mask_best":
            assert row[3] == f"{uar['mask_best'] - uar[name]:+.1f}"
            assert 0 < float(row[5]) <= 1
    assert [row[1] for row in rows] == [f"{100 * x:.1f}\N{NO-BREAK SPACE}%" for x in (0.9, 0.6, 0.7)] + [""]
    assert [row[6] for row in rows] == ["3.0", "3.0", "3.0", ""]
    counts = {name: len(values) for name, values in scores.items()}
    systems.main()  # finished runs are only read, although two of the systems share a folder
    assert {name: len(values) for name, values in scores.items()} == counts
    assert page.read_text(encoding="utf-8") == text
    monkeypatch.setattr("sys.argv", ["systems", "mask", "--seeds=3", f"--runs={tmp_path}", f"--out={page}"])
    systems.main()
    one = page.read_text(encoding="utf-8").split("## Made up, seed 3\n\n")[1].split("## ")[0]
    assert one.startswith("UAR with 1 seed and its simulated corpus (`python -m benchmarks.systems mask --seeds=3`)")
    assert "means over seeds" not in one


def test_all_variants_are_configs_that_can_run(tmp_path):
    for name, variants in ablation.VARIANTS.items():
        config = importlib.import_module(f"configs.{name}").get_config()
        task = config.corpus.task
        writing.write(task, tmp_path / task, speakers=(4, 4, 1), seconds=8)
        corpus = read(tmp_path / task, TASKS[task])
        for variant, fields in variants.items():
            settings = as_run(config, fields)
            for member, spec in settings["members"].items():
                assert Member(member, spec, corpus, "", 12, tmp_path).folds, variant


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([12], "1 seed and its simulated corpus"), ([1, 2], "2 seeds, each with a simulated corpus of its own")],
)
def test_words_for_the_corpora(seeds, words):
    assert over_seeds.corpora_of(seeds) == words
