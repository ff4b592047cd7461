"""Lengths that were given in another unit than the name of their parameter says."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

# For names that end so: other units, the likeliest first, and their size in the right one.
_OTHER_UNITS = {
    "_m": (("millimetres", 1e-3), ("centimetres", 1e-2), ("kilometres", 1e3)),
    "_mm": (("metres", 1e3), ("centimetres", 10.0), ("micrometres", 1e-3)),
    "_um": (("millimetres", 1e3), ("metres", 1e6), ("nanometres", 1e-3)),
}
_METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "\N{MICRO SIGN}m": 1e-6, "nm": 1e-9}
_WITH_UNIT = re.compile(r"\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*([^\W\d]+)\s*", re.IGNORECASE)
_F_NUMBER = re.compile(r"\s*f\s*/?\s*([0-9.]+)\s*", re.IGNORECASE)
_F_NUMBER_NAMES = ("aperture", "f", "fnumber", "f_stop")


def guessed_value(model: type[BaseModel], name: str, value: Any) -> str:
    """What a refused value of a parameter may mean, as a question; empty without a guess.

    Args:
        model: The section with the parameter.
        name: The parameter.
        value: What stands there.
    """
    if isinstance(value, str):
        meant = _as_number(name, value)
        return f"write {meant:g}" if meant is not None and _accepts(model, name, meant) else ""
    if not isinstance(value, int | float):
        return ""
    for unit, size in _other_units(name):
        if _accepts(model, name, value * size):
            return f"{value:g}: {unit}? then {_number(value * size)}"
    return ""


def guessed_entry(model: type[BaseModel], name: str, given: dict[str, Any]) -> str:
    """What an unknown entry of a section may be meant for; empty without a guess.

    Args:
        model: The section.
        name: The unknown entry.
        given: All entries of the section.
    """
    value = given[name]
    if name == "sensor_width_mm" and "pixel_pitch_um" in model.model_fields:
        width_px = given.get("width_px")
        if isinstance(value, int | float) and isinstance(width_px, int) and width_px > 0:
            return f"pixel_pitch_um: {1000 * value / width_px:.6g} (sensor width / photo width)"
        return ""
    if name.lower() in _F_NUMBER_NAMES and "f_number" in model.model_fields:
        match = _F_NUMBER.fullmatch(str(value))
        number = match[1] if match else value
        return f"f_number: {number}" if isinstance(number, str | int | float) else ""
    stem, _, unit = name.rpartition("_")
    base = stem if unit in _METRES else name
    for meant in (base, *(f"{base}{end}" for end in _OTHER_UNITS)):
        if meant in model.model_fields and meant not in given:
            return _entry(model, meant, _converted(name, meant, value))
    return ""


def _entry(model: type[BaseModel], name: str, text: str) -> str:
    """An entry that the section would take, of a converted value; empty if it would not."""
    try:
        accepted = _accepts(model, name, float(text))
    except ValueError:  # not a number
        accepted = True
    return f"{name}: {text}" if accepted else ""


def other_readings(name: str, value: float) -> str:
    """An accepted but unlikely length as other units would have it: `0.3 (millimetres), ...`."""
    finer = [(unit, size) for unit, size in _other_units(name) if size < 1]
    return " or ".join(f"{_number(value * size)} ({unit})" for unit, size in finer)


def _converted(name: str, meant: str, value: Any) -> str:
    """A value under a name with another unit, or with its unit behind it, as `meant` has it."""
    unit = name.rpartition("_")[2]
    if isinstance(value, int | float) and unit in _METRES and name.endswith(f"_{unit}"):
        value = f"{value}{unit}"
    number = _as_number(meant, str(value))
    return str(value) if number is None else _number(number)


def _as_number(name: str, text: str) -> float | None:
    """`50mm` or `f/1.8` as a number in the unit of `name`."""
    unit = name.rpartition("_")[2]
    match = _F_NUMBER.fullmatch(text) if name == "f_number" else _WITH_UNIT.fullmatch(text)
    try:
        if match is None:
            return None
        if name == "f_number":
            return float(match[1])
        return float(match[1]) * _METRES[match[2]] / _METRES[unit]
    except (KeyError, ValueError):
        return None


def _other_units(name: str) -> tuple[tuple[str, float], ...]:
    return next((units for end, units in _OTHER_UNITS.items() if name.endswith(end)), ())


def _accepts(model: type[BaseModel], name: str, value: float) -> bool:
    """Whether the parameter may have this value."""
    try:
        model.__pydantic_validator__.validate_assignment(model.model_construct(), name, value)
    except ValueError:
        return False
    return True


def _number(value: float) -> str:
    """Six digits, and a point, so that it reads as a length."""
    text = f"{value:.6g}"
    return text if "." in text or "e" in text else f"{text}.0"
