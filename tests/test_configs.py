"""Every config builds in every recipe, and every network in them takes a step."""

import importlib
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from configs.common import RECIPES
from jaxpara.config import with_demo
from jaxpara.corpora import tasks
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.errors import UserError
from jaxpara.features import speech_encoder
from jaxpara.fusion import FUSIONS
from jaxpara.registry import build
from jaxpara.training import parallel
from jaxpara.training.dependencies import in_order
from jaxpara.training.fold_run import FoldRun
from jaxpara.training.member import Member

CONFIGS = sorted(path.stem for path in (Path(__file__).parent.parent / "configs").glob("[a-z]*.py"))
CONFIGS.remove("common")


def get(name, recipe="recommended"):
    return importlib.import_module(f"configs.{name}").get_config(recipe)


def corpus(task_name):
    """Return a corpus in memory with enough recordings of every class for ten folds."""
    classes = ("a", "b") if task_name == "classes" else ()
    task = tasks.TASKS.get(task_name) or tasks.Task("own", task_name, "label", tasks.MEASURES[task_name][0], classes)
    recordings = []
    for partition in ("train", "devel", "test"):
        for i in range(40):
            if task.kind != "sequence":
                times, labels = np.zeros(1), np.array([i % 2.0])
            else:
                times = np.arange(400) / 25
                labels = np.sin(times)
            shown = labels * np.nan if partition == "test" else labels
            name = f"{partition}_{i:02d}.wav"
            recordings.append(Recording(name, Path(name), partition, f"{partition}{i // 4}", times, shown, labels))
    return Corpus(task, Path(), tuple(recordings), 25.0 if task.kind == "sequence" else 0.0)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Use the tiny speech encoder for the checkpoints on the Hub."""
    tiny = speech_encoder._encoder("tiny")
    base = tiny._replace(config=replace(tiny.config, num_hidden_layers=12))
    monkeypatch.setattr(speech_encoder, "_encoder", lambda name: tiny if name == "tiny" else base)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_builds(name, recipe, tmp_path):
    config = get(name, recipe)
    config.lock()
    spoken = corpus(config.corpus.task)
    for settings in (config.to_dict(), with_demo(config, {}).to_dict()):
        members = {}
        for member in in_order(settings["members"]):
            part = settings["members"][member]
            members[member] = Member(member, part, spoken, "", 12, tmp_path / str(id(settings)), members)
            assert members[member].folds
        fusion = dict(settings["fusion"])
        assert set(fusion.pop("members", ())) <= members.keys()
        assert set(fusion.pop("also_score", ())) <= FUSIONS.keys()
        fusion.pop("leave_out", None)
        build(FUSIONS, fusion, "fusion", seed=1)


def test_the_command_line_wins_over_the_sizes_of_the_demo():
    config = get("breathing_e2e")
    sizes = with_demo(config, {"members.cnn.learner.epochs": 7})
    assert sizes.members.cnn.learner.epochs == 7
    assert sizes.members.cnn.learner.batch == config.demo.members.cnn.learner.batch != config.members.cnn.learner.batch


@pytest.mark.parametrize("name", CONFIGS)
def test_the_schedule_of_every_trained_network_can_be_set_on_the_command_line(name):
    learners = [member["learner"] for member in get(name).to_dict()["members"].values()]
    trained = [learner for learner in learners if learner.get("epochs")]
    fields = {"schedule", "warmup_steps", "decay_steps", "plateau_patience", "plateau_factor"}
    assert all(fields <= learner["optimizer"].keys() for learner in trained)
    assert all(learner["patience"] == 0 for learner in trained)
    assert trained or name == "breathing_svr"


def test_an_unknown_recipe_is_named():
    with pytest.raises(ValueError, match="recipe 'papre' is unknown, expected one of recommended, paper, published"):
        get("breathing_e2e", "papre")


def test_unknown_fields_are_refused(tmp_path):
    config = get("breathing_e2e").to_dict()["members"]["cnn"]
    config["learner"]["model"]["lstms"] = (1, 2)
    with pytest.raises(UserError, match=r"members\.cnn\.learner\.model\.lstms is not a field .* did you mean 'lstm'"):
        Member("cnn", config, corpus("breathing"), "", 12, tmp_path)


WAVEFORM = (400 * 640, 1)


@pytest.mark.parametrize(
    ("name", "member_name", "shape"),
    [
        ("breathing_e2e", "cnn", WAVEFORM),
        ("breathing_s3", "resnet1d", WAVEFORM),
        ("breathing_s5", "embeddings", (400, 768)),
        ("breathing_best", "tcn", (400, 32)),
        ("breathing_best", "resnet_gru", (848, 32)),
        ("breathing_ssl", "ssl", (400, 4, 24)),
        ("mask_ssl", "ssl", (4, 48)),
        ("mask_ssl_tuned", "ssl", (49, 24)),
        ("mask_best", "mlp", (9 * 128,)),
        ("mask_best", "tdnn", (1, 128, 97, 1)),
        ("mask_s1", "adam", (1, 64, 32, 3)),
        ("mask_s1:paper", "adam", (1, 64, 32, 3)),
        ("mask_svm", "audeep30", (1, 24, 128)),
    ],
)
def test_a_network_takes_a_step_at_demo_sizes(name, member_name, shape, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:1])
    config = with_demo(get(*name.split(":")), {}).to_dict()
    spoken = corpus(config["corpus"]["task"])
    members = {}
    for other in in_order(config["members"]):
        part = config["members"][other]
        part["learner"] |= {"batch": 2} if part["learner"]["name"] == "net" else {}
        if "schedule" in part["learner"].get("optimizer", {}):
            part["learner"]["optimizer"] |= {"schedule": "constant"}  # the first step of a warm-up moves nothing
        if "step_s" in part["learner"].get("examples", {}):
            part["learner"]["examples"] |= {"window_s": 2.0, "step_s": 1.0}
        members[other] = Member(other, part, spoken, "", 12, tmp_path, members)
    member = members[member_name]
    rng = np.random.default_rng(0)
    features = {r.name: rng.normal(size=shape).astype(np.float32) for r in spoken.recordings}
    fold = member.folds[0]
    run = FoldRun("", spoken, fold, features, member._feature.frame_rate_hz, tmp_path, 3)
    net = member._learner
    examples = net.examples_of(run, fold.train_names[:2], training=True)
    state = net.init(run)
    before = jax.device_get(state.params)
    placement = parallel.Placement()
    batch = next(net.batches(examples, placement))
    state, loss = net.train_step(placement)(placement.put([state]), placement.batch([batch]))
    assert np.isfinite(loss)
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, jax.device_get(state.params))
    still = [jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(moved) if not leaf]
    # Its BatchNorm is folded into the convolution before it, whose bias it takes out to the bit.
    assert still == (["['trunk']['stem']['bias']"] if name == "breathing_s3" else [])
