"""Drift of a simple lens whose distances are known: what is found, and what is no drift."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rangefinder.captures.photos import Photo
from rangefinder.config import DriftParams
from rangefinder.errors import CaptureError, ConfigError, ModelError
from rangefinder.inference.drift import OF_CENTRE, DriftMonitor, DriftTest
from rangefinder.inference.drift_report import drift_page, write_report
from rangefinder.inference.drift_terms import drift_reference, with_drift_reference
from rangefinder.inference.session import Measurement, Session
from rangefinder.models.prediction import Prediction

from ..drifting_camera import HELD_OUT, STUDENT, TrueDistances, held_out, take
from ..tiny_camera import make_model, random_pixels

PARAMS = DriftParams()
LENSES = {
    "aperture": {"aperture": 0.84},  # half a stop
    "lens": {"red_focus_dpt": 0.1},
    "decentring": {"shift_px": 0.1},
}


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    predictor = TrueDistances(STUDENT.card)
    captures = held_out(tmp_path_factory.mktemp("held_out"), predictor)
    return STUDENT.card.model_copy(update={"drift": drift_reference(predictor, captures)})


@pytest.fixture(scope="module")
def judge(card):
    return DriftTest(card, PARAMS)


def measurement(card, seed, warnings=(), **lens):
    """A photo of the lens as a session measures it, at its true distances."""
    light, distance_m = take(seed, **lens)
    photo = Photo(None, light, None, TrueDistances.WHOLE, warnings)
    return Measurement(photo, None, Prediction(distance_m, {}), card, "0" * 16)


def seen(judge, card, first, count=24, **lens):
    return [judge.evidence(measurement(card, seed, **lens)) for seed in range(first, first + count)]


def test_other_photos_of_the_lens_are_no_drift(judge, card):
    drift = judge(seen(judge, card, 1000))
    assert not drift.is_drift
    assert not drift.scenes_differ
    assert "No drift in 24 photos" in str(drift)


def test_other_distances_are_other_scenes_and_no_drift(judge, card):
    drift = judge(seen(judge, card, 2000, range_dpt=(0.3, 0.7)))
    assert not drift.is_drift
    assert drift.scenes_differ
    assert "rangefinder verify" in str(drift)


@pytest.mark.parametrize("cause", LENSES)
def test_changes_of_the_lens_are_found_and_named(judge, card, cause):
    drift = judge(seen(judge, card, 3000, **LENSES[cause]))
    assert drift.causes[:1] == (cause,)
    assert str(drift).startswith("DRIFT")


def test_a_small_shift_of_focus_cannot_be_told_from_other_scenes(judge, card):
    """Blur depends on the difference of dioptres: scenes 0.02 dpt away look the same."""
    drift = judge(seen(judge, card, 4000, focus_dpt=0.02))
    assert not drift.is_drift


def test_photos_stored_otherwise_are_drift_of_the_encoding(judge, card):
    photos = seen(judge, card, 5000)
    few = [replace(one, shifts=("a JPEG",)) for one in photos[:2]]
    assert not judge(few + photos[2:]).is_drift
    many = [replace(one, shifts=("a JPEG",)) for one in photos[:12]]
    many[0] = replace(many[0], others=("f/8",))  # one alone is no reason
    drift = judge(many + photos[12:])
    assert drift.causes == ("encoding",)
    assert "12 of 24; a JPEG" in str(drift)


def test_photos_that_name_another_camera_are_drift(card, judge):
    other = [
        judge.evidence(measurement(card, seed, warnings=("f/8 instead of f/3.5",)))
        for seed in range(6000, 6024)
    ]
    drift = judge(other)
    assert drift.causes[0] == "camera"
    assert "f/8 instead of f/3.5" in str(drift)


def test_a_symmetric_lens_is_compared_with_symmetry(judge, card):
    compared = judge(seen(judge, card, 7000)).comparisons
    assert {one.expected.value for one in compared if one.term in OF_CENTRE} == {0.0}
    camera = card.camera.model_copy(update={"symmetric": False})
    other = DriftTest(card.model_copy(update={"camera": camera}), PARAMS)
    compared = other(seen(judge, card, 7000)).comparisons
    assert 0.0 not in {one.expected.value for one in compared if one.term in OF_CENTRE}


def test_what_cannot_be_judged_is_refused(judge, card, tmp_path):
    with pytest.raises(CaptureError, match="too few photos"):
        judge(seen(judge, card, 0, count=PARAMS.min_photos - 1))
    with pytest.raises(ModelError, match="no drift reference"):
        DriftTest(STUDENT.card, PARAMS)
    few = held_out(tmp_path, TrueDistances(STUDENT.card), count=5)
    assert with_drift_reference(STUDENT, few, "cpu").card.drift is None


def test_a_monitor_warns_once_of_the_last_photos(card, caplog):
    session = Session(TrueDistances(card))
    monitor = DriftMonitor.attached_to(session, DriftParams(min_photos=10, window_photos=20))
    warned = []
    for number in range(60):
        changed = LENSES["lens"] if number >= 20 else {}
        session.observe(measurement(card, 8000 + number, **changed))
        warned.append(len(caplog.records))
    assert warned[20] == 0
    assert warned[40] == warned[-1] == 1
    assert caplog.records[0].getMessage() == str(monitor.drift)
    assert monitor.drift.photos == 20
    for seed in range(20):
        session.observe(measurement(card, 9000 + seed))
    assert not monitor.drift.is_drift


def test_a_window_too_small_to_be_judged_is_refused():
    with pytest.raises(ValueError, match="nothing would be judged"):
        DriftParams(min_photos=20, window_photos=10)


@pytest.mark.parametrize("size", [(30, 64), (64, 20), (17, 17)])
def test_a_photo_without_a_window_is_no_evidence(judge, card, size):
    light = np.random.default_rng(0).random((3, *size), np.float32)
    photo = Photo(None, light, None, TrueDistances.WHOLE)
    prediction = Prediction(np.full(size, 2.0, np.float32), {})
    found = judge.evidence(Measurement(photo, None, prediction, card, "0" * 16))
    assert found.sums == {}


def test_sessions_give_what_they_measure_to_an_observer():
    session, measured = Session(make_model("student"), "cpu"), []
    session.observe = measured.append
    session.measure(random_pixels())
    assert [one.distance_m.shape for one in measured] == [(48, 64)]


def test_models_without_a_reference_are_not_monitored():
    session = Session(TrueDistances(STUDENT.card))
    with pytest.raises(ModelError, match="no drift reference"):
        DriftMonitor.attached_to(session, PARAMS)
    assert session.observe is None


def test_reports_hold_the_verdict_and_every_statistic(judge, card, tmp_path):
    drift = judge(seen(judge, card, 3000, **LENSES["decentring"]))
    page = drift_page(drift, PARAMS.level)
    assert str(drift) in page
    moved = [one.name for one in drift.comparisons if one.p < PARAMS.level]
    assert [name for name in moved if f"<b>{name}</b>" in page] == moved
    assert page.count("<b>") == 5 * len(moved)
    write_report(tmp_path / "drift.json", drift, PARAMS.level)
    content = json.loads((tmp_path / "drift.json").read_text())
    assert content["causes"] == ["decentring"]
    assert content["statistics"].keys() == {one.name for one in drift.comparisons}
    assert drift.metrics()["drift"] == 1.0
    assert drift.metrics()["z/red_shift.x"] > 5
    with pytest.raises(ConfigError, match="unknown type"):
        write_report(tmp_path / "drift.txt", drift, PARAMS.level)


def test_the_reference_is_not_flattered_by_its_own_curves(card):
    """This lens blurs alike in all directions: what the curves caught is noise."""
    strength = card.drift.estimates["direction.strength"]
    assert strength.photos == HELD_OUT
    assert abs(strength.value) < 4 * strength.se
    assert np.isfinite([one.value for one in card.drift.estimates.values()]).all()
