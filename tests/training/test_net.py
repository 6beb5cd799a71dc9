"""Runs of a network on made-up sequences: all folds at once, several devices, interruptions, compilations."""

import itertools
import json
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from jaxpara.corpora import tasks
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.predictions import scores_of
from jaxpara.progress import Progress
from jaxpara.training import parallel
from jaxpara.training.checkpoints import Checkpoints
from jaxpara.training.compilations import Compilations
from jaxpara.training.fold_run import FoldRun, summary_of
from jaxpara.training.net import Net
from jaxpara.training.train import ActiveRun, Interrupted

TASK = tasks.TASKS["breathing"]
# Narrow, without dropout, as its masks differ by device, and with SGD, as Adam reduces a gradient near 0 to its sign.
CONFIG = {
    "examples": {"name": "windows", "window_s": 2.0, "step_s": 1.0},
    "model": {"name": "sequence_lstm", "lstm": (6, 4), "dropout": 0.0},
    "loss": {"name": "window_pcc"},
    "optimizer": {"name": "sgd", "lr": 0.3},
    "batch": 8,
    "epochs": 3,
}
PLATEAU = {"schedule": "plateau", "plateau_patience": 0, "plateau_factor": 0.5}
COSINE = {"schedule": "cosine"}  # to the end of training, which is not the same step in all folds
# With BatchNorm, synchronised over the devices.
RESNET = CONFIG | {
    "model": {"name": "resnet1d_lstm", "stem": 4, "stages": (2, 2), "blocks": 1, "pools": (2, 2, 2), "lstm": (4,)},
    "optimizer": {"name": "sgd", "lr": 0.05},
}


@pytest.fixture
def folds_in():
    """Three folds of 6 recordings: 25, 24 and 23 windows to train on, so 4, 3 and 3 steps an epoch."""
    rng, recordings, features = np.random.default_rng(0), [], {}
    for number, seconds in enumerate((5, 6, 7, 8, 4, 5)):
        name, times = f"train_{number:02d}.wav", np.arange(seconds * 25) / 25
        belt = np.sin(times * 2 + number)
        recordings.append(Recording(name, None, "train", name, times, belt, belt))
        features[name] = (belt[:, None] + rng.normal(size=(len(times), 3))).astype(np.float32)
    corpus = Corpus(TASK, None, tuple(recordings), 25.0)
    names = tuple(recording.name for recording in recordings)

    def folds(folder, *, waves=False):
        """The features, at 25 Hz or, as a waveform, at 200 Hz."""
        given = {n: np.repeat(v[:, :1], 8, axis=0) for n, v in features.items()} if waves else features
        for number in range(3):
            held_out = names[number : number + 1]
            fold = Fold(number, tuple(name for name in names if name not in held_out), held_out, held_out)
            yield FoldRun(
                f"net, fold {number}", corpus, fold, given, 200.0 if waves else 25.0, folder / f"{number}", number
            )

    return folds


def net(config=CONFIG, waves=False, **fields):
    return Net(task=TASK, frame_rate_hz=200.0 if waves else 25.0, where="net", **config | fields)


def test_a_network_of_one_epoch_learns_and_one_of_none_keeps_its_initial_weights():
    assert net(epochs=1).learns
    assert net(epochs=1).predicts
    assert not net(epochs=0).learns
    assert not net(epochs=0).predicts


def trained(network, *groups):
    """Train runs group by group; return their epochs, the losses of the log and the predictions."""
    outcome = {}
    with Progress() as progress:
        for group in groups:
            network.train(group, progress)
            for run in group:
                summary = summary_of(run.folder)
                (chosen,) = network.choose([summary])
                lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
                outcome[run.fold.index] = {
                    "epochs": [(e["epoch"], e["step"]) for e in summary["epochs"]],
                    "losses": np.array([e["loss"] for e in summary["epochs"]]),
                    "log": np.array([line["loss"] for line in lines]),
                    "lr": np.array([line["lr"] for line in lines if "lr" in line]),
                    "scores": scores_of(network.predict(run, run.fold.val_names, network.load(run, chosen))),
                }
    return outcome


def assert_same(one, other, atol):
    assert one.keys() == other.keys()
    for number in one:
        for name, value in one[number].items():
            np.testing.assert_allclose(other[number][name], value, rtol=0, atol=atol, err_msg=f"{name} of {number}")


def use(monkeypatch, devices):
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:devices])


VARIANTS = {
    "in parts, with dropout, at a falling rate": (
        {
            "model": CONFIG["model"] | {"dropout": 0.4},
            "microbatch": 3,
            "optimizer": CONFIG["optimizer"] | PLATEAU,
        },
        False,
    ),
    "a loss of the whole batch": ({"loss": {"name": "batch_pcc"}, "epochs": 2}, False),
    "BatchNorm, at a falling rate": (RESNET | {"epochs": 2, "optimizer": RESNET["optimizer"] | COSINE}, True),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_folds_at_once_and_shared_batches_give_the_results_of_one_after_the_other(
    variant, folds_in, tmp_path, monkeypatch
):
    """On one device, and on two, where three runs leave a slot unused.

    On four devices that share its batches, a run with BatchNorm gives the same too: it is synchronised, and the last
    batch of an epoch, of 7 windows, is padded and masked.
    """
    fields, waves = VARIANTS[variant]
    use(monkeypatch, 1)
    network = net(waves=waves, **fields)
    alone = trained(network, *([run] for run in folds_in(tmp_path / "alone", waves=waves)))
    together = trained(network, list(folds_in(tmp_path / "together", waves=waves)))
    assert_same(alone, together, 1e-5)
    if "BatchNorm" in variant:
        use(monkeypatch, 4)
        last = list(folds_in(tmp_path / "four", waves=True))[-1]
        assert_same({2: alone[2]}, trained(net(waves=True, **fields), [last]), 1e-5)
    if variant != "a loss of the whole batch":
        use(monkeypatch, 2)
        spread = trained(net(waves=waves, **fields), list(folds_in(tmp_path / "spread", waves=waves)))
        assert_same(alone, spread, 1e-5)
    assert all(abs(outcome["losses"][-1] - outcome["losses"][0]) > 1e-3 for outcome in alone.values())
    if "falling" in variant:
        assert any(outcome["lr"][-1] < outcome["lr"][0] for outcome in alone.values())
    if "BatchNorm" in variant:
        for outcome in alone.values():
            _, updates = outcome["epochs"][-1]
            last = RESNET["optimizer"]["lr"] * (1 + np.cos(np.pi * (updates - 1) / updates)) / 2  # 0 would come next
            assert outcome["lr"][-1] == pytest.approx(last, rel=1e-4)


def stopping_after(asks):
    """Return a `stop_requests` whose stop comes after the loop, which asks after every step, has asked some times."""
    seen = itertools.count(1)

    @contextmanager
    def requests():
        yield lambda: next(seen) > asks

    return requests


@pytest.fixture(scope="module")
def shared():
    """Compiled once for the tests below, which are about what happens between the steps."""
    return net()


@pytest.mark.parametrize(("asks", "left"), [(4, 3), (10, 1)])
def test_on_a_stop_request_all_runs_save_and_resume_to_the_same_bits(
    asks, left, shared, folds_in, tmp_path, monkeypatch
):
    """Also if their steps differ, and if some are finished."""
    use(monkeypatch, 1)
    undisturbed = trained(shared, list(folds_in(tmp_path / "undisturbed")))
    runs = list(folds_in(tmp_path / "stopped"))
    with monkeypatch.context() as patch, Progress() as progress:
        patch.setattr("jaxpara.training.net.stop_requests", stopping_after(asks))
        with pytest.raises(Interrupted) as stopped:
            shared.train(runs, progress)
    assert len(str(stopped.value).splitlines()) == left
    assert sum(not (run.folder / "summary.json").exists() for run in runs) == left
    monkeypatch.setattr(shared, "pretrained", str(tmp_path / "deleted.safetensors"))  # not needed any more
    assert_same(undisturbed, trained(shared, runs), 0)


def test_on_a_stop_request_in_the_last_step_nothing_else_starts(shared, folds_in, tmp_path, monkeypatch):
    use(monkeypatch, 1)
    *_, run = folds_in(tmp_path)  # of 9 steps
    monkeypatch.setattr("jaxpara.training.net.stop_requests", stopping_after(8))
    with Progress() as progress, pytest.raises(Interrupted, match="net, fold 2: trained; stopped"):
        shared.train([run], progress)
    assert (run.folder / "summary.json").exists()


def test_runs_that_are_killed_during_a_save_resume_to_the_same_bits(shared, folds_in, tmp_path, monkeypatch):
    """A later save of one fold fails, so that the others are an epoch ahead of it."""
    use(monkeypatch, 1)
    undisturbed = trained(shared, list(folds_in(tmp_path / "undisturbed")))
    runs = list(folds_in(tmp_path / "killed"))
    save = Checkpoints.save

    def failing(self, state, history):
        if self.folder.parent.name == "1" and int(state.step) == 6:
            raise KeyboardInterrupt
        save(self, state, history)

    with monkeypatch.context() as patch, Progress() as progress:
        patch.setattr(Checkpoints, "save", failing)
        with pytest.raises(KeyboardInterrupt):
            shared.train(runs, progress)
    assert_same(undisturbed, trained(shared, runs), 0)


def test_runs_end_early_at_the_same_epoch_alone_together_and_after_a_kill(
    shared, folds_in, tmp_path, monkeypatch, capsys
):
    use(monkeypatch, 1)
    monkeypatch.setattr(shared, "epochs", 5)
    monkeypatch.setattr(shared, "patience", 2)
    shares, divide = [], ActiveRun.divide_time_among
    with monkeypatch.context() as patch:
        patch.setattr(ActiveRun, "divide_time_among", lambda run, runs: shares.append(runs) or divide(run, runs))
        together = trained(shared, list(folds_in(tmp_path / "together")))
    assert shares == [3, 3, 3, 1]  # two of the three end at the same step
    assert (
        "net, fold 0: ends after epoch 3 of 5, 2 of 2 validations without a better score\n" in capsys.readouterr().out
    )
    assert [len(outcome["epochs"]) for outcome in together.values()] == [3, 4, 5]
    assert_same(together, trained(shared, *([run] for run in folds_in(tmp_path / "alone"))), 1e-5)

    runs = list(folds_in(tmp_path / "killed"))
    with monkeypatch.context() as patch, Progress() as progress:
        patch.setattr(ActiveRun, "write_summary", lambda self: next(iter(())))  # after the checkpoint of fold 0
        with pytest.raises(StopIteration):
            shared.train(runs, progress)
    assert_same(together, trained(shared, runs), 0)

    monkeypatch.setattr(shared, "patience", 0)
    full = trained(shared, list(folds_in(tmp_path / "full")))
    for number, outcome in full.items():
        ended = together[number]["losses"]
        np.testing.assert_array_equal(outcome["losses"][: len(ended)], ended)
        assert len(outcome["losses"]) == 5


def test_a_common_epoch_and_patience_are_refused_together():
    with pytest.raises(UserError, match=r"config.net.common_epoch needs .* patience to 0 \(it is 1\)"):
        net(common_epoch=True, keep_best=3, patience=1)


@pytest.mark.parametrize(("together", "schedule"), [(False, PLATEAU), (True, PLATEAU), (False, COSINE)])
def test_nothing_is_compiled_after_the_first_epoch_of_the_first_fold(
    together, schedule, folds_in, tmp_path, monkeypatch
):
    """Not for folds and last batches of other sizes, another learning rate, or a run that resumes from a checkpoint."""
    use(monkeypatch, 2)
    network = net(
        optimizer=CONFIG["optimizer"] | schedule, loss={"name": "batch_pcc"}, model=CONFIG["model"] | {"lstm": (4,)}
    )
    runs = list(folds_in(tmp_path))
    save, first, compiled = Checkpoints.save, [], Compilations()

    def saving(self, state, history):
        save(self, state, history)
        first or first.extend(compiled.names)
        if self.folder.parent.name == "2" and int(state.step) == 3 and not (tmp_path / "2" / "stopped").exists():
            (tmp_path / "2" / "stopped").touch()
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", saving)
    groups = [runs] if together else [[run] for run in runs]
    with Progress() as progress, pytest.raises(KeyboardInterrupt):
        [network.train(group, progress) for group in groups]
    outcome = trained(network, *groups)
    assert any(fold["lr"][-1] < fold["lr"][0] for fold in outcome.values())
    assert sorted(first) == ["jit(_fun)", "jit(_fun)", "jit(_init)"]  # the steps that train and predict, and the start
    assert compiled.names == first
    assert compiled.summary()["programs"] == 3


def test_in_bfloat16_a_run_learns_as_much(folds_in, tmp_path, monkeypatch):
    use(monkeypatch, 1)
    outcomes = [trained(net(precision=p, epochs=4), [next(folds_in(tmp_path / p))])[0] for p in ("float32", "bfloat16")]
    assert outcomes[1]["log"][-2] < outcomes[1]["log"][0] / 2  # of training, the first and the last epoch
    np.testing.assert_allclose(outcomes[0]["losses"], outcomes[1]["losses"], atol=0.02)
    assert np.abs(outcomes[0]["scores"] - outcomes[1]["scores"]).max() > 0
