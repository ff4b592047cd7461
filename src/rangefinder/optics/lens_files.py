"""Prescriptions as files: Zemax .zmx, CODE V .seq and optiland's .json, read into optiland's Optic.

The two text formats are read here and not by optiland, which does not keep the names of glasses
that it does not know, nor which clear diameters are fixed; takes every unit for mm and CODE V's A
for the second order instead of the fourth; and needs an aperture, a stop and wavelengths.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rangefinder.common.foreign import guarded, parse_json
from rangefinder.config import GlassParams
from rangefinder.errors import LensError
from rangefinder.optics.glasses import D_LINE_UM, Glass, contradiction, material_of
from rangefinder.optics.lens_formats import (
    OTHER_LENS,
    Layout,
    Row,
    code_v_layout,
    unreadable,
    zemax_layout,
)

if TYPE_CHECKING:
    from optiland.materials import BaseMaterial
    from optiland.optic import Optic

Glasses = Mapping[str, GlassParams]  # catalogue name -> index, as the configuration gives them
log = logging.getLogger(__name__)
PHOTOGRAPHIC_UM = (0.4, 0.7)  # a primary wavelength outside is not one to focus photos by


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what optiland prints and warns of: glass names, absorption, divisions."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@quiet()
def read_lens(path: Path, glasses: Glasses) -> Optic:
    """Read a lens; lengths in mm. An aperture or a stop that the file does not state is missing.

    Args:
        path: A .zmx, .seq or .json file.
        glasses: Indices of glasses that no catalogue has, by their names in the file.

    Raises:
        LensError: Naming the file and what is wrong with it.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise LensError(
            f"{path.name} is no prescription that can be read",
            got=f"a {path.suffix or 'nameless'} file",
            expected=".zmx (Zemax), .seq (CODE V) or .json (optiland)",
            todo=f"Export it as one of them. {OTHER_LENS}",
        )
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise LensError(
            f"the lens file {path.name} cannot be read",
            got=exc.strerror,
            todo="Set camera.lens.file, from the project's folder.",
        ) from exc
    with guarded(LensError, f"{path.name} cannot be read", todo=OTHER_LENS):
        return reader(decode(raw), path.name, glasses)


def decode(raw: bytes) -> str:
    """Text of a file in UTF-16 (as Zemax writes it, with or without its mark), UTF-8 or Latin-1."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw[:64]:
        return raw.decode("utf-16-be" if raw[:1] == b"\0" else "utf-16-le", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _build(layout: Layout, name: str, glasses: Glasses) -> Optic:
    """The prescription as optiland's object."""
    from optiland.optic import Optic

    rows = _checked(layout.rows, name)
    materials = _materials([row.glass for row in rows], name, glasses)
    optic = Optic(name)
    for i, row in enumerate(rows):
        optic.surfaces.add(index=i, is_stop=row.is_stop, **_surface(row, layout.mm, materials[i]))
    if layout.pupil > 0.0:
        optic.set_aperture("EPD", layout.pupil * layout.mm)
    elif layout.f_number > 0.0:
        optic.set_aperture("imageFNO", layout.f_number)
    optic.fields.set_type("angle")
    optic.fields.add(y=0.0)
    optic.wavelengths.add(layout.wavelengths_um.get(layout.primary, D_LINE_UM), is_primary=True)
    _focus_by_visible_light(optic)
    return optic


def _checked(rows: list[Row], name: str) -> list[Row]:
    """The surfaces with an image, if all of them can be traced."""
    if rows and rows[-1].thickness != 0.0:
        rows = [*rows, Row()]  # the image is not listed
    if len(rows) < 4:
        raise unreadable(name, f"{max(0, len(rows) - 2)} surfaces of a lens")
    for i, row in enumerate(rows):
        if row.problem:
            raise unsupported(name, row.problem, i)
        finite = [row.conic, row.clear or 0.0, *row.powers.values()]
        if not all(map(math.isfinite, finite if i == 0 else [*finite, row.thickness])):
            raise unreadable(name, f"a number that is not finite in surface {i}")
        if math.isnan(row.radius) or math.isnan(row.thickness):
            raise unreadable(name, f"no number in surface {i}")
    return rows


def _surface(row: Row, mm: float, material: BaseMaterial | None) -> dict[str, Any]:
    """Arguments of optiland's surface."""
    from optiland.physical_apertures import RadialAperture

    surface: dict[str, Any] = {
        "radius": row.radius * mm,
        "conic": row.conic,
        "thickness": row.thickness * mm,
        "material": "air" if material is None else material,
        "aperture": None if row.clear is None else RadialAperture(r_max=row.clear * mm),
        "surface_type": "standard",
    }
    powers = {power: value * mm ** (1 - power) for power, value in row.powers.items() if value}
    if powers:
        step = 2 if all(power % 2 == 0 for power in powers) else 1
        surface["surface_type"] = "even_asphere" if step == 2 else "odd_asphere"
        orders = range(step, max(powers) + 1, step)
        surface["coefficients"] = [powers.get(power, 0.0) for power in orders]
    return surface


def _materials(
    stated: list[Glass | None], name: str, glasses: Glasses
) -> list[BaseMaterial | None]:
    """Materials of the glasses behind each surface; None: air."""
    _require_used(glasses, {glass.name for glass in stated if glass is not None}, name)
    materials = [
        None if glass is None else material_of(glass, glasses.get(glass.name)) for glass in stated
    ]
    unknown = [
        glass.name
        for glass, material in zip(stated, materials, strict=True)
        if glass is not None and material is None
    ]
    if unknown:
        raise _unknown_glasses(name, unknown)
    doubtful = {
        contradiction(glass, material)
        for glass, material in zip(stated, materials, strict=True)
        if glass is not None and glass.name not in glasses
    } - {""}
    if doubtful:
        log.warning(
            "%s states other indices than the catalogues of its glasses, which are used. If the "
            "file is right, set camera.lens.glasses: %s",
            name,
            ", ".join(sorted(doubtful)),
        )
    return materials


def _unknown_glasses(name: str, unknown: list[str]) -> LensError:
    names = sorted(set(unknown))
    example = ", ".join(f"{glass}: {{nd: ..., vd: ...}}" for glass in names)
    return LensError(
        f"{name} has glasses that are in no catalogue",
        got=", ".join(names),
        todo=f"Give their indices, of a data sheet or patent: camera.lens.glasses: {{{example}}}; "
        f"or, instead of both, sellmeier: [B1, B2, B3, C1, C2, C3]. {OTHER_LENS}",
    )


def _require_used(glasses: Glasses, names: set[str], lens: str) -> None:
    """Refuse glasses that are given but not in the lens: a misspelt name, or another lens's."""
    unused = sorted(set(glasses) - names)
    if unused:
        raise LensError(
            f"camera.lens.glasses has a glass that {lens} does not",
            got=", ".join(unused),
            expected=", ".join(sorted(names)),
            todo="Leave it out, or write it as the file does.",
        )


def unsupported(name: str, problem: str, number: int) -> LensError:
    """The error for a surface that the ray tracer does not model."""
    return LensError(
        f"{name} cannot be traced",
        got=f"{problem} (number {number})",
        expected="centred spherical, conic, aspheric or plane refracting surfaces",
        todo=OTHER_LENS,
    )


def _read_optiland(text: str, name: str, glasses: Glasses) -> Optic:
    from optiland.optic import Optic

    try:
        content = parse_json(text)
        surfaces = content["surface_group"]["surfaces"]
    except (ValueError, LookupError, TypeError) as exc:
        raise unreadable(name, "JSON of another program than optiland, or none") from exc
    try:
        replaced = _replace_glasses(surfaces, name, glasses)
        optic = Optic.from_dict(content)
        for i, material in replaced.items():
            optic.updater.set_material(material, i)
        _focus_by_visible_light(optic)
    except LensError:
        raise
    except Exception as exc:  # optiland raises whatever it stumbles over
        raise unreadable(name, f"{type(exc).__name__}: {exc}") from exc
    return optic


def _replace_glasses(
    surfaces: list[dict[str, Any]], name: str, glasses: Glasses
) -> dict[int, BaseMaterial]:
    """Materials, by surface, of the glasses that optiland would look up by name.

    In `surfaces` they become air, for optiland fails at names that it does not know.
    """
    stated: list[Glass | None] = [None] * len(surfaces)
    for i, surface in enumerate(surfaces):
        material = surface.get("material_post") or {}
        if material.get("type") == "Material":
            maker = material.get("catalog") or material.get("reference")
            stated[i] = Glass(material["name"], catalogues=(maker,) if maker else ())
            surface["material_post"] = {"type": "IdealMaterial", "index": 1.0, "absorp": 0.0}
    materials = _materials(stated, name, glasses)
    return {i: material for i, material in enumerate(materials) if material is not None}


def _focus_by_visible_light(optic: Optic) -> None:
    """Make the d line primary in a lens for ultraviolet or infrared, or one without wavelengths."""
    known = optic.wavelengths.num_wavelengths > 0
    if not (known and PHOTOGRAPHIC_UM[0] <= optic.primary_wavelength <= PHOTOGRAPHIC_UM[1]):
        optic.wavelengths.add(D_LINE_UM, is_primary=True)


_READERS: dict[str, Callable[[str, str, Glasses], Optic]] = {
    ".zmx": lambda text, name, glasses: _build(zemax_layout(text, name), name, glasses),
    ".seq": lambda text, name, glasses: _build(code_v_layout(text, name), name, glasses),
    ".json": _read_optiland,
}
