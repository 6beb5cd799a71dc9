"""Makes the golden outputs of the image networks: `python make_2d.py`, with PyTorch and torchvision.

Torchvision's definitions (for the pre-activation network a PyTorch one that follows the Keras package) run in float64
with weights that `seeded.py` draws by name, so that only outputs have to be stored. Per network: pooled features and
logits in inference; in training mode the logits, and one number for every running statistic and every gradient: its
product with a vector that is also drawn by name.
"""

from pathlib import Path

import numpy as np
import torch
import torchvision
from seeded import drawn, image, weights
from torch import nn

HERE = Path(__file__).parent


class Unit(nn.Module):
    def __init__(self, before, features, stride, project):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before, eps=2e-5, momentum=0.01)
        self.conv1 = nn.Conv2d(before, features, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(features, eps=2e-5, momentum=0.01)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.sc = nn.Conv2d(before, features, 1, stride, bias=False) if project else None

    def forward(self, x):
        y = self.bn1(x).relu()
        shortcut = self.sc(y) if self.sc is not None else x
        return shortcut + self.conv2(self.bn2(self.conv1(y)).relu())


class PreActResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn_data = nn.BatchNorm2d(3, eps=2e-5, momentum=0.01)
        self.bn_data.weight = None  # it has no scale
        self.conv0 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn0 = nn.BatchNorm2d(64, eps=2e-5, momentum=0.01)
        for i, (before, features) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
            stage = nn.Module()
            stage.unit1 = Unit(before, features, 1 if i == 1 else 2, True)
            stage.unit2 = Unit(features, features, 1, False)
            setattr(self, f"stage{i}", stage)
        self.bn1 = nn.BatchNorm2d(512, eps=2e-5, momentum=0.01)
        self.fc = nn.Identity()

    def forward(self, x):
        x = self.bn0(self.conv0(self.bn_data(x))).relu()
        x = nn.functional.max_pool2d(nn.functional.pad(x, (1, 1, 1, 1)), 3, 2)
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            x = stage.unit2(stage.unit1(x))
        return self.fc(self.bn1(x).relu().mean((2, 3)))


def fingerprints(tensors):
    """Return one number for every tensor, in the order of their names."""
    return [float((tensors[k] * torch.tensor(drawn(k + "?", tuple(tensors[k].shape)))).sum()) for k in sorted(tensors)]


def main():
    models = torchvision.models
    nets = {
        "resnet18": models.resnet18(num_classes=2),
        "resnet34": models.resnet34(num_classes=2),
        "resnet50": models.resnet50(num_classes=2),
        "resnet101": models.resnet101(num_classes=2),
        "preact": PreActResNet18(),
        "vgg16": models.vgg16(num_classes=2),
        "alexnet": models.alexnet(num_classes=2),
    }
    # The authors replace the whole classifier; the dense layers of 4096 would only make the goldens slow.
    nets["vgg16"].classifier = nn.Linear(25088, 2)
    nets["alexnet"].classifier = nn.Linear(9216, 2)
    for arch, net in nets.items():
        net.double()
        state = net.state_dict()
        fresh = weights({k: tuple(v.shape) for k, v in state.items() if v.ndim})
        net.load_state_dict({k: torch.tensor(fresh[k]) if k in fresh else v for k, v in state.items()})
        images = torch.tensor(image(arch)).permute(0, 3, 1, 2)
        golden = {}
        head = net.classifier if hasattr(net, "classifier") else net.fc
        seen = []
        head.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].detach()))
        net.eval()
        golden["logits"] = net(images).detach()
        golden["embedding"] = seen[0] @ torch.tensor(drawn("embedding", (seen[0].shape[1], 8)))
        if arch not in ("vgg16", "alexnet"):
            net.train()
            logits = net(images)
            loss_weights = torch.tensor(drawn("loss", tuple(logits.shape)))
            (logits * loss_weights).sum().backward()
            golden["train_logits"] = logits.detach()
            golden["statistics"] = fingerprints({k: v for k, v in net.state_dict().items() if "running" in k})
            golden["gradients"] = fingerprints({k: v.grad for k, v in net.named_parameters()})
        np.savez_compressed(HERE / f"{arch}.npz", **{k: np.asarray(v) for k, v in golden.items()})


if __name__ == "__main__":
    main()
