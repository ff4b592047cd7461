"""Memory, threads and arithmetic of a piece of work in torch."""

from __future__ import annotations

import pytest
import torch

from rangefinder.studies.benchmark.timing import multiply_adds, peak_bytes, threads


def test_multiply_adds_of_a_convolution_in_inference_are_those_of_its_formula():
    conv = torch.nn.Conv2d(3, 8, 5, stride=2, bias=False)
    with torch.inference_mode():
        counted = multiply_adds(lambda: conv(torch.zeros(1, 3, 21, 21)))
    assert counted == 3 * 8 * 5 * 5 * 9 * 9


def test_peak_memory_includes_what_is_freed_again():
    def work():
        torch.ones(2**24).sum()  # 64 MiB

    peak = peak_bytes(work)
    if peak is None:
        pytest.skip("this system does not report peak memory")
    assert 60 * 2**20 < peak < 100 * 2**20


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
