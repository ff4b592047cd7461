"""Prescriptions of Zemax, CODE V and optiland are read as they are, or refused by what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rangefinder.errors import LensError
from rangefinder.optics.lens_data import lens_data
from rangefinder.optics.lens_files import decode, read_lens
from rangefinder.optics.prescription import focused_lens, focused_optic

from .small_lenses import EVEN, ODD, camera_for, singlet, write

GREEN_UM = np.array([0.535])
UNKNOWN = "LAFN21 0 0 1.5 40.0"  # as Zemax writes a glass that it does not know
SELLMEIER = [1.03961212, 0.231792344, 1.01046945, 0.00600069867, 0.0200179144, 103.560653]


def layout(optic) -> tuple[list, list]:
    """Vertices, radii and conics of the surfaces; indices behind them for three wavelengths."""
    rows = [
        (float(s.geometry.cs.z), float(s.geometry.radius), float(getattr(s.geometry, "k", 0.0)))
        for s in list(optic.surfaces)[1:]
    ]
    return rows, [np.ravel(optic.surfaces.n(w)).tolist() for w in (0.45, 0.55, 0.65)]


def index_of(optic, wavelength_um: float = 0.5875618) -> float:
    """Refractive index behind the first surface."""
    return float(np.ravel(optic.surfaces.n(wavelength_um))[1])


@pytest.mark.parametrize(("kind", "parms"), [("EVENASPH", EVEN), ("ODDASPHE", ODD)])
def test_a_zemax_file_is_read_as_optiland_reads_it(tmp_path, kind, parms):
    from optiland.fileio import load_zemax_file

    path = write(tmp_path, singlet(kind, parms))
    ours, theirs = read_lens(path, {}), load_zemax_file(str(path))
    assert layout(ours) == layout(theirs)
    front, expected = ours.surfaces[1].geometry, theirs.surfaces[1].geometry
    assert type(front) is type(expected)
    at = np.linspace(0.0, 6.0, 13)
    np.testing.assert_allclose(front.sag(at, 0.0), expected.sag(at, 0.0), rtol=1e-14)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_text_is_read_in_every_encoding_that_zemax_writes(tmp_path, encoding):
    text = singlet().replace("NAME small", "NAME f = 50 mm, ± 1 °")
    path = tmp_path / "small.zmx"
    path.write_bytes(text.encode(encoding))
    assert decode(path.read_bytes()) == text
    assert layout(read_lens(path, {})) == layout(read_lens(write(tmp_path, singlet(), "b.zmx"), {}))


def test_lengths_in_centimetres_become_millimetres(tmp_path):
    text = singlet("ODDASPHE", ODD).replace("UNIT MM", "UNIT CM")
    scaled = lens_data(camera_for(write(tmp_path, text)))
    plain = lens_data(camera_for(write(tmp_path, singlet("ODDASPHE", ODD), "mm.zmx")))
    assert scaled.focal_length_mm == pytest.approx(10 * plain.focal_length_mm)
    assert float(scaled.optic.surfaces[1].geometry.sag(30.0, 0.0)) == pytest.approx(
        10 * float(plain.optic.surfaces[1].geometry.sag(3.0, 0.0))
    )


def test_unknown_glasses_are_refused_together_by_name_with_how_to_give_them(tmp_path):
    text = singlet(glass=UNKNOWN).replace("  CURV 0\n", "  CURV 0\n  GLAS SF53 0 0 1.5 40\n")
    with pytest.raises(LensError, match=r"small\.zmx.*LAFN21, SF53.*camera\.lens\.glasses"):
        read_lens(write(tmp_path, text), {})


def test_a_name_that_is_only_like_one_of_the_catalogue_is_unknown(tmp_path):
    path = write(tmp_path, singlet(glass="N-BK 0 0 1.5 40"))
    with pytest.raises(LensError, match="N-BK"):
        read_lens(path, {})


@pytest.mark.parametrize(
    ("given", "nd", "vd"),
    [
        ({"nd": 1.788, "vd": 47.4}, 1.788, 47.4),
        ({"sellmeier": SELLMEIER}, 1.5168, 64.17),  # of N-BK7
    ],
)
def test_a_given_glass_has_the_index_and_dispersion_it_is_given(tmp_path, given, nd, vd):
    camera = camera_for(
        write(tmp_path, singlet(glass=UNKNOWN)), lens={"glasses": {"LAFN21": given}}
    )
    optic = read_lens(tmp_path / "small.zmx", camera.lens.glasses)
    blue, yellow, red = (index_of(optic, um) for um in (0.4861327, 0.5875618, 0.6562725))
    assert yellow == pytest.approx(nd, abs=2e-5)
    assert (yellow - 1) / (blue - red) == pytest.approx(vd, rel=0.01)


@pytest.mark.parametrize(
    "glass", ["PATENT 0 0 1.5311 55.9", "___BLANK 1 0 1.5311 55.9", "SF6 1 0 1.5311 55.9"]
)
def test_a_glass_outside_catalogues_has_the_index_that_its_file_states(tmp_path, glass):
    path = write(tmp_path, singlet(glass=glass))
    assert index_of(read_lens(path, {})) == pytest.approx(1.5311)


@pytest.mark.parametrize(
    ("glass", "warned"),
    [
        ("N-BK7 0 0 1.5311 55.9", True),  # of the patent; the name is that of the nearest glass
        ("N-BK7 0 0 1.5168 64.17", False),
        ("N-BK7 0 0 1.5 40.0", False),  # a placeholder
        ("SF6 1 0 1.5311 55.9", False),  # a model glass: the name means nothing
    ],
)
def test_an_index_that_contradicts_the_catalogue_is_warned_of(tmp_path, caplog, glass, warned):
    read_lens(write(tmp_path, singlet(glass=glass)), {})
    assert ("N-BK7: {nd: 1.5311, vd: 55.9}" in caplog.text) == warned


def test_given_glasses_that_the_lens_does_not_have_are_refused(tmp_path):
    camera = camera_for(
        write(tmp_path, singlet()), lens={"glasses": {"N-BK": {"nd": 1.5, "vd": 60.0}}}
    )
    with pytest.raises(LensError, match=r"N-BK; expected N-BK7"):
        lens_data(camera)


def test_given_glasses_are_part_of_the_fingerprint(tmp_path):
    path = write(tmp_path, singlet(glass=UNKNOWN))
    prints = {
        camera_for(path, lens={"glasses": glasses}).fingerprint
        for glasses in (
            {},
            {"LAFN21": {"nd": 1.788, "vd": 47.4}},
            {"LAFN21": {"nd": 1.789, "vd": 47.4}},
        )
    }
    assert len(prints) == 3


def test_a_private_catalogue_of_code_v_is_not_read_and_its_glasses_are_named(tmp_path):
    private = CODE_V.replace(
        "SO 0.0", "PRV\n PWL 656.3 587.6 486.1\n 'mine' 1.5 1.51 1.52\nEND\nSO 0.0"
    )
    path = write(tmp_path, private.replace("NBK7_SCHOTT", "'mine'"), "small.seq")
    with pytest.raises(LensError, match=r"small\.seq.*mine"):
        read_lens(path, {})


CODE_V = """RDM;LEN "VERSION: 10.7"
TITLE 'small'
DIM M
FNO 4.0
WL 656.27 587.56 486.13
REF 2
SO 0.0 0.1E20
S 25.906735751295338 6.0 NBK7_SCHOTT ! front
  ASP
  K -0.4
  A -2.5E-06; B &
  -1.5E-09
  CIR 8.0; CIR EDG 9.0
S 0.0 3.0
S 0.0 43.2
  STO
SI 0.0 0.0
GO
"""


def test_a_code_v_file_is_the_lens_that_zemax_writes(tmp_path):
    zemax = read_lens(write(tmp_path, singlet()), {})
    code_v = read_lens(write(tmp_path, CODE_V, "small.seq"), {})
    assert np.allclose(layout(code_v)[0], layout(zemax)[0], rtol=1e-12)
    assert layout(code_v)[1] == layout(zemax)[1]
    at = np.linspace(0.0, 6.0, 13)
    sags = [optic.surfaces[1].geometry.sag(at, 0.0) for optic in (code_v, zemax)]
    np.testing.assert_allclose(*sags, rtol=1e-12)
    assert code_v.surfaces.stop_index == 3
    assert code_v.surfaces[1].aperture.r_max == 8.0


@pytest.mark.parametrize(
    ("glass", "index"),
    [
        ("517642", 1.517),
        ("517.642", 1.517),
        ("516800.641700", 1.5168),
        ("1.517:64.2", 1.517),
        ("NLAK10", 1.72003),
    ],
)
def test_code_v_glasses_are_codes_or_names_without_hyphens(tmp_path, glass, index):
    path = write(tmp_path, CODE_V.replace("NBK7_SCHOTT", glass), "small.seq")
    n = index_of(read_lens(path, {}))
    assert n == pytest.approx(index, abs=1e-5)


def test_code_v_writes_curvatures_where_it_does_not_say_radii(tmp_path):
    curved = CODE_V.replace("RDM;", "").replace("S 25.906735751295338", "S 0.0386")
    radii = read_lens(write(tmp_path, CODE_V, "a.seq"), {})
    assert np.allclose(layout(read_lens(write(tmp_path, curved, "b.seq"), {}))[0], layout(radii)[0])


@pytest.mark.parametrize("suffix", ["json", "seq"])
def test_what_optiland_writes_is_read_back(tmp_path, suffix):
    from optiland.fileio import load_zemax_file, save_codev_file, save_optiland_file

    path = write(tmp_path, singlet(front="DIAM 8 1\n  FLAP 0 8 0"))
    save = {"json": save_optiland_file, "seq": save_codev_file}[suffix]
    save(load_zemax_file(str(path)), str(tmp_path / f"small.{suffix}"))
    expected = focused_lens(camera_for(path), GREEN_UM)
    found = focused_lens(camera_for(tmp_path / f"small.{suffix}"), GREEN_UM)
    columns = min(found.surfaces.shape[1], expected.surfaces.shape[1])
    np.testing.assert_allclose(
        found.surfaces[:, :columns], expected.surfaces[:, :columns], rtol=1e-5, atol=1e-9
    )
    np.testing.assert_allclose(found.indices, expected.indices, rtol=1e-12)


def test_an_unknown_glass_of_an_optiland_file_is_refused_or_given(tmp_path):
    from optiland.fileio import load_zemax_file, save_optiland_file

    path = tmp_path / "small.json"
    save_optiland_file(load_zemax_file(str(write(tmp_path, singlet()))), str(path))
    path.write_text(path.read_text().replace('"name": "N-BK7"', '"name": "LAFN21"'))
    with pytest.raises(LensError, match=r"small\.json.*LAFN21"):
        read_lens(path, {})
    camera = camera_for(path, lens={"glasses": {"LAFN21": {"nd": 1.788, "vd": 47.4}}})
    assert index_of(read_lens(path, camera.lens.glasses)) == pytest.approx(1.788)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("lens.zmx", "not a lens", r"lens\.zmx cannot be read"),
        ("lens.zmx", "", r"lens\.zmx cannot be read"),
        ("lens.zmx", singlet().replace("DISZ 6", "DISZ six"), r"'DISZ six'"),
        ("lens.zmx", singlet().replace("DISZ 6", "DISZ"), r"lens\.zmx.*'DISZ'"),
        ("lens.zmx", singlet().replace("DISZ 6", "DISZ INFINITY"), "not finite in surface 1"),
        ("lens.zmx", singlet().replace("DISZ 6", "DISZ NAN"), "surface 1"),
        ("lens.zmx", singlet().replace("MODE SEQ", "MODE NSC"), "sequential"),
        ("lens.zmx", singlet("BICONICX"), r"type BICONICX \(number 1\)"),
        ("lens.zmx", singlet(glass="MIRROR 0 0 1.5 40"), "a mirror"),
        ("lens.zmx", singlet(front="CLAP 2 8 0"), "central obstruction"),
        ("lens.seq", CODE_V.replace("ASP", "SPS XYP"), "type SPS"),
        ("lens.seq", CODE_V.replace("ASP", "ADE 3.0"), "tilted"),
        ("lens.seq", CODE_V.replace("REF 2", "STO S40"), r"lens\.seq cannot be read"),
        ("lens.seq", CODE_V.replace("S 0.0 3.0", "S 0.0 x"), r"'S 0\.0 x'"),
        ("lens.json", json.dumps({"foclen": 49.6, "surfaces": []}), "of another program"),
        ("lens.json", "{", "of another program"),
        ("lens.json", '{"surface_group": {"surfaces": [{}]}}', r"lens\.json cannot be read"),
        ("lens.len", "LEN NEW", r"a \.len file; expected \.zmx.*\.seq.*\.json"),
        ("lens", "", "a nameless file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_file_and_what_else_there_is(
    tmp_path, name, text, message
):
    with pytest.raises(LensError, match=message) as refusal:
        read_lens(write(tmp_path, text, name), {})
    assert "kind: thin, or measured" in str(refusal.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(LensError, match=r"none\.zmx cannot be read.*camera\.lens\.file"):
        read_lens(tmp_path / "none.zmx", {})


def test_no_change_of_a_file_ends_in_a_traceback(tmp_path):
    """Lines left out, doubled and garbled: a lens, or a refusal that names the file."""
    rng = np.random.default_rng(0)
    refusals = []
    for text, name in ((singlet(), "lens.zmx"), (CODE_V, "lens.seq")):
        for _ in range(40):
            lines = text.splitlines()
            for i in rng.integers(0, len(lines), 2):
                words = lines[i].split() or ["x"]
                words[rng.integers(len(words))] = str(rng.choice(["0", "-1", "1e30", "?", "NAN"]))
                changes = ["", f"{lines[i]}\n{lines[i]}", " ".join(words)]
                lines[i] = changes[rng.integers(len(changes))]
            path = write(tmp_path, "\n".join(lines), name)
            try:
                focused_optic(camera_for(path))
            except LensError as refusal:
                refusals.append(name in str(refusal))
    assert all(refusals)
    assert 10 < len(refusals) < 70
