"""Rooms: perspective, occlusion, distances of the prior, textures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from rangefinder.camera import Camera
from rangefinder.config import Parameters
from rangefinder.optics.blur import image_distance_m, reference_m
from rangefinder.synthesis.mapping import area_means, soft_maximum
from rangefinder.synthesis.renderer import capture_specs, render_captures
from rangefinder.synthesis.room_layout import Room, random_room, random_view
from rangefinder.synthesis.rooms import Piece, back_to_front, compose_room
from rangefinder.synthesis.scenes import Composition, Frame
from rangefinder.synthesis.solids import Box, Cylinder, Sphere, View
from rangefinder.synthesis.textures import DARKEST, TextureSampler

FRAME = Frame(height_px=60, width_px=80, margin_px=4)
CAMERA = Camera(width_px=80, height_px=60, pixel_pitch_um=250.0)
WORKING_M = (0.7, 5.0)
PARAMS = Parameters().captures
FEW = {"train_charts": 1, "validation_charts": 0, "unlabelled": 2, "validation": 1, "test": 0}


def room_of(index: int, textures, **changes) -> Composition:
    params = PARAMS.model_copy(update=changes)
    sampler = TextureSampler(textures, params)
    generator = np.random.default_rng([11, index])
    return compose_room(FRAME, sampler, CAMERA, WORKING_M, params, generator)


@pytest.fixture(scope="module")
def rooms(textures) -> list[Composition]:
    return [room_of(index, textures) for index in range(30)]


def test_the_floor_is_as_far_as_the_pinhole_formula_says():
    height_m, pitch, focal_px = 1.4, 0.5, 300.0
    view = View.tilted(focal_px, (40.0, 30.0), (60, 80), pitch=pitch)
    floor = Room(np.array([[0.0, 1.0, 0.0]]), np.array([height_m]), height_m, (0, 0, 0), 1.0, 1.0)
    (inverse,) = floor.inverse_m(view.pixel_rays())
    rows = np.arange(60) + 0.5 - 30
    expected = height_m / (math.sin(pitch) + rows / focal_px * math.cos(pitch))
    assert 1 / inverse == pytest.approx(np.tile(expected[:, None], (1, 80)))


def test_the_field_of_view_is_that_of_the_camera_record():
    view = random_view(FRAME, CAMERA, np.random.default_rng(0))
    left, right = view.rays(np.array([4.0, 84.0]), np.array([34.0, 34.0]))
    cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    sensor_m = 80 * 250e-6
    assert math.acos(cosine) == pytest.approx(
        2 * math.atan(sensor_m / 2 / image_distance_m(CAMERA))
    )


def test_walls_of_a_random_room_are_upright_and_around_the_camera():
    for seed in range(50):
        generator = np.random.default_rng(seed)
        room = random_room(random_view(FRAME, CAMERA, generator), FRAME, generator)
        assert room.distances_m.min() > 0.1
        assert np.linalg.norm(room.normals, axis=1) == pytest.approx(1.0)
        assert room.normals[2:, 1] == pytest.approx(0.0)
        assert room.normals[2] @ room.normals[3] == pytest.approx(0.0, abs=1e-12)


def test_light_falls_off_with_distance_and_slant():
    room = Room(np.eye(3), np.ones(3), 1.0, (0.0, 0.0, 0.0), 0.2, 2.0)
    points = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 2.0], [0.0, 0.0, 2.0]])
    slanted = (0.0, math.sin(1.0), -math.cos(1.0))
    normals = np.array([(0, 0, -1), (0, 0, -1), slanted, (0, 0, 1)])
    expected = [0.2 + 0.8 * 2 / 1.25, 0.2 + 0.8, 0.2 + 0.8 * math.cos(1.0), 0.2]
    assert room.light(points, normals) == pytest.approx(expected)


def test_the_nearest_surface_is_seen():
    """Of things one behind another, whatever the order they came in."""
    view = View.tilted(250.0, (80.0, 60.0), (120, 160))
    wall = np.full((120, 160), 1 / 6)
    solids = [
        Sphere((0.0, 0.0, 3.0), 0.4),
        Box((0.1, 0.0, 2.0), (0.2, 0.1, 0.1)),
        Cylinder((0.0, 1.0, 4.5), (0.0, -1.0, 4.5), 0.6),
        Box((0.0, 0.0, 1.2), (0.03, 0.5, 0.03)),
    ]
    nearest = wall.copy()
    for solid in solids:
        faces, hit = solid.faces(view.pixel_rays())
        entry = np.maximum.reduce([face.entry_m for face in faces])
        nearest = np.where(hit, np.maximum(nearest, 1 / entry), nearest)
    steps = maximum_filter(nearest, 5) / minimum_filter(nearest, 5)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        pieces = [Piece.seen(view, solids[i], wall) for i in order]
        seen = wall.copy()
        for piece in back_to_front(pieces):
            covered = piece.shape.alpha.numpy() >= 0.5
            seen[piece.shape.window][covered] = piece.inverse_m[covered]
        assert seen[steps < 1.1] == pytest.approx(nearest[steps < 1.1])  # all but rims
        assert np.mean(steps < 1.1) > 0.8
        assert 1 / seen[60, 80] == pytest.approx(1.17)


def test_what_is_behind_a_wall_is_not_seen():
    view = View.tilted(100.0, (32.0, 24.0), (48, 64))
    assert Piece.seen(view, Sphere((0.0, 0.0, 3.0), 0.4), np.full((48, 64), 1 / 2)) is None
    half = Piece.seen(view, Sphere((0.0, 0.0, 3.0), 0.4), np.full((48, 64), 1 / 2.8))
    assert 2.6 <= float(1 / half.nearest_inverse_m) < 2.61
    assert float(1 / half.inverse_m[half.shape.alpha.numpy() > 0].min()) <= 2.81


def test_layers_are_nearer_than_what_they_occlude_and_give_the_distances(rooms):
    for scene in rooms:
        seen = 1 / scene.layers[0].distance_m
        wrong = total = 0
        for layer in scene.layers[1:]:
            covered = layer.alpha >= 0.5
            wrong += int(((1 / layer.distance_m)[covered] < seen[covered] * 0.995).sum())
            total += int(covered.sum())
            seen = torch.where(covered, 1 / layer.distance_m, seen)
        assert wrong <= 0.01 * total  # where thing stands on thing, at their rims
        torch.testing.assert_close(FRAME.crop(1 / seen), scene.distance_m)


def test_layers_and_sharp_picture_belong_together(rooms):
    for scene in rooms[:10]:
        flat = scene.layers[0].rgb
        for layer in scene.layers[1:]:
            flat = flat + (layer.rgb - flat) * layer.alpha
        torch.testing.assert_close(FRAME.crop(flat), scene.sharp, atol=1e-5, rtol=0)
        assert DARKEST * 0.9 <= float(scene.sharp.min()) <= float(scene.sharp.max()) <= 1.0


def test_planes_are_linear_in_inverse_distance_from_the_lens(rooms):
    before_m = reference_m(CAMERA)
    for scene in rooms:
        inverse = 1 / (scene.layers[0].distance_m.double() - before_m)
        bend = inverse[2:] - 2 * inverse[1:-1] + inverse[:-2]
        assert float((bend.abs() < 1e-5).double().mean()) > 0.9  # all but folds


def test_distances_span_the_prior_and_stay_inside(rooms):
    inverse = torch.stack([1 / scene.distance_m for scene in rooms])
    assert float(inverse.min()) >= 1 / 5.0 - 1e-4
    assert float(inverse.max()) <= 1 / 0.7 + 1e-4
    shares = torch.histc(inverse, bins=5, min=1 / 5.0, max=1 / 0.7) / inverse.numel()
    assert float(shares.min()) > 0.04
    logs = torch.histc(inverse.log(), bins=4, min=math.log(1 / 5), max=math.log(1 / 0.7))
    assert float(logs.min()) > 0.06 * inverse.numel()


def test_scenes_are_before_and_behind_any_focus(rooms):
    medians = np.array([float(scene.distance_m.median()) for scene in rooms])
    assert np.mean(medians < 1.5) > 0.15
    assert np.mean(medians > 2.2) > 0.15


def test_few_scenes_are_a_wall_in_the_face_of_the_camera(rooms):
    spans = [scene.distance_m.quantile(0.98) / scene.distance_m.quantile(0.02) for scene in rooms]
    assert np.mean(np.array(spans) < 1.1) <= 0.1
    assert np.median(spans) > 1.5


def test_the_texture_of_a_thing_is_independent_of_its_distance(rooms):
    detail, inverse = [], []
    for scene in rooms:
        for layer in scene.layers[1:]:
            inside = layer.alpha == 1
            pair = inside[:, 1:] & inside[:, :-1]
            if pair.sum() < 60:
                continue
            log = layer.rgb.mean(dim=0).log()
            detail.append(float((log[:, 1:] - log[:, :-1])[pair].std()))
            inverse.append(float((1 / layer.distance_m)[inside].mean()))
    assert len(detail) > 60
    assert abs(np.corrcoef(detail, inverse)[0, 1]) < 0.25


def test_a_pixel_has_the_mean_light_of_what_it_covers():
    generator = np.random.default_rng(2)
    texels = generator.random((64, 64, 3)).astype(np.float32)
    place = np.array([[20.0, 30.0]])
    out = np.zeros((1, 3), np.float32)
    area_means(texels, place, np.array([[0.0, 8.0, 8.0, 0.0]]), out)
    expected = texels[16:25, 26:35].mean(axis=(0, 1))
    assert out[0] == pytest.approx(expected, abs=0.04)
    area_means(texels, place, np.array([[0.0, 1.0, 1.0, 0.0]]), out)
    assert out[0] == pytest.approx(texels[20, 30])
    area_means(texels, place + 128, np.array([[0.0, 1.0, 1.0, 0.0]]), out)  # mirrored twice
    assert out[0] == pytest.approx(texels[20, 30])


def test_fields_meet_without_steps():
    x = np.tile(np.arange(8.0), (4, 1)) - 3.25
    left, right = soft_maximum([-x, x])
    assert right[0] == pytest.approx([0, 0, 0, 0.25, 1, 1, 1, 1])
    assert left + right == pytest.approx(1.0)


def test_both_kinds_take_turns_and_are_those_of_one_kind_alone(params: Parameters, bank):
    def scenes(kind):
        captures = params.captures.model_copy(update={"scenes": kind, "real_scenes": ()} | FEW)
        changed = params.model_copy(update={"captures": captures})
        return [one for one in render_captures(changed, bank) if one.role != "chart"]

    shapes, rooms, both = (scenes(kind) for kind in ("shapes", "rooms", "both"))
    assert [("room" in one.scene) for one in rooms] == [True] * len(rooms)
    turns = []
    for shape, room, one in zip(shapes, rooms, both, strict=True):
        turns.append("room" in one.scene)
        assert torch.equal(one.image, (room if turns[-1] else shape).image)
        assert not torch.equal(shape.image, room.image)
    assert turns == [False, True, False]


@pytest.mark.slow
def test_rooms_are_the_same_from_any_number_of_workers(params: Parameters, bank):
    def rendered(workers):
        captures = params.captures.model_copy(
            update={"scenes": "rooms", "workers": workers, "real_scenes": ()} | FEW
        )
        return list(render_captures(params.model_copy(update={"captures": captures}), bank))

    for one, other in zip(rendered(1), rendered(2), strict=True):
        assert one.scene == other.scene
        assert torch.equal(one.image, other.image)
        if one.distance_map is not None:
            assert torch.equal(one.distance_map, other.distance_map)


def test_default_captures_are_shapes():
    assert not any(spec.is_room for spec in capture_specs(Parameters()))
