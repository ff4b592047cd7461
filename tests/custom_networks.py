"""Patch networks as users might write them, for tests of `teacher.network`."""

import torch
from torch import nn


class Pooled(nn.Module):
    """An ordinary classifier of patches: one output `[N, bins]` for an input of any size."""

    patch_px, stride_px = 16, 8

    def __init__(self, bins):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(10, bins)

    def forward(self, patches, location):
        features = torch.relu(self.norm(self.conv(patches))).mean((2, 3))
        return self.head(torch.cat([features, location.mean((2, 3))], 1))


class Convolutional(nn.Module):
    """Valid convolutions only, so that it is dense."""

    patch_px, stride_px = 11, 2

    def __init__(self, bins):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 4))
        self.head = nn.Conv2d(10, bins, 1)

    def forward(self, patches, location):
        return self.head(torch.cat([self.features(patches), location], 1))


class Sizeless(nn.Module):
    """Lacks the size of its patches."""

    def __init__(self, bins):
        super().__init__()


def not_a_class(bins):
    return Pooled(bins)
