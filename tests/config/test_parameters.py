"""Parameters: every default in conf/base, and errors that name what to change."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import pytest
import yaml
from dvc.utils.serialize import modify_yaml
from pydantic import BaseModel

from rangefinder.config import Parameters, parse_parameters, parse_tracking
from rangefinder.errors import ConfigError

from ..conftest import ROOT

BASE = yaml.safe_load((ROOT / "conf/base/parameters.yml").read_text())
ENVIRONMENTS = sorted(path.parent.name for path in ROOT.glob("conf/*/parameters.yml"))
ENVIRONMENTS.remove("base")


def overlay(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        inner = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = overlay(base[key], value) if inner else value
    return merged


def names(model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)]
        nested = [
            a
            for a in inner
            if issubclass(a, BaseModel) and get_origin(field.annotation) is not dict
        ]
        found[name] = names(nested[0]) if nested else None
    return found


def keys(values: dict[str, Any]) -> dict[str, Any]:
    return {name: keys(v) if isinstance(v, dict) and v else None for name, v in values.items()}


def test_base_configuration_states_every_parameter():
    assert keys(BASE) == names(Parameters)


def test_base_configuration_and_code_have_the_same_defaults():
    assert parse_parameters(BASE) == Parameters()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environments_are_valid_and_state_only_sections_that_differ_from_base(environment):
    change = yaml.safe_load((ROOT / f"conf/{environment}/parameters.yml").read_text()) or {}
    merged = overlay(BASE, change)
    parse_parameters(merged)
    assert [section for section in change if merged[section] == BASE[section]] == []


def test_parameters_survive_dvc_which_writes_them_without_quotes(tmp_path):
    path = tmp_path / "parameters.yml"
    path.write_text((ROOT / "conf/base/parameters.yml").read_text())
    with modify_yaml(str(path)) as content:  # as `dvc exp run -S` does
        content["student"]["max_epochs"] = 9
    written = yaml.safe_load(path.read_text())
    assert written["camera"]["encoding"]["chroma"] == [14520]  # 4:2:0 in base 60
    assert parse_parameters(written) == parse_parameters(
        overlay(BASE, {"student": {"max_epochs": 9}})
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": {"f_number": -2.0}}, ["camera.f_number", "-2.0", "greater than or equal to"]),
        ({"camera": {"lens": {"nmae": "x"}}}, ["camera.lens.nmae", "'x'", "clear_radius_factor"]),
        ({"seeed": 1}, ["seeed", "allowed here", "teacher"]),
        ({"student": {"sharing": "all"}}, ["student.sharing", "'all'", "'frozen'"]),
        ({"range": {"report_m": [4.0, 0.7]}}, ["range", "near < far", "4.0"]),
        ({"bank": {"kernel_px": 24}}, ["bank.kernel_px", "odd", "24"]),
        ({"teacher": {"occluder_radius": [0.3, 0.06]}}, ["occluder_radius", "lowest", "0.06"]),
        ({"teacher": {"occluder_radius": [0.0, 0.3]}}, ["occluder_radius", "lowest", "0.3"]),
        ({"student": {"occluders": [5, 4]}}, ["student.occluders", "lowest", "5"]),
        ({"captures": {"objects": [0, 4]}}, ["captures.objects", "greater than", "found 0"]),
        ({"noise": {"exposure": [1.0, 0.3]}}, ["noise.exposure", "lowest", "0.3"]),
        ({"identifiability": {"slopes": [2.6, 1.6]}}, ["slopes", "lowest", "2.6"]),
        ({"prediction": {"inverse_range_dpt": [1.4, 0.2]}}, ["inverse_range_dpt", "lowest"]),
        ({"prediction": {"inverse_range_dpt": [1.0, 1.0]}}, ["prediction", "single distance"]),
        ({"prediction": {"inverse_range_dpt": [0.001, 1.0]}}, ["beyond infinity", "0.0106"]),
    ],
)
def test_errors_name_key_value_and_what_is_allowed(change, words):
    with pytest.raises(ConfigError) as caught:
        parse_parameters(overlay(BASE, change))
    for word in (*words, "parameters.yml"):
        assert word in str(caught.value)


def test_sections_that_a_node_does_not_take_cannot_be_used():
    params = Parameters.only(seed=3)
    assert params.seed == 3
    with pytest.raises(AttributeError, match="range"):
        _ = params.range


def test_all_problems_are_named_at_once():
    with pytest.raises(ConfigError, match=r"(?s)camera\.width_px.*teacher\.blocks"):
        parse_parameters(overlay(BASE, {"camera": {"width_px": 1}, "teacher": {"blocks": -1}}))


def test_problems_by_the_dozen_are_counted():
    unknown = {f"{'long' * 100}{number}": number for number in range(20)}
    with pytest.raises(ConfigError, match="and 12 more") as caught:
        parse_parameters(overlay(BASE, {"noise": unknown}))
    assert len(str(caught.value)) < 6000


def test_settings_of_tracking_are_checked_too():
    raw = yaml.safe_load((ROOT / "conf/base/tracking.yml").read_text())
    assert parse_tracking(raw).enabled
    with pytest.raises(ConfigError, match=r"(?s)urii.*allowed here.*tracking\.yml"):
        parse_tracking(raw | {"urii": "x"})
