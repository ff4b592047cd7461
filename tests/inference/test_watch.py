"""Watching a folder for complete photos."""

import os
import shutil
from pathlib import Path
from threading import Event

import pytest

from rangefinder.errors import CaptureError
from rangefinder.inference.session import OutputRequest, Session
from rangefinder.inference.watch import Arrivals, watch_folder

from ..tiny_camera import make_model


def test_a_photo_is_returned_once_it_no_longer_grows(photo_folder):
    arrivals = Arrivals(photo_folder, lambda path: True)
    path, content = photo_folder / "new.png", (photo_folder / "b.png").read_bytes()
    path.write_bytes(b"")
    assert arrivals.look() == []
    path.write_bytes(content[:100])
    assert arrivals.look() == []
    path.write_bytes(content)
    assert arrivals.look() == []
    assert arrivals.look() == [path]
    assert arrivals.look() == []


def test_a_changed_photo_is_returned_again(photo_folder):
    arrivals = Arrivals(photo_folder, lambda path: path.name != "b.png")
    arrivals.look()
    assert arrivals.look() == [photo_folder / "b.png"]
    os.utime(photo_folder / "b.png", (1, 1))
    arrivals.look()
    assert arrivals.look() == [photo_folder / "b.png"]


def test_bad_photos_are_reported_and_watching_goes_on(photo_folder, tmp_path):
    (photo_folder / "bad.jpg").write_text("no photo")
    stop, out = Event(), tmp_path / "out"
    session = Session(make_model("student"), "cpu")
    reports = {}
    for report in watch_folder(session, photo_folder, OutputRequest(folder=out), 0.01, stop):
        reports[Path(report["photo"]).name] = report
        if len(reports) == 4:
            stop.set()
    assert "error" in reports["bad.jpg"]
    assert sorted(name for name in reports if "error" not in reports[name]) == [
        "a.tif",
        "b.png",
        "c.jpg",
    ]
    assert len(list(out.iterdir())) == 9
    again = Arrivals(photo_folder, lambda path: (out / f"{path.name}_distance.tif").exists())
    again.look()
    assert again.look() == [photo_folder / "bad.jpg"]


def test_the_watched_folder_must_exist_and_differ_from_that_of_results(photo_folder):
    session = Session(make_model("student"), "cpu")
    with pytest.raises(CaptureError, match="no folder"):
        next(watch_folder(session, photo_folder / "none", OutputRequest(), 0.01, Event()))
    with pytest.raises(CaptureError, match="among the photos"):
        next(watch_folder(session, photo_folder, OutputRequest(folder=photo_folder), 0.01, Event()))
    arrivals = Arrivals(photo_folder, lambda path: False)
    shutil.rmtree(photo_folder)
    with pytest.raises(CaptureError, match="has gone"):
        arrivals.look()


def test_unreadable_photos_that_land_are_named_once(photo_folder, caplog):
    arrivals = Arrivals(photo_folder, lambda path: True)
    (photo_folder / "a.gif").write_bytes(b"something")
    arrivals.look()
    (photo_folder / "b.gif").write_bytes(b"something")
    arrivals.look()
    arrivals.look()
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "1 file skipped: a.gif",
        "1 file skipped: b.gif",
    ]
