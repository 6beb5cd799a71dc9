import numpy as np
import optax
from safetensors.numpy import save_file

from jaxpara.training.state import TrainState, with_pretrained


def test_pretrained_weights_go_into_one_part_of_the_network(tmp_path):
    rng = np.random.default_rng(0)
    kernel, mean = rng.normal(size=(4, 3, 2, 2)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    save_file({"conv1.weight": kernel, "bn1.running_mean": mean, "fc.weight": mean}, tmp_path / "w.safetensors")
    params = {"resnet": {"conv1": {"kernel": np.zeros((2, 2, 3, 4), np.float32)}}, "gru": {"bias": np.ones(3)}}
    stats = {"resnet": {"bn1": {"mean": np.zeros(4, np.float32)}}}
    rule = optax.sgd(0.1)
    start = TrainState(np.int32(0), params, stats, rule.init(params), np.uint32(5))
    state, notes = with_pretrained(start, str(tmp_path / "w.safetensors"), "resnet18", "resnet")
    np.testing.assert_array_equal(state.params["resnet"]["conv1"]["kernel"], kernel.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(state.batch_stats["resnet"]["bn1"]["mean"], mean)
    np.testing.assert_array_equal(state.params["gru"]["bias"], np.ones(3))
    assert notes == []
    assert start.params["resnet"]["conv1"]["kernel"].max() == 0


def test_pretrained_weights_go_into_a_network_without_batchnorm(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    save_file({"features.0.weight": kernel}, tmp_path / "w.safetensors")
    params = {"features": {"0": {"kernel": np.zeros((2, 2, 3, 4), np.float32)}}}
    start = TrainState(np.int32(0), params, {}, optax.sgd(0.1).init(params), np.uint32(5))
    state, notes = with_pretrained(start, str(tmp_path / "w.safetensors"), "alexnet")
    np.testing.assert_array_equal(state.params["features"]["0"]["kernel"], kernel.transpose(2, 3, 1, 0))
    assert (state.batch_stats, notes) == ({}, [])
