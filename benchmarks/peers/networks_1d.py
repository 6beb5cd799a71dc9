"""PyTorch twins of the networks of Breathing systems 1, 2, 3 and 5; fields and names of layers are ours."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OUTPUTS = {"tanh": torch.tanh, "linear": lambda x: x}


class SequenceLSTM(nn.Module):
    """Maps `[batch, label, channel]` to `[batch, label]`."""

    def __init__(self, channels: int, lstm: tuple[int, ...], dropout: float, output: str):
        super().__init__()
        self.count, self.output = len(lstm), OUTPUTS[output]
        for layer, size in enumerate(lstm):
            setattr(self, f"lstm{layer}", nn.LSTM(channels, size, batch_first=True))
            channels = size
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in range(self.count):
            x, _ = getattr(self, f"lstm{layer}")(self.dropout(x) if layer else x)
        return self.output(self.head(x)[..., 0])


class CNN1DLSTM(nn.Module):
    """Maps `[batch, sample, 1]` to `[batch, label]`."""

    def __init__(self, filters, kernels, pools, last_pool, dropout, lstm, output):
        super().__init__()
        self.pools, self.last_pool = pools, last_pool
        channels = 1
        for index, (size, taps) in enumerate(zip(filters, kernels, strict=True)):
            setattr(self, f"convs_{index}", nn.Conv1d(channels, size, taps, padding="same"))
            channels = size
        self.dropout = nn.Dropout(dropout)
        self.sequence = SequenceLSTM(channels, lstm, 0.0, output)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for index, pool in enumerate(self.pools):
            x = self.dropout(F.relu(getattr(self, f"convs_{index}")(x)))
            mean = index == len(self.pools) - 1 and self.last_pool == "mean"
            x = F.avg_pool1d(x, pool) if mean else F.max_pool1d(x, pool)
        return self.sequence(x.transpose(1, 2))


def batch_norm(channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


class Bottleneck(nn.Module):
    def __init__(self, channels: int, filters: int, project: bool):
        super().__init__()
        self.project = project
        self.conv0, self.norm0 = nn.Conv1d(channels, filters, 1, bias=False), batch_norm(filters)
        self.conv1, self.norm1 = nn.Conv1d(filters, filters, 5, padding=2, bias=False), batch_norm(filters)
        self.conv2, self.norm2 = nn.Conv1d(filters, 4 * filters, 1, bias=False), batch_norm(4 * filters)
        if project:
            self.shortcut = nn.Conv1d(channels, 4 * filters, 1, bias=False)
            self.shortcut_norm = batch_norm(4 * filters)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm0(self.conv0(x)))
        y = F.relu(self.norm1(self.conv1(y)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + (self.shortcut_norm(self.shortcut(x)) if self.project else x))


class ResNet1D(nn.Module):
    def __init__(self, stem, stem_kernel, stages, blocks, pools):
        super().__init__()
        self.pools = pools
        self.stem = nn.Conv1d(1, stem, stem_kernel, padding="same")
        self.stem_norm = batch_norm(stem)
        self.names, channels = [], stem
        for stage, filters in enumerate(stages):
            self.names.append([f"stage{stage}_block{block}" for block in range(blocks)])
            for block, name in enumerate(self.names[-1]):
                setattr(self, name, Bottleneck(channels, filters, block == 0))
                channels = 4 * filters
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool1d(F.relu(self.stem_norm(self.stem(x.transpose(1, 2)))), self.pools[0])
        for names, pool in zip(self.names, self.pools[1:], strict=True):
            for name in names:
                x = getattr(self, name)(x)
            x = F.avg_pool1d(x, pool)
        return x.transpose(1, 2)


class ResNet1DLSTM(nn.Module):
    """Maps `[batch, sample, 1]` to `[batch, label]`."""

    def __init__(self, stem, stem_kernel, stages, blocks, pools, lstm, dropout, output):
        super().__init__()
        self.trunk = ResNet1D(stem, stem_kernel, stages, blocks, pools)
        self.sequence = SequenceLSTM(self.trunk.channels, lstm, dropout, output)

    def forward(self, x: Tensor) -> Tensor:
        return self.sequence(self.trunk(x))
