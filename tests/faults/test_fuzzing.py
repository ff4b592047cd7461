"""Readers of files from elsewhere: any bytes are read or refused by a clear error."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from .readers import MOST_BYTES, READERS, check, found_by_fuzzing

ROOT = Path(__file__).parents[2]
RUNS = int(os.environ.get("RANGEFINDER_FUZZ_RUNS", "50000"))  # inputs of each reader
FOUND = [(name, path) for name in READERS for path in found_by_fuzzing(name)]


@pytest.mark.parametrize(("name", "found"), FOUND, ids=[path.name for _, path in FOUND])
def test_what_readers_once_failed_on_is_refused(name, found, tmp_path):
    READERS[name].around(tmp_path)
    path = tmp_path / READERS[name].name
    shutil.copy(found, path)
    tracemalloc.start()
    try:
        check(name, path)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.faults
@pytest.mark.parametrize("name", READERS)
def test_every_input_is_read_or_refused(name, tmp_path, survived):
    pytest.importorskip("atheris", reason="rangefinder[fuzz] is needed")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [sys.executable, "-m", "tests.faults.fuzz", name, str(corpus), f"-runs={RUNS}"]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"], cwd=ROOT, capture_output=True, check=False
    )
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    assert f"Done {RUNS} runs" in said
    survived(f"damaged bytes: {name}", RUNS)
