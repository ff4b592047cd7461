"""One training run: Lightning trainer, prefetching, checkpoints, and resume after a kill.

The folder of checkpoints holds `training.json` with the run's key, a hash of data and parameters. A
run that finds its own key there resumes from the last checkpoint that is whole; any other starts
anew. A finished run leaves its weights there, which whoever saved the model removes: until then a
repeated run takes them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from rangefinder.common.files import atomic_write
from rangefinder.config import ComputeParams
from rangefinder.errors import ConfigError
from rangefinder.models.device import configure_cpu, free_bytes, torch_device, training_dtype
from rangefinder.training.checkpoints import (
    FINAL,
    VerifiedCheckpointIO,
    read_checkpoint,
    usable_checkpoint,
    write_checkpoint,
)
from rangefinder.training.lightning_modules import DistanceModule

MONITOR = "validation_nll"
KEY_FILE = "training.json"
BEST_KEPT = 2  # the best epoch of the checkpoint before the last is among these
_END = object()
log = logging.getLogger(__name__)


class Prefetcher:
    """Prefetches one batch of a loader in a thread while a GPU trains; on a CPU, none.

    Data sets keep what they computed (targets, scenes) in this process, which `DataLoader`'s worker
    processes would each compute again. On a CPU a thread would compete with the network for cores.
    Nothing is fetched before the first batch is asked for: by then data sets have their epoch.

    Args:
        loader: Makes the batches.
        device: Where the network trains.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader: DataLoader[Any] | None = loader
        self.device = device

    def close(self) -> None:
        """Drop the loader: its processes end, even if a trainer keeps a reference to this."""
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
            pending = thread.submit(next, batches, _END)
            while (batch := pending.result()) is not _END:
                pending = thread.submit(next, batches, _END)
                yield batch


class DataWait(Callback):
    """Logs `data_wait_share`: the share of an epoch's training time spent waiting for batches."""

    def __init__(self) -> None:
        self._waited_s = self._since_s = self._began_s = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._waited_s = 0.0
        self._began_s = self._since_s = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the time since the last step."""
        self._waited_s += time.perf_counter() - self._since_s

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the time."""
        self._since_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the share; validation is left out."""
        lasted_s = self._since_s - self._began_s
        pl_module.log("data_wait_share", self._waited_s / max(lasted_s, 1e-9))


def training_key(**parts: Any) -> str:
    """Hash of everything that a training depends on, as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class NewEpoch(Callback):
    """Sets the epoch of data sets and samplers, so that a resumed run draws the same batches."""

    def __init__(self, *epoch_aware: Any) -> None:
        self.epoch_aware = epoch_aware

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set it before the first batch is drawn."""
        for one in self.epoch_aware:
            one.epoch = trainer.current_epoch


class RequireMemory(Callback):
    """Refuses a training whose steps would not fit into memory, before the first one.

    Args:
        dtype: Of activations; those that stay in float32 are not counted as larger.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.estimated = dtype, False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Compare what the first step keeps with what is free.

        Raises:
            ConfigError: With both.
        """
        if self.estimated:
            return
        self.estimated, module = True, cast("DistanceModule", pl_module)
        needed = module.activation_bytes(batch) * self.dtype.itemsize // torch.float32.itemsize
        free = free_bytes(module.device)
        if needed > free:
            raise ConfigError(
                "a step of this training does not fit into memory",
                got=f"{needed / 2**30:.1f} GB of activations",
                expected=f"at most the {free / 2**30:.1f} GB that are free on {module.device}",
                todo="Take a smaller batch_size or crop_px, or fewer channels.",
            )


def remove_checkpoints(folder: Path) -> None:
    """Remove a training's checkpoints, once its model is saved."""
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class TrainingRun:
    """Settings of one training.

    Attributes:
        patience: Epochs without a better validation loss before early stopping, which restores the
            best epoch; None: train to the end and keep the last.
    """

    folder: Path  # where checkpoints go while it lasts
    key: str  # hash of data and parameters
    max_epochs: int  # epochs of a full run
    compute: ComputeParams  # device and threads
    logger: Logger | None  # where epoch metrics go, or None
    patience: int | None = None

    def fit(
        self,
        module: LightningModule,
        train: Any,
        validation: Any,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Train `module` in place; it ends with the weights to keep, on the CPU.

        They stay in the folder as well, until `remove_checkpoints`.

        Lightning's own messages (devices, tips) are silenced, however the training was started.
        """
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        configure_cpu(self.compute)
        start, final = self._usable_checkpoint(), self.folder / FINAL
        if start == final:
            log.info("This training had finished: its weights are in %s", self.folder)
            module.load_state_dict(read_checkpoint(final)["state_dict"])
            module.cpu()
            return
        monitor, kept = (MONITOR, BEST_KEPT) if self.patience else (None, 1)
        keep = ModelCheckpoint(self.folder, monitor=monitor, save_top_k=kept, save_last=True)
        stop = [EarlyStopping(MONITOR, patience=self.patience)] if self.patience else []
        trainer = self._trainer(
            [RequireMemory(training_dtype(self.compute)), keep, *stop, *callbacks]
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            trainer.fit(module, train, validation, ckpt_path=start, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        if self.patience:
            module.load_state_dict(read_checkpoint(Path(keep.best_model_path))["state_dict"])
        module.cpu()
        write_checkpoint(final, {"state_dict": module.state_dict()})

    def _usable_checkpoint(self) -> Path | None:
        """The checkpoint to go on from, or None after removing what is there."""
        note = self.folder / KEY_FILE
        if self._is_this_training(note) and (found := usable_checkpoint(self.folder)):
            if found.name != FINAL:
                log.info("Resuming from the checkpoint %s", found)
            return found
        remove_checkpoints(self.folder)
        text = json.dumps({"key": self.key})
        atomic_write(note, lambda path: path.write_text(text, encoding="utf-8"))
        return None

    def _is_this_training(self, note: Path) -> bool:
        try:
            return bool(json.loads(note.read_text(encoding="utf-8")) == {"key": self.key})
        except (OSError, ValueError):  # none, or damaged
            return False

    def _trainer(self, callbacks: list[Callback]) -> Trainer:
        gpu = torch_device(self.compute.device).type == "cuda"
        mixed = training_dtype(self.compute) == torch.bfloat16
        return Trainer(
            accelerator="gpu" if gpu else "cpu",
            devices=1,
            precision="bf16-mixed" if mixed else "32-true",
            benchmark=gpu,
            max_epochs=self.max_epochs,
            callbacks=callbacks,
            logger=self.logger or False,
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            log_every_n_steps=1_000_000,
            plugins=[VerifiedCheckpointIO()],
            num_sanity_val_steps=0,
        )
