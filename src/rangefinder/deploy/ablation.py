"""The ablation: every variant of the method trained and scored on the same held-out pixels.

What is finished is kept beside its key, so a run that was stopped, or one that asks for more
variants or seeds, goes on where it can. Variants with the same teacher share it. Trainings go side
by side, in processes that share the threads: small networks hardly use two threads at once.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from rangefinder.captures.manifest import CaptureSet
from rangefinder.config import Parameters
from rangefinder.deploy.trial import CACHES, Trial
from rangefinder.evaluation.held_out import held_out
from rangefinder.models.device import shared
from rangefinder.models.own import build_teacher
from rangefinder.training.fit import teacher_key
from rangefinder.training.sources import label_digest
from rangefinder.training.variants import variants_of
from rangefinder.workers import ordered_map, worker_pool

log = logging.getLogger(__name__)


def ablate(captures: CaptureSet, params: Parameters, folder: Path) -> pd.DataFrame:
    """Train and score every variant with every seed; shows progress on a terminal.

    Args:
        captures: All captures.
        params: The whole method, and `ablation`.
        folder: Where finished variants and work in progress are kept.

    Returns:
        One row per variant and seed: `variant`, `seed`, `says`, and scores on the test captures.

    Raises:
        WorkerError: If a process that trains is killed.
    """
    trials = _trials(captures, params, folder)
    workers = params.ablation.workers
    results = {trial.name: rows for trial in trials if (rows := trial.found())}
    missing = [trial for trial in trials if trial.name not in results]
    with worker_pool(workers, "ablation.workers") as pool:
        trained = ordered_map(pool, Trial.train, missing, workers)
        progress = tqdm(missing, desc="ablation", unit="training", disable=None)
        for trial, rows in zip(progress, trained, strict=True):
            log.info("%s: AbsRel %.3f", trial.name, rows[0]["abs_rel"])
            results[trial.name] = rows
    shutil.rmtree(folder / CACHES, ignore_errors=True)
    return pd.DataFrame([row for trial in trials for row in results[trial.name]])


def _trials(captures: CaptureSet, params: Parameters, folder: Path) -> list[Trial]:
    """Every variant with every seed; the first of each teacher before all others.

    So no process has to wait for a teacher that another one is training.
    """
    test, _ = held_out(captures)
    every = [
        (variant, variant.params(params, seed))
        for seed in params.ablation.seeds
        for variant in variants_of(params).values()
    ]
    widest = max(
        build_teacher(changed.teacher, changed.prediction.bins).patch_px for _, changed in every
    )
    labels, compute = label_digest(captures), shared(params.compute, params.ablation.workers)
    first: dict[str, Trial] = {}
    others: list[Trial] = []
    for variant, changed in every:
        key = teacher_key(captures, changed)
        changed = changed.model_copy(update={"compute": compute})
        trial = Trial(variant, changed, captures, test, folder, widest, key, labels)
        if first.setdefault(key, trial) is not trial:
            others.append(trial)
    return [*first.values(), *others]
