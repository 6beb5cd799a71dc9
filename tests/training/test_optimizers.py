import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpara.errors import UserError
from jaxpara.models import MODELS
from jaxpara.registry import build
from jaxpara.training.optimizers import OPTIMIZERS, kernels


@pytest.fixture(scope="module")
def params():
    model = MODELS["resnet1d_lstm"](stem=4, stages=(2, 3), blocks=1, lstm=(3, 2))
    return model.init(jax.random.key(0), jnp.zeros((1, 1280, 1)))["params"]


def optimizer(name, **fields):
    return build(OPTIMIZERS, {"name": name, "lr": 0.1, **fields}, "members.net.learner.optimizer")


def test_decay_of_kernels_is_the_gradient_of_an_l2_term_on_convolutions_and_dense_layers(params):
    def penalty(params):
        """1e-4 times the squares of what Keras regularises in the authors' system 3: all but norms and LSTMs."""
        leaves = jax.tree_util.tree_leaves_with_path(params)
        named = {"/".join(key.key for key in path): leaf for path, leaf in leaves}
        chosen = [leaf for name, leaf in named.items() if name.endswith("/kernel") and "/lstm" not in name]
        assert len(chosen) == 1 + 2 * 4 + 1  # stem, two blocks of three convolutions and a shortcut, head
        return 1e-4 * sum((leaf**2).sum() for leaf in chosen)

    rule = optimizer("sgd", momentum=0.0, weight_decay=2e-4, decay="kernels").transform
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = rule.update(zero, rule.init(params), params)
    expected = jax.tree.map(lambda g: -0.1 * g, jax.grad(penalty)(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-12), updates, expected)


def test_decay_of_everything_is_the_default(params):
    rule = optimizer("sgd", momentum=0.0, weight_decay=0.5).transform
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = rule.update(zero, rule.init(params), params)
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


def test_the_rate_rises_and_falls_as_optaxs(params):
    both, warm, flat = (
        optimizer("adam", **fields)
        for fields in ({"warmup_steps": 4, "decay_steps": 16}, {"warmup_steps": 4}, {"decay_steps": 0})
    )
    steps, theirs = range(24), optax.warmup_cosine_decay_schedule(0.0, 0.1, 4, 20)
    np.testing.assert_allclose([both.lr(n) for n in steps], [theirs(n) for n in steps], atol=1e-7)
    np.testing.assert_allclose([warm.lr(n) for n in steps], np.minimum(np.arange(24) / 4, 1) * 0.1, atol=1e-7)
    assert [flat.lr(n) for n in steps] == [0.1] * 24
    # The state is of one form, so that a checkpoint does not depend on the rate.
    forms = {jax.tree.structure(jax.eval_shape(rule.transform.init, params)) for rule in (both, warm, flat)}
    assert len(forms) == 1
    zeros, gradient = jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.ones_like, params)
    first, _ = both.transform.update(gradient, both.transform.init(params), params)
    jax.tree.map(np.testing.assert_array_equal, first, zeros)


def test_an_unknown_decay_is_named():
    with pytest.raises(
        UserError,
        match=r"^config\.members\.net\.learner\.optimizer\.decay is 'biases', expected one of \['all', 'kernels'\]",
    ):
        optimizer("adam", decay="biases")
