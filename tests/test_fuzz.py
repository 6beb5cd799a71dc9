"""Reading a damaged file returns its content or raises one UserError. For corpora see tests/corpora/test_check.py.

`JAXPARA_FUZZ=2000 pytest tests/test_fuzz.py tests/corpora/test_check.py -n 0` tries 2000 new examples of each kind.
"""

import contextlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import soundfile
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxpara.corpora import audio
from jaxpara.errors import UserError
from jaxpara.evaluation import plots
from jaxpara.files import read_json, read_json_lines
from jaxpara.inference import system, system_file
from jaxpara.inference.audio_files import AudioFile
from jaxpara.predictions import load, save, scores_of, table_of
from jaxpara.training.checkpoints import Checkpoints, best_epochs
from jaxpara.training.logs import Log
from jaxpara.training.state import create

RATE_HZ = 16_000
EXAMPLES = settings().max_examples  # see conftest.py


def damaged(content: bytes, head: int | None = None) -> st.SearchStrategy[bytes]:
    """Return other bytes, or the content cut, overwritten, or with bytes added or removed within its first `head`."""
    at = st.integers(0, len(content) if head is None else min(head, len(content)))
    some = st.binary(min_size=1, max_size=8)
    return st.one_of(
        st.binary(max_size=100),
        at.map(lambda n: content[:n]),
        st.builds(lambda n, new: content[:n] + new + content[n + len(new) :], at, some),
        st.builds(lambda n, new: content[:n] + new + content[n:], at, some),
        st.builds(lambda n, count: content[:n] + content[n + count :], at, st.integers(1, 8)),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def places(tree, at=()):
    """Yield the keys that lead to each value of a JSON tree."""
    yield at
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*at, key))


def edited(tree, values=JSON) -> st.SearchStrategy[bytes]:
    """Return the text of a JSON tree with one value replaced, or with damaged bytes."""

    def edit(at, value):
        changed = json.loads(json.dumps({"": tree}))
        inside = changed
        for key in ("", *at)[:-1]:
            inside = inside[key]
        inside[("", *at)[-1]] = value
        return json.dumps(changed[""]).encode()

    return st.one_of(st.builds(edit, st.sampled_from(list(places(tree))), values), damaged(json.dumps(tree).encode()))


def wav(subtype: str, path: Path) -> bytes:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 800)
    soundfile.write(path, samples, RATE_HZ, subtype=subtype)
    return path.read_bytes()


@contextlib.contextmanager
def refusing(word: object, *more: type[Exception]):
    """Accept a UserError that names the file."""
    try:
        yield
    except UserError as error:
        if str(word) not in str(error):
            raise AssertionError("the message does not name the file") from error
    except more:
        pass


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@given(data=st.data())
def test_wav_files(subtype, tmp_path, data):
    path = tmp_path / "a.wav"
    path.write_bytes(data.draw(damaged(wav(subtype, path), head=60)))
    with refusing(path):
        waveform = audio.read(path, RATE_HZ)
        assert waveform.dtype == np.float32
        assert waveform.ndim == 1
        assert np.abs(waveform).max() <= 1
    with refusing(""):
        assert all(np.isfinite(part).all() for part in AudioFile(path, "a.wav").read(RATE_HZ))


@given(data=st.data())
def test_predictions(tmp_path, data):
    path = tmp_path / "p.npz"
    save(table_of(["a.wav", "b.wav"], np.zeros(2), ["test", "test"], np.ones((2, 1)), 0, 0), path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with refusing(path):
        loaded = load(path)
        assert len(loaded) == len(scores_of(loaded))


MODEL = {"fold": 0, "seed": 0, "epoch": 1, "step": 8, "score": 0.5, "loss": 0.25}
CONFIG = {"features": {}, "learner": {}}
MEMBER = {"config": CONFIG, "sources": [], "table": "", "precision": "float32", "models": [MODEL]}
SYSTEM = {
    "schema": system_file.SCHEMA,
    "task": "breathing",
    "seed": 1,
    "simulated": True,
    "label_rate_hz": 25.0,
    "longest_s": 20.0,
    "members": {"cnn": MEMBER, "lstm": MEMBER | {"sources": ["cnn"]}},
    "weights": [{"member": "lstm", "fold": 0, "seed": 0, "weight": 1.0}],
}
NAMES = st.sampled_from(["cnn", "lstm", "fold", "seed"])


@given(content=edited(SYSTEM, JSON | st.lists(NAMES, max_size=2) | st.dictionaries(NAMES, JSON, max_size=2)))
def test_systems(tmp_path, monkeypatch, content):
    """Members are not built from their configs here."""
    monkeypatch.setattr(system, "TrainedMember", lambda name, *_, **__: name)
    (tmp_path / system_file.FILE).write_bytes(content)
    with refusing(tmp_path / system_file.FILE):
        loaded = system.System(tmp_path)
        assert loaded.weights
        assert loaded.blocks.step > 0


EPOCHS = [{"epoch": n, "step": 4 * n + 4, "score": 0.5 * n, "loss": 0.25} for n in range(2)]


@given(content=edited({"seconds": 1.0, "parameters": 7, "epochs": EPOCHS}), common=st.booleans())
def test_summaries(tmp_path, content, common):
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with refusing(path, LookupError, TypeError, ValueError, OverflowError):  # `Member.chosen` reports these
        (chosen,) = best_epochs([read_json(path, "delete it", ("seconds",))["epochs"]], "loss", common=common)
        assert isinstance(chosen["step"], int)


LINES = [
    {"kind": kind, "step": 4, "epoch": 0, "loss": 0.5, "score": None, "lr": 0.1} for kind in ("train", "validation")
]


@settings(max_examples=max(10, EXAMPLES // 20))  # each draws an image
@given(contents=st.lists(st.sampled_from(LINES).flatmap(edited), min_size=1, max_size=3))
def test_logs(tmp_path, contents):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(contents))
    plots.learning_curves("cnn", {(0, 0): read_json_lines(path)}, {(0, 0): 0}, "PCC")
    with Log(tmp_path, 4) as log:
        log.write("train", 5, 1, loss=0.5)
    assert read_json_lines(path)[-1]["step"] == 5


class Model(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(x)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the folder of two checkpoints, and their states by step."""
    folder = tmp_path_factory.mktemp("saved")
    made = create(Model(), np.zeros((1, 2), np.float32), optax.adam(1e-3), seed=1)
    states = {n: jax.device_get(made.replace(step=np.int32(n))) for n in (3, 7)}
    with Checkpoints(folder, 2, "score") as checkpoints:
        for step, state in states.items():
            epochs = [entry | {"step": step} for entry, step in zip(EPOCHS, states, strict=True)]
            checkpoints.save(state, {"losses": [], "epochs": epochs, "seconds": float(step)})
    return folder, states


# Other threads of orbax fail as well as the one whose error is raised.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=max(25, EXAMPLES // 20))  # orbax is slow
@given(data=st.data())
def test_checkpoint_folders(saved, tmp_path, data):
    source, states = saved
    folder = tmp_path / "checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files), label="file")
    how = data.draw(st.sampled_from(["spoil", "delete", "delete folder", "add", "make a folder"]), label="how")
    if how == "spoil":
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    elif how == "add":
        (path.parent / data.draw(st.sampled_from(["9", "10.tmp", "notes.txt", ".DS_Store"]))).write_bytes(b"x")
    elif how == "delete folder":
        shutil.rmtree(path.parent)
    else:
        path.unlink()
        if how == "make a folder":
            path.mkdir()
    folder.mkdir(exist_ok=True)
    with refusing(folder):
        with Checkpoints(folder, 2, "score") as checkpoints:
            found = checkpoints.latest(states[3])
        if found is not None:
            state, history = found
            jax.tree.map(np.testing.assert_array_equal, state, states[int(state.step)])
            assert history["seconds"] == state.step
