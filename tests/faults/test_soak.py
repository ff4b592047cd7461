"""Services at length: what they use does not grow with what they have done."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from ..conftest import COMMAND, PATIENCE_S, program_environment
from ..serving.conftest import started

pytestmark = pytest.mark.faults

PHOTOS = 2_000  # that are watched for
REQUESTS, CLIENTS = 5_000, 50
STEPS = 20  # looks at what a process uses
GROWTH = 0.03  # of memory from the first half to the end, at most
SLOWER = 1.25  # CPU time of an item late in the run / early, at most


class Usage:
    """What a process uses, looked at when a share of its work is done."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.rows: list[tuple[int, int, float]] = []

    def look(self) -> None:
        """Note memory [byte], open files and CPU time [s]."""
        used = self.process.cpu_times()
        row = self.process.memory_info().rss, self.process.num_fds(), used.user + used.system
        self.rows.append(row)

    def require_steady(self) -> str:
        """Compare the second and the last quarter of the run (the first warms up); in words."""
        memory, files, cpu_s = np.array(self.rows).T
        quarter = len(memory) // 4
        early, late = slice(quarter, 2 * quarter), slice(-quarter, None)
        growth = np.median(memory[late]) / np.median(memory[early]) - 1
        slower = np.diff(cpu_s)[late].mean() / np.diff(cpu_s)[early].mean()
        assert growth < GROWTH
        assert np.median(files[late]) <= np.median(files[early]) + 2
        assert slower < SLOWER
        return (
            f"{memory[-1] / 1e6:.0f} MB ({growth:+.1%}), {files[-1]:.0f} open files, "
            f"CPU time of an item {slower:.2f} times as long at the end"
        )


def test_a_folder_is_watched_for_long(model_folder, photo_folder, tmp_path, survived):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    command = [sys.executable, "-c", COMMAND, "watch", str(inbox), "--out", str(out)]
    options = ["--interval", "0.05", "--json", "--device", "cpu"]
    process = psutil.Popen(
        [*command, *options, "--model", str(model_folder / "student")],
        env=program_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    usage = Usage(process)
    kinds = sorted(photo_folder.iterdir())
    for number in range(PHOTOS):
        source = kinds[number % len(kinds)]
        if number % 10 == 9:
            (inbox / f"{number}.png").write_bytes(b"no photo")
        else:
            shutil.copy(source, inbox / f"{number}{source.suffix}")
        if number % 50 == 49:
            for _ in range(50):
                assert process.stdout.readline()
            for path in [*inbox.iterdir(), *out.iterdir()]:  # as a user clears folders
                path.unlink()
        if number % (PHOTOS // STEPS) == PHOTOS // STEPS - 1:
            usage.look()
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    survived(f"watch: {usage.require_steady()}", PHOTOS)


def test_thousands_of_requests_are_served(model_folder, photo_folder, tmp_path, survived):
    import requests

    good, bad = (photo_folder / "b.png").read_bytes(), b"no photo"

    def ask(number: int) -> int:
        photo = {"photo": ("a.png", bad if number % 2 else good)}
        query = {"at": "20,10"}
        return requests.post(
            f"{server.url}/v1/measure", params=query, files=photo, timeout=PATIENCE_S
        ).status_code

    with started(model_folder / "student", tmp_path / "tmp") as server:
        usage = Usage(server.process)
        with ThreadPoolExecutor(CLIENTS) as pool:
            for step in range(STEPS):
                numbers = range(step * REQUESTS // STEPS, (step + 1) * REQUESTS // STEPS)
                statuses = list(pool.map(ask, numbers))
                assert statuses == [422 if number % 2 else 200 for number in numbers]
                usage.look()
        assert server.under_way() == []
    survived(f"serve: {usage.require_steady()}", REQUESTS)
