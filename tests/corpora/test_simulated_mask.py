"""The simulated Mask corpus: its layout, the effect of the mask on the spectrum, and the difficulty of the task."""

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from jaxpara.corpora.check import check
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.simulated import mask
from jaxpara.corpora.simulated.mask import MaskFit, Session, Wearer, take
from jaxpara.corpora.simulated.writing import write
from jaxpara.corpora.tasks import TASKS
from jaxpara.features.mel import LogMel

SPEAKERS, CLIPS = (12, 4, 6), 32


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulated") / "corpus"
    write("mask", root, speakers=SPEAKERS, seconds=CLIPS)
    return root


def table(root: Path, name: str) -> dict[str, str]:
    with (root / "lab" / name).open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file_name", "speaker" if name == "speakers.csv" else "label"]
    assert len(dict(rows)) == len(rows)
    return dict(rows)


# --- layout


def test_layout(root):
    names = [
        f"{part}_{i:05d}.wav"
        for part, speakers in zip(("train", "devel", "test"), SPEAKERS, strict=True)
        for i in range(1, 1 + speakers * CLIPS)
    ]
    assert sorted(path.name for path in (root / "wav").iterdir()) == sorted(names)
    for name in names:
        info = soundfile.info(root / "wav" / name)
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (16_000, 1, "PCM_16", 16_000)
    shown, truth = table(root, "labels.csv"), table(root, "labels_confidential.csv")
    assert list(shown) == list(truth) == list(table(root, "speakers.csv")) == names
    assert set(truth.values()) == {"clear", "mask"}
    assert shown == {name: "?" if name.startswith("test") else label for name, label in truth.items()}


def test_speakers_record_both_classes_and_stay_in_one_partition(root):
    speakers, truth = table(root, "speakers.csv"), table(root, "labels_confidential.csv")
    assert Counter(Counter(speakers.values()).values()) == {CLIPS: sum(SPEAKERS)}
    assert Counter(len({s for n, s in speakers.items() if n.startswith(p)}) for p in ("train", "devel", "test")) == (
        Counter(SPEAKERS)
    )
    assert set(Counter((speakers[name], truth[name]) for name in truth).values()) == {15, 17}
    # File numbers reveal nothing: neighbours are of any class and of any speaker.
    first = list(truth)[: 12 * CLIPS]
    assert abs(np.mean([truth[a] == truth[b] for a, b in pairwise(first)]) - 0.5) < 0.1
    assert np.mean([speakers[a] == speakers[b] for a, b in pairwise(first)]) < 0.2


def test_check_finds_nothing(root):
    findings = Findings()
    assert check(root, TASKS["mask"], findings).simulated
    assert findings.listed() == ()


def test_full_preset_has_the_sizes_of_the_real_corpus():
    full = mask.PRESETS["full"]
    assert full["speakers"] == (12, 10, 10)
    assert full["clips"] == (10895, 14647, 11012)
    people = mask.plan_corpus(full, full["speakers"], None, 0)
    for part, total in enumerate(full["clips"]):
        counts = [len(speaker.files) for speaker in people if speaker.key[0] == part]
        assert (len(counts), sum(counts)) == (full["speakers"][part], total)
        assert max(counts) > 1.5 * np.mean(counts)
        assert min(counts) >= 8


# --- the mask


def level_db(clips: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Return `[clip]` the level in a band."""
    power = abs(np.fft.rfft(clips / 32768)) ** 2
    return 10 * np.log10(power[:, round(low_hz) : round(high_hz)].mean(axis=1))


PLATEAUS = ((500, 1500), (1900, 2100), (2400, 2600), (2750, 2850), (3150, 3250), (3900, 4100), (4900, 5100))
MEASURED_DB = (0, -0.3, -0.9, -2.8, -1.0, -3.0, -3.8)


def test_mask_filters_as_measured():
    """The same words with and without a mask differ by the published gain."""
    wearer = Wearer(np.random.default_rng(0))
    wearer.fit, wearer.effort_db, wearer.slowing = MaskFit(), 0.0, 1.0
    difference = np.zeros((8, len(PLATEAUS)))
    for i in range(len(difference)):
        session = Session(np.random.default_rng(i))
        clear, masked = (take(wearer, session, on, 12, np.random.default_rng(i)) for on in (False, True))
        difference[i] = [np.mean(level_db(masked, *band) - level_db(clear, *band)) for band in PLATEAUS]
    np.testing.assert_allclose(difference.mean(axis=0), MEASURED_DB, atol=0.6)


def test_speakers_and_sessions_differ_more_than_the_mask_does(root):
    speakers, truth = table(root, "speakers.csv"), table(root, "labels_confidential.csv")
    clips = np.array([soundfile.read(root / "wav" / name, dtype="int16")[0] for name in truth])
    high = level_db(clips, 3400, 5400) - level_db(clips, 500, 1500)
    masked = np.array([label == "mask" for label in truth.values()])
    who = np.array(list(speakers.values()))
    shifts = [high[masked & (who == s)].mean() - high[~masked & (who == s)].mean() for s in set(who)]
    assert -5.5 < np.mean(shifts) < -1.5
    assert np.std(high[~masked]) > 2 * abs(np.mean(shifts))


def test_the_mask_makes_speech_louder_and_slower():
    rng = np.random.default_rng(0)
    wearers = [Wearer(rng) for _ in range(50)]
    louder = [w.spoken(True, rng).tilt_hz / w.spoken(False, rng).tilt_hz for w in wearers]
    slower = [w.spoken(True, rng).syllables_hz / w.spoken(False, rng).syllables_hz for w in wearers]
    assert np.mean(louder) > 1.005
    assert np.mean(slower) < 0.99


# --- difficulty


def test_a_linear_svm_is_better_than_chance_but_not_perfect(root):
    truth = table(root, "labels_confidential.csv")
    mel = LogMel(bands=40)
    features = []
    for name in truth:
        bands = mel(soundfile.read(root / "wav" / name, dtype="float32")[0])
        features.append(np.r_[bands.mean(0), bands.std(0), np.percentile(bands, [10, 50, 90], axis=0).ravel()])
    x, y = np.array(features), np.array(list(truth.values()))
    partition = np.array([name.split("_")[0] for name in truth])

    def uar(cost, train, test):
        train, test = np.isin(partition, train), partition == test
        svm = make_pipeline(StandardScaler(), LinearSVC(C=cost, dual="auto", max_iter=20_000))
        return recall_score(y[test], svm.fit(x[train], y[train]).predict(x[test]), average="macro")

    best = max((1e-4, 1e-3, 1e-2), key=lambda cost: uar(cost, ["train"], "devel"))
    found = uar(best, ["train", "devel"], "test")
    assert 0.60 < found < 0.85
