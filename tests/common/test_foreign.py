"""Files from elsewhere: whatever is in them, one clear, short error, soon."""

import contextlib
import itertools

import numpy as np
import pytest
from PIL import Image

from rangefinder.cache.store import read_cache
from rangefinder.camera import Camera
from rangefinder.captures.images import read_linear, read_map, write_linear, write_map
from rangefinder.captures.manifest import read_captures
from rangefinder.captures.map_formats import read_mask
from rangefinder.common.foreign import REASON_LENGTH
from rangefinder.config import parse_parameters
from rangefinder.config.project import read_yaml
from rangefinder.errors import ConfigError, RangefinderError
from rangefinder.models.model_files import load_model
from rangefinder.optics.lens_files import read_lens

from ..tiny_camera import random_pixels

DEEP = "[" * 100_000


@pytest.mark.parametrize("content", [DEEP, "", "null", "3", "\x00", '{"a": 1e999}', "{" * 9])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("card.json", lambda path: load_model(path.parent)),
        ("camera.json", Camera.load),
        ("cache.json", lambda path: read_cache(path.parent)),
        ("captures.parquet", lambda path: read_captures(path.parent)),
        ("lens.json", lambda path: read_lens(path, {})),
    ],
)
def test_what_is_no_record_is_refused_briefly(tmp_path, name, content, read):
    (tmp_path / name).write_text(content)
    with pytest.raises(RangefinderError) as caught:
        read(tmp_path / name)
    assert len(str(caught.value)) < 4 * REASON_LENGTH


@pytest.mark.parametrize(
    "text", ["a: 2001-1-1 99:99:99.9999 +99:99", "a: [", "? {b: c}\n: d", "!!python/name:os.x 1"]
)
def test_what_is_no_yaml_is_refused(tmp_path, text):
    (tmp_path / "camera.yml").write_text(text)
    with pytest.raises(ConfigError):
        Camera.read(tmp_path / "camera.yml")


def test_nested_aliases_do_not_keep_the_message_busy(tmp_path):
    names = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    (tmp_path / "a.yml").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        parse_parameters({"camera": read_yaml(tmp_path / "a.yml")})
    assert len(str(caught.value)) < 20_000


def write_mask(path):
    Image.fromarray(random_pixels()[..., 0] > 128).convert("L").save(path)


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("mask.png", write_mask, read_mask),
        ("mask.tif", write_mask, read_mask),
        ("mask.bmp", write_mask, read_mask),
        ("photo.tif", lambda path: write_linear(path, _light()), read_linear),
        ("map.tif", lambda path: write_map(path, _light()[0]), read_map),
    ],
)
def test_no_damage_escapes(tmp_path, name, write, read):
    write(tmp_path / name)
    content = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
    read(tmp_path / name)
    rng = np.random.default_rng(0)
    for number in range(300):
        damaged = content.copy()
        places = rng.integers(0, min(len(content), 400) if number % 2 else len(content), 3)
        damaged[places] = rng.choice([0, 1, 127, 255, rng.integers(256)], 3)
        length = len(damaged) if number % 3 else rng.integers(len(damaged))
        (tmp_path / name).write_bytes(damaged[:length].tobytes())
        with contextlib.suppress(RangefinderError):
            read(tmp_path / name)


def test_a_mask_is_of_a_known_format_whatever_its_name(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n")
    with pytest.raises(RangefinderError, match="no mask; expected PNG"):
        read_mask(tmp_path / "a.png")


def _light():
    import torch

    return torch.from_numpy(random_pixels()).movedim(-1, 0) / 255
