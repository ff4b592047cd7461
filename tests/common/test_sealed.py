"""Arrays on disk: the same bytes for the same content; every flipped bit is noticed."""

import subprocess
import sys

import numpy as np
import pytest

from rangefinder.common.sealed import read_arrays, write_arrays

WRITE = """
import sys
from pathlib import Path
import numpy as np
from rangefinder.common.sealed import write_arrays
arrays = {name: np.arange(3.0) for name in sys.argv[2:]}
write_arrays(Path(sys.argv[1]), arrays, {name: name for name in sys.argv[2:]})
"""


def test_bytes_follow_from_content_alone(tmp_path):
    for number in range(4):
        names = list("abcdef") if number % 2 else list("fedcba")
        path = tmp_path / f"{number}.safetensors"
        subprocess.run([sys.executable, "-c", WRITE, str(path), *names], check=True)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"x": np.arange(6, dtype=np.float32), "y": np.ones((2, 2))}, {"z": "w"})
    content = path.read_bytes()
    arrays, metadata = read_arrays(path, ["x", "y"])
    assert metadata == {"z": "w"}
    assert arrays["y"].shape == (2, 2)
    unseen = []
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            read_arrays(path, ["x", "y"])
        except ValueError:
            continue
        unseen.append(place)
    assert unseen == []


@pytest.mark.parametrize("size", [0, 7, 100])
def test_a_cut_file_is_noticed(tmp_path, size):
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"x": np.arange(60.0)})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError):  # noqa: PT011 - readers say it in their own words
        read_arrays(path, ["x"])
