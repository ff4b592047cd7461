"""What models are scored on, and the baseline that knows where things usually stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, CaptureSet, write_captures
from rangefinder.errors import CaptureError
from rangefinder.evaluation.baselines import constant_model, median_map_model
from rangefinder.evaluation.held_out import held_out

CAMERA = Camera(width_px=64, height_px=48)


def capture(role, split, metres, number):
    frame = torch.full((48, 64), metres)
    frame[:24] *= 2  # the upper half is always twice as far
    frame[0] = 0
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(number))
    known = {"distance_m": metres} if role == "chart" else {"distance_map": frame}
    return Capture(image, role, f"{role}-{split}-{number}", split, **known)


def set_of(folder, *wanted) -> CaptureSet:
    made = [capture(*one, number) for number, one in enumerate(wanted)]
    return write_captures(folder / "set", CAMERA, made)


def test_charts_are_scored_on_where_nothing_is_labelled_and_that_is_said(tmp_path):
    captures = set_of(tmp_path, ("chart", "train", 1.0), ("chart", "test", 1.5))
    test, told = held_out(captures)
    assert test.table["distance_m"].tolist() == [1.5]
    assert "cannot show" in told["limits"]


def test_labelled_captures_come_first_and_need_no_warning(tmp_path):
    captures = set_of(tmp_path, ("chart", "test", 1.0), ("labelled", "test", 1.5))
    test, told = held_out(captures)
    assert test.table["role"].tolist() == ["labelled"]
    assert told == {}


def test_nothing_held_out_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="nothing to score on"):
        held_out(set_of(tmp_path, ("chart", "train", 1.0)))


def test_the_median_map_knows_where_things_stand_and_the_constant_does_not(tmp_path):
    rows = [("labelled", "train", metres) for metres in (1.0, 1.2, 1.1)]
    captures = set_of(tmp_path, *rows, ("labelled", "test", 1.5))
    test, _ = held_out(captures)
    usual = median_map_model(captures, test)(0)
    assert usual.distance_m[40, 10] == pytest.approx(1.1)
    assert usual.distance_m[10, 10] == pytest.approx(2.2)
    constant = constant_model(captures, test)(0)
    assert usual.distance_m[0, 0] == constant.distance_m[0, 0]  # no map knows that row
    assert np.unique(constant.distance_m).size == 1
    near, far = usual.interval_m[0.8]
    assert near[40, 10] <= 1.1 <= far[40, 10]


def test_without_labelled_training_captures_there_is_no_median_map(tmp_path):
    captures = set_of(tmp_path, ("chart", "train", 1.0), ("labelled", "test", 1.5))
    test, _ = held_out(captures)
    assert median_map_model(captures, test) is None
