"""Measures our own forms of operations in `jaxpara/models` against the plain forms of JAX and Flax.

    python -m benchmarks.forms [CASE ...] [--rounds=5]

Hand-written gradients and the like lose their advantage as XLA improves: run this on the oldest and the newest JAX, and
keep only what gains 5 % of the time or much memory. Each case is a forward and backward pass of a network; in each peer
one form is replaced by the plain one. Every side runs in its own process, and they take turns. All cases take about two
minutes on an idle computer with 2 cores; `--tiny` only shows that they run. `tests/models` compares values and
gradients.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.cases import BREATHING2, BREATHING3, SMALL, Case, Network, Peer
from benchmarks.side import Side
from benchmarks.side_by_side import main

Patch = Callable[[], None]


def case(
    step: Callable[[dict[str, Any], np.ndarray], Side],
    fields: dict[str, Any],
    inputs: np.ndarray,
    forms: dict[str, tuple[Patch, ...]],
) -> Case:
    """Return the case of a network, with a peer for each plain form; `step` makes the side that is timed."""

    def make(*patches: Patch) -> Side:
        for patch in patches:
            patch()
        return step(fields, inputs)

    def peer(patches: tuple[Patch, ...]) -> Peer:
        return Peer(lambda setting, checked: make(*patches), ("tuned",), same=False)

    size = f"inputs {' x '.join(map(str, inputs.shape))}, jax {version('jax')}"
    peers = {form.replace(" ", "_"): peer(patches) for form, patches in forms.items()}
    return Case(size, len(inputs), "examples", make, peers, warm_ups=1)


def gradient_step(fields: dict[str, Any], inputs: np.ndarray) -> Side:
    """Time the gradient of the mean square of a network's outputs in training mode."""
    import jax
    import jax.numpy as jnp

    from jaxpara.models import MODELS
    from jaxpara.registry import build

    model = build(MODELS, fields, "model", classes=2)
    variables = jax.jit(model.init)(jax.random.key(0), inputs[:1])

    def loss(params: Any, statistics: Any, inputs: jax.Array, key: jax.Array) -> Any:
        outputs, updated = model.apply(
            {"params": params, **statistics}, inputs, train=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        return jnp.square(outputs).mean(), updated

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    statistics = {"batch_stats": variables["batch_stats"]} if "batch_stats" in variables else {}
    arguments = variables["params"], statistics, jnp.asarray(inputs), jax.random.key(1)
    return Side(lambda: jax.block_until_ready(gradient(*arguments)))


def speech_step(fields: dict[str, Any], waveforms: np.ndarray) -> Side:
    """Time the gradient of the mean square of a speech encoder's last states by its transformer."""
    import jax
    import jax.numpy as jnp

    from jaxpara.models.speech import SpeechConfig, SpeechEncoder

    net = SpeechEncoder(SpeechConfig(**fields))
    variables = jax.jit(net.init)(jax.random.key(0), waveforms[:, : net.config.receptive_field])

    def loss(trained: Any, frozen: Any, waveforms: jax.Array) -> jax.Array:
        states, _ = net.apply({"params": {**frozen, "encoder": trained}}, waveforms)
        return jnp.square(states[-1]).mean()

    gradient = jax.jit(jax.grad(loss))
    arguments = variables["params"]["encoder"], variables["params"], jnp.asarray(waveforms)
    return Side(lambda: jax.block_until_ready(gradient(*arguments)))


def plain_grouped_conv() -> None:
    """Use XLA's convolution with groups."""
    from jax import lax

    from jaxpara.models.speech import transformer

    def plain(x, kernel, groups):
        dimensions = ("NWC", "WIO", "NWC")
        return lax.conv_general_dilated(
            x, kernel, (1,), "VALID", dimension_numbers=dimensions, feature_group_count=groups
        )

    transformer.grouped_conv = plain


def plain_first_layer() -> None:
    """Store the output of the first convolution, instead of recomputing it in chunks in the backward pass."""
    from jaxpara.models import ops1d

    def plain(signal, kernel, bias, pool, seed=None, rate=0.0, padding=None):
        x = ops1d.conv1d(signal[..., None], kernel[:, None], bias, padding)
        return ops1d.relu_dropout_max_pool(x, pool, seed, rate)

    ops1d.conv_relu_dropout_max_pool = plain


def plain_pools() -> None:
    """Apply ReLU, dropout and flax's max-pool one after the other."""
    from flax import linen as nn

    from jaxpara.models import cnn1d, ops1d

    def plain(inputs, pool, seed=None, rate=0.0):
        x = nn.relu(inputs)
        x = x if seed is None else ops1d.dropout(x, seed, rate)
        return nn.max_pool(x, (pool,), (pool,))

    ops1d.relu_dropout_max_pool = cnn1d.POOLS["max"] = plain


def plain_dropout() -> None:
    """Draw dropout masks from JAX's default generator, threefry."""
    import jax
    import jax.numpy as jnp

    from jaxpara.models import ops1d

    def plain(inputs, seed, rate):
        kept = jax.random.bernoulli(jax.random.wrap_key_data(seed), 1 - rate, inputs.shape)
        return jnp.where(kept, inputs / (1 - rate), 0)

    ops1d.dropout = plain


def plain_lstm() -> None:
    """Let JAX derive the gradient of the LSTM's scan."""
    from jaxpara.models import recurrent

    recurrent.lstm_scan = lambda *arrays: recurrent._lstm_forward(*arrays)[0]


def flax_lstm() -> None:
    """Use flax's LSTM."""
    from flax import linen as nn

    from jaxpara.models import recurrent

    class LSTM(nn.Module):
        features: int

        @nn.compact
        def __call__(self, inputs, carry=None):
            return nn.RNN(nn.OptimizedLSTMCell(self.features))(inputs), None

        def weights(self, channels: int):
            return self

    def layers(inputs, layers, carries):
        for layer in layers:
            inputs, _ = layer(inputs)
        return inputs, carries

    recurrent.LSTM, recurrent.lstm_layers = LSTM, layers


def plain_stem() -> None:
    """Normalise and pool the stored output of Breathing 3's first convolution."""
    from flax import linen as nn

    from jaxpara.models import ops1d, resnet1d

    class NoNorm(nn.Module):
        axis_name: str | None = None

        def __call__(self, signal, kernel, bias, train):
            return kernel, bias

    def plain(signal, kernel, bias, pool):
        x = ops1d.conv1d(signal[..., None], kernel[:, None], bias)
        x = resnet1d.Norm(None, name="plain_norm")(x, True)
        return nn.max_pool(nn.relu(x), (pool,), (pool,))

    resnet1d.StemNorm, resnet1d.conv_relu_dropout_max_pool = NoNorm, plain


def plain_batchnorm() -> None:
    """Let JAX derive the gradient of BatchNorm."""
    import jax.numpy as jnp
    from jax import lax

    from jaxpara.models import layers

    def plain(x, scale, bias, epsilon, axis_name):
        axes = tuple(range(x.ndim - 1))
        mean = jnp.mean(x, axes)
        # The gradient through this mean is zero; without stop_gradient JAX computes it all the same.
        var = jnp.mean(jnp.square(x - lax.stop_gradient(mean)), axes)
        return layers._affine(x, mean, var, scale, bias, epsilon), mean, var

    layers.normalised = plain


def plain_conv() -> None:
    """Use XLA's convolution also where the output is smaller than the kernel."""
    from jax import lax

    from jaxpara.models import ops2d, resnet

    ops2d.conv = resnet.ops2d.conv = lax.conv_general_dilated


def plain_max_pool() -> None:
    """Use flax's max-pool of images."""
    from flax import linen as nn

    from jaxpara.models import ops2d

    def plain(maps, size, stride, pad=0):
        padding: Any = ((pad, pad), (pad, pad))  # flax accepts pairs, but declares a string
        return nn.max_pool(maps, (size, size), (stride, stride), padding)

    ops2d.max_pool = plain


def cases(*, tiny: bool) -> dict[str, Callable[[], Case]]:
    """Return all cases by name."""

    def of(net: Network, rows: int, forms: dict[str, tuple[Patch, ...]]) -> Callable[[], Case]:
        def make() -> Case:
            small = net.tiny() if tiny else net
            inputs = small.batch()["inputs"][:rows]
            floats = inputs.astype(np.float32) / 255 if inputs.dtype == np.uint8 else inputs
            return case(gradient_step, small.learner()["model"], floats, forms)

        return make

    return {
        "breathing2": of(
            BREATHING2,
            2,
            {
                "first layer": (plain_first_layer,),
                "... and pools": (plain_first_layer, plain_pools),
                "... and dropout": (plain_first_layer, plain_pools, plain_dropout),
                "lstm scan": (plain_lstm,),
                "lstm of flax": (flax_lstm,),
            },
        ),
        "breathing3": of(
            BREATHING3,
            1,
            {"stem": (plain_stem,), "batchnorm": (plain_batchnorm,)},
        ),
        "mask": of(
            SMALL,
            16,
            {
                "convolution": (plain_conv,),
                "max pool": (plain_max_pool,),
                "batchnorm": (plain_batchnorm,),
            },
        ),
        "speech": lambda: case(
            speech_step,
            {"num_hidden_layers": 1 if tiny else 12},
            np.random.default_rng(0).standard_normal((1, 16_000 if tiny else 160_000), np.float32),
            {"grouped convolution": (plain_grouped_conv,)},
        ),
    }


if __name__ == "__main__":
    main("forms", cases, __doc__, rounds=5)
