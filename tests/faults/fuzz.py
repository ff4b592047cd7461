"""Coverage-guided fuzzing of one reader, by libFuzzer through atheris.

Ends with status 0 if every input was read or refused by an error of this package: no other
exception, crash or hang, and no allocation beyond `MOST_BYTES`.

    python -m tests.faults.fuzz READER CORPUS -runs=50000
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rangefinder", "tifffile", "optiland"]):
    from tests.faults.readers import MOST_BYTES, READERS, check, found_by_fuzzing

SECONDS = 5  # that an input may take
LONGEST_INPUT = 2**16  # bytes
SHARED_MEMORY = Path("/dev/shm")  # inputs are written there: no disk


def _limit_memory() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MOST_BYTES, resource.RLIM_INFINITY))


def fuzz(name: str, corpus: Path, options: list[str], home: Path) -> None:
    """Fuzz a reader, from its good files and those that it once failed on.

    Args:
        name: Of the reader.
        corpus: Folder of inputs, to which those that reach new code are added.
        options: Of libFuzzer.
        home: An empty folder, which inputs are written to.
    """
    reader = READERS[name]
    reader.around(home)
    (home / "seeds").mkdir()
    path = home / reader.name
    for number, content in enumerate(reader.seeds(home / "seeds")):
        (corpus / f"seed-{number}").write_bytes(content)
        path.write_bytes(content)
        reader.read(path)  # it is read, and all is imported before memory is limited
    for found in found_by_fuzzing(name):
        shutil.copy(found, corpus)

    def one_input(data: bytes) -> None:
        path.write_bytes(data)
        check(name, path)

    _limit_memory()
    limits = [f"-timeout={SECONDS}", f"-max_len={LONGEST_INPUT}", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    fuzz(sys.argv[1], Path(sys.argv[2]), sys.argv[3:], Path(tempfile.mkdtemp(dir=where)))
