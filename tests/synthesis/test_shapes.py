"""Random outlines drawn with smooth edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rangefinder.synthesis.shapes import draw, outline, random_shape


def _circle(radius: float, x: float, y: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=-1)


def test_a_circle_has_its_area_and_centre():
    shape = draw(60, 80, _circle(12.0, 40.3, 29.6))
    rows, cols = np.mgrid[: shape.size[0], : shape.size[1]] + 0.5
    alpha = shape.alpha.numpy()
    assert alpha.sum() == pytest.approx(math.pi * 144, rel=0.03)
    assert (alpha * (cols + shape.left)).sum() / alpha.sum() == pytest.approx(40.3, abs=0.1)
    assert (alpha * (rows + shape.top)).sum() / alpha.sum() == pytest.approx(29.6, abs=0.1)


def test_edges_are_smooth_and_the_inside_opaque():
    alpha = draw(60, 80, _circle(12.0, 40.0, 30.0)).alpha
    assert float(alpha.max()) == 1
    edge = (alpha > 0) & (alpha < 1)
    assert 40 < int(edge.sum()) < 120


def test_holes_are_empty():
    shape = draw(60, 80, _circle(20.0, 40.0, 30.0), _circle(10.0, 40.0, 30.0))
    assert float(shape.alpha[30 - shape.top, 40 - shape.left]) == 0
    assert float(shape.alpha.sum()) == pytest.approx(math.pi * 300, rel=0.03)


def test_shapes_are_cut_at_the_canvas():
    shape = draw(60, 80, _circle(12.0, 0.0, 0.0))
    assert (shape.left, shape.top) == (0, 0)
    assert float(shape.alpha.sum()) == pytest.approx(math.pi * 36, rel=0.03)
    assert draw(60, 80, _circle(12.0, -20.0, 10.0)) is None


def test_outlines_have_about_the_area_of_their_radius(generator: np.random.Generator):
    areas = []
    for _ in range(200):
        shape = draw(400, 400, outline(30.0, generator) + 200.0)
        areas.append(float(shape.alpha.sum()) / (math.pi * 900))
    assert 0.6 < np.mean(areas) < 1.1


def test_random_shapes_lie_on_the_canvas(generator: np.random.Generator):
    for _ in range(100):
        shape = random_shape(48, 64, 10.0, generator)
        if shape is not None:
            rows, cols = shape.window
            assert 0 <= rows.start < rows.stop <= 48
            assert 0 <= cols.start < cols.stop <= 64
