import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import seeded_variables

from jaxpara.errors import UserError
from jaxpara.models import MODELS
from jaxpara.models.layers import output_of

IMAGES = np.random.RandomState(0).normal(size=(2, 64, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def resnet():
    model = MODELS["resnet18"]()
    return model, seeded_variables(model, IMAGES, jnp.float32)


def test_the_last_stage_averaged_over_the_picture_is_the_input_of_the_head(resnet):
    model, variables = resnet
    embedded = model.apply(variables, IMAGES, method="embed")
    np.testing.assert_allclose(output_of(model, variables, IMAGES, "layer4"), embedded, rtol=1e-5, atol=1e-5)


def test_a_dense_layer_gives_its_vector(resnet):
    model, variables = resnet
    logits = model.apply(variables, IMAGES)
    np.testing.assert_array_equal(output_of(model, variables, IMAGES, "fc"), logits)


def test_layers_inside_others_are_named_with_dots(resnet):
    model, variables = resnet
    assert output_of(model, variables, IMAGES, "layer2.0.conv1").shape == (2, 128)


@pytest.mark.parametrize(("arch", "layer"), [("alexnet", "classifier.4"), ("vgg16", "classifier.3")])
def test_second_dense_layer_of_the_older_networks(arch, layer):
    model = MODELS[arch](head="torchvision")
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    assert jax.eval_shape(lambda v: output_of(model, v, IMAGES, layer), shapes).shape == (2, 4096)


def test_an_unknown_layer_is_named_with_the_known_ones(resnet):
    model, variables = resnet
    with pytest.raises(UserError, match=r"learner.layer is 'layer5', expected one of .*'layer4'.*did you mean"):
        jax.eval_shape(lambda v: output_of(model, v, IMAGES, "layer5"), variables)
