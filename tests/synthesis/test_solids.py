"""Where rays enter solids, against rays computed by hand; outlines; the tilted view."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rangefinder.synthesis.solids import Box, Cylinder, Sphere, View, drawn, entry_m

VIEW = View.tilted(100.0, (32.0, 24.0), (48, 64))
AHEAD = np.array([[[0.0, 0.0, 1.0]]])


def entry(solid, *rays):
    """Distances where rays enter a solid, and whether they hit it."""
    faces, hit = solid.faces(np.array([rays], dtype=float))
    return entry_m(faces)[0].tolist(), hit[0].tolist()


def test_a_box_is_entered_through_its_front_face_and_its_side():
    box = Box((0.0, 0.0, 3.0), (1.0, 0.5, 1.0))
    found, hit = entry(box, (0, 0, 1), (0.1, 0.2, 1), (0.45, 0, 1), (0, 0.3, 1))
    assert found[:2] == pytest.approx([2.0, 2.0])
    assert hit == [True, True, True, False]  # y = 0.6 at the front already, and more behind
    beside, hit = entry(Box((2.0, 0.0, 3.0), (1.0, 0.5, 1.0)), (0.4, 0, 1))
    assert beside == pytest.approx([1 / 0.4])  # its left side, x = 1
    assert hit == [True]


def test_a_turned_box_shows_its_edge():
    found, hit = entry(Box((0.0, 0.0, 3.0), (1.0, 1.0, 1.0), math.pi / 4), (0, 0, 1))
    assert found == pytest.approx([3 - math.sqrt(2)])
    assert hit == [True]


def test_a_cylinder_is_entered_through_its_side_and_its_end():
    standing = Cylinder((0.0, 1.0, 4.0), (0.0, -1.0, 4.0), 0.5)
    found, hit = entry(standing, (0, 0, 1), (0.1, 0, 1), (0.2, 0, 1), (0, 0.5, 1))
    assert found[0] == pytest.approx(3.5)
    # (0.1 z)^2 + (z - 4)^2 = 0.25
    assert found[1] == pytest.approx((8 - math.sqrt(64 - 4 * 1.01 * 15.75)) / 2.02)
    assert hit == [True, True, False, False]
    lying = Cylinder((0.0, 0.0, 2.0), (0.0, 0.0, 5.0), 0.5)
    assert entry(lying, (0.1, 0.1, 1)) == (pytest.approx([2.0]), [True])
    below = Cylinder((0.0, 2.0, 4.0), (0.0, 1.0, 4.0), 0.5)  # seen from above
    assert entry(below, (0, 0.26, 1)) == (pytest.approx([1 / 0.26]), [True])


def test_a_sphere_is_entered_where_its_equation_says():
    ball = Sphere((0.0, 0.0, 3.0), 1.0)
    found, hit = entry(ball, (0, 0, 1), (0.2, 0, 1), (0, 0.4, 1))
    assert found[0] == pytest.approx(2.0)
    # (0.2 z)^2 + (z - 3)^2 = 1
    assert found[1] == pytest.approx((6 - math.sqrt(36 - 4 * 1.04 * 8)) / 2.08)
    assert hit == [True, True, False]


@pytest.mark.parametrize(
    "solid",
    [
        Box((0.1, 0.05, 2.0), (0.2, 0.15, 0.3), 0.6),
        Cylinder((-0.1, 0.3, 2.0), (0.1, -0.2, 1.6), 0.1),
        Sphere((0.1, -0.05, 1.5), 0.2),
    ],
)
def test_an_outline_covers_the_pixels_whose_rays_hit(solid):
    view = View.tilted(100.0, (32.0, 24.0), (48, 64), pitch=0.1, roll=0.2)
    _, hit = solid.faces(view.pixel_rays())
    shape = drawn(view, solid)
    alpha = np.zeros(view.size_px)
    alpha[shape.window] = shape.alpha.numpy()
    assert hit.sum() > 50
    assert (alpha[hit] > 0.3).all()  # a hit pixel's middle is inside; its coverage may be half
    assert (alpha[~hit] < 0.7).all()
    assert alpha.sum() == pytest.approx(hit.sum(), rel=0.08)


def test_faces_have_unit_normals_towards_the_camera_and_metres_along_them():
    for solid in (Box((0, 0, 3), (1, 1, 1), 0.3), Cylinder((0, 1, 3), (0, -1, 3), 0.5),
                  Sphere((0, 0, 3), 0.7)):  # fmt: skip
        view = View.tilted(2000.0, (16.0, 16.0), (32, 32))
        rays = view.pixel_rays()
        faces, hit = solid.faces(rays)
        face = faces[int(np.argmax([one.entry_m[16, 16] for one in faces]))]
        normal = np.broadcast_to(face.normal, rays.shape)
        assert hit.all()
        assert np.linalg.norm(normal, axis=-1) == pytest.approx(1.0)
        assert ((normal * rays).sum(axis=-1) < 0).all()
        points = face.entry_m[..., None] * rays
        moved = np.linalg.norm(np.diff(points, axis=1), axis=-1)
        along = np.hypot(*(np.diff(one, axis=1) for one in face.along))
        assert along == pytest.approx(moved, rel=2e-3)


def test_places_project_to_the_pixels_of_their_rays():
    view = View.tilted(300.0, (30.0, 20.0), (40, 60), pitch=0.4, roll=-0.1)
    rays = view.rays(np.array([3.0, 55.0]), np.array([38.0, 1.0]))
    assert view.depth_m(rays) == pytest.approx(1.0)
    assert view.project(2.5 * rays) == pytest.approx(np.array([[3.0, 38.0], [55.0, 1.0]]))


def test_a_view_that_looks_down_has_the_horizon_above():
    view = View.tilted(300.0, (30.0, 20.0), (40, 60), pitch=0.1)
    level = view.rays(np.array(30.0), np.array(20.0 - 300 * math.tan(0.1)))
    assert level[1] == pytest.approx(0.0, abs=1e-12)
    turned = View.tilted(300.0, (30.0, 20.0), (40, 60), roll=0.2)
    right = turned.rays(np.array(40.0), np.array(20.0)) - turned.rays(
        np.array(30.0), np.array(20.0)
    )
    assert math.atan2(right[1], right[0]) == pytest.approx(0.2)
