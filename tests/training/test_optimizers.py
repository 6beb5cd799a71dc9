import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpara.errors import UserError
from jaxpara.models import MODELS
from jaxpara.registry import build
from jaxpara.training.optimizers import OPTIMIZERS, SCHEDULES, kernels, with_lr_scale


@pytest.fixture(scope="module")
def params():
    model = MODELS["resnet1d_lstm"](stem=4, stages=(2, 3), blocks=1, lstm=(3, 2))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1280, 1)))["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes)


def optimizer(name, **fields):
    return build(OPTIMIZERS, {"name": name, "lr": 0.1, **fields}, "members.net.learner.optimizer")


def decayed(rule, params):
    """The update of parameters whose gradient is 0."""
    zero = jax.tree.map(jnp.zeros_like, params)
    return jax.jit(lambda params: rule.update(zero, rule.init(params), params)[0])(params)


def test_decay_of_kernels_is_the_gradient_of_an_l2_term_on_convolutions_and_dense_layers(params):
    def penalty(params):
        """1e-4 times the squares of what Keras regularises in the authors' system 3: all but norms and LSTMs."""
        leaves = jax.tree_util.tree_leaves_with_path(params)
        named = {"/".join(key.key for key in path): leaf for path, leaf in leaves}
        chosen = [leaf for name, leaf in named.items() if name.endswith("/kernel") and "/lstm" not in name]
        assert len(chosen) == 1 + 2 * 4 + 1  # stem, two blocks of three convolutions and a shortcut, head
        return 1e-4 * sum((leaf**2).sum() for leaf in chosen)

    rule = optimizer("sgd", momentum=0.0, weight_decay=2e-4, decay="kernels").transform
    updates = decayed(rule, params)
    expected = jax.tree.map(lambda g: -0.1 * g, jax.jit(jax.grad(penalty))(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-12), updates, expected)


def test_decay_of_everything_is_the_default(params):
    rule = optimizer("sgd", momentum=0.0, weight_decay=0.5).transform
    updates = decayed(rule, params)
    jax.tree.map(lambda u, p: np.testing.assert_allclose(u, -0.05 * p, rtol=1e-6), updates, params)
    assert any(jax.tree.leaves(kernels(params)))


@pytest.mark.parametrize(("ours", "theirs"), [("adam", optax.adam), ("nadam", optax.nadam)])
def test_adam_and_nadam_are_optaxs(ours, theirs):
    params = {"kernel": jnp.arange(3.0)}
    rules = optimizer(ours, eps=1e-7).transform, theirs(0.1, eps=1e-7)
    states = [rule.init(params) for rule in rules]
    for step in range(3):
        gradient = {"kernel": jnp.array([1.0, -2.0, 0.5]) * (step + 1)}
        pairs = [rule.update(gradient, state, params) for rule, state in zip(rules, states, strict=True)]
        states = [state for _, state in pairs]
        np.testing.assert_allclose(pairs[0][0]["kernel"], pairs[1][0]["kernel"], rtol=1e-6)


def test_the_schedules_are_optaxs():
    fields = {"warmup_steps": 4, "decay_steps": 16}
    rules = {name: optimizer("adam", schedule=name, **fields) for name in SCHEDULES}
    steps = range(24)
    wanted = {
        "constant": optax.constant_schedule(0.1),
        "cosine": optax.cosine_decay_schedule(0.1, 16),
        "warmup_cosine": optax.warmup_cosine_decay_schedule(0.0, 0.1, 4, 20),
        "plateau": optax.constant_schedule(0.1),
    }
    for name, theirs in wanted.items():
        np.testing.assert_allclose([rules[name].lr_at(n, [], 1) for n in steps], [theirs(n) for n in steps], atol=1e-7)
    params = {"kernel": jnp.arange(3.0)}
    rule, gradient = rules["warmup_cosine"].transform, jax.tree.map(jnp.ones_like, params)
    first, _ = rule.update(gradient, rule.init(params), params)
    np.testing.assert_array_equal(first["kernel"], np.zeros(3))


@pytest.mark.parametrize(("name", "warmup"), [("cosine", 0), ("warmup_cosine", 4)])
@pytest.mark.parametrize("updates", [16, 20])
def test_without_decay_steps_the_rate_falls_to_the_end_of_each_training(name, warmup, updates):
    rule = optimizer("sgd", momentum=0.0, schedule=name, warmup_steps=4)
    wanted = optax.warmup_cosine_decay_schedule(0.0, 0.1, warmup, updates)
    np.testing.assert_allclose(
        [rule.lr_at(n, [], updates) for n in range(updates + 1)], [wanted(n) for n in range(updates + 1)], atol=1e-7
    )
    assert rule.lr_at(updates, [], updates) == 0
    params, gradient = {"kernel": jnp.arange(3.0)}, {"kernel": jnp.ones(3)}
    step = jax.jit(rule.transform.update)
    state = jax.device_put(rule.at_start(rule.transform.init(params), updates)[0])
    for n in range(updates):
        moved, state = step(gradient, state, params)
        np.testing.assert_allclose(moved["kernel"], np.full(3, -wanted(n)), atol=1e-7)
    assert step._cache_size() == 1


def test_a_training_may_end_within_its_warm_up():
    rule = optimizer("sgd", schedule="warmup_cosine", warmup_steps=4)
    np.testing.assert_allclose([rule.lr_at(n, [], 4) for n in range(5)], [0, 0.025, 0.05, 0.075, 0.1], rtol=1e-6)
    np.testing.assert_allclose([rule.lr_at(n, [], 2) for n in range(3)], [0, 0.025, 0.05], rtol=1e-6)
    state = rule.transform.init({"kernel": jnp.ones(3)})
    assert rule.at_start(state, 4)[1] == ["warmup_steps is 4, so its 4 updates end before the learning rate reaches lr"]
    assert rule.at_start(state, 5)[1] == []


def test_the_plateau_rule_lowers_the_rate_in_the_state_of_the_optimizer():
    rule = optimizer("sgd", momentum=0.0, schedule="plateau", plateau_patience=0, plateau_factor=0.5)
    params = {"kernel": jnp.arange(3.0)}
    state = with_lr_scale(rule.transform.init(params), np.float32(rule.lr_scale([1.0, 1.0])))
    updates, _ = rule.transform.update({"kernel": jnp.ones(3)}, state, params)
    np.testing.assert_allclose(updates["kernel"], np.full(3, -0.05), rtol=1e-6)
    assert rule.lr_at(7, [1.0, 1.0], 8) == 0.05
    assert optimizer("sgd").lr_scale([1.0, 1.0]) == 1


# torch 2.13, ReduceLROnPlateau on SGD(lr=1) with eps=0: patience, factor, losses, rates.
GOLDEN = [
    (
        2,
        0.1,
        [
            0.5672, 0.9052, 0.847, 0.5906, 0.6897, 0.6551, 0.7315, 0.7764, 0.4653, 0.4287, 0.75, 0.5736, 0.6914,
            0.3853, 0.5447, 0.6357, 0.4447, 0.6899, 0.6609, 0.351, 0.3423, 0.5042, 0.6217, 0.4339, 0.3746, 0.4291,
            0.3043, 0.354, 0.4083, 0.4163,
        ],
        [
            1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001, 0.001, 0.0001,
            0.0001, 0.0001, 0.0001, 0.0001, 0.0001, 0.0001, 1e-05, 1e-05, 1e-05, 1e-05, 1e-05, 1e-05, 1e-06,
        ],
    ),
    (
        0,
        0.5,
        [
            0.6165, 0.6031, 0.5853, 0.6869, 0.5948, 0.4617, 0.8139, 0.6756, 0.6986, 0.4944, 0.814, 0.7447, 0.4398,
            0.5124, 0.6487, 0.6319, 0.7008, 0.5044, 0.6361, 0.5689, 0.4351, 0.5193, 0.6035, 0.58, 0.4635, 0.4795,
            0.3059, 0.3601, 0.5104, 0.3936,
        ],
        [
            1.0, 1.0, 1.0, 0.5, 0.25, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625, 0.00390625,
            0.00195312, 0.000976562, 0.000488281, 0.000244141, 0.00012207, 6.10352e-05, 3.05176e-05, 3.05176e-05,
            1.52588e-05, 7.62939e-06, 3.8147e-06, 1.90735e-06, 9.53674e-07, 9.53674e-07, 4.76837e-07, 2.38419e-07,
            1.19209e-07,
        ],
    ),
    (
        3,
        0.3,
        [
            0.5865, 0.7589, 0.8178, 0.788, 0.634, 0.6504, 0.6681, 0.772, 0.647, 0.5808, 0.6086, 0.4122, 0.4094,
            0.655, 0.7473, 0.5883, 0.5043, 0.4151, 0.5221, 0.6751, 0.591, 0.5037, 0.5964, 0.3871, 0.4661, 0.5891,
            0.4666, 0.4228, 0.3605, 0.4308,
        ],
        [
            1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3, 0.3, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.027, 0.027,
            0.027, 0.027, 0.0081, 0.0081, 0.0081, 0.0081, 0.0081, 0.0081, 0.0081, 0.00243, 0.00243, 0.00243,
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("patience", "factor", "losses", "rates"), GOLDEN)
def test_the_plateau_rule_is_pytorchs(patience, factor, losses, rates):
    rule = optimizer("sgd", schedule="plateau", plateau_patience=patience, plateau_factor=factor)
    ours = [rule.lr_scale(losses[: n + 1]) for n in range(len(losses))]
    np.testing.assert_allclose(ours, rates, rtol=1e-5)
    assert rule.lr_scale([]) == 1


def test_an_impossible_schedule_is_named():
    where = r"^config\.members\.net\.learner\.optimizer"
    with pytest.raises(UserError, match=rf"{where}\.schedule is 'cosin', expected one of .*did you mean 'cosine'"):
        optimizer("adam", schedule="cosin")


def test_an_unknown_decay_is_named():
    with pytest.raises(
        UserError,
        match=r"^config\.members\.net\.learner\.optimizer\.decay is 'biases', expected one of \['all', 'kernels'\]",
    ):
        optimizer("adam", decay="biases")
