import audmetric
import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import pearsonr
from sklearn.metrics import root_mean_squared_error

from jaxpara.training.losses import (
    BatchPCC,
    CrossEntropy,
    Focal,
    RootMeanSquare,
    WindowCCC,
    WindowPCC,
    mean_loss,
    pearson,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_pearson_is_scipys(rng):
    x, y = rng.normal(size=(2, 5, 100)).astype(np.float32)
    ours = pearson(x, y, np.ones_like(x), 1e-8)
    np.testing.assert_allclose(ours, [pearsonr(a, b)[0] for a, b in zip(x, y, strict=True)], atol=1e-6)


def test_pearson_uses_only_positions_with_weight(rng):
    x, y = rng.normal(size=(2, 3, 100)).astype(np.float32)
    weights = np.ones_like(x)
    weights[:, 60:] = 0
    x[:, 60:], y[:, 60:] = 1e3, -1e3
    expected = [pearsonr(a[:60], b[:60])[0] for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(pearson(x, y, weights, 1e-8), expected, atol=1e-5)


def test_window_pcc_gives_constant_and_unlabelled_windows_no_weight(rng):
    targets = rng.normal(size=(3, 50)).astype(np.float32)
    targets[1] = 0.5
    weights = np.ones_like(targets)
    weights[2] = 0
    np.testing.assert_array_equal(WindowPCC().example_weights(targets, weights), [1, 0, 0])


def test_window_pcc_of_a_constant_output_is_one_and_its_gradient_finite():
    import jax

    targets, weights = np.sin(np.arange(50.0))[None], np.ones((1, 50))
    value, gradient = jax.value_and_grad(lambda x: WindowPCC()(x, targets, weights).sum())(np.full((1, 50), 0.3))
    assert value == pytest.approx(1.0)
    assert np.isfinite(gradient).all()


def test_window_ccc_is_audmetrics_over_the_positions_with_weight(rng):
    outputs, targets = rng.normal(size=(2, 3, 100)) * 3 + 1
    targets += 0.5 * outputs
    weights = np.ones_like(targets)
    weights[:, 60:] = 0
    wanted = [1 - audmetric.concordance_cc(y[:60], x[:60]) for x, y in zip(outputs, targets, strict=True)]
    np.testing.assert_allclose(WindowCCC()(outputs, targets, weights), wanted, atol=1e-9)


def test_window_ccc_of_a_constant_output_is_one_and_its_gradient_finite():
    import jax

    targets, weights = np.sin(np.arange(50.0))[None], np.ones((1, 50))
    value, gradient = jax.value_and_grad(lambda x: WindowCCC()(x, targets, weights).sum())(np.full((1, 50), 0.3))
    assert value == pytest.approx(1.0)
    assert np.isfinite(gradient).all()


def test_without_eps_padding_keeps_the_gradient_finite_and_a_constant_output_is_undefined(rng):
    import jax
    import jax.numpy as jnp

    outputs, targets = rng.normal(size=(2, 3, 50)).astype(np.float32)
    weights = np.ones_like(targets)
    weights[2] = 0
    loss = WindowPCC(eps=0.0)

    def mean(x):
        counted = loss.example_weights(jnp.asarray(targets), jnp.asarray(weights))
        return jnp.where(counted > 0, loss(x, targets, weights), 0).sum() / counted.sum()

    value, gradient = jax.value_and_grad(mean)(outputs)
    expected = np.mean([1 - pearsonr(x, y)[0] for x, y in zip(outputs[:2], targets[:2], strict=True)])
    assert value == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(gradient).all()
    assert (gradient[2] == 0).all()
    assert (gradient[:2] != 0).any()
    outputs[0] = 0.5
    assert np.isnan(mean(outputs))


def test_batch_pcc_is_pearson_over_everything(rng):
    x, y = rng.normal(size=(2, 4, 30)).astype(np.float32)
    assert BatchPCC()(x, y, np.ones_like(x)) == pytest.approx(1 - pearsonr(x.ravel(), y.ravel())[0], abs=1e-6)


def test_cross_entropy_is_minus_the_log_of_the_softmax(rng):
    logits, targets = rng.normal(size=(6, 3)).astype(np.float32), np.array([0, 1, 2, 2, 1, 0], np.float32)
    expected = -log_softmax(logits, axis=1)[np.arange(6), targets.astype(int)]
    np.testing.assert_allclose(CrossEntropy()(logits, targets, np.ones(6)), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_cross_entropy_is_pytorchs(smoothing, rng):
    functional = pytest.importorskip("torch.nn.functional")
    import torch

    logits, targets = 5 * rng.normal(size=(6, 3)), np.array([0, 1, 2, 2, 1, 0])
    arguments = torch.from_numpy(logits), torch.from_numpy(targets)
    expected = functional.cross_entropy(*arguments, label_smoothing=smoothing, reduction="none")
    np.testing.assert_allclose(CrossEntropy(smoothing=smoothing)(logits, targets, np.ones(6)), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_its_formula_and_has_a_slope_at_certainty(gamma, rng):
    import jax

    logits, targets = rng.normal(size=(6, 3)), np.array([0, 1, 2, 2, 1, 0])
    log_p = log_softmax(logits, axis=1)[np.arange(6), targets]
    np.testing.assert_allclose(Focal(gamma)(logits, targets, np.ones(6)), -((1 - np.exp(log_p)) ** gamma) * log_p)
    certain = np.array([[100.0, 0, 0]] * 6, np.float32)
    gradient = jax.grad(lambda x: Focal(gamma)(x, targets, np.ones(6)).sum())(certain)
    assert np.isfinite(gradient).all()


def test_root_mean_square_is_scikit_learns_and_has_a_slope_at_zero(rng):
    import jax

    x, y = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    expected = [root_mean_squared_error(b.ravel(), a.ravel()) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(RootMeanSquare()(x, y, np.ones(3)), expected, rtol=1e-5)
    gradient = jax.grad(lambda x: RootMeanSquare()(x, y, np.ones(3)).sum())(y)
    assert np.isfinite(gradient).all()


class Made:
    """Two windows whose labels vary."""

    def __len__(self):
        return 2

    def labels(self, index):
        return np.sin(np.arange(20.0) + index), np.ones(20)


@pytest.mark.parametrize("loss", [WindowPCC(eps=0.0), BatchPCC(eps=0.0)])
def test_the_loss_of_a_constant_output_is_that_of_no_correlation(loss):
    outputs = np.zeros((2, 20))
    assert mean_loss(loss, outputs, Made()) == 1
    outputs[1] = Made().labels(1)[0]
    assert 0 < mean_loss(loss, outputs, Made()) < 1
