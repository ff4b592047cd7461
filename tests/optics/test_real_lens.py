"""The camera of conf/rf50 against photos of a flat wall through its real lens."""

from __future__ import annotations

import numpy as np
import pytest
from tests.conftest import ROOT

from rangefinder.charts.kernel_estimation import equivalent_discs
from rangefinder.config.project import Project
from rangefinder.optics.psf_sources import camera_record, lens_kernels
from rangefinder.optics.psf_tracing import fold_field

RF50 = ROOT.parent / "shared/data/rf50_f4"
LARGEST_PX = 14.0
# The disc [px] that blurs the wall at f/20 to that at f/4, measured by a grid of discs in windows:
# of green, of red less green, of blue less green (burnt out at 1.5 m).
MEASURED = {1.5: (5.05, -0.47, None), 0.6: (7.9, 0.31, 0.475)}


@pytest.mark.skipif(not RF50.is_dir(), reason="the real photos are not part of this project")
def test_the_traced_lens_blurs_a_flat_wall_as_its_photos_show():
    params = Project(ROOT, "rf50").parameters()
    camera = camera_record(params.camera, ROOT)
    stopped = camera.model_copy(update={"f_number": 5 * camera.f_number})
    field = fold_field(camera, np.linspace(0, 512, 3), np.linspace(0, 768, 5))
    mixed = [
        np.einsum(
            "ij,dpjyx->dpiyx",
            np.array(camera.encoding.colour_matrix),
            lens_kernels(lens, params.bank, np.array(list(MEASURED)), field, ROOT)[0],
        )
        for lens in (camera, stopped)
    ]
    for wide, narrow, (disc_px, reddish, bluish) in zip(*mixed, MEASURED.values(), strict=True):
        red, green, blue = np.median(
            [equivalent_discs(wide[:, c], narrow[:, c], LARGEST_PX) for c in range(3)], axis=1
        )
        assert green == pytest.approx(disc_px, rel=0.05)
        assert red - green == pytest.approx(reddish, abs=0.15)
        if bluish is not None:
            assert blue - green == pytest.approx(bluish, abs=0.15)
