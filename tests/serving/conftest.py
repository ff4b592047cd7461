"""Servers that are really started, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ..conftest import COMMAND, PATIENCE_S, program_environment


@dataclass(frozen=True)
class Server:
    """A server that responds.

    Attributes:
        url: Its address.
        process: Its process.
        folder: Where it keeps photos under way.
    """

    url: str
    process: psutil.Popen
    folder: Path

    def under_way(self) -> list[Path]:
        """Files of photos that it has not responded to."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


@contextmanager
def started(model: Path, folder: Path, *options: str) -> Iterator[Server]:
    """`rangefinder serve` on a free port, ended by SIGTERM."""
    folder.mkdir()
    command = [sys.executable, "-c", COMMAND, "serve", "--port", "0", "--device", "cpu"]
    with (folder.parent / f"{folder.name}.log").open("w+") as log:
        process = psutil.Popen(
            [*command, "--model", str(model), *options],
            env=program_environment() | {"TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            line = process.stdout.readline()
            if "http://" not in line:
                process.wait(PATIENCE_S)
                log.seek(0)
                pytest.fail(f"no server: {line}{log.read()}")
            yield Server(line.rpartition(" at ")[2].partition(";")[0], process, folder)
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
            process.stdout.close()
        log.seek(0)
        assert "Traceback" not in log.read()


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the tiny student."""
    pytest.importorskip("fastapi_offline")
    folder = tmp_path_factory.mktemp("server") / "tmp"
    with started(model_folder / "student", folder, "--max-mb", "2") as server:
        yield server
    assert list(folder.iterdir()) == []
