"""Members that use other members' embeddings, from wav files to predictions."""

import shutil
from dataclasses import replace

import numpy as np
import organisers
import pytest
import soundfile
from small_members import BAGS, MATRIX, autoencoder

from configs.breathing_s4 import get_config
from jaxpara import processes
from jaxpara.corpora import tasks
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.errors import Unavailable, UserError
from jaxpara.features import organiser_tables
from jaxpara.predictions import scores_of
from jaxpara.progress import Progress
from jaxpara.training.dependencies import in_order
from jaxpara.training.fold_run import fold_folder, summary_of
from jaxpara.training.member import Member

IMAGE = {"name": "mel_image", "style": "resize", "size": (32, 32), "clip_s": 0.5}
OFFICIAL = {"name": "official"}
AUTOENCODER = autoencoder(OFFICIAL, clip_s=0.5, units=8, lr=1e-2, epochs=6)
SHORT = autoencoder(OFFICIAL, clip_s=0.5, units=8, lr=1e-2, epochs=1)
UNTRAINED = {
    "features": IMAGE | {"matrix": MATRIX},
    "folds": OFFICIAL,
    "learner": {
        "name": "net",
        "examples": {"name": "clips", "size": (32, 32), "augment": ()},
        "model": {"name": "resnet18"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adam", "lr": 1e-2},
        "batch": 8,
        "epochs": 0,
        "pretrained": "None",
        "layer": "layer1",
    },
}


def svm(*of, **features):
    return {
        "features": {"name": "embeddings", "of": of, **features},
        "folds": OFFICIAL,
        "learner": {"name": "svm", "c": (0.1, 1.0), "refit": True},
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Low and high tones; clips of 0.5 s and of 0.8 s."""
    root = tmp_path_factory.mktemp("tones")
    rng, task, recordings = np.random.default_rng(0), tasks.TASKS["mask"], []
    for partition in ("train", "devel", "test"):
        for i in range(12):
            path = root / f"{partition}_{i:05d}.wav"
            times_s = np.arange(12_800 if i == 5 else 8000) / 16_000
            tone = 0.3 * np.sin(2 * np.pi * (400, 2000)[i % 2] * rng.uniform(0.9, 1.1) * times_s)
            soundfile.write(path, tone + 0.01 * rng.normal(size=len(tone)), 16_000)
            truth = np.array([i % 2.0])
            shown = truth * np.nan if partition == "test" else truth
            recordings.append(Recording(path.name, path, partition, "s", np.zeros(1), shown, truth))
    return Corpus(task, root, tuple(recordings), 0.0)


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    def run(configs):
        members, embeddings, workdir = {}, {}, tmp_path_factory.mktemp("run")
        with Progress() as progress:
            for name in in_order(configs):
                members[name] = Member(name, configs[name], corpus, "f", 12, workdir, members)
                members[name].claim()
            for name, member in members.items():
                member.train(progress, embeddings)
                embeddings[name] = member.embeddings(progress, embeddings)
        return members, embeddings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXPARA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield run


@pytest.fixture(scope="module")
def untrained(run):
    return run({"net": UNTRAINED, "svm": svm("net")})


def accuracy(member, corpus):
    test = member.outcome().test
    truth = [corpus.by_name[name].truth[0] for name in test["recording"]]
    return np.mean(scores_of(test).argmax(1) == truth)


def test_an_autoencoder_learns_without_labels_and_an_svm_from_its_embeddings(run, corpus):
    members, embeddings = run({"coder": AUTOENCODER, "svm": svm("coder")})
    epochs = summary_of(fold_folder(members["coder"].folder, (0, 0)))["epochs"]
    assert epochs[-1]["loss"] < 0.9 * epochs[0]["loss"]
    assert all(epoch["score"] is None for epoch in epochs)
    assert not members["coder"].predicts
    assert accuracy(members["svm"], corpus) == 1
    assert embeddings["coder"](members["svm"].folds[0])["train_00005.wav"].shape == (2 * 2 * 8,)


def test_an_svm_learns_from_a_layer_of_an_untrained_network(untrained, corpus):
    members, embeddings = untrained
    assert accuracy(members["svm"], corpus) == 1
    assert embeddings["net"](members["svm"].folds[0])["test_00003.wav"].shape == (64,)


def test_the_main_process_alone_can_ask_for_outcomes(untrained, monkeypatch):
    """The others wait for its report meanwhile, so nothing of it may need all processes."""
    monkeypatch.setattr(processes, "on_main", None)
    members, _ = untrained
    assert members["svm"].outcome().folds[0].best_step is None
    assert members["net"].chosen() == {(0, 0): {"step": 0}}


def test_a_network_trained_on_validation_recordings_is_refused(run):
    folds = {"name": "stratified", "n": 4, "only": (0,)}
    with pytest.raises(UserError, match="was trained on recordings in the validation or test set"):
        run({"coder": SHORT | {"folds": folds}, "svm": svm("coder")})


def test_the_organisers_file_replaces_the_embeddings(run, corpus, monkeypatch):
    monkeypatch.setitem(organiser_tables.FORMATS, "tones", organiser_tables.Format(3, ";"))
    organiser_tables.folder(corpus).mkdir()
    for partition in ("train", "devel", "test"):
        values = {r.name: np.array([i, r.truth[0], 1]) for i, r in enumerate(corpus.partition(partition))}
        organisers.write(organiser_tables.path_of(corpus, "tones", partition), "tones", values)
    waves = {
        "features": {"name": "waveform", "table": "tones"}
    }  # waveforms have 16 kHz, the file has a row per recording
    members, embeddings = run({"coder": SHORT, "svm": svm("coder", table="tones"), "waves": svm() | waves})
    with Progress() as progress:
        assert members["waves"]._runs(progress, embeddings)(members["waves"].folds[0]).frame_rate_hz == 0
    shutil.rmtree(organiser_tables.folder(corpus))
    assert members["svm"].sources == ()
    assert accuracy(members["svm"], corpus) == 1


def test_folds_can_leave_recordings_out(corpus, tmp_path):
    folds = {"name": "stratified", "n": 4, "only": (0, 3), "leave_out": ("devel_00000.wav", "train_00001.wav")}
    member = Member("coder", AUTOENCODER | {"folds": folds}, corpus, "f", 12, tmp_path)
    assert [fold.index for fold in member.folds] == [0, 3]
    for fold in member.folds:
        assert len(fold.train_names) + len(fold.val_names) == 22
        assert not {"devel_00000.wav", "train_00001.wav"} & {*fold.train_names, *fold.val_names}
    folds = {"name": "official", "leave_out": tuple(f"devel_{i:05d}.wav" for i in range(12))}
    with pytest.raises(UserError, match=r"leave_out empties the training or validation set of folds \[0\]"):
        Member("coder", AUTOENCODER | {"folds": folds}, corpus, "f", 12, tmp_path)
    with pytest.raises(
        UserError, match=r"folds.leave_out names 'devel_99.wav', which is not a recording of .*did you mean"
    ):
        Member(
            "coder",
            AUTOENCODER | {"folds": {"name": "official", "leave_out": ("devel_99.wav",)}},
            corpus,
            "f",
            12,
            tmp_path,
        )


def test_weight_decay_on_frozen_stages_is_refused(corpus, tmp_path):
    learner = UNTRAINED["learner"] | {"optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-4}}
    learner["model"] = {"name": "resnet18", "frozen": ("conv1",)}
    with pytest.raises(UserError, match="would change the frozen stages too"):
        Member("net", UNTRAINED | {"learner": learner}, corpus, "f", 12, tmp_path)


def test_features_with_knowledge_of_the_validation_set_are_reported(corpus, tmp_path, monkeypatch):
    coder = Member("coder", AUTOENCODER, corpus, "f", 12, tmp_path)

    def leak(config, name="svm"):
        return Member(name, config, corpus, "f", 12, tmp_path / str(len(str(config))), {"coder": coder}).leak

    assert leak(svm("coder", standardise=("coder",))) == ""
    assert "including the validation set" in leak(
        svm("coder", standardise=("coder",), standardise_on="train_and_devel")
    )
    monkeypatch.setattr(organiser_tables, "available", lambda *_: True)
    assert leak(svm("coder", table="auDeep-30")) == ""
    folds = {"name": "stratified", "n": 4}
    assert "fitted auDeep-30 on all of train, with validation sets" in leak(
        svm("coder", table="auDeep-30") | {"folds": folds}
    )
    assert leak(svm("coder", table="ComParE") | {"folds": folds}) == ""


def test_a_change_of_the_organisers_files_changes_the_identity(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(organiser_tables, "available", lambda *_: True)
    monkeypatch.setattr(organiser_tables, "digest", lambda *_: "one")
    features = {"name": "opensmile", "table": "ComParE"}
    config = {"features": features, "folds": OFFICIAL, "learner": {"name": "svm", "c": (1.0,)}}
    Member("svm", config, corpus, "f", 12, tmp_path).claim()
    Member("svm", config, corpus, "f", 12, tmp_path).claim()
    monkeypatch.setattr(organiser_tables, "digest", lambda *_: "two")
    with pytest.raises(UserError, match=r"made with another config \(table: one there, two now\)"):
        Member("svm", config, corpus, "f", 12, tmp_path).claim()


def test_evaluation_before_training_is_unavailable(corpus, tmp_path):
    member = Member("coder", AUTOENCODER, corpus, "f", 12, tmp_path)
    with Progress() as progress, pytest.raises(Unavailable, match="training is not finished"):
        member.evaluate(progress, {})


def test_mirrored_ends_that_differ_from_the_context_are_refused(tmp_path):
    config = get_config().to_dict()["members"]["resnet_gru"]
    belts = Recording("train_00.wav", None, "train", "s", np.arange(25.0) / 25, np.sin(np.arange(25.0)), np.zeros(25))
    recordings = [replace(belts, name=f"{p}_00.wav", partition=p) for p in ("train", "devel", "test")]
    corpus = Corpus(tasks.TASKS["breathing"], None, tuple(recordings), 25.0)
    config["folds"] = OFFICIAL
    Member("gru", config, corpus, "f", 12, tmp_path / "right")
    config["learner"]["model"]["piece_frames"] = 100
    with pytest.raises(UserError, match=r"mirror_frames is 24, but the network's pieces need 49"):
        Member("gru", config, corpus, "f", 12, tmp_path / "wrong")


def test_the_precision_is_part_of_the_identity_of_a_network_and_not_of_an_svm(corpus, tmp_path):
    linear = {"features": IMAGE | {"matrix": MATRIX}, "folds": OFFICIAL, "learner": {"name": "svm", "c": (1.0,)}}
    for precision in ("float32", "bfloat16"):
        Member("svm", linear, corpus, "f", 12, tmp_path, precision=precision).claim()
    Member("net", UNTRAINED, corpus, "f", 12, tmp_path).claim()
    with pytest.raises(UserError, match=r"another config \(precision: absent there, bfloat16 now\)"):
        Member("net", UNTRAINED, corpus, "f", 12, tmp_path, precision="bfloat16").claim()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (svm("net", table="BoAW-1"), r"features\.table is 'BoAW-1'"),
        (svm("net", standardise_on="all"), r"features\.standardise_on is 'all'"),
        (svm("net") | {"features": BAGS | {"frames": {"name": "lld"}}}, r"features\.frames\.name is 'lld'"),
        (UNTRAINED | {"learner": UNTRAINED["learner"] | {"examples": {"name": "clips", "augment": "all"}}},
         r"learner\.examples\.augment is 'all'"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_by_its_whole_path(corpus, tmp_path, config, message):
    net = Member("net", UNTRAINED, corpus, "f", 12, tmp_path)
    with pytest.raises(UserError, match=rf"^config\.members\.one\.{message}"):
        Member("one", config, corpus, "f", 12, tmp_path, {"net": net})


def test_codebooks_depend_on_the_seed_and_the_name_of_the_member(corpus, tmp_path):
    rng = np.random.default_rng(0)
    frames = {recording.name: rng.normal(size=(20, 6)).astype(np.float32) for recording in corpus.recordings}

    def bags(name, seed, workdir):
        member = Member(name, svm() | {"features": BAGS}, corpus, "f", seed, tmp_path / workdir)
        with Progress() as progress:
            (fold,) = member.folds
            return member._feature.arrays(corpus, fold, lambda *_: frames, progress, member.folder)["train_00000.wav"]

    one, same, of_another_seed, of_another_name = (
        bags(*given) for given in [("bags", 12, "a"), ("bags", 12, "b"), ("bags", 13, "c"), ("words", 12, "d")]
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, of_another_seed)
    assert not np.array_equal(one, of_another_name)


def test_a_corpus_without_a_test_partition(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXPARA_CACHE", str(tmp_path / "cache"))
    known = Corpus(corpus.task, corpus.root, corpus.partition("train", "devel"), 0.0)
    net = Member("net", UNTRAINED, known, "f", 12, tmp_path)
    member = Member("svm", svm("net"), known, "f", 12, tmp_path, {"net": net})
    with Progress() as progress:
        net.train(progress, {})
        embeddings = {"net": net.embeddings(progress, {})}
        member.train(progress, embeddings)
        member.evaluate(progress, embeddings)
    outcome = member.outcome()
    assert (len(outcome.validation), len(outcome.test)) == (12, 0)
    assert list(outcome.test.columns) == list(outcome.validation.columns)


def test_the_measure_of_a_users_task_is_part_of_the_identity(corpus, tmp_path):
    of_mask = Member("svm", UNTRAINED, corpus, "f", 12, tmp_path).identity
    other = replace(corpus, task=replace(corpus.task, measure="accuracy"))
    own = Member("svm", UNTRAINED, other, "f", 12, tmp_path).identity
    assert own == of_mask | {"task": ["classes", "accuracy", ("clear", "mask"), (-1.0, 1.0)]}
