"""PyTorch twins of ResNet18 and the network of Breathing system 4; fields and names of layers are ours."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.networks_1d import OUTPUTS

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def conv(before: int, features: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(before, features, size, stride, size // 2, bias=False)


class Block(nn.Module):
    def __init__(self, before: int, features: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(before, features, 3, stride), nn.BatchNorm2d(features)
        self.conv2, self.bn2 = conv(features, features, 3, 1), nn.BatchNorm2d(features)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(conv(before, features, 1, stride), nn.BatchNorm2d(features))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """Maps `[batch, 3, height, width]` to `[batch, class]`, or to `[batch, 512]` without classes."""

    def __init__(self, classes: int = 0, head: str = "v2", head_dropout: float = 0.0):
        super().__init__()
        if head != "v2":
            raise ValueError(f"the twin has no head {head!r}")
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        before = 64
        for stage, features in enumerate((64, 128, 256, 512), 1):
            first = Block(before, features, 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, Block(features, features, 1)))
            before = features
        self.fc = nn.Linear(512, classes) if classes else nn.Identity()

    def stage(self, name: str, x: Tensor) -> Tensor:
        x = getattr(self, name)(x)
        return F.max_pool2d(F.relu(x), 3, 2, 1) if name == "bn1" else x

    def forward(self, x: Tensor) -> Tensor:
        for name in STAGES:
            x = self.stage(name, x)
        return self.fc(x.mean((2, 3)))


STAGES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
HALVING = ("bn1", "layer2", "layer3", "layer4")


class ResNetGRU(nn.Module):
    """Maps `[batch, frame, band]`, 0 to 255, to `[batch, label]`."""

    mean: Tensor
    std: Tensor

    def __init__(self, bands: int, frozen, trunk, piece_frames, gru, dropout, output, chunk, **fields: str):
        super().__init__()
        if fields != {"backbone": "resnet18", "normalise": "imagenet"}:
            raise ValueError(f"the twin has no {fields}")
        del bands
        self.resnet = ResNet18()
        self.frozen, self.dense, self.piece_frames, self.chunk = frozen, trunk == "dense", piece_frames, chunk
        for name in frozen:
            getattr(self.resnet, name).requires_grad_(False)
        self.count, channels = len(gru), 512
        for layer, size in enumerate(gru):
            setattr(self, f"grus_{layer}", nn.GRU(channels, size, batch_first=True))
            channels = size
        self.dropout = nn.Dropout(dropout)
        self.head, self.output = nn.Linear(channels, 1), OUTPUTS[output]
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def train(self, mode: bool = True) -> "ResNetGRU":
        super().train(mode)
        for name in self.frozen:
            getattr(self.resnet, name).eval()
        return self

    def images(self, strips: Tensor) -> Tensor:
        """Map `[batch, frame, band]` to `[batch, 3, band, frame]`."""
        images = (strips.transpose(1, 2)[:, None].float() / 255 - self.mean) / self.std
        # The layout of the first convolution's weights, which the following layers keep.
        return images.contiguous(memory_format=memory_format(self.resnet.conv1.weight))

    def features(self, x: Tensor) -> Tensor:
        for name in STAGES:
            x = self.resnet.stage(name, x)
        return x.mean((2, 3))

    def of_pieces(self, strips: Tensor, labels: int) -> Tensor:
        pieces = strips.unfold(1, self.piece_frames, 2)[:, :labels].transpose(2, 3).flatten(0, 1)
        size = max(n for n in range(1, self.chunk + 1) if len(pieces) % n == 0)
        parts = [self.features(self.images(part)) for part in pieces.split(size)]
        return torch.cat(parts).unflatten(0, (len(strips), labels))

    def of_strip(self, strips: Tensor, labels: int) -> Tensor:
        """Keep all phases of every stride along time but the first, as further rows of the batch."""
        frames = strips.shape[1]
        last = strips[:, -1:].expand(-1, -frames % 32, -1)
        maps = self.images(torch.cat([strips, last], 1))
        for name in STAGES:
            if name in HALVING:
                maps = torch.cat([maps, F.pad(maps[..., 1:], (0, 1))])
            maps = self.resnet.stage(name, maps)
        # [phase * batch, channel, column] -> [batch, column * phase, channel]
        columns = maps.mean(2).unflatten(0, (16, len(strips))).permute(1, 3, 0, 2).flatten(1, 2)
        own = [columns[:, first : first + labels] for first in range(0, -(-self.piece_frames // 2), 16)]
        return torch.stack(own).mean(0)

    def forward(self, strips: Tensor) -> Tensor:
        labels = (strips.shape[1] - self.piece_frames + 2) // 2
        x = (self.of_strip if self.dense else self.of_pieces)(strips, labels)
        for layer in range(self.count):
            x, _ = getattr(self, f"grus_{layer}")(self.dropout(x))
        return self.output(self.head(x)[..., 0])


def memory_format(weight: Tensor) -> torch.memory_format:
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def clips(images: Tensor, size: tuple[int, int], crop: bool) -> Tensor:
    """Crop at random, resize and normalise `[example, height, width, 3]`, uint8, to `[example, 3, *size]`.

    Crops are resized one by one, as in torchvision's RandomResizedCrop.
    """
    x = images.permute(0, 3, 1, 2).float()
    height, width = x.shape[2:]
    if crop:
        area = height * width * torch.empty(len(x)).uniform_(0.08, 1)
        ratio = torch.empty(len(x)).uniform_(-0.2877, 0.2877).exp()
        heights = (area / ratio).sqrt().round().clamp(1, height).int().tolist()
        widths = (area * ratio).sqrt().round().clamp(1, width).int().tolist()
        tops = [int(torch.randint(height - h + 1, ())) for h in heights]
        lefts = [int(torch.randint(width - w + 1, ())) for w in widths]
        cut = [
            one[:, t : t + h, left : left + w]
            for one, t, h, left, w in zip(x, tops, heights, lefts, widths, strict=True)
        ]
        x = torch.cat([F.interpolate(c[None], size, mode="bilinear", antialias=True) for c in cut])
    elif (height, width) != tuple(size):
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (MEAN, STD))
    return (x / 255 - mean) / std
