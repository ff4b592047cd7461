"""Sending what MLflow could not take when it was due."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from tqdm import tqdm

from rangefinder.common.foreign import reason
from rangefinder.errors import ModelError
from rangefinder.tracking import spool
from rangefinder.tracking.mlflow_run import MlflowRun, is_alive, is_of_this_host, now_ms
from rangefinder.tracking.operations import perform
from rangefinder.tracking.spool import Spool
from rangefinder.tracking.store import Store, is_missing

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)


@dataclass
class Sent:
    """What came of it.

    Attributes:
        runs: Names of runs of which nothing is left.
        left: Why something of a run is left, by its name or folder.
        unreachable: Why the store does not respond; empty if it does.
    """

    runs: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    unreachable: str = ""


def send(store: Store, seconds: float = float("inf"), *, of_all_hosts: bool = False) -> Sent:
    """Send what was kept of runs that have ended, or whose process is gone.

    What arrived is not sent again, also if this is stopped in the middle.

    Args:
        store: Where to.
        seconds: After these no further operation begins.
        of_all_hosts: Whether runs of other machines that have not ended count as ended.
    """
    result, deadline = Sent(), time.monotonic() + seconds
    folders = spool.unsent(store.unsent)
    if not folders:
        return result
    try:
        with FileLock(store.unsent / ".lock", timeout=0):
            _send_runs(store, folders, result, deadline, of_all_hosts)
    except Timeout:
        result.left[str(store.unsent)] = "another process is sending it"
    return result


def _send_runs(
    store: Store, folders: list[Path], result: Sent, deadline: float, of_all_hosts: bool
) -> None:
    for folder in folders:
        if not result.unreachable:
            _send_run(store, folder, result, deadline, of_all_hosts)


def _send_run(
    store: Store, folder: Path, result: Sent, deadline: float, of_all_hosts: bool
) -> None:
    name = str(folder)
    try:
        kept = Spool.read(folder)
        name = kept.begun.start.name
        if why := _not_due(kept, of_all_hosts):
            result.left[name] = why
        elif _deliver(store, kept, deadline):
            result.runs.append(name)
        else:
            result.left[name] = "there was no more time; the rest is sent next time"
    except Exception as exc:  # of any kind: of MLflow, its plugins, the network, the disk
        result.left[name] = reason(exc)
        result.unreachable = _unreachable(store)


def _not_due(kept: Spool, of_all_hosts: bool) -> str:
    """Why the run is not sent yet; empty if it is."""
    process = kept.begun.start.process
    if kept.has_ended:
        return ""
    if is_of_this_host(process):
        return f"it is still going on (process {process})" if is_alive(process) else ""
    if of_all_hosts:
        return ""
    return f"it has not ended on another host (process {process}); --all-hosts sends it as killed"


def _deliver(store: Store, kept: Spool, deadline: float) -> bool:
    """Send a run's operations; False if time was too short for all."""
    begun = kept.begun
    if begun.ids is None:
        run = MlflowRun.begin(store, begun.start)
        kept.began(store.name, (run.experiment_id, run.run_id, run.parent_id))
    else:
        client = store.client()
        run = MlflowRun(client, store, *begun.ids)
        if begun.store != store.name and not _is_in(client, run.run_id):
            raise ModelError(f"it began in {begun.store}", todo="Sync with that one.")
    has_ended = kept.has_ended
    for folder in tqdm(kept.operations(), begun.start.name, disable=None):
        if time.monotonic() > deadline:
            return False
        store.require_unlocked()
        name, arguments = spool.operation(folder)
        perform(run, name, arguments)
        if name != "end":  # which goes with all of it: without an end, the run would seem killed
            spool.sent(folder)
    if not has_ended:
        run.end("KILLED", now_ms())
    kept.remove()
    return True


def _is_in(client: MlflowClient, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as exc:
        if is_missing(exc):
            return False
        raise
    return True


def _unreachable(store: Store) -> str:
    try:
        store.client().search_experiments(max_results=1)
    except Exception as exc:
        return reason(exc)
    return ""
