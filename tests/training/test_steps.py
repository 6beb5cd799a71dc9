"""A step has the same result whatever it is spread over."""

from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxpara.models.cnn1d import CNN1DLSTM
from jaxpara.training import parallel, steps
from jaxpara.training.losses import BatchPCC, WindowPCC
from jaxpara.training.optimizers import SGD, with_lr_scale
from jaxpara.training.state import create


class Toy(nn.Module):
    """A network with BatchNorm and, if wanted, dropout."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        # Without a bias: in front of BatchNorm its gradient is rounding noise, which Adam would amplify.
        x = nn.Conv(4, (3,), use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=not train, axis_name=parallel.AXIS if train else None)(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return nn.tanh(nn.Dense(1)(x))[..., 0]


class Plain(nn.Module):
    """A network in which no example depends on another."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.tanh(nn.Dense(1)(nn.relu(nn.Conv(4, (3,))(x))))[..., 0]


def inputs_of(part, key):
    return part["inputs"]


def batch(rows, weights_until=None, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 24, 1)).astype(np.float32)
    weights = np.ones((rows, 24), np.float32)
    weights[rows if weights_until is None else weights_until :] = 0
    targets = np.cumsum(inputs[..., 0], 1) * 0.1
    return {"inputs": inputs, "targets": targets, "weights": weights}


def train(monkeypatch, *, devices, parts=1, updates=5, loss=None, model=None, rows=8, copies=1, until=None):
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:devices])
    model, optimizer = model or Toy(), optax.adam(1e-2)
    step = parallel.spread(steps.train_step(model, inputs_of, loss or WindowPCC(), optimizer))
    state = parallel.replicate(create(model, np.zeros((1, 24, 1), np.float32), optimizer, seed=3))
    losses = []
    for n in range(updates):
        tiled = {k: np.concatenate([v] * copies) for k, v in batch(rows, until, n).items()}
        arranged = {k: v.reshape(devices * parts, -1, *v.shape[1:]) for k, v in tiled.items()}
        state, value = step(state, parallel.shard(arranged))
        losses.append(float(value))
    return jax.device_get(state), losses


def assert_same(one, other, atol):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other)


@pytest.mark.parametrize("loss", [WindowPCC(), BatchPCC()])
def test_four_devices_give_the_result_of_one(monkeypatch, loss):
    one, losses_1 = train(monkeypatch, devices=1, loss=loss)
    four, losses_4 = train(monkeypatch, devices=4, loss=loss)
    np.testing.assert_allclose(losses_1, losses_4, atol=1e-5)
    assert_same(one, four, 1e-5)
    assert min(losses_1) > 0


def test_four_devices_give_the_result_of_one_with_the_breathing_network(monkeypatch):
    """System 2's layers, narrow and without dropout, whose masks differ by device.

    With SGD, as Adam amplifies the rounding errors of a gradient that is nearly 0 to a whole step.
    """
    model, optimizer = CNN1DLSTM(filters=(4, 4, 4, 4), lstm=(4, 4), dropout=0.0), optax.sgd(0.1, 0.9)
    rng = np.random.default_rng(0)
    rows = {
        "inputs": rng.normal(size=(4, 16 * 640, 1)).astype(np.float32),
        "targets": rng.normal(size=(4, 16)).astype(np.float32),
        "weights": np.ones((4, 16), np.float32),
    }
    states = []
    for devices in (1, 4):
        monkeypatch.setattr(parallel, "devices", lambda n=devices: jax.local_devices()[:n])
        step = parallel.spread(steps.train_step(model, inputs_of, WindowPCC(), optimizer))
        state = parallel.replicate(create(model, rows["inputs"][:1], optimizer, seed=3))
        start = jax.device_get(state.params)
        for _ in range(5):
            arranged = {k: v.reshape(devices, -1, *v.shape[1:]) for k, v in rows.items()}
            state, _ = step(state, parallel.shard(arranged))
        states.append(jax.device_get(state))
    assert int(states[0].step) == 5
    assert_same(*states, 1e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 1e-3, start, states[0].params)
    assert all(jax.tree.leaves(moved))


def test_parts_give_the_result_of_the_whole_batch(monkeypatch):
    whole, losses_whole = train(monkeypatch, devices=2, parts=1, until=7, model=Plain())
    parts, losses_parts = train(monkeypatch, devices=2, parts=4, until=7, model=Plain())
    np.testing.assert_allclose(losses_whole, losses_parts, atol=1e-6)
    assert_same(whole, parts, 1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_devices_draw_different_dropout(monkeypatch, rate):
    """With the same rows on every device, equal masks would give the loss of one device."""
    _, four = train(monkeypatch, devices=4, model=Toy(rate), updates=1, rows=2, copies=4)
    _, one = train(monkeypatch, devices=1, model=Toy(rate), updates=1, rows=2)
    assert (abs(four[0] - one[0]) > 1e-3) == bool(rate)


def test_the_result_is_the_same_on_every_device(monkeypatch):
    state, _ = train(monkeypatch, devices=4, model=Toy(0.3))
    step = jax.pmap(
        steps.train_step(Toy(0.3), inputs_of, WindowPCC(), optax.adam(1e-2)), axis_name=parallel.AXIS, in_axes=(None, 0)
    )
    arranged = parallel.shard({k: v.reshape(4, -1, *v.shape[1:]) for k, v in batch(8).items()})
    everywhere, _ = step(jax.device_put(state), arranged)
    jax.tree.map(
        lambda x: np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape)), jax.device_get(everywhere)
    )


def test_padding_changes_nothing(monkeypatch):
    """Rows of weight 0, as in an uneven last batch, change neither the loss nor the weights."""
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:1])
    model, optimizer = Plain(), optax.sgd(0.1)
    step = parallel.spread(steps.train_step(model, inputs_of, WindowPCC(), optimizer))
    results = []
    for rows in (3, 5):
        padded = batch(5, 3)
        arranged = {k: v[:rows].reshape(1, rows, *v.shape[1:]) for k, v in padded.items()}
        state = parallel.replicate(create(model, np.zeros((1, 24, 1), np.float32), optimizer, seed=3))
        results.append(jax.device_get(step(state, parallel.shard(arranged))))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), *results)


def test_the_factor_of_the_plateau_rule_scales_the_update(monkeypatch):
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:1])
    model, optimizer = Toy(), SGD(where="optimizer", lr=0.1, momentum=0.0, schedule="plateau").transform
    step = parallel.spread(steps.train_step(model, inputs_of, WindowPCC(), optimizer))
    start = create(model, np.zeros((1, 24, 1), np.float32), optimizer, seed=3)
    arranged = parallel.shard({k: v[None] for k, v in batch(4).items()})
    full, _ = step(parallel.replicate(start), arranged)
    halved = start.replace(opt_state=with_lr_scale(start.opt_state, np.float32(0.5)))
    half, _ = step(parallel.replicate(halved), arranged)
    jax.tree.map(
        lambda a, b, c: np.testing.assert_allclose((b - a) / 2, c - a, atol=1e-6),
        start.params,
        full.params,
        half.params,
    )


def test_prediction_returns_all_rows_in_order(monkeypatch):
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:4])
    model = Toy()
    state = create(model, np.zeros((1, 24, 1), np.float32), optax.sgd(0.1), seed=1)
    rows = batch(8)
    step = parallel.spread(steps.predict_step(inputs_of, steps.forward(model)))
    outputs = step(parallel.replicate(state), parallel.shard(rows))
    np.testing.assert_allclose(outputs, model.apply(state.variables, rows["inputs"]), atol=1e-6)


def test_the_layer_of_embeddings_does_not_change_predictions():
    model, inputs = Toy(), batch(8)["inputs"]
    state = create(model, np.zeros((1, 24, 1), np.float32), optax.sgd(0.1), seed=1)
    outputs = steps.forward(model, layer="a layer of the embeddings")(state.variables, inputs)
    np.testing.assert_allclose(outputs, model.apply(state.variables, inputs), atol=1e-6)


def test_the_options_of_a_deterministic_run_reach_the_compiler(monkeypatch):
    """And no other run has any; a CPU needs none, and accepts those of GPUs without an effect."""

    def double(state, batch):
        return state + jax.lax.psum(2 * batch.sum(), parallel.AXIS)

    batch = np.arange(4.0, dtype=np.float32).reshape(4, 1)
    parallel.set_deterministic(True)
    assert parallel._options == {}
    plain = parallel.spread(double)
    assert isinstance(plain, type(jax.pmap(double, parallel.AXIS)))
    gpus = [SimpleNamespace(platform="gpu")]
    with monkeypatch.context() as patched:
        patched.setattr(parallel, "devices", lambda: gpus)
        parallel.set_deterministic(True)
    try:
        assert parallel._options == parallel.DETERMINISTIC
        compile_, passed = jax.stages.Lowered.compile, []
        record = lambda lowered, compiler_options=None: passed.append(compiler_options) or compile_(lowered)  # noqa: E731
        monkeypatch.setattr(jax.stages.Lowered, "compile", record)
        step = parallel.spread(double, donate=True)
        for rows in (1, 1, 2):
            wide = np.repeat(batch, rows, axis=1)
            assert float(step(np.float32(1), wide)) == float(plain(np.float32(1), wide))
        assert passed == [parallel.DETERMINISTIC] * 2
        step.lower(np.float32(1), batch[:, [0, 0, 0]]).compile()  # ahead of its first call
        step(np.float32(1), batch[:, [0, 0, 0]])
        assert passed == [parallel.DETERMINISTIC] * 3
        monkeypatch.setattr(jax.stages.Lowered, "compile", compile_)
        parallel._options["no_such_option"] = True
        with pytest.raises(Exception, match="No such compile option: 'no_such_option'"):
            parallel.spread(double)(np.float32(1), batch)
    finally:
        parallel.set_deterministic(False)
    assert parallel._options == {}
