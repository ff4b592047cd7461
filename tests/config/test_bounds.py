"""Every field of every record has bounds: absurd values are refused before they do any harm.

Fields are found by introspection, so that a new one without bounds fails here.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from rangefinder.camera import Camera
from rangefinder.config import AdaptationParams, Parameters, TrackingParams, parse_parameters
from rangefinder.config.strict import Strict
from rangefinder.errors import ConfigError
from rangefinder.models.card import Card

from ..conftest import ROOT
from ..tiny_camera import make_model

MANY = 100_000  # elements
ABSURD: Mapping[type, tuple[Any, ...]] = {
    int: (-(10**12), 10**12, math.nan, 1e300),
    float: (-1e12, 1e12, math.nan, math.inf, -math.inf),
    str: ("a" * 100_000,),
}


def models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A record, and all that are parts of it."""
    yield model
    for field in model.model_fields.values():
        for part in parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from models_in(part)


def parts(annotation: Any) -> Iterator[Any]:
    """An annotation and what is within it."""
    yield annotation
    for inner in get_args(annotation):
        yield from parts(inner)


def absurd(annotation: Any) -> Iterator[Any]:
    """Values of the right type that nobody means, for each place within an annotation."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from absurd(inner[0])
    elif origin in (Union, types.UnionType):
        for one in inner:
            yield from absurd(one)
    elif origin is tuple:
        yield from absurd_tuples(inner)
    elif origin in (dict, Mapping):
        good = sample(inner[1])
        yield {f"{index}": good for index in range(MANY)}
        yield {"a" * MANY: good}
        yield from ({"a": value} for value in absurd(inner[1]))
    elif annotation in ABSURD:
        yield from ABSURD[annotation]


def absurd_tuples(inner: tuple[Any, ...]) -> Iterator[Any]:
    if inner[-1] is ...:
        yield (sample(inner[0]),) * MANY
        yield from ((value,) for value in absurd(inner[0]))
        return
    good = [sample(one) for one in inner]
    for index, one in enumerate(inner):
        for value in absurd(one):
            yield (*good[:index], value, *good[index + 1 :])


def sample(annotation: Any) -> Any:
    """Some value of a type, within usual bounds."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return sample(inner[0])
    if origin is Literal:
        return inner[0]
    if origin is tuple:
        return tuple(sample(one) for one in inner if one is not ...)
    return {int: 16, float: 0.5, str: "a", bool: True}.get(annotation)


RECORDS = (Parameters, AdaptationParams, TrackingParams, Camera, Card)
FIELDS = sorted(
    {
        (model.__name__, name): (model, name)
        for record in RECORDS
        for model in models_in(record)
        for name in model.model_fields
    }.values(),
    key=lambda pair: (pair[0].__name__, pair[1]),
)


def adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """Validates one field, with its bounds."""
    field = model.model_fields[name]
    annotated = Annotated[field.annotation, field] if field.metadata else field.annotation
    return TypeAdapter(annotated, config=None if is_model(field.annotation) else CONFIG)


CONFIG = {"allow_inf_nan": False}


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def refused(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether a record refuses a value; validators of the whole record count, too."""
    try:
        adapter(model, name).validate_python(value)
    except ValidationError:
        return True
    usual = model.model_construct()  # a record may refuse as a whole, say distances in millimetres
    return (
        hasattr(usual, name)
        and assigned(usual, name, getattr(usual, name))
        and (not assigned(usual, name, value))
    )


def assigned(record: BaseModel, name: str, value: Any) -> bool:
    """Whether a record takes a value for one of its fields."""
    copy = record.model_copy()
    try:
        type(record).__pydantic_validator__.validate_assignment(copy, name, value)
    except (ValidationError, AttributeError):  # a field that it needs is missing
        return False
    return True


@pytest.mark.parametrize(("model", "name"), FIELDS, ids=lambda one: getattr(one, "__name__", one))
def test_a_field_refuses_what_nobody_means(model, name):
    accepted = [
        str(value)[:60]
        for value in absurd(model.model_fields[name].annotation)
        if not refused(model, name, value)
    ]
    assert accepted == []


def test_a_field_without_bounds_is_found():
    class Open(Strict):
        count: int
        pair: tuple[float, float]
        name: str | None
        table: dict[str, float]

    for name, field in Open.model_fields.items():
        values = list(absurd(field.annotation))
        assert not all(refused(Open, name, value) for value in values), name


def test_what_is_trained_by_default_and_in_every_environment_is_within_bounds():
    for kind in ("teacher", "student"):
        card = make_model(kind).card
        assert Card.model_validate(card.model_dump(mode="json")) == card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bank": {"distances": 512, "kernel_px": 129, "field_rows": 31}}, ["bank", "GB", "8 GB"]),
        ({"student": {"occluders": [4, 10**9]}}, ["student.occluders", "1000"]),
        ({"captures": {"objects": [4, 10**9]}}, ["captures.objects", "1000"]),
        ({"teacher": {"max_epochs": 10**9}}, ["teacher.max_epochs", "1000000"]),
    ],
)
def test_loops_and_memory_have_limits_which_errors_name(change, words):
    base = yaml.safe_load((ROOT / "conf/base/parameters.yml").read_text())
    for section, values in change.items():
        base[section] |= values
    with pytest.raises(ConfigError) as caught:
        parse_parameters(base)
    for word in words:
        assert word in str(caught.value)
