"""The PyTorch side of the networks: training steps and outputs of the twins, in several settings."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.networks_1d import CNN1DLSTM, ResNet1DLSTM, SequenceLSTM
from benchmarks.peers.networks_2d import ResNet18, ResNetGRU, clips
from benchmarks.side import Arrays, Side

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def twin(model: Mapping[str, Any], inputs: np.ndarray) -> nn.Module:
    """Return the network of a config, for inputs of this shape."""
    fields = dict(model)
    name = fields.pop("name")
    if name == "resnet18":
        return ResNet18(classes=2, **fields)
    if name == "cnn1d_lstm":
        return CNN1DLSTM(**fields)
    if name == "resnet1d_lstm":
        return ResNet1DLSTM(**fields)
    if name == "sequence_lstm":
        return SequenceLSTM(inputs.shape[-1], **fields)
    return {"resnet_gru": ResNetGRU}[name](inputs.shape[-1], **fields)


def side(learner: Mapping[str, Any], batch: Arrays, setting: str, *, train: bool, ours: Arrays | None) -> Side:
    """Time a training step, or the outputs.

    Args:
      learner: of the config.
      batch: `inputs`, `targets`, and for images `augmented`.
      setting: `eager` or `compile`, unchanged; with `_tuned`, everything that is known to help: our allocator setting
        (by the worker), images with channels last, the fused optimizer; or `bfloat16_tuned`.
      ours: the arrays of our side's `check`, with its weights; None if nothing is checked.
    """
    set_up()
    examples, tuned = learner["examples"], setting.endswith("tuned")
    net = twin(learner["model"], batch["inputs"]).to(DEVICE)
    images = examples["name"] == "clips"
    if tuned and (images or isinstance(net, ResNetGRU)):
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rate = optimizer(net, learner["optimizer"], fused=tuned)
    inputs, targets = (torch.from_numpy(batch[name]) for name in ("inputs", "targets"))
    forward = torch.compile(net) if setting.startswith("compile") else net

    def prepared(crop: bool) -> Tensor:
        x = inputs.to(DEVICE)
        if images:
            x = clips(x, examples["size"], crop)
            x = x.contiguous(memory_format=torch.channels_last) if tuned else x
        return x

    def outputs_of(x: Tensor, kind: torch.dtype = torch.float32) -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=setting.startswith("bfloat16")):
            return forward(x.to(kind) if x.is_floating_point() else x).to(kind)

    def step() -> float:
        net.train()
        rate.zero_grad(set_to_none=True)
        outputs = outputs_of(prepared(crop=bool(examples.get("augment"))))
        loss = loss_of(outputs, targets.to(DEVICE), learner["loss"])
        loss.backward()
        rate.step()
        return float(loss)

    def predict() -> np.ndarray:
        net.eval()
        with torch.inference_mode():
            return outputs_of(prepared(crop=False)).cpu().numpy()

    def check() -> Arrays:
        assert ours is not None
        names = load(net, ours)
        found = {"outputs": predict()}
        if train:
            for module in net.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            net.train().double()
            x = torch.from_numpy(ours["prepared"]).to(DEVICE)
            outputs = outputs_of(x.permute(0, 3, 1, 2) if images else x, torch.float64)
            loss = loss_of(outputs, targets.to(DEVICE).double(), learner["loss"])
            loss.backward()
            leaves = dict(net.named_parameters())
            found_or_zero = lambda leaf: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad  # noqa: E731
            gradients = (found_or_zero(leaves[n]) for n in names)
            found["loss"] = np.asarray(loss.item())
            found["gradient"] = np.concatenate([gradient.cpu().numpy().ravel() for gradient in gradients])
        return found

    return Side(step if train else predict, check)


def lstm_layers(batch: Arrays, setting: str, *, sizes: tuple[int, ...], ours: Arrays | None) -> Side:
    """Time LSTM layers alone, forward and backward."""
    set_up()
    inputs, projection = (torch.from_numpy(batch[name]).to(DEVICE) for name in ("inputs", "projection"))
    channels = (inputs.shape[-1], *sizes)
    net = nn.ModuleDict({f"lstm{i}": nn.LSTM(channels[i], size, batch_first=True) for i, size in enumerate(sizes)}).to(
        DEVICE
    )

    def stack(x: Tensor) -> Tensor:
        for layer in net.values():
            x, _ = layer(x)
        return x

    forward = torch.compile(stack) if setting.startswith("compile") else stack
    x = inputs.requires_grad_()

    def run() -> Tensor:
        net.zero_grad(set_to_none=True)
        x.grad = None
        with torch.autocast(DEVICE, torch.bfloat16, enabled=setting.startswith("bfloat16")):
            outputs = forward(x).float()
        (outputs * projection).sum().backward()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return outputs

    def check() -> Arrays:
        assert ours is not None
        load(net, ours)
        outputs = run()
        assert x.grad is not None
        return {"outputs": outputs.detach().cpu().numpy(), "of_inputs": x.grad.cpu().numpy()}

    return Side(run, check)


def set_up() -> None:
    """Set the number of threads, and TF32 on a GPU, as on our side."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_float32_matmul_precision("high" if DEVICE == "cuda" else "highest")
    torch.manual_seed(0)


def load(net: nn.Module, ours: Arrays) -> list[str]:
    """Copy our weights into the twin; return the sorted names of the trained ones."""
    weights = {name.removeprefix("weight/"): value for name, value in ours.items() if name.startswith("weight/")}
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "bias_hh" in name:
                value.zero_()
    missing, unexpected = net.load_state_dict(state, strict=False)
    left = [name for name in missing if "bias_hh" not in name and "num_batches" not in name]
    if left or unexpected:
        raise ValueError(f"the PyTorch network does not have {unexpected}, and has {left} in addition")
    return sorted(weights.keys() & dict(net.named_parameters()).keys())


def loss_of(outputs: Tensor, targets: Tensor, spec: Mapping[str, Any]) -> Tensor:
    """Compute `window_pcc` or `cross_entropy`."""
    if spec["name"] == "cross_entropy":
        return F.cross_entropy(outputs, targets.long())
    x, y = (series - series.mean(-1, keepdim=True) for series in (outputs, targets))
    energies = ((x * x).sum(-1) + spec["eps"]).sqrt() * ((y * y).sum(-1) + spec["eps"]).sqrt()
    return (1 - (x * y).sum(-1) / energies).mean()


def optimizer(net: nn.Module, spec: Mapping[str, Any], *, fused: bool) -> torch.optim.Optimizer:
    """Return `adam`, `nadam` or `sgd`; NAdam has no fused form, so it updates all tensors at once (`foreach`)."""
    decay, lr = spec.get("weight_decay", 0.0), spec["lr"]
    of_kernels = spec.get("decay") == "kernels"
    groups: dict[float, list[Tensor]] = {decay: [], 0.0: []}
    for name, value in net.named_parameters():
        if value.requires_grad:
            kernel = value.ndim > 1 and "_l0" not in name
            groups[decay if kernel or not of_kernels else 0.0].append(value)
    parameters = [{"params": values, "weight_decay": factor} for factor, values in groups.items() if values]
    if spec["name"] == "adam":
        return torch.optim.Adam(parameters, lr, eps=spec.get("eps", 1e-7), fused=fused or None)
    if spec["name"] == "nadam":
        return torch.optim.NAdam(parameters, lr, eps=spec.get("eps", 1e-7), foreach=fused or None)
    return torch.optim.SGD(parameters, lr, momentum=spec.get("momentum", 0.9), fused=fused or None)
