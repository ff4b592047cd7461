"""Plausibility of distance maps: what is doubted, with which guess, and what is not."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from rangefinder.captures.decoding import decode
from rangefinder.captures.distance_maps import PLAIN, MapMeaning, read_distances
from rangefinder.captures.map_checks import best_shift, doubts, inverse_evidence
from rangefinder.captures.map_formats import read_mask

from .conftest import room

WORKING_M = (0.7, 8.0)
REAL = Path(__file__).resolve().parents[3] / "shared/data"
SETS = ("onera_dfd_indoor", "osd_tabletop", "realsense_boxes", "rf50_f4")
ROOMS = range(6)


def light_of(photo) -> torch.Tensor:
    return torch.from_numpy(photo.astype(np.float32).transpose(2, 0, 1) / 255)


def found(distance_m, photo, name="m.npy", meaning=PLAIN, valid=None) -> str:
    """All doubts about a map, in a sentence."""
    values = torch.from_numpy(np.asarray(distance_m, dtype=np.float32))
    all_of = doubts(Path(name), values, light_of(photo), meaning, WORKING_M, valid)
    return "; ".join(f"{one.found}. {one.todo}" for one in all_of)


@pytest.mark.parametrize("seed", ROOMS)
def test_right_maps_are_not_doubted(seed):
    photo, distance_m = room(seed)
    assert found(distance_m, photo) == ""
    distance_m[:, :100] = 0
    assert found(distance_m, photo) == ""


@pytest.mark.parametrize(
    ("factor", "name", "guess"),
    [
        (100, "m.tif", "Centimetres? Give distance_scale 0.01."),
        (1000, "m.tif", "Millimetres? Give distance_scale 0.001."),
        (256 / 1000, "m.png", "KITTI has? Give distance_scale 0.00390625."),
        (5000 / 1000, "m.png", "TUM has? Give distance_scale 0.0002."),
        (10000 / 1000, "m.png", "Tenths of millimetres? Give distance_scale 0.0001."),
    ],
)
def test_maps_in_another_unit_are_doubted_with_a_guess(factor, name, guess):
    photo, distance_m = room()
    said = found(factor * distance_m, photo, name)
    assert "outside of range.working_m (0.7 to 8 m), median" in said
    assert guess in said


def test_a_unit_that_was_given_is_not_guessed_again():
    photo, distance_m = room()
    said = found(100 * distance_m, photo, meaning=MapMeaning(scale=1.0))
    assert "100% of its known pixels are outside" in said
    assert "Centimetres" not in said
    assert "widen range.working_m" in said


@pytest.mark.parametrize("factor", [1.0, 60.0], ids=["inverse", "disparity"])
def test_planes_give_inverse_maps_away(factor):
    evidence = []
    for seed in ROOMS:
        photo, distance_m = room(seed, boxes=2)
        assert "Disparities, or 1/distance? Give distance_kind." in found(
            factor / distance_m, photo
        )
        evidence.append(inverse_evidence(distance_m))
    assert max(evidence) < -3  # the other way round
    photo, distance_m = room(boxes=2)
    said = found(factor / distance_m, photo, meaning=MapMeaning("z"))
    assert "Disparities, or" not in said


def test_maps_of_nothing_are_doubted():
    photo, distance_m = room()
    flat = np.full_like(distance_m, 1.5)
    assert "all its known pixels are 1.5 m away" in found(flat, photo)
    values = torch.from_numpy(flat)
    chart = doubts(Path("m.npy"), values, light_of(photo), PLAIN, WORKING_M, may_be_flat=True)
    assert list(chart) == []
    few = np.where(np.random.default_rng(0).random(distance_m.shape) < 0.005, distance_m, 0)
    assert "of its pixels are known" in found(few, photo)
    valid = torch.from_numpy(few > 0)
    assert found(few, photo, valid=valid) == ""  # of the pixels that count


@pytest.mark.parametrize("seed", ROOMS)
@pytest.mark.parametrize("axis", [0, 1])
def test_shifted_maps_are_doubted_with_the_shift(seed, axis):
    photo, distance_m = room(seed)
    shifted = np.roll(distance_m, 20, axis)
    shift = best_shift(shifted, light_of(photo))
    assert shift.is_plain
    assert (shift.x, shift.y) == pytest.approx((-0.125 * axis, -0.125 * (1 - axis)), abs=0.02)
    assert "edges fit those of the photo better" in found(shifted, photo)


def test_a_photo_that_has_nothing_to_do_with_a_map_gives_no_shift():
    """The best of many shifts fits by chance; chance is no evidence."""
    generator = np.random.default_rng(0)
    plain = 0
    for seed in range(40):
        noise = ndimage.gaussian_filter(generator.random((120, 160)), seed % 4)
        noise = (noise - noise.min()) / np.ptp(noise)
        photo = np.repeat(255 * noise[..., None], 3, axis=2)
        plain += best_shift(room(seed)[1], light_of(photo)).is_plain
    assert plain <= 1


def real_maps() -> Iterator[tuple[Path, dict[str, str]]]:
    for name in SETS:
        folder = REAL / name
        if not (folder / "captures.csv").is_file():
            pytest.skip(f"{folder} is not there")
        with (folder / "captures.csv").open() as file:
            yield from ((folder, row) for row in csv.DictReader(file) if row["distance_map"])


def test_no_right_map_of_real_cameras_is_doubted():
    doubted, seen = [], 0
    for folder, row in real_maps():
        image = decode(folder / row["image"]).image
        path = folder / row["distance_map"]
        mask = row.get("valid_mask")
        valid = torch.from_numpy(read_mask(folder / mask)) if mask else None
        distance_m = read_distances(path)
        for chosen in {None, valid}:
            said = list(doubts(path, distance_m, image, PLAIN, (0.6, 10.0), chosen))
            doubted += [(path.name, said)] if said else []
        seen += 1
    assert doubted == []
    assert seen > 100


def test_real_maps_in_wrong_units_are_doubted_and_shifted_ones_often():
    """Every centimetre map, and a good part of inverse and shifted ones: not all show it."""
    counts = dict.fromkeys(("Centimetres", "Give distance_kind", "edges"), 0)
    seen = 0
    for folder, row in list(real_maps())[::4]:
        image = decode(folder / row["image"]).image
        distance_m = read_distances(folder / row["distance_map"])
        moved = torch.roll(distance_m, distance_m.shape[1] // 8, 1)
        moved[:, : distance_m.shape[1] // 8] = 0
        inverse = torch.where(distance_m > 0, 1 / distance_m, 0.0)
        changed = {"Centimetres": 100 * distance_m, "Give distance_kind": inverse, "edges": moved}
        for word, values in changed.items():
            said = doubts(Path("m.npy"), values, image, PLAIN, (0.7, 5.0))
            counts[word] += any(word in one.found + one.todo for one in said)
        seen += 1
    assert counts["Centimetres"] == seen
    assert counts["Give distance_kind"] > 0.7 * seen
    assert counts["edges"] > 0.3 * seen
