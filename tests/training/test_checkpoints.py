import shutil
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxpara.errors import UserError
from jaxpara.training.checkpoints import Checkpoints, best_epochs, since_best
from jaxpara.training.state import create


class Model(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(x)


def state(step):
    made = create(Model(), np.zeros((1, 2), np.float32), optax.adam(1e-3), seed=1)
    return made.replace(step=np.int32(step), params=jax.tree.map(lambda x: x + step, made.params))


def history(*scores):
    """The history after as many validated epochs of one step each."""
    return {"epochs": [{"epoch": n, "step": n + 1, "score": x, "loss": 0.5} for n, x in enumerate(scores)]}


def opened(folder, keep_best=1, best_by="score"):
    return Checkpoints(folder, keep_best, best_by)


def kept(folder):
    return sorted(int(path.name) for path in folder.iterdir())


@pytest.mark.parametrize(
    ("best_by", "keep_best", "steps"),
    [("score", 2, [2, 3, 5]), ("score", 1, [2, 5]), ("loss", 1, [4, 5]), ("score", 9, [1, 2, 3, 4, 5])],
)
def test_the_latest_and_the_best_are_kept_and_read_back(best_by, keep_best, steps, tmp_path):
    """Of equal scores the earlier is better, and an undefined one is the worst; step 5 is within an epoch."""
    epochs = history(0.1, 0.5, 0.5, None)["epochs"]
    epochs[3]["loss"] = 0.4
    with opened(tmp_path, keep_best, best_by) as checkpoints:
        for step in range(1, 6):
            checkpoints.save(state(step), {"epochs": epochs[:step], "at": step})
        assert kept(tmp_path) == steps
        for step in steps:
            restored, found = checkpoints.read(step, state(0))
            assert found == {"epochs": epochs[:step], "at": step}
            jax.tree.map(np.testing.assert_array_equal, restored, jax.device_get(state(step)))
        assert checkpoints.latest(state(0))[1]["at"] == 5


def test_no_checkpoint_is_no_state(tmp_path):
    with opened(tmp_path) as checkpoints:
        assert checkpoints.latest(state(0)) is None


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    with opened(tmp_path) as checkpoints:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
        with pytest.raises(UserError, match=r"step 7 cannot be written \(1 MB free on the disk, 2 MB needed\)"):
            checkpoints.save(state(7), history())
        assert kept(tmp_path) == []


def test_an_error_without_a_message_is_named_by_its_type(tmp_path, monkeypatch):
    with opened(tmp_path) as checkpoints:
        for error, what in ((TimeoutError(), "TimeoutError"), (OSError("\n\nno room\nat all"), "no room")):

            def failing(*_, error=error, **__):
                raise error

            monkeypatch.setattr(checkpoints._manager, "save", failing)
            with pytest.raises(UserError, match=rf"step 7 cannot be written \({what}\); finished"):
                checkpoints.save(state(7), history())


def spoil(folder, kind):
    """Truncate files, as a failing disk does."""
    for path in folder.rglob("*"):
        if path.is_file() and (kind == "all files" or path.parent.name == kind):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def saved_twice(folder):
    with opened(folder) as checkpoints:
        checkpoints.save(state(3), {"epochs": [{"step": 3, "score": 0.5}], "at": 3})
        checkpoints.save(state(7), {"epochs": [{"step": 3, "score": 0.5}, {"step": 7, "score": 0.4}], "at": 7})


# Threads of orbax fail in addition to the error that is raised.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["all files", "state", "history", "d"])
def test_if_the_latest_checkpoint_is_damaged_the_one_before_is_read(kind, tmp_path, caplog):
    saved_twice(tmp_path)
    spoil(tmp_path / "7", kind)
    with opened(tmp_path, 2) as checkpoints:
        restored, found = checkpoints.latest(state(0))
        assert found["at"] == 3
        jax.tree.map(np.testing.assert_array_equal, restored, jax.device_get(state(3)))
        assert [
            line for line in caplog.messages if "7 is damaged and was set aside; training resumes from step 3 (" in line
        ]
        checkpoints.save(state(7), history() | {"at": "again"})
        assert checkpoints.latest(state(0))[1]["at"] == "again"
    assert (tmp_path / "damaged_7").is_dir()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_older_checkpoint_does_not_matter_for_training(tmp_path):
    saved_twice(tmp_path)
    spoil(tmp_path / "3", "all files")
    with opened(tmp_path) as checkpoints:
        assert checkpoints.latest(state(0))[1]["at"] == 7


@pytest.mark.parametrize("kind", ["state", "history"])
def test_if_every_checkpoint_is_damaged_all_stay(kind, tmp_path):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(7), history())
    spoil(tmp_path / "7", kind)
    with opened(tmp_path) as checkpoints:
        for read in (checkpoints.latest, partial(checkpoints.read, 7)):
            with pytest.raises(UserError, match=r"7: this checkpoint cannot be read \(.+\); make it readable") as error:
                read(state(0))
            assert f"to train this fold again, rename {tmp_path.parent} and keep it as a copy" in str(error.value)
            assert "delete" not in str(error.value)
    assert (tmp_path / "7").is_dir()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_message_names_the_other_checkpoints(tmp_path):
    saved_twice(tmp_path)
    spoil(tmp_path / "7", "all files")
    with opened(tmp_path) as checkpoints, pytest.raises(UserError, match=r"also has the checkpoints of step 3\)$"):
        checkpoints.read(7, state(0))


def test_the_checkpoint_of_another_network_is_refused(tmp_path):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(7), history())
        wider = jax.tree.map(lambda x: np.zeros((*x.shape, 2), x.dtype), state(0))
        with pytest.raises(UserError, match="7: this checkpoint belongs to another network; undo"):
            checkpoints.latest(wider)


def epochs(*pairs):
    return [{"epoch": i, "step": 10 * i, "score": score, "loss": loss} for i, (score, loss) in enumerate(pairs)]


FOLDS = [epochs((0.1, 3.0), (0.5, 2.0), (0.5, 1.0)), epochs((None, 0.5), (0.2, 0.7), (0.4, 0.6))]


@pytest.mark.parametrize(
    ("best_by", "common", "chosen"),
    [
        ("score", False, [1, 2]),
        ("loss", False, [2, 0]),
        ("score", True, [2, 2]),
        ("loss", True, [2, 2]),
        ("error", False, [0, 1]),
    ],
)
def test_the_best_epoch_of_each_run_or_of_all(best_by, common, chosen):
    assert [epoch["epoch"] for epoch in best_epochs(FOLDS, best_by, common=common)] == chosen


@pytest.mark.parametrize(
    ("scores", "count"),
    [((), 0), ((0.5,), 0), ((0.5, 0.6), 0), ((0.6, 0.5, 0.6), 2), ((None, None), 1), ((0.1, None, 0.2, None), 1)],
)
def test_epochs_since_the_best_one(scores, count):
    """An equal score is no better one, and an undefined score is the worst."""
    assert since_best(history(*scores)["epochs"], "score") == count


def test_epochs_since_the_lowest_loss():
    assert since_best([{"score": 0.1 * n, "loss": loss} for n, loss in enumerate((0.5, 0.4, 0.6, 0.4))], "loss") == 2
