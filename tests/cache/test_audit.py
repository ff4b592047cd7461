"""The audit: finds what checksums cannot, and ignores rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rangefinder.cache.audit import audit_cache
from rangefinder.cache.fill import PartialResults, fill_cache
from rangefinder.cache.key import cache_key
from rangefinder.cache.store import CacheEntrySpec, publish
from rangefinder.config import PredictionParams
from rangefinder.coordinates import Placement
from rangefinder.errors import AuditError, StaleCacheError
from rangefinder.models.distribution import DistanceDistribution

from .conftest import PARAMS, make_teacher


@pytest.fixture(scope="module")
def cache(teacher, photos, tmp_path_factory):
    return fill_cache(teacher, photos, PARAMS, tmp_path_factory.mktemp("audit") / "cache")


def forged(cache, tmp_path, change):
    """A cache that is sound by key and checksums, with other predictions in it."""
    specs = [
        CacheEntrySpec(index, entry.capture_id, entry.content, entry.rows, entry.cols)
        for index, entry in enumerate(cache.index.values())
    ]

    def packed(one):
        data = cache.read(one.capture_id).numpy()
        return np.ascontiguousarray(change(data.copy())).reshape(-1)

    work = PartialResults(tmp_path / "work").folder
    return publish(tmp_path / "forged", work, cache.key, specs, packed)


def test_a_cache_of_its_teacher_passes(cache, teacher, photos):
    found = audit_cache(teacher, photos, cache, PARAMS, seed=1)
    found.require()
    assert found.photos == PARAMS.audit_photos
    assert found.patches > PARAMS.audit_photos
    assert found.largest_difference <= 1e-5
    assert found.mean_kl_nat <= 0.01


@pytest.mark.parametrize("bits", [0x10, 0x01, 0x80])
def test_changed_bits_are_found(cache, teacher, photos, tmp_path, bits):
    bad = forged(cache, tmp_path, lambda data: data ^ np.uint8(bits))
    with pytest.raises(AuditError, match=r"differ from those in its cache.*beyond rounding"):
        audit_cache(teacher, photos, bad, PARAMS, seed=1).require()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_grid_shifted_by_one_cell_is_found(cache, teacher, photos, tmp_path, axis):
    bad = forged(cache, tmp_path, lambda data: np.roll(data, 1, axis))
    with pytest.raises(AuditError):
        audit_cache(teacher, photos, bad, PARAMS, seed=1).require()


def test_another_teacher_under_the_same_key_is_found(cache, photos, tmp_path):
    """As if the weights had been hashed wrongly: only the predictions differ."""
    other = make_teacher(4)
    filled = fill_cache(other, photos, PARAMS, tmp_path / "other")
    bad = replace(cache, key=filled.key)
    with pytest.raises(AuditError):
        audit_cache(other, photos, bad, PARAMS, seed=1).require()


def test_another_placement_is_found(cache, teacher, photos, monkeypatch):
    shifted = Placement((6.0, 4.0))
    monkeypatch.setattr(type(photos), "placement", lambda self, index: shifted)
    bad_key = cache_key(teacher, photos)
    with pytest.raises(AuditError):
        audit_cache(teacher, photos, replace(cache, key=bad_key), PARAMS, seed=1).require()


def test_a_cache_of_another_teacher_is_refused_by_name(cache, photos):
    with pytest.raises(StaleCacheError, match="another teacher;"):
        audit_cache(make_teacher(4), photos, cache, PARAMS, seed=1)


def test_a_damaged_shard_is_found_wherever_it_is(cache, teacher, photos, tmp_path):
    copied = forged(cache, tmp_path, lambda data: data)
    shard = next(iter(copied.index.values())).shard
    path = copied.folder / shard
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StaleCacheError, match=f"{shard} is damaged"):
        audit_cache(teacher, photos, copied, PARAMS, seed=1)


def test_rounding_is_no_difference_but_the_next_code_is():
    prediction = DistanceDistribution(PredictionParams(bins=12))
    probs = (3 * torch.randn(500, 12, generator=torch.Generator().manual_seed(0))).softmax(-1)
    packed = prediction.pack(probs)
    assert float(prediction.beyond_rounding(probs, packed).max()) <= 1e-6
    moved = torch.where(packed % 16 < 8, packed + 2, packed - 2)
    beyond = prediction.beyond_rounding(probs, moved)[:, 1::2]
    assert bool((beyond > 0).all())
