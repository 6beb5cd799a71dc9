import shutil
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxpara.errors import UserError
from jaxpara.training.checkpoints import Checkpoints, best_epochs
from jaxpara.training.state import create


class Model(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(x)


def state(step):
    made = create(Model(), np.zeros((1, 2), np.float32), optax.adam(1e-3), seed=1)
    return made.replace(step=np.int32(step), params=jax.tree.map(lambda x: x + step, made.params))


def test_the_latest_and_the_best_are_kept_and_come_back_whole(tmp_path):
    with Checkpoints(tmp_path, keep_best=2) as checkpoints:
        for step, rank in ((1, 0.1), (2, 0.5), (3, 0.5), (4, -np.inf), (5, None)):
            checkpoints.save(state(step), {"losses": [0.25], "at": step}, rank)
        assert checkpoints.steps == [2, 3, 5]
        restored, history = checkpoints.read(3, state(0))
        assert history == {"losses": [0.25], "at": 3}
        jax.tree.map(np.testing.assert_array_equal, restored, jax.device_get(state(3)))
        assert checkpoints.latest(state(0))[1]["at"] == 5


def test_of_equal_ranks_the_earlier_stays(tmp_path):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        for step, rank in ((1, 0.5), (2, 0.5), (3, 0.1)):
            checkpoints.save(state(step), {}, rank)
        assert checkpoints.steps == [1, 3]


def test_no_checkpoint_is_no_state(tmp_path):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        assert checkpoints.latest(state(0)) is None


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
        with pytest.raises(UserError, match=r"step 7 cannot be written \(1 MB free on the disk, 2 MB needed\)"):
            checkpoints.save(state(7), {}, 0.0)
        assert checkpoints.steps == []


def test_an_error_without_a_text_is_named_by_its_kind(tmp_path, monkeypatch):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        for error, what in ((TimeoutError(), "TimeoutError"), (OSError("\n\nno room\nat all"), "no room")):

            def failing(*_, error=error):
                raise error

            monkeypatch.setattr(checkpoints, "_save", failing)
            with pytest.raises(UserError, match=rf"step 7 cannot be written \({what}\); nothing"):
                checkpoints.save(state(7), {}, 0.0)


def spoil(folder, kind):
    """As a failing disk does."""
    for path in folder.rglob("*"):
        if path.is_file() and (kind == "all files" or path.parent.name == kind):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Threads of orbax that fail beside the one that is heard of.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["all files", "state", "history", "metrics", "d"])
def test_of_a_damaged_latest_checkpoint_the_one_before_is_taken(kind, tmp_path, caplog):
    with Checkpoints(tmp_path, keep_best=2) as checkpoints:
        for step, rank in ((3, 0.5), (7, 0.4)):
            checkpoints.save(state(step), {"at": step}, rank)
    spoil(tmp_path / "7", kind)
    with Checkpoints(tmp_path, keep_best=2) as checkpoints:
        restored, history = checkpoints.latest(state(0))
        assert history == {"at": 3}
        jax.tree.map(np.testing.assert_array_equal, restored, jax.device_get(state(3)))
        assert [
            line for line in caplog.messages if "7 is damaged and was set aside; training resumes from step 3" in line
        ]
        checkpoints.save(state(7), {"at": "again"}, 0.4)
        assert checkpoints.latest(state(0))[1] == {"at": "again"}
    assert (tmp_path / "damaged_7").is_dir()


def test_an_older_checkpoint_without_a_readable_rank_is_not_what_training_goes_back_to(tmp_path, caplog):
    """Orbax cannot open the folder with it, so it is set aside too, and training resumes from the latest."""
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        for step, rank in ((3, 0.5), (7, 0.4)):
            checkpoints.save(state(step), {"at": step}, rank)
    spoil(tmp_path / "3", "metrics")
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        assert checkpoints.latest(state(0))[1] == {"at": 7}
    assert [line for line in caplog.messages if "3 is damaged and was set aside; training resumes from step 7" in line]


@pytest.mark.parametrize("kind", ["state", "history"])
def test_where_every_checkpoint_is_damaged_none_is_taken_away(kind, tmp_path):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        checkpoints.save(state(7), {}, 0.0)
    spoil(tmp_path / "7", kind)
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        for read in (checkpoints.latest, partial(checkpoints.read, 7)):
            with pytest.raises(
                UserError, match=r"7: this checkpoint cannot be read .*; delete .* trains this fold again"
            ):
                read(state(0))
    assert (tmp_path / "7").is_dir()


def test_the_checkpoint_of_another_network_is_refused(tmp_path):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        checkpoints.save(state(7), {}, 0.0)
        wider = jax.tree.map(lambda x: np.zeros((*x.shape, 2), x.dtype), state(0))
        with pytest.raises(UserError, match="7: this checkpoint belongs to another network; delete"):
            checkpoints.latest(wider)


def epochs(*pairs):
    return [{"epoch": i, "step": 10 * i, "score": score, "loss": loss} for i, (score, loss) in enumerate(pairs)]


FOLDS = [epochs((0.1, 3.0), (0.5, 2.0), (0.5, 1.0)), epochs((None, 0.5), (0.2, 0.7), (0.4, 0.6))]


@pytest.mark.parametrize(
    ("best_by", "common", "chosen"),
    [("score", False, [1, 2]), ("loss", False, [2, 0]), ("score", True, [2, 2]), ("loss", True, [2, 2])],
)
def test_the_best_epoch_of_each_run_or_of_all(best_by, common, chosen):
    assert [epoch["epoch"] for epoch in best_epochs(FOLDS, best_by, common=common)] == chosen
