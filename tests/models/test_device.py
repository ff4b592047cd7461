"""Threads and workers of parallel processes, and the precision of each device."""

import pytest
import torch

from rangefinder.config import ComputeParams
from rangefinder.models.device import (
    inference_autocast,
    share_of_compute,
    threads_beside_workers,
    training_dtype,
)


@pytest.mark.parametrize(("processes", "threads", "workers"), [(1, 8, 5), (3, 2, 1), (9, 1, 0)])
def test_processes_side_by_side_share_threads_and_workers(processes, threads, workers):
    found = share_of_compute(ComputeParams(threads=8, workers=5), processes)
    assert (found.threads, found.workers) == (threads, workers)


@pytest.mark.parametrize(("workers", "left"), [(0, 4), (1, 3), (4, 1), (7, 1)])
def test_each_worker_takes_a_thread_from_the_training(workers, left):
    assert threads_beside_workers(ComputeParams(threads=4, workers=workers)).threads == left


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_is_used_on_cpus_with_such_instructions(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert training_dtype(ComputeParams(device="cpu")) == expected
    assert training_dtype(ComputeParams(device="cpu", precision="float32")) == torch.float32
    assert training_dtype(ComputeParams(device="cpu", precision="bfloat16")) == torch.bfloat16
    with inference_autocast("cpu"):
        assert torch.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)).dtype == expected


def test_inference_on_a_gpu_is_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    found = inference_autocast("cuda")
    assert (found.device, found.fast_dtype) == ("cuda", torch.float32)
