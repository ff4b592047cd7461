"""Printed sheets: size on paper, and a different texture on each."""

import numpy as np
import pytest

from rangefinder.charts.sheets import SheetPlan, draw_sheet, write_pdf
from rangefinder.errors import CaptureError

PLAN = SheetPlan("A4", 60)


@pytest.fixture(scope="module")
def sheet():
    return draw_sheet(PLAN, 1)


def test_sheets_have_different_textures_and_a_seed_repeats_one(sheet):
    again, other = draw_sheet(PLAN, 1), draw_sheet(PLAN, 2)
    assert np.array_equal(np.asarray(sheet), np.asarray(again))
    assert np.abs(np.asarray(sheet).astype(int) - np.asarray(other)).mean() > 20


def test_a_pdf_sheet_has_the_size_of_its_paper(sheet, tmp_path):
    assert sheet.size == (702, 496)
    write_pdf(tmp_path / "sheet.pdf", sheet, PLAN.dpi)
    content = (tmp_path / "sheet.pdf").read_bytes()
    box = content.split(b"/MediaBox")[1].split(b"]")[0].strip(b" [")
    width, height = (float(part) / 72 * 25.4 for part in box.split()[2:])
    assert (width, height) == (pytest.approx(297, abs=0.5), pytest.approx(210, abs=0.5))


def test_too_many_dots_are_refused():
    with pytest.raises(CaptureError, match="too many dots"):
        draw_sheet(SheetPlan("A1", 600), 1)


@pytest.mark.parametrize(("size", "ruler_mm"), [("A6", 50), ("A5", 50), ("A4", 100), ("A1", 100)])
def test_the_ruler_is_as_long_as_it_says_and_does_not_touch_a_disc(size, ruler_mm):
    plan = SheetPlan(size, 60)
    dark = np.asarray(draw_sheet(plan, 1).convert("L")) < 128
    unit = plan.pixels[1] / 24
    row = int(0.75 * unit)
    line = dark[row - 1 : row + 2].any(axis=0)[
        round(1.9 * unit) : round((12 * 2**0.5 - 0.9) * unit)
    ]
    (drawn,) = np.diff(np.flatnonzero(np.diff(line.astype(int), prepend=0, append=0)))[::2]
    assert drawn / 60 * 25.4 == pytest.approx(ruler_mm, abs=1.5)
