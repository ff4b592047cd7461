"""Splits are disjoint in scenes and texture sources; folds test every scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, read_captures, write_captures, write_manifest
from rangefinder.captures.splits import SPLITS, assign_splits, check_splits
from rangefinder.errors import CaptureError


def test_disjoint_splits_are_accepted():
    check_splits([("train", "a", ("x", "y")), ("train", "a", ("x",)), ("test", "b", ("z",))])


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([("train", "a", ()), ("test", "a", ())], "scene 'a' in test and train"),
        ([("train", "a", ("x",)), ("validation", "b", ("y", "x"))], "texture source 'x'"),
    ],
)
def test_shared_scene_or_texture_is_refused(rows, named: str):
    with pytest.raises(CaptureError, match=named):
        check_splits(rows)


def test_writing_a_texture_of_another_split_is_refused(
    tmp_path: Path, camera: Camera, labelled: Capture
):
    thief = replace(labelled, split="train", scene="other", image=labelled.image.flip(1))
    with pytest.raises(CaptureError, match="photo:camera"):
        write_captures(tmp_path / "set", camera, [labelled, thief])
    assert list(tmp_path.iterdir()) == []


def test_reading_a_table_that_mixes_splits_is_refused(
    tmp_path: Path, camera: Camera, labelled: Capture
):
    other = replace(labelled, image=labelled.image.flip(1))
    table = write_captures(tmp_path / "set", camera, [labelled, other]).table
    table.loc[1, "split"] = "validation"
    write_manifest(tmp_path / "set", table)
    with pytest.raises(CaptureError, match="kitchen"):
        read_captures(tmp_path / "set")


def test_folds_test_every_scene_and_keep_their_sizes():
    rooms = [f"room {i}" for i in range(15)]
    shares = {"validation": 0.2, "test": 0.25}
    folds = [assign_splits(rooms, shares, {}, fold) for fold in range(4)]
    assert folds[0] == assign_splits(rooms, shares, {})
    for fold in folds:
        counted = [list(fold.values()).count(split) for split in SPLITS]
        assert counted == [8, 3, 4]
    tested = [{room for room in rooms if fold[room] == "test"} for fold in folds]
    assert set.union(*tested) == set(rooms)
    assert sum(map(len, tested)) == 16
