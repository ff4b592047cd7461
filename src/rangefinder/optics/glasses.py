"""Refractive indices of the glasses that a prescription names.

optiland takes the name most like an unknown one, or n = 1.5; here a name must be that of the
catalogue, and a glass that nobody knows stays unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rangefinder.config import GlassParams

if TYPE_CHECKING:
    from optiland.materials import BaseMaterial

D_LINE_UM = 0.5875618  # wavelength of nd
VISIBLE_UM = (0.48, 0.65)  # a catalogue's data must cover it
PLACEHOLDER = (1.5, 40.0)  # nd and Vd that Zemax writes beside a glass without knowing it
CONTRADICTION = 1e-3  # difference of nd from which it is another glass, not another melt
NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Glass:
    """A glass as a prescription states it."""

    name: str  # in a catalogue, or of the file's own
    nd: float | None = None  # refractive index at the d line, where it is stated
    vd: float | None = None  # Abbe number, likewise
    catalogues: tuple[str, ...] = ()  # makers whose catalogues the prescription refers to
    is_model: bool = False  # whether nd and vd are all there is to it


def material_of(glass: Glass, given: GlassParams | None) -> BaseMaterial | None:
    """Material of a glass: as given, else as in a catalogue, else as stated; None: unknown.

    Args:
        glass: What the prescription states.
        given: What the configuration states of it, if anything.
    """
    if given is not None:
        return _given(given)
    found = None if glass.is_model else _in_catalogue(glass)
    if found is not None or glass.nd is None or glass.vd is None:
        return found
    told = glass.is_model or (glass.nd, glass.vd) != PLACEHOLDER
    return _abbe(glass.nd, glass.vd) if told and glass.nd > 1.0 and glass.vd > 0.0 else None


def contradiction(glass: Glass, material: BaseMaterial | None) -> str:
    """How the index that a prescription states differs from that of its glass; empty: it does not.

    Converters of patents name the catalogue glass that is nearest to the one of the patent, and
    write the latter's nd beside it.
    """
    stated = glass.nd is not None and glass.vd is not None and (glass.nd, glass.vd) != PLACEHOLDER
    if material is None or not stated or glass.is_model:
        return ""
    nd = float(np.ravel(material.n(D_LINE_UM))[0])
    if abs(nd - float(glass.nd or 0.0)) <= CONTRADICTION:
        return ""
    return f"{glass.name}: {{nd: {glass.nd:g}, vd: {glass.vd:g}}} (the catalogue has nd {nd:.5g})"


def _given(given: GlassParams) -> BaseMaterial:
    """Material of the indices that the configuration gives."""
    from optiland.materials import DataMaterial

    if given.sellmeier is not None:
        strengths, resonances = given.sellmeier[:3], given.sellmeier[3:]
        pairs = [number for term in zip(strengths, resonances, strict=True) for number in term]
        return DataMaterial.from_coefficients("formula 2", [0.0, *pairs])
    return _abbe(float(given.nd or 0.0), float(given.vd or 0.0))


def _abbe(nd: float, vd: float) -> BaseMaterial:
    from optiland.materials import AbbeMaterial

    return AbbeMaterial(nd, vd, model="buchdahl")


def _in_catalogue(glass: Glass) -> BaseMaterial | None:
    """The glass of exactly this name, or of it with the hyphen that CODE V drops.

    Last, Schott's lead-free successor, which has the same nd and nearly the same Vd.
    """
    name = glass.name
    for spelling in (name, f"{name[:1]}-{name[1:]}", f"N-{name}"):
        for catalogue in (*glass.catalogues, None):
            material = _exact(spelling, catalogue)
            if material is not None:
                return material
    return None


@lru_cache(maxsize=256)  # optiland measures the likeness of hundreds of names
def _exact(name: str, catalogue: str | None) -> BaseMaterial | None:
    from optiland.materials import MatchPolicy, Material

    if not NAME.fullmatch(name):  # optiland takes names for regular expressions
        return None
    try:
        material = Material(
            name,
            min_wavelength=VISIBLE_UM[0],
            max_wavelength=VISIBLE_UM[1],
            catalog=catalogue,
            match_policy=MatchPolicy.BEST,
        )
    except ValueError:  # no such glass, or no such catalogue
        return None
    return material if material.material_data["similarity_score"] == 0 else None
