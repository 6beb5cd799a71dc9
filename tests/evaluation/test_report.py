"""The report: one file that needs no other, with everything escaped, for every kind of run."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import soundfile

from jaxpara.errors import UserError
from jaxpara.evaluation import metrics, plots, report
from jaxpara.evaluation.results import FoldOutcome, MemberOutcome, summarise
from jaxpara.fusion import Fused

MEMBER = {"learner": {"name": "net", "model": {"name": "cnn1d_lstm"}}, "features": {"name": "waveform"}}
ABOUT = {"jaxpara": "0.1.0", "experiment": "fake", "recipe": "paper", "left_out": {}, "devices": ["cpu", "cpu"]}
ABOUT["compiled"] = {"programs": 4, "from_cache": 1, "seconds": 65.0}
ABOUT["versions"] = {"jax": "0.10.2"}
EVIL = "<script>alert('$x$')</script>"


@pytest.fixture(scope="module")
def written(tmp_path_factory, fakes):
    def write(
        corpus,
        *,
        folds=2,
        seeds=False,
        first=0,
        members=("adam", "sgd"),
        config=(),
        findings=(),
        simulated=True,
        change=lambda name, single: single,
    ):
        """Write the report of a made-up run.

        Args:
          seeds: the models differ in their seed, and share one fold.
          config: (field, value) of further fields.
          first: the number of the first fold.
          change: of the predictions that a member is drawn with.
        """
        tmp_path = tmp_path_factory.mktemp("report")
        outcomes, curves = {}, {}
        for member in members:
            tests = [fakes.predict(corpus, corpus.partition("test"), fold=f) for f in range(folds)]
            keys = [(first, f) if seeds else (first + f, 0) for f in range(folds)]
            validations = fakes.predict_folds(corpus, folds)
            if seeds:
                validations = [fakes.predict_folds(corpus, 1, seed=seed)[0] for seed in range(folds)]
            outcomes[member] = MemberOutcome(
                [
                    FoldOutcome(fold, validation.assign(fold=fold, seed=seed), test, 61.0, 1, 20, 2, seed=seed)
                    for (fold, seed), validation, test in zip(keys, validations, tests, strict=True)
                ],
                fakes.predict(corpus, corpus.partition("test")),
                1_642_049,
            )
            curves[member] = {(first + f, 0): tmp_path / f"{f}.jsonl" for f in range(folds)}
        lines = [
            {"kind": k, "step": 10 * e, "epoch": e, "loss": 1 / (e + 1), "score": e / 3, "waiting": 0.02 * e}
            for e in range(3)
            for k in ("train", "validation")
        ]
        (tmp_path / "0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tr')
        first = outcomes[members[0]]
        validation = fakes.concatenate([fold.validation for fold in first.folds])
        weights = {member: [0.5] * folds for member in members} if len(members) > 1 else None
        fused = Fused(validation, first.test, {}, weights, validation if weights else None)
        singles = {
            name: (change(name, validation), change(name, o.test)) for name, o in outcomes.items() if len(members) > 1
        }
        also_scored = {"convex": fused} if len(members) == 3 else {}
        results = summarise(
            about=ABOUT | {"demo": simulated, "findings": {"errors": 0, "warnings": len(findings)}},
            data=fakes.data(corpus, simulated=simulated), shared_audio={}, members=outcomes,
            fused=fused, fusion="grid", also_scored=also_scored, fusing=members,
            baselines={"flat": ("a line", fakes.predict(corpus, corpus.partition("test"), 0.1))},
        )  # fmt: skip

        def waveform(name):
            path = corpus.by_name[name].path
            if not path.exists():
                raise UserError(f"{path}: no such file")
            return soundfile.read(path)

        path = tmp_path / "out" / "report.html"
        settings = {"seed": 1, "corpus": {"task": "mask"}, "members": {name: MEMBER for name in members}}
        report.write(
            path, results=results, data=fakes.data(corpus), waveform=waveform,
            validation=fused.validation, test=fused.test, singles=singles, curves=curves,
            config=settings | dict(config), findings=findings,
        )  # fmt: skip
        return path.read_text(encoding="utf-8")

    return write


@pytest.fixture(scope="module")
def sequence_page(tmp_path_factory, fakes, written):
    return written(fakes.breathing(tmp_path_factory.mktemp("breathing")))


@pytest.fixture(scope="module")
def class_page(tmp_path_factory, fakes, written):
    return written(fakes.mask(tmp_path_factory.mktemp("mask")))


class Page(HTMLParser):
    """Counts the elements, notes every reference, and checks that elements close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.references = [], {}, []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.references += [v for k, v in attrs if k in ("href", "src", "xlink:href", "action", "data")]
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1] if tag not in ("meta", "br", "input") else self.open

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def section(text, name):
    return re.search(f'<section id="{name}">.*?</section>', text, re.DOTALL)[0]


def test_a_sequence(sequence_page):
    text, page = sequence_page, Page(sequence_page)
    assert page.count["svg"] == 6  # members, folds, speakers, belts, two members' curves
    assert "script" not in page.count
    assert "could not be read" not in section(text, "sequences")
    for rank in ("best", "median", "worst"):
        assert f"{rank} of 3 speakers" in section(text, "sequences")
    assert 'id="confusions"' not in text
    assert "adam: cnn1d_lstm on waveform, 2 trained models" in section(text, "about")
    assert "Baseline “flat”:</b> a line, trained in seconds on train and devel." in section(text, "scores")
    assert "<td>2 of 3</td>" in section(text, "fusion")


def test_classes(class_page):
    text = class_page
    assert Page(text).count["svg"] == 8  # members, folds, speakers, reliability, fusion, members, two members' curves
    assert "adam, cross-validation" in section(text, "confusions")
    assert "0.500" in section(text, "fusion")
    assert "fold 0" in section(text, "curves")
    assert "Training spent 2.0\N{NO-BREAK SPACE}% of its time waiting for data." in section(text, "curves")
    assert "Compiling 4 programs, of which 1 were in the cache, took 1 min 5 s." in section(text, "config")
    assert "fold 1" not in section(text, "curves")  # it has none
    assert 'id="sequences"' not in text


def test_more_than_two_classes_have_an_auc_of_each_against_the_others(tmp_path, fakes, written):
    task = replace(fakes.MASK, classes=("0", "1", "2"))
    text = written(fakes.mask(tmp_path, speakers=(3, 3, 3), clips=9, task=task), members=("svm",))
    assert "calibration error" in text
    assert "area under the ROC curve (AUC), each class against all others" in text
    assert "equal error rate" not in text


@pytest.mark.parametrize(
    ("folds", "seeds", "columns", "of"), [(2, False, 8, "folds"), (2, True, 8, "models"), (1, False, 7, "")]
)
def test_one_model_has_one_validation_score(tmp_path, fakes, written, folds, seeds, columns, of):
    text = written(fakes.mask(tmp_path), folds=folds, seeds=seeds)
    scores = section(text, "scores")
    first = re.search("<table>.*?</table>", scores, re.DOTALL)[0]
    rows = [len(re.findall("<td", row)) for row in re.findall("<tr.*?</tr>", first, re.DOTALL)[2:]]
    assert rows == [columns] * 5  # two members, the fusion, the same cross-fitted, a baseline
    assert re.findall("mean of<br>(.*?)<", first) == re.findall("<b>Mean of (.*?):</b>", scores) == [of] * bool(of)
    assert ("<th>score</th>" in first) == (not of)
    assert f'colspan="{columns - 5}">{"cross-validation" if of == "folds" else "validation"}<' in first
    # The label of the line in the figure, and the note below it.
    assert set(re.findall(r"mean of (folds|models)\b", section(text, "folds"))) == {of} - {""}
    assert len(re.findall(r"mean of (folds|models)\b", section(text, "folds"))) == 2 * bool(of)


def test_values_without_a_test_partition(tmp_path, fakes, written):
    task = replace(fakes.MASK, kind="values", measure="RMSE", classes=())
    classes = replace(fakes.MASK, classes=tuple("01234"))  # for their labels
    corpus = replace(fakes.mask(tmp_path, speakers=(4, 4, 0), clips=9, task=classes), task=task)
    text = written(corpus, members=("svr",), simulated=False)
    assert "There is no test partition: epochs and C were chosen on the validation labels" in text
    assert "fusion, cross-validation" in section(text, "scatter")
    assert "test" not in re.sub("<svg.*?</svg>", "", section(text, "scatter"), flags=re.DOTALL)
    assert "always predicting the mean gives" in section(text, "about")
    assert "<th colspan=" not in section(text, "scores").replace('<th colspan="3">cross-validation</th>', "")
    assert "Spearman’s rank correlation" in section(text, "scores")
    assert 'id="sequences"' not in text
    assert 'id="confusions"' not in text


def test_a_sequence_that_is_no_belt_has_no_words_about_breathing(tmp_path, fakes, written):
    corpus = fakes.breathing(tmp_path, audio=False)
    corpus = replace(corpus, task=replace(corpus.task, name="arousal", target="arousal", measure="CCC"))
    unknown = tuple(replace(recording, speaker="") for recording in corpus.recordings)
    text = written(replace(corpus, recordings=unknown), members=("gru",), simulated=False)
    assert not re.search("belt|breath|inhal", re.sub("<h2>Config.*", "", text, flags=re.DOTALL))
    assert "test_00.wav" in section(text, "sequences")


def test_three_members_have_a_triangle_of_weights_and_other_fusions_are_listed_too(tmp_path, fakes, written):
    text = written(fakes.mask(tmp_path), first=2, members=("cnn", "gru", "deep"))
    part = section(text, "fusion")
    assert Page(text).count["svg"] == 10  # as for two members, the triangle, and the curves of the third
    assert "other fusion (convex), cross-fitted" in section(text, "scores")
    assert "“convex”: a weighted mean" in section(text, "about")
    assert "At a corner one member has all the weight" in part
    assert part.count("Weights of the fusion") == 2
    # Weights are under the numbers of their folds.
    assert re.findall("<th>fold (.)</th>", part) == ["2", "3"] * 2
    triangle = re.findall("<text[^>]*>([^<]*)</text>", part)
    assert [word for word in triangle if word.isdigit()] == ["2", "3"] * 2


def test_more_members_than_are_drawn_have_a_sentence_of_their_own(tmp_path, fakes, written, monkeypatch):
    monkeypatch.setattr(report, "MAX_SYSTEMS", 1)
    text = written(fakes.mask(tmp_path), members=("svm",))
    assert "Too many members to draw them fold by fold" in section(text, "folds")


def test_a_member_upside_down_or_constant_is_drawn_as_no_better_than_it_is(tmp_path, fakes, written, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "sequences", lambda name, shown, what: drawn.update(shown) or "<svg></svg>")
    for other in ("dots", "learning_curves", "simplex"):
        monkeypatch.setattr(plots, other, lambda *args, **options: "<svg></svg>")
    scales = {"up": 7.0, "down": -1.0, "flat": 0.0}
    corpus = fakes.breathing(tmp_path, audio=False)
    written(
        corpus,
        members=tuple(scales),
        change=lambda name, single: single.assign(score_0=scales[name] * single["score_0"] + 0.1),
    )
    mean = np.mean([recording.truth for recording in corpus.partition("test")])
    assert len(drawn) == 3
    for series in (excerpt.predictions for excerpt in drawn.values()):
        np.testing.assert_allclose(series["up"], series["predicted"], atol=1e-9)
        np.testing.assert_allclose(series["down"], mean, atol=1e-9)
        np.testing.assert_allclose(series["flat"], mean, atol=1e-9)


def test_nothing_comes_from_outside(sequence_page):
    text = sequence_page
    assert all(reference.startswith("#") for reference in Page(text).references)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert not re.search(r"url\((?!#)|@import", text)


def test_every_reference_is_found_once(class_page):
    text = class_page
    for name in set(re.findall(r'(?:href="|url\()#([\w-]+)', text)):
        assert len(re.findall(f'id="{name}"', text)) == 1, name


def test_notices(tmp_path, fakes, written, class_page):
    real = written(fakes.mask(tmp_path), members=("svm",), simulated=False)
    for notice in ("SIMULATED CORPUS", "DEMO SIZES"):
        assert notice in class_page
        assert notice not in real


def test_names_are_escaped_and_missing_audio_is_reported(tmp_path, fakes, written):
    corpus = fakes.breathing(tmp_path, audio=False)
    evil = tuple(replace(r, speaker=f"{EVIL}{r.speaker}", name=f"{EVIL}{r.name}") for r in corpus.recordings)
    corpus = replace(corpus, root=tmp_path / EVIL, recordings=evil)
    text = written(corpus, members=("cnn",), config=[("note", EVIL)], findings=[EVIL])
    assert "script" not in Page(text).count
    for part in ("sequences", "speakers"):
        assert "&lt;script&gt;alert('$x$')" in section(text, part)
    assert section(text, "sequences").count("the audio could not be read") == 3
    for part in ("config", "corpus"):
        assert "&lt;script&gt;alert(&#39;$x$&#39;)" in section(text, part)


def test_without_truth_speakers_and_curves_sections_give_reasons(tmp_path, fakes, written):
    corpus = fakes.mask(tmp_path, test_truth=False, known=False)
    text = written(corpus, folds=1, members=("svm",))
    assert "ross-validation" not in text  # of one validation set
    assert "No score per speaker" in section(text, "speakers")
    assert "no truth for the test partition" in section(text, "scores")
    assert "searches no weights" in section(text, "fusion")
    assert "unknown" in section(text, "corpus")


def test_a_run_without_any_score_still_has_a_report(tmp_path, fakes, written):
    corpus = fakes.mask(tmp_path, test_truth=False)
    clear = tuple(replace(r, truth=np.minimum(r.truth, 0)) for r in corpus.recordings)
    text = written(replace(corpus, recordings=clear), members=("svm",))
    assert "No score:" in text
    assert "No fold has a score" in section(text, "folds")


def test_the_level_is_drawn_for_the_right_time():
    times_s = np.arange(100) / 25
    audio = np.zeros(64_000)
    audio[640 * 30 : 640 * 40] = 0.5
    level_db = plots.level_of(audio, 16_000, times_s[20:60])
    np.testing.assert_allclose(level_db, np.where((np.arange(40) >= 10) & (np.arange(40) < 20), -6.02, -70), atol=0.01)


def test_reliability_is_drawn_as_one_figure_that_needs_nothing_else():
    systems = {}
    for seed, name in enumerate(("<script>$x$</script>", "sgd")):
        second, chance = np.random.default_rng(seed).random((2, 400))
        bins = metrics.reliability(chance < second, np.stack([1 - second, second], 1))
        systems[name] = {field: values.tolist() for field, values in bins.items()}
    text = plots.reliability("systems", systems)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert text.count("<svg") == 1
    assert not re.search(r"<script|<image|@import|url\((?!#)|href=\"(?!#)|https?://(?!www\.w3\.org/)", text)
    words = {"".join(element.itertext()).strip() for element in root.iterfind(".//{*}text")}
    assert {"confidence = accuracy", "<script>$x$</script>", "sgd", "accuracy", "recordings", "50 %"} <= words
    # A point for every bin of every system, in both panels; ticks and the legend have one each.
    lines = [
        group.findall(".//{*}use") for group in root.iterfind(".//{*}g") if group.get("id", "").startswith("line2d")
    ]
    points = sum(len(bins["counts"]) for bins in systems.values())
    assert sum(len(uses) for uses in lines if len(uses) > 1) == 2 * points > 16


@pytest.mark.parametrize("count", range(2, 16))
def test_confusion_matrices_fit_the_page_and_keep_the_order_of_the_classes(count):
    classes = [f"{'class of a very long name' if n % 2 else 'class'} {n}" for n in range(count)]
    counts = np.random.default_rng(0).integers(100_000, size=(count, count))
    text = plots.confusions("some", {"cross-validation": counts, "test": counts.T}, classes)
    root = ElementTree.fromstring(text)
    assert float(root.get("width").removesuffix("pt")) <= 72 * plots.MAX_WIDTH
    words = ["".join(element.itertext()).strip() for element in root.iterfind(".//{*}text")]
    shown = [name if len(name) <= plots.MAX_LETTERS else name[: plots.MAX_LETTERS - 1] + "…" for name in classes]
    assert words[: 2 * count + 2] == [*shown, "predicted", *shown, "true"]
    numbers = [word for word in words if word.isdigit()]
    assert sorted(numbers) == sorted(str(value) for value in counts.ravel().tolist() * 2)
    assert any(word.endswith("%") for word in words) == (count <= 7)


@pytest.mark.parametrize("rows", [50, 5000])
def test_a_scatter_plot_draws_points_or_their_density(rows):
    truth = np.random.default_rng(0).normal(size=rows)
    text = plots.scatter("a", {"<b>": (truth, truth / 2)})
    root = ElementTree.fromstring(text)
    words = {"".join(element.itertext()).strip() for element in root.iterfind(".//{*}text")}
    assert {"<b>", "true value", "predicted value", "prediction = truth"} <= words
    assert len(root.findall(".//{*}use")) < 500
    assert ("labels" in words) == (rows > plots.MAX_POINTS)


def test_the_levels_of_a_scale_are_named():
    levels = np.array([0.0, 1.0, 2.0])
    root = ElementTree.fromstring(plots.scatter("a", {"b": (levels, levels)}, ("low", "mid", "high")))
    words = ["".join(element.itertext()).strip() for element in root.iterfind(".//{*}text")]
    assert [words.count(name) for name in ("low", "mid", "high")] == [2, 2, 2]


@pytest.mark.parametrize(("measure", "clipped"), [("RMSE", True), ("PCC", False)])
def test_a_very_wide_interval_of_an_error_runs_off_the_plot(measure, clipped):
    text = plots.dots("wide", {"a": {"b": (2.0, [1.0, 900.0])}}, measure=measure, rows="", lines={})
    words = {"".join(e.itertext()).strip() for e in ElementTree.fromstring(text).iterfind(".//{*}text")}
    assert ("800" not in words) == clipped


def test_drawing_leaves_nothing_global_behind():
    before = dict(matplotlib.rcParams)
    plots.confusions("one", {"one": np.eye(2, dtype=int)}, ("a", "b"))
    assert dict(matplotlib.rcParams) == before


def test_ticks_of_percentages_are_exact():
    text = plots.dots("ticks", {"a": {"b": (0.55, [0.45, 0.65])}}, measure="UAR", rows="", lines={})
    words = {"".join(e.itertext()).strip() for e in ElementTree.fromstring(text).iterfind(".//{*}text")}
    ticks = sorted(float(word.removesuffix(" %")) for word in words if word.endswith(" %"))
    assert 52.5 in ticks
    np.testing.assert_allclose(np.diff(ticks), np.diff(ticks)[0])


def test_the_middle_of_a_recording_is_at_most_a_minute():
    for seconds, first, last in ((30, 0, 29.96), (240, 90, 149.96)):
        times_s = np.arange(25 * seconds) / 25
        shown = times_s[plots.middle(times_s)]
        np.testing.assert_allclose([shown[0], shown[-1]], [first, last], atol=0.04)
