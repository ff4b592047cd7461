"""Base of all configuration: unknown keys and wrong values are refused, with what is allowed."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rangefinder.common.foreign import short_repr, shortened
from rangefinder.config.units import guessed_entry, guessed_value
from rangefinder.errors import ConfigError

Interval = tuple[float, float]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


def ordered(value: tuple[Any, Any]) -> tuple[Any, Any]:
    """Refuse two numbers that are not positive and in order."""
    if not 0 < value[0] <= value[1]:
        raise ValueError("must be 0 < lowest <= highest")
    return value


Odd = Annotated[int, AfterValidator(_odd)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
File = Annotated[str, Field(min_length=1, max_length=4096)]  # a path, or an address
Digest = Annotated[str, Field(max_length=64)]
Moderate = Annotated[float, Field(le=100)]
Ordered = Annotated[tuple[Moderate, Moderate], AfterValidator(ordered)]
Channels = Annotated[int, Field(ge=1, le=1024)]  # of a layer: its memory has a bound
Many = Annotated[int, Field(ge=1, le=1_000_000)]  # of a loop: it ends
Few = Annotated[int, Field(ge=1, le=1000)]
Counts = Annotated[tuple[Few, Few], AfterValidator(ordered)]  # fewest and most
Step = Annotated[float, Field(gt=0, le=10)]  # of depth at an edge, relative
LossWeight = Annotated[float, Field(ge=0, le=1000)]
SHOWN = 8  # problems of a configuration in one message
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of all configuration: frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def parse(model: type[Model], raw: Any, place: str) -> Model:
    """Validate a nested mapping.

    Raises:
        ConfigError: Naming every wrong key, its value, what is allowed, and the place to mend it.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as exc:
        errors = exc.errors()
        problems = [_describe(model, error, raw) for error in errors[:SHOWN]]
        if len(errors) > SHOWN:
            problems.append(f"and {len(errors) - SHOWN} more")
        raise ConfigError(
            "configuration is not valid:\n  " + "\n  ".join(problems), todo=f"\nMend it in {place}."
        ) from exc


def _describe(model: type[BaseModel], error: Any, raw: Any) -> str:
    path = error["loc"]
    key = shortened(".".join(str(part) for part in path))
    section = _section(model, path[:-1]) if path else None
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(section.model_fields)) if section else ""
        guess = guessed_entry(section, str(path[-1]), _values_at(raw, path[:-1])) if section else ""
        meant = f"; perhaps {guess}" if guess else ""
        found = short_repr(error["input"])
        return f"{key}: unknown key (value {found}){meant}; allowed here: {allowed}"
    guess = guessed_value(section, str(path[-1]), error["input"]) if section else ""
    return f"{key}: {error['msg']}; found {short_repr(error['input'])}" + (
        f" ({guess})" if guess else ""
    )


def _section(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section of the configuration at a path; also one of a mapping of sections."""
    found: Any = model
    for part in path:
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = found.model_fields.get(str(part))
            found = field.annotation if field else None
        else:  # `part` is a key of a mapping
            found = next(iter(get_args(found)[1:]), None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _values_at(raw: Any, path: tuple[int | str, ...]) -> dict[str, Any]:
    for part in path:
        raw = raw[part]
    return dict(raw)
