"""The choice among variants of a network: the fastest one within the tolerance."""

import time

import torch
from torch import nn

from rangefinder.sweep.sweep import bfloat16, fastest

SAMPLE = torch.linspace(0, 1, 5)


def slow(x):
    time.sleep(0.05)
    return x


def wrong(x):
    return x + 0.1


def close(x):
    return x + 0.001


def chosen(variants, tolerance):
    return fastest(variants, lambda variant: variant(SAMPLE), tolerance)


def test_a_faster_variant_is_taken_only_within_the_tolerance():
    assert chosen([slow, wrong, close], 0.01) is close
    assert chosen([slow, wrong, close], 1e-4) is slow


def test_the_exact_variant_stays_where_no_other_is_faster():
    assert chosen([close, slow], 0.01) is close


def test_mixed_precision_is_near_but_not_the_same():
    torch.manual_seed(0)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 5)

        def forward(self, images, location):
            return self.conv(images)

    network, images = Network(), torch.rand(2, 3, 9, 9)
    with torch.inference_mode():
        low, exact = (run(images, None).float() for run in (bfloat16(network), network))
    assert 0 < (low - exact).abs().max() < 0.02
