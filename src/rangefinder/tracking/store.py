"""Where runs are kept: MLflow's store, its client, and how long one waits for it."""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlparse

from rangefinder.common import no_telemetry
from rangefinder.common.foreign import reason
from rangefinder.config import TrackingParams
from rangefinder.errors import ModelError, RangefinderError, masked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

URI_VARIABLE = "MLFLOW_TRACKING_URI"
UNSENT = "data/unsent_runs"  # what could not be sent; in the project
_SQLITE = "sqlite:///"
_QUIET = {  # one warning of ours stands for what these would say at every try
    "mlflow": logging.WARNING,
    "mlflow.store.db.utils": logging.CRITICAL,
    "urllib3.connectionpool": logging.ERROR,
}
_ADDRESSES = (  # tables and columns of MLflow's database that hold addresses of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Store:
    """Where runs are logged, whatever the working directory.

    Attributes:
        uri: Of MLflow's tracking.
        artifacts: URI of the artifacts of a new experiment.
        unsent: Folder for what the store could not take.
        timeout_s: How long a server or a locked database is waited for [s].
        retries: How often a server is asked again.
        moves: Whether the artifacts lie in the project, and move with it.
    """

    uri: str
    artifacts: str
    unsent: Path
    timeout_s: int
    retries: int
    moves: bool

    @classmethod
    def of(cls, project: Path, params: TrackingParams) -> Self:
        """Store of the project in folder `project`."""
        # In a temporary copy made by `dvc exp run --temp` DVC_ROOT names the real project.
        root = Path(os.environ.get("DVC_ROOT") or project).resolve()
        own = f"{_SQLITE}{(root / 'mlflow.db').as_posix()}"
        uri = params.uri or os.environ.get(URI_VARIABLE) or own
        inside = "://" not in params.artifacts
        artifacts = (root / params.artifacts).as_uri() if inside else params.artifacts
        moves = inside and not Path(params.artifacts).is_absolute() and uri == own
        return cls(uri, artifacts, root / UNSENT, params.timeout_s, params.retries, moves)

    @property
    def name(self) -> str:
        """The address without credentials, for people."""
        return masked(self.uri)

    @property
    def database(self) -> Path | None:
        """The file of a store in SQLite."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

    def client(self) -> MlflowClient:
        """A client of the store, which also becomes MLflow's default in this process.

        Raises:
            TimeoutError: If it is a database that stays locked.
        """
        no_telemetry()
        self.require_unlocked()
        if self.moves:
            self._readdress()
        os.environ |= {
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(self.timeout_s),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(self.retries),
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
            "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with credentials
        }
        for name, level in _QUIET.items():
            logging.getLogger(name).setLevel(level)
        import mlflow

        if self.database is not None and not self.database.exists():
            _make_database(self.database)
        asked = os.environ.get(URI_VARIABLE)
        mlflow.set_tracking_uri(self.uri)  # also sets the variable, which `of` takes for a setting
        os.environ.pop(URI_VARIABLE, None)
        if asked is not None:
            os.environ[URI_VARIABLE] = asked
        return mlflow.MlflowClient(self.uri)

    def require_unlocked(self) -> None:
        """Wait until the database can be written; MLflow would wait for minutes.

        Raises:
            TimeoutError: If another process locks it for longer than `timeout_s`.
        """
        if self.database is None or not self.database.is_file():
            return
        try:
            with closing(sqlite3.connect(self.database, timeout=self.timeout_s)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
        except sqlite3.OperationalError as exc:
            raise TimeoutError(f"{self.database}: {exc}") from exc

    def _readdress(self) -> None:
        """Let artifacts be found in a project that was moved or copied; addresses are absolute.

        MLflow cannot change them. Those of other folders are left alone: where there still is one,
        and artifacts of none of its runs are here.
        """
        here = Path(unquote(urlparse(self.artifacts).path))
        if self.database is None or not self.database.is_file() or not here.is_dir():
            return
        inside = self.artifacts.removeprefix(self.unsent.parents[1].as_uri())
        with closing(sqlite3.connect(self.database, timeout=self.timeout_s)) as database, database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
                return
            found = database.execute("SELECT artifact_location FROM experiments").fetchall()
            former = {one for (one,) in found if one and one.endswith(inside)} - {self.artifacts}
            moved = [old for old in former if _was_here(database, old, here)]
            for old, (table, column) in product(moved, _ADDRESSES):
                _replace_start(database, table, column, old, self.artifacts)


def _make_database(path: Path) -> None:
    """Make MLflow's database in one step: stopped in the middle, MLflow could not open it again."""
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    make: Any = SqlAlchemyStore
    try:
        store = make(f"{_SQLITE}{partial.as_posix()}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
        store.engine.dispose()
        try:
            os.link(partial, path)
        except FileExistsError:
            return  # another process was faster
        except OSError:  # a filesystem without links
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _was_here(database: sqlite3.Connection, old: str, here: Path) -> bool:
    """Whether what was at an address is here now: artifacts of a run are, or it is gone."""
    address = urlparse(old)
    if address.scheme != "file":
        return False
    runs = database.execute(
        "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) "
        "WHERE artifact_location = ?",
        (old,),
    )
    return any((here / run).is_dir() for (run,) in runs) or not Path(unquote(address.path)).exists()


def _replace_start(
    database: sqlite3.Connection, table: str, column: str, old: str, new: str
) -> None:
    """Replace the beginning of the addresses in a column."""
    database.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
    )


def is_missing(error: MlflowException) -> bool:
    """Whether an error means that there is no such thing; not, that the store does not respond."""
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@contextmanager
def reading(store: Store) -> Iterator[None]:
    """Turn what goes wrong with a store into one error, for what cannot go on without it.

    Raises:
        ModelError: If the store does not respond, or refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except RangefinderError:
        raise
    except (MlflowException, TimeoutError) as exc:
        raise ModelError(
            f"MLflow at {store.name} cannot be used ({reason(exc)})",
            todo="Start it, or name another one: uri in conf/local/tracking.yml.",
        ) from exc
