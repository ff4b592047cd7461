"""Feeding a training: the next batch is made while a GPU works on this one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

_END = object()


class Ahead:
    """Batches of a loader, made one ahead in a thread where a GPU trains.

    On a CPU the thread would take the network's cores, at every layer of it: each batch is made
    when it is asked for. Nothing is made before the first one is: data sets learn of a new epoch
    until then.

    Args:
        loader: Makes the batches.
        device: Where the network trains.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader: DataLoader[Any] | None = loader
        self.device = device

    def close(self) -> None:
        """Let go of the loader; its processes end, even if a trainer holds on to this."""
        self.loader = None

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.loader) if self.loader else 0

    def __iter__(self) -> Iterator[Any]:
        """The batches in the loader's order."""
        batches = iter(self.loader or ())
        if self.device.type == "cpu":
            yield from batches
            return
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
            coming = thread.submit(next, batches, _END)
            while (batch := coming.result()) is not _END:
                coming = thread.submit(next, batches, _END)
                yield batch


class DataWait(Callback):
    """Logs `data_wait_share`: the part of an epoch's steps spent waiting for the next batch."""

    def __init__(self) -> None:
        self._waited_s = self._since_s = self._began_s = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock runs from here."""
        self._waited_s = 0.0
        self._began_s = self._since_s = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch has come."""
        self._waited_s += time.perf_counter() - self._since_s

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """From here on the network waits."""
        self._since_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the share; validation is over by now and counts as neither."""
        lasted_s = self._since_s - self._began_s
        pl_module.log("data_wait_share", self._waited_s / max(lasted_s, 1e-9))
