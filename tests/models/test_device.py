"""Threads are shared out among processes, and every process has one; precision is as asked."""

import pytest
import torch

from rangefinder.config import ComputeParams
from rangefinder.models.device import beside_workers, quickly, shared, training_dtype


@pytest.mark.parametrize(("processes", "threads", "workers"), [(1, 8, 5), (3, 2, 1), (9, 1, 0)])
def test_processes_side_by_side_share_threads_and_workers(processes, threads, workers):
    found = shared(ComputeParams(threads=8, workers=5), processes)
    assert (found.threads, found.workers) == (threads, workers)


@pytest.mark.parametrize(("workers", "left"), [(0, 4), (1, 3), (4, 1), (7, 1)])
def test_workers_leave_the_other_threads(workers, left):
    assert beside_workers(ComputeParams(threads=4, workers=workers)).threads == left


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_is_for_cpus_that_are_made_for_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert training_dtype(ComputeParams(device="cpu")) == expected
    assert training_dtype(ComputeParams(device="cpu", precision="float32")) == torch.float32
    assert training_dtype(ComputeParams(device="cpu", precision="bfloat16")) == torch.bfloat16
    with quickly("cpu"):
        assert torch.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)).dtype == expected


def test_a_gpu_answers_in_what_it_has(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    found = quickly("cuda")
    assert (found.device, found.fast_dtype) == ("cuda", torch.float32)
