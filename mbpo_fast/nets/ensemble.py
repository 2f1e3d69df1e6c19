"""Layers of E independent members in one call: grouped convolutions on [B, M*C, h, w].

Every layer holds the weights of all E members and takes `members`, the slice of M members to run, so that
training (all members, each on its own batch) and routed rollouts (one member on its rows) share one code.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ALL = slice(None)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Kaiming-uniform weights as torch's own layers draw them, for each member anew."""
    bound = 1.0 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class EnsembleConv2d(nn.Module):
    """Convolution [B, M*cin, h, w] -> [B, M*cout, h', w'] with one kernel set a member."""

    def __init__(self, members: int, cin: int, cout: int, kernel: int, *, stride: int = 1, padding: int = 0):
        super().__init__()
        fan_in = cin * kernel * kernel
        self.weight = _uniform(members, cout, cin, kernel, kernel, fan_in=fan_in)
        self.bias = _uniform(members, cout, fan_in=fan_in)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor, members: slice = ALL) -> Tensor:
        weight, bias = self.weight[members], self.bias[members]
        return F.conv2d(
            x,
            weight.flatten(0, 1),
            bias.flatten(),
            stride=self.stride,
            padding=self.padding,
            groups=weight.shape[0],
        )


class EnsembleConvTranspose2d(nn.Module):
    """Transposed convolution [B, M*cin, h, w] -> [B, M*cout, h', w'] with one kernel set a member."""

    def __init__(self, members: int, cin: int, cout: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        fan_in = cin * kernel * kernel // (stride * stride)
        self.weight = _uniform(members, cin, cout, kernel, kernel, fan_in=fan_in)
        self.bias = _uniform(members, cout, fan_in=fan_in)
        self.stride = stride

    def forward(self, x: Tensor, members: slice = ALL) -> Tensor:
        weight, bias = self.weight[members], self.bias[members]
        return F.conv_transpose2d(
            x, weight.flatten(0, 1), bias.flatten(), stride=self.stride, groups=weight.shape[0]
        )


class EnsembleLinear(nn.Module):
    """Affine map [M, B, fin] -> [M, B, fout] with one matrix a member."""

    def __init__(self, members: int, fin: int, fout: int) -> None:
        super().__init__()
        self.weight = _uniform(members, fin, fout, fan_in=fin)
        self.bias = _uniform(members, 1, fout, fan_in=fin)

    def forward(self, x: Tensor, members: slice = ALL) -> Tensor:
        return torch.baddbmm(self.bias[members], x, self.weight[members])


class EnsembleGroupNorm(nn.Module):
    """Group normalisation (Wu and He 2018) of [B, M*channels, h, w]; groups never cross members."""

    def __init__(self, members: int, channels: int, groups: int) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"[EnsembleGroupNorm] expected channels divisible by {groups}, got {channels}")
        self.weight = nn.Parameter(torch.ones(members, channels))
        self.bias = nn.Parameter(torch.zeros(members, channels))
        self.groups = groups

    def forward(self, x: Tensor, members: slice = ALL) -> Tensor:
        weight, bias = self.weight[members], self.bias[members]
        return F.group_norm(x, weight.shape[0] * self.groups, weight.flatten(), bias.flatten())


class EnsembleFiLM(nn.Module):
    """Scale and shift every channel by the action (Perez et al. 2018).

    `x` f32 [B, M*channels, h, w], `action` i64 [M, B].
    """

    def __init__(self, members: int, num_actions: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(0.1 * torch.randn(members, num_actions, channels))
        self.shift = nn.Parameter(0.1 * torch.randn(members, num_actions, channels))

    def forward(self, x: Tensor, action: Tensor, members: slice = ALL) -> Tensor:
        scale = _rows(self.scale[members], action)
        shift = _rows(self.shift[members], action)
        return x * (1.0 + scale) + shift


def _rows(table: Tensor, action: Tensor) -> Tensor:
    """table [M, A, c] looked up by action [M, B] -> [B, M*c, 1, 1]."""
    index = action[:, :, None].expand(-1, -1, table.shape[2])
    return table.gather(1, index).transpose(0, 1).flatten(1)[:, :, None, None]
