"""The cache: computed once, reused where its key allows, repaired where it is damaged."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from rangefinder.cache import store
from rangefinder.cache.fill import fill_cache, work_folder
from rangefinder.cache.key import cache_key
from rangefinder.cache.store import read_cache
from rangefinder.captures.manifest import read_captures, write_captures, write_manifest
from rangefinder.common.files import checksum
from rangefinder.errors import CaptureError, StaleCacheError
from rangefinder.sweep.sweep import Sweep

from .conftest import CAMERA, PARAMS, PHOTOS, content, make_photo, make_teacher, some


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 4000)


@pytest.fixture
def fill(teacher, photos, tmp_path, caplog):
    """Fill a cache; return it and how many photos were swept."""

    def run(teacher=teacher, photos=photos, name="cache"):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="rangefinder"):
            cache = fill_cache(teacher, photos, PARAMS, tmp_path / name)
        summary = next(text for text in caplog.messages if text.startswith("Teacher cache"))
        return cache, int(summary.partition("(")[2].partition(" swept")[0])

    return run


def damage(cache, capture_id, how):
    entry = cache.index[capture_id]
    path = cache.folder / entry.shard
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[entry.offset + 5] ^= 1
    path.write_bytes(data[: entry.offset + 5] if how == "truncated" else data)
    return entry.shard


def test_the_cache_holds_the_predictions_of_the_patch_loop(fill, teacher, photos):
    cache, swept = fill()
    assert swept == PHOTOS
    assert len({entry.shard for entry in cache.index.values()}) > 2
    card = teacher.card
    sweep = Sweep(teacher.network, CAMERA, PARAMS, card.patch_px, card.stride_px)
    for index, capture_id in enumerate(photos.table["capture_id"]):
        probs = sweep.patch_loop(photos.image(index), photos.placement(index))
        packed = read_cache(cache.folder).read(capture_id)
        assert packed.shape == (*probs.shape[:2], cache.key.cell_bytes)
        lost = (probs * (probs / teacher.distribution.unpack(packed)).log()).sum(-1)
        assert lost.mean() <= 0.01


def test_a_finished_cache_is_left_as_it_is(fill):
    cache, _ = fill()
    before = {path.name: path.stat().st_mtime_ns for path in cache.folder.iterdir()}
    _, swept = fill()
    assert swept == 0
    assert {path.name: path.stat().st_mtime_ns for path in cache.folder.iterdir()} == before


def test_nothing_but_the_cache_is_left(fill):
    cache, _ = fill()
    assert {path.name for path in cache.folder.iterdir()} == cache.files
    assert not work_folder(cache.folder).exists()


def test_more_photos_compute_only_the_new_ones(fill, photos):
    fill(photos=some(photos, 9))
    grown, swept = fill()
    assert swept == PHOTOS - 9
    fresh, _ = fill(name="fresh")
    assert content(grown.folder) == content(fresh.folder)
    fewer, swept = fill(photos=some(photos, 9))
    assert swept == 0
    assert len(fewer.index) == 9


def test_the_order_of_the_photos_does_not_matter(fill, photos):
    shuffled = photos.table.sample(frac=1, random_state=0).reset_index(drop=True)
    one, _ = fill()
    other, _ = fill(photos=replace(photos, table=shuffled), name="other")
    assert content(one.folder) == content(other.folder)


def test_a_photo_whose_picture_changed_is_swept_again(fill, tmp_path):
    photos = write_captures(tmp_path / "set", CAMERA, map(make_photo, range(5)))
    first, _ = fill(photos=photos)
    path = photos.folder / photos.table["image"][2]
    data = bytearray(path.read_bytes())
    data[-1000] ^= 255
    path.write_bytes(data)
    table = photos.table.copy()
    table.loc[2, "image_sha256"] = checksum(bytes(data))
    write_manifest(photos.folder, table)
    again, swept = fill(photos=read_captures(photos.folder))
    assert swept == 1
    assert again.fingerprint != first.fingerprint


def test_a_damaged_photo_is_named_and_not_swept(fill, tmp_path):
    photos = write_captures(tmp_path / "set", CAMERA, map(make_photo, range(5)))
    path = photos.folder / photos.table["image"][2]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CaptureError, match=f"{path} is damaged"):
        fill(photos=photos)


@pytest.mark.parametrize("change", [{"weights": 4}, {"dataset": "1" * 16}])
def test_another_teacher_computes_all_and_replaces_the_shards(fill, change):
    other = make_teacher(**change)
    first, _ = fill()
    before = content(first.folder)
    second, swept = fill(teacher=other)
    assert swept == PHOTOS
    assert {path.name for path in second.folder.iterdir()} == second.files
    back, swept = fill()
    assert swept == PHOTOS
    assert content(back.folder) == before


@pytest.mark.parametrize("how", ["flipped", "truncated"])
def test_a_damaged_shard_is_named_and_repaired(fill, photos, caplog, how):
    cache, _ = fill()
    undamaged = content(cache.folder)
    capture_id = photos.table["capture_id"][3]
    shard = damage(cache, capture_id, how)
    with pytest.raises(StaleCacheError, match=f"{shard} is damaged.*{capture_id}"):
        read_cache(cache.folder).read(capture_id)
    _, swept = fill()
    assert 1 <= swept < PHOTOS
    assert any(f"{shard} is damaged" in text for text in caplog.messages)
    assert content(cache.folder) == undamaged


@pytest.mark.parametrize("name", ["key.json", "index"])
def test_a_damaged_key_or_index_is_found_and_repaired(fill, name):
    cache, _ = fill()
    undamaged = content(cache.folder)
    path = next(path for path in cache.folder.iterdir() if path.name.startswith(name))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StaleCacheError, match="no teacher cache in"):
        read_cache(cache.folder)
    fill()
    assert content(cache.folder) == undamaged


def test_a_damaged_partial_result_is_computed_again(fill, teacher, photos, tmp_path):
    undamaged = content(fill(name="undamaged")[0].folder)
    key = cache_key(teacher, photos)
    work = work_folder(tmp_path / "cache") / key.sweep_fingerprint
    work.mkdir(parents=True)
    one = fill(photos=some(photos, 2), name="two")[0]
    for entry in one.index.values():
        data = one.verified_bytes(entry)
        (work / f"{entry.capture_id}-{entry.content}-{entry.checksum}.piece").write_bytes(data)
    data[7] ^= 1
    (work / f"{entry.capture_id}-{entry.content}-{entry.checksum}.piece").write_bytes(data)
    cache, swept = fill()
    assert swept == PHOTOS - 1
    assert content(cache.folder) == undamaged


def test_changing_what_was_read_does_not_change_the_cache(fill, photos):
    cache, _ = fill()
    capture_id = photos.table["capture_id"][0]
    before = content(cache.folder)
    cache.read(capture_id).fill_(0)
    assert content(cache.folder) == before


def test_nothing_to_sweep_is_an_error(fill, photos):
    with pytest.raises(CaptureError, match="no photo to sweep"):
        fill(photos=photos.select(role="chart"))


def test_bytes_per_photo_and_hours_saved_are_logged(fill, caplog):
    cache, _ = fill()
    text = "\n".join(caplog.messages)
    assert f"{cache.key.cell_bytes} bytes per grid cell" in text
    assert "kB per photo" in text
    assert "Hours saved per epoch against the patch loop" in text
