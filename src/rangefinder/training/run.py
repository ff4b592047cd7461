"""One training run: Lightning trainer, checkpoints, and resume after a kill.

The folder of checkpoints holds `training.json`, which names data and parameters. A run that finds
its own name there goes on from the last checkpoint; any other starts afresh, and a finished run
leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from rangefinder.config import ComputeParams
from rangefinder.models.device import configure_cpu, torch_device, training_dtype

MONITOR = "validation_nll"
NAME = "training.json"
log = logging.getLogger(__name__)


def training_key(**parts: Any) -> str:
    """Hash of everything that a training depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class NewEpoch(Callback):
    """Tell data sets and samplers which epoch it is, so that a resumed run draws what it would."""

    def __init__(self, *listeners: Any) -> None:
        self.listeners = listeners

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first batch is drawn."""
        for listener in self.listeners:
            listener.epoch = trainer.current_epoch


@dataclass(frozen=True)
class TrainingRun:
    """Settings of one training.

    Attributes:
        folder: Where checkpoints go while it lasts.
        key: Hash of data and parameters.
        max_epochs: Epochs of a full run.
        compute: Device and threads.
        logger: Where epoch metrics go, or None.
        patience: Epochs without a better validation after which to stop and to go back to the
            best epoch; None trains to the end and keeps the last.
    """

    folder: Path
    key: str
    max_epochs: int
    compute: ComputeParams
    logger: Logger | None
    patience: int | None = None

    def fit(
        self,
        module: LightningModule,
        train: Any,
        validation: Any,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Train `module` in place; it ends with the weights to keep."""
        configure_cpu(self.compute)
        keep = ModelCheckpoint(
            self.folder, monitor=MONITOR if self.patience else None, save_last=True
        )
        stop = [EarlyStopping(MONITOR, patience=self.patience)] if self.patience else []
        resume = self._last_checkpoint()
        trainer = self._trainer([keep, *stop, *callbacks])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            trainer.fit(module, train, validation, ckpt_path=resume, weights_only=False)
        if trainer.interrupted:
            raise KeyboardInterrupt
        if self.patience:
            state = torch.load(keep.best_model_path, weights_only=True, map_location="cpu")
            module.load_state_dict(state["state_dict"])
        module.cpu()
        shutil.rmtree(self.folder)

    def _last_checkpoint(self) -> Path | None:
        """The checkpoint to go on from, or None after clearing what is not this run's."""
        note, last = self.folder / NAME, self.folder / "last.ckpt"
        if last.exists() and note.exists() and json.loads(note.read_text()) == {"key": self.key}:
            log.info("Going on from the checkpoint in %s", self.folder)
            return last
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        partial = self.folder / f"{NAME}.partial"
        partial.write_text(json.dumps({"key": self.key}))
        partial.replace(note)
        return None

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
            num_sanity_val_steps=0,
        )
