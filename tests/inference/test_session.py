"""A session over photo files, and watching a folder for complete photos."""

import os
import shutil
from pathlib import Path
from threading import Event

import pytest

from rangefinder.errors import CaptureError
from rangefinder.inference.session import Arrivals, OutputRequest, Session, stems, watch_folder

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


def test_a_point_outside_of_the_photo_is_refused(photo_folder):
    session = Session(make_model("student"), "cpu")
    for point in ((64, 0), (0, 48), (-1, 0)):
        with pytest.raises(CaptureError, match="outside"):
            session.report(photo_folder / "b.png", "b", OutputRequest((point,)))


def test_photos_of_one_name_get_different_stems(tmp_path):
    found = stems([tmp_path / "a/x.jpg", tmp_path / "b/x.jpg", tmp_path / "y.jpg"])
    assert len(set(found)) == 3
    assert found[2] == "y"
