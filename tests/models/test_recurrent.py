"""LSTM and GRU: parity with PyTorch, gradients against automatic differentiation, the carry, initialisation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden1d import check_gradients, fixed, fixed_like, load
from jax.test_util import check_grads

from jaxpara.models import recurrent
from jaxpara.models.recurrent import GRU, LSTM, SequenceLSTM

NETWORKS = {"lstm": LSTM(5), "gru": GRU(5)}


@pytest.fixture
def form(request, monkeypatch):
    """Compute LSTM layers in the form of a CPU or of an accelerator, on any platform."""
    of_platform = {"cpu": "cpu", "accelerator": "default"}[request.param]
    monkeypatch.setattr(recurrent, "platform_dependent", lambda *arrays, **forms: forms[of_platform](*arrays))


both_forms = pytest.mark.parametrize("form", ["cpu", "accelerator"], indirect=True)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_parity_with_torch(name):
    golden = load(name)
    with jax.enable_x64(True):
        network = NETWORKS[name]
        inputs = fixed("inputs", (2, 12, 7), 1.0)
        params = fixed_like(jax.eval_shape(network.init, jax.random.key(0), inputs)["params"])
        weights = fixed("weights", (2, 12, 5), 1.0)

        def projection(params, inputs):
            outputs, carry = network.apply({"params": params}, inputs)
            return (outputs * weights).sum(), (outputs, carry)

        gradients = jax.jit(jax.grad(projection, argnums=(0, 1), has_aux=True))
        (of_params, of_inputs), (outputs, carry) = gradients(params, inputs)
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(jax.tree.leaves(carry)[0], golden["outputs"][:, -1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(of_inputs, golden["of_inputs"], rtol=0, atol=1e-12)
    check_gradients(golden, of_params)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_gradients_of_the_carry(name):
    """Compare with central differences in float64, for all inputs and outputs of the scan with the carries."""
    with jax.enable_x64(True):
        network = NETWORKS[name]
        inputs = fixed("inputs", (2, 4, 3), 1.0)
        variables = {"params": fixed_like(jax.eval_shape(network.init, jax.random.key(0), inputs)["params"])}
        carry = network.apply(variables, inputs)[1]
        check_grads(jax.jit(network.apply), (variables, inputs, carry), order=1, modes=["rev"])


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_resumes_from_a_carry(name):
    network = NETWORKS[name]
    inputs = jnp.asarray(fixed("inputs", (2, 12, 7), 1.0), jnp.float32)
    variables = fixed_like(jax.eval_shape(network.init, jax.random.key(0), inputs))
    apply = jax.jit(network.apply)
    whole, last = apply(variables, inputs)
    first, carry = apply(variables, inputs[:, :6])
    second, end = apply(variables, inputs[:, 6:], carry)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), whole, rtol=0, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), end, last)


@pytest.mark.parametrize(
    ("network", "channels", "count"),
    [
        (LSTM(256), 256, 525_312),
        (GRU(512), 512, 1_575_936),
        (GRU(64), 512, 110_976),
        (SequenceLSTM(), 768, 3_411_201),
        (SequenceLSTM(), 320, 2_493_697),
    ],
)
def test_parameter_counts(network, channels, count):
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 2, channels)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_initialisation_matches_keras():
    params = LSTM(16).init(jax.random.key(0), jnp.zeros((1, 2, 8)))["params"]
    np.testing.assert_array_equal(params["bias"], np.repeat([0, 1, 0, 0], 16))
    recurrent = np.asarray(params["recurrent_kernel"])
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(16), atol=1e-5)
    limit = np.sqrt(6 / (8 + 64))
    assert 0.95 * limit < abs(params["kernel"]).max() <= limit


@both_forms
@pytest.mark.usefixtures("form")
def test_sequence_parity_with_torch():
    golden = load("sequence")
    with jax.enable_x64(True):
        network = SequenceLSTM(lstm=(6, 4))
        inputs, target = fixed("inputs", (2, 12, 7), 1.0), fixed("target", (2, 12), 1.0)
        params = fixed_like(jax.eval_shape(network.init, jax.random.key(0), inputs)["params"])

        def error(params):
            outputs = network.apply({"params": params}, inputs)
            return ((outputs - target) ** 2).mean(), outputs

        gradients, outputs = jax.jit(jax.grad(error, has_aux=True))(params)
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=0, atol=1e-12)
    check_gradients(golden, gradients)


def test_sequence_dropout_acts_only_in_training():
    network = SequenceLSTM(lstm=(6, 4))
    inputs = jnp.ones((1, 5, 3))
    variables = fixed_like(jax.eval_shape(network.init, jax.random.key(0), inputs))
    evaluated = jax.jit(network.apply)(variables, inputs)
    train = jax.jit(partial(network.apply, train=True))
    trained = [train(variables, inputs, rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1)]
    np.testing.assert_array_equal(trained[0], trained[1])
    assert abs(trained[0] - trained[2]).max() > 1e-4
    assert abs(trained[0] - evaluated).max() > 1e-4


@pytest.mark.parametrize(("sizes", "time"), [((6, 4), 21), ((4, 6, 5), 2)])
def test_the_form_of_accelerators_equals_that_of_a_cpu(sizes, time):
    """In values, carries and gradients, from any carry; 21 steps are more than two unrolled groups."""
    network = SequenceLSTM(lstm=sizes)
    inputs = jnp.asarray(fixed("inputs", (2, time, 7), 1.0), jnp.float32)
    params = fixed_like(jax.eval_shape(network.init, jax.random.key(0), inputs))["params"]
    layers = [
        tuple(params[f"lstm{n}"][name] for name in ("kernel", "recurrent_kernel", "bias")) for n in range(len(sizes))
    ]
    carries = [
        tuple(jnp.float32(fixed(f"carry{n}{part}", (2, size), 0.5)) for part in (0, 1)) for n, size in enumerate(sizes)
    ]

    def loss(compute, arrays):
        outputs = compute(*arrays)
        leaves = jax.tree.leaves(outputs)
        return sum((leaf * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape))).sum() for leaf in leaves), outputs

    found, expected = (
        jax.jit(jax.grad(partial(loss, compute), has_aux=True))((inputs, layers, carries))
        for compute in (recurrent._in_pairs, recurrent._in_turn)
    )
    assert jax.tree.structure(found[1][1][0]) == jax.tree.structure(carries[0])
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["accelerator"], indirect=True)
@pytest.mark.usefixtures("form")
def test_the_form_of_accelerators_resumes_from_a_carry():
    network = SequenceLSTM(lstm=(6, 4))
    inputs = jnp.asarray(fixed("inputs", (2, 24, 7), 1.0), jnp.float32)
    variables = fixed_like(jax.eval_shape(network.init, jax.random.key(0), inputs))
    step = jax.jit(partial(network.apply, method="recur"))
    whole, last = step(variables, inputs)
    parts, carry = [], None
    for part in jnp.split(inputs, 2, axis=1):
        outputs, carry = step(variables, part, carry)
        parts.append(outputs)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, rtol=0, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), carry, last)


@pytest.mark.parametrize(("platform", "dropout", "loops"), [("cpu", 0.0, 2), ("cuda", 0.0, 1), ("cuda", 0.4, 2)])
def test_the_platform_that_a_program_is_lowered_for_chooses_the_form(platform, dropout, loops):
    """Dropout between two layers needs the outputs of the first one, so they are not in one loop."""
    network, inputs = SequenceLSTM(lstm=(6, 4), dropout=dropout), jnp.ones((1, 33, 3))
    variables = jax.eval_shape(network.init, jax.random.key(0), inputs)
    apply = jax.jit(partial(network.apply, train=True))
    lowered = apply.trace(variables, inputs, rngs={"dropout": jax.random.key(0)}).lower(lowering_platforms=(platform,))
    assert lowered.as_text().count("stablehlo.while") == loops
