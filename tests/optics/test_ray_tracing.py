"""Rays through a prescription land where optiland's do; focus, stop and references."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from rangefinder.camera import Camera
from rangefinder.config import LensParams
from rangefinder.errors import LensError
from rangefinder.optics.lens_data import require_supported, sample_names
from rangefinder.optics.prescription import FocusedLens, focused_lens, focused_optic
from rangefinder.optics.ray_tracing import object_heights_mm, open_pupil, trace_rays

from .small_lenses import EVEN, ODD, camera_for, singlet, write

DATA = Path(__file__).resolve().parents[3] / "shared/data"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the published lenses are not part of the project"
)
WAVELENGTHS_UM = np.array([0.45, 0.535, 0.64])
DISTANCES_M = (0.7, 1.5, 5.0)


def _camera(name: str, f_number: float = 2.0) -> Camera:
    # Distances from the entrance pupil, so that the longest samples have room before them.
    return Camera(
        lens=LensParams(name=name),
        f_number=f_number,
        focus_distance_m=1.5,
        distance_reference="entrance_pupil",
    )


def _pencil(lens: FocusedLens, point: tuple[float, float, float], seed: int) -> np.ndarray:
    """Skew rays from one object point to twice the entrance pupil: many of them are clipped."""
    rng = np.random.default_rng(seed)
    aim = rng.uniform(-2.0, 2.0, (2, 2000)) * lens.pupil_radius_mm
    rays = np.empty((7, aim.shape[1]))
    rays[:3], rays[6] = np.array(point)[:, None], 1.0
    rays[3:5] = aim - rays[:2]
    rays[5] = lens.pupil_z_mm - point[2]
    rays[3:6] /= np.linalg.norm(rays[3:6], axis=0)
    return rays


def _optiland(optic, rays: np.ndarray, wavelength_um: float) -> tuple[np.ndarray, np.ndarray]:
    from optiland.rays import RealRays

    traced = RealRays(*(row.copy() for row in rays), np.full(rays.shape[1], wavelength_um))
    with np.errstate(all="ignore"):
        optic.surfaces.trace(traced, skip=1)
    landing = np.stack([traced.x, traced.y])
    return landing, (traced.i > 0.0) & np.isfinite(landing).all(axis=0)


def _compare(camera: Camera, lens: FocusedLens, optic) -> tuple[int, int]:
    passed, clipped = 0, 0
    for distance in DISTANCES_M:
        z = float(lens.object_z_mm(np.array(distance)))
        for field in (0.0, 0.5, 0.9):
            height = field * 0.25 * (lens.pupil_z_mm - z)
            point = (height * math.cos(2.0), height * math.sin(2.0), z)
            for w, wavelength in enumerate(WAVELENGTHS_UM):
                rays = _pencil(lens, point, seed=w)
                expected, expected_open = _optiland(optic, rays, wavelength)
                trace_rays(rays, lens.surfaces, lens.indices[w])
                is_open = rays[6] > 0.0
                np.testing.assert_array_equal(is_open, expected_open)
                np.testing.assert_allclose(
                    rays[:2, is_open], expected[:, is_open], rtol=0, atol=1e-6
                )
                passed += int(is_open.sum())
                clipped += int((~is_open).sum())
    return passed, clipped


@pytest.mark.parametrize(
    ("name", "f_number"),
    [
        ("DoubleGauss", 2.0),
        ("ReverseTelephoto", 2.8),
        ("TessarLens", 4.0),
        ("WideAngle100FOV", 4.0),
    ],
)
def test_rays_and_vignetting_are_those_of_optiland(name, f_number):
    camera = _camera(name, f_number)
    optic = focused_optic(camera)
    passed, clipped = _compare(camera, focused_lens(camera, WAVELENGTHS_UM), optic)
    assert passed > 2000
    assert clipped > 2000


@pytest.mark.parametrize("conic", [-2.5, -1.0, 0.8])
def test_conic_surfaces_are_those_of_optiland(conic):
    camera = _camera("DoubleGauss")
    optic = focused_optic(camera)
    lens = focused_lens(camera, WAVELENGTHS_UM)
    for surface in (1, 4, 9):
        optic.updater.set_conic(conic, surface + 1)
        lens.surfaces[surface, 2] = float(optic.surfaces[surface + 1].geometry.k)
    assert not np.isinf(lens.surfaces[[1, 4, 9], 1]).any()
    passed, _ = _compare(camera, lens, optic)
    assert passed > 2000


def test_every_sample_objective_lights_the_whole_sensor():
    names = sample_names()
    assert {"DoubleGauss", "CookeTriplet", "WideAngle170FOV"} <= set(names)
    for name in names:
        # A field of 9 degrees: what the narrowest of the samples was designed for.
        camera = Camera(
            lens=LensParams(name=name), f_number=5.6, focus_distance_m=5.0, pixel_pitch_um=26.0
        )
        lens = focused_lens(camera, WAVELENGTHS_UM)
        z = lens.object_z_mm(np.array([4.0]))
        corner_mm = camera.half_diagonal_px * camera.pixel_pitch_um / 1000.0
        height = object_heights_mm(lens, 1, z, np.array([0.0, corner_mm]))
        diameter = 2.0 * lens.pupil_radius_mm
        low, high, top = open_pupil(lens, 1, (float(z[0]), 0.0))
        assert high - low == pytest.approx(diameter, rel=0.2), name
        assert top == pytest.approx(diameter / 2, rel=0.2), name
        low, high, _ = open_pupil(lens, 1, (float(z[0]), float(height[0, 1])))
        assert 0.25 * diameter < high - low < 1.3 * diameter, name


def test_focal_length_stop_and_focus_are_those_of_the_camera():
    camera = _camera("DoubleGauss")
    optic = focused_optic(camera)
    assert float(optic.paraxial.f2()) == pytest.approx(50.0, rel=1e-9)
    assert float(optic.paraxial.EPD()) == pytest.approx(25.0, rel=1e-9)
    lens = focused_lens(camera, np.array([optic.primary_wavelength]))
    z = float(lens.object_z_mm(np.array(1.5)))
    rays = np.zeros((7, 1))
    rays[2], rays[6] = z, 1.0
    rays[3] = 1e-3 / (lens.pupil_z_mm - z)
    rays[5] = np.sqrt(1.0 - rays[3] ** 2)
    trace_rays(rays, lens.surfaces, lens.indices[0])
    assert abs(rays[0, 0]) < 1e-8


def test_clear_apertures_follow_the_beam_and_the_stop_limits_it():
    clear = focused_lens(_camera("DoubleGauss"), WAVELENGTHS_UM).surfaces[:, 3]
    assert clear[0] == pytest.approx(1.06 * 12.5)
    stop = 5  # its beam is 7.85 mm in radius
    assert clear[stop] == pytest.approx(7.85, abs=0.01)
    assert np.isinf(clear[-1])
    wide = Camera(
        lens=LensParams(name="DoubleGauss", clear_radius_factor=1.5),
        f_number=2.0,
        distance_reference="entrance_pupil",
    )
    wider = focused_lens(wide, WAVELENGTHS_UM).surfaces[:, 3]
    np.testing.assert_allclose(np.delete(wider / clear, [stop, 11]), 1.5 / 1.06)
    assert wider[stop] == clear[stop]


def converged(optic) -> object:
    """The same lens, whose aspheres optiland meets to less than what is compared."""
    for surface in optic.surfaces:
        if hasattr(surface.geometry, "tol"):
            surface.geometry.tol = 1e-11
    return optic


@pytest.mark.parametrize(
    ("kind", "parms", "conic"),
    [
        ("EVENASPH", EVEN, -0.4),
        ("EVENASPH", {1: 1e-3, 2: 2e-6, 8: 1e-18}, 0.7),
        ("ODDASPHE", ODD, -1.0),
        ("ODDASPHE", {3: 3e-5, 8: 1e-11}, -2.0),
    ],
)
def test_aspheric_surfaces_are_those_of_optiland(tmp_path, kind, parms, conic):
    text = singlet(kind, parms, conic=conic).replace("DISZ 43.2", "DISZ 0")
    camera = camera_for(write(tmp_path, text), f_number=4.0)
    lens = focused_lens(camera, WAVELENGTHS_UM)
    assert lens.surfaces.shape[1] > 4
    passed, clipped = _compare(camera, lens, converged(focused_optic(camera)))
    assert passed > 2000
    assert clipped > 2000


def test_a_corrector_plate_without_curvature_is_that_of_optiland(tmp_path):
    text = singlet("STANDARD", {}).replace(
        "SURF 2\n  TYPE STANDARD\n", "SURF 2\n  TYPE EVENASPH\n  PARM 2 3e-6\n  PARM 3 -2e-8\n"
    )
    camera = camera_for(write(tmp_path, text), f_number=4.0)
    lens = focused_lens(camera, WAVELENGTHS_UM)
    assert np.isinf(lens.surfaces[1, 1])
    passed, _ = _compare(camera, lens, converged(focused_optic(camera)))
    assert passed > 2000


@needs_data
@pytest.mark.parametrize(
    ("name", "focal_mm", "f_number", "focus_m"),
    [
        ("rf50_f4/lens/rf50mm.zmx", 50.0, 2.0, 1.0),
        ("lens_prescriptions/6744570a.zmx", 7.27, 4.0, 0.5),
        ("lens_prescriptions/2645156.zmx", 100.0, 3.5, 3.0),
    ],
)
def test_published_lenses_are_traced_as_by_optiland(name, focal_mm, f_number, focus_m):
    camera = camera_for(
        DATA / name,
        focal_length_mm=focal_mm,
        f_number=f_number,
        focus_distance_m=focus_m,
        pixel_pitch_um=focal_mm,
    )
    lens = focused_lens(camera, WAVELENGTHS_UM)
    passed, clipped = _compare(camera, lens, converged(focused_optic(camera)))
    assert passed > 2000
    assert clipped > 2000


@pytest.mark.parametrize(
    ("reference", "expected_mm"),
    [("front_vertex", 0.0), ("entrance_pupil", 28.95), ("sensor", 71.49)],
)
def test_distances_count_from_the_reference(reference, expected_mm):
    camera = _camera("DoubleGauss").model_copy(update={"distance_reference": reference})
    lens = focused_lens(camera, WAVELENGTHS_UM)
    assert lens.reference_z_mm == pytest.approx(expected_mm, abs=1.0)
    assert float(lens.object_z_mm(np.array(2.0))) == lens.reference_z_mm - 2000.0


def test_unknown_lens_names_the_known_ones():
    with pytest.raises(LensError, match=r"'Planar'.*CookeTriplet, DoubleGauss"):
        focused_optic(Camera(lens=LensParams(name="Planar")))


def test_an_f_number_below_that_of_the_lens_is_refused_with_its_limit():
    with pytest.raises(LensError, match=r"f_number 2; expected at least 2\.3"):
        focused_optic(_camera("TessarLens"))


def test_object_inside_the_lens_is_refused():
    camera = _camera("DoubleGauss").model_copy(update={"distance_reference": "sensor"})
    with pytest.raises(LensError, match="working_m"):
        focused_lens(camera, WAVELENGTHS_UM).object_z_mm(np.array([0.08]))


def test_focus_nearer_than_the_lens_reaches_is_refused():
    with pytest.raises(LensError, match="focus_distance_m"):
        focused_optic(Camera(focus_distance_m=0.12))


def test_unsupported_surface_is_named():
    from optiland.geometries import BiconicGeometry

    optic = focused_optic(Camera())
    surface = optic.surfaces[3]
    surface.geometry = BiconicGeometry(surface.geometry.cs, radius_x=20.0, radius_y=30.0)
    with pytest.raises(LensError, match=r"DoubleGauss.*BiconicGeometry \(number 3\)"):
        require_supported(optic, "DoubleGauss")
