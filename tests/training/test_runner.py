"""The prefetcher: batches in order, prefetched for a GPU only; waiting is measured."""

from __future__ import annotations

import threading

import pytest
import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from rangefinder.training.runner import DataWait, Prefetcher

CPU, GPU = torch.device("cpu"), torch.device("cuda")  # nothing is computed on it here


class Numbers(Dataset):
    def __init__(self, count=5, fails_at=None):
        self.count, self.fails_at, self.made = count, fails_at, []
        self.reached = threading.Event()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.fails_at:
            raise ValueError("no such number")
        self.made.append(index)
        if index == 1:
            self.reached.set()
        return torch.tensor([float(index)])


@pytest.mark.parametrize("device", [CPU, GPU])
def test_batches_are_those_of_the_loader_in_order(device):
    loader = DataLoader(Numbers(), batch_size=2)
    prefetcher = Prefetcher(loader, device)
    assert len(prefetcher) == 3
    for _ in range(2):
        for one, other in zip(prefetcher, loader, strict=True):
            assert torch.equal(one, other)


def test_the_next_batch_is_prefetched_while_a_gpu_trains():
    numbers = Numbers()
    batches = iter(Prefetcher(DataLoader(numbers, batch_size=1), GPU))
    assert numbers.made == []
    next(batches)
    assert numbers.reached.wait(timeout=60)


def test_nothing_is_prefetched_for_a_cpu():
    numbers = Numbers()
    batches = iter(Prefetcher(DataLoader(numbers, batch_size=1), CPU))
    next(batches)
    assert not numbers.reached.wait(timeout=0.5)
    assert numbers.made == [0]


@pytest.mark.parametrize("device", [CPU, GPU])
def test_an_error_reaches_the_training(device):
    batches = iter(Prefetcher(DataLoader(Numbers(fails_at=1), batch_size=1), device))
    next(batches)
    with pytest.raises(ValueError, match="no such number"):
        next(batches)


class Idle(LightningModule):
    """Trains nothing, in no time."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shares = []

    def training_step(self, batch, index):
        return (self.weight * batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_end(self):
        self.shares.append(float(self.trainer.callback_metrics["data_wait_share"]))


class Slow(Numbers):
    """Each number takes far longer to make than to train on."""

    def __getitem__(self, index):
        threading.Event().wait(0.2)
        return super().__getitem__(index)


@pytest.mark.parametrize(("numbers", "starves"), [(Slow(), True), (Numbers(count=300), False)])
def test_the_share_of_waiting_shows_a_starved_training(numbers, starves):
    module = Idle()
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[DataWait()],
    )
    trainer.fit(module, DataLoader(numbers, batch_size=1))
    (share,) = module.shares
    assert 0 < share < 1
    assert (share > 0.5) is starves
