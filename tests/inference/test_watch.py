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


def test_a_photo_that_was_away_for_a_while_is_not_returned_again(photo_folder, tmp_path):
    arrivals = Arrivals(photo_folder, lambda path: path.name != "b.png")
    arrivals.look()
    assert arrivals.look() == [photo_folder / "b.png"]
    for path in photo_folder.iterdir():
        path.rename(tmp_path / path.name)
    arrivals.look()
    for name in ("a.tif", "b.png", "c.jpg"):
        (tmp_path / name).rename(photo_folder / name)
    arrivals.look()
    assert arrivals.look() == []


def test_a_photo_is_tried_again_three_times_as_it_is_and_anew_when_it_has_changed(photo_folder):
    arrivals = Arrivals(photo_folder, lambda path: path.name != "b.png")
    path = photo_folder / "b.png"
    for changed in (1, 2):
        os.utime(path, (changed, changed))
        arrivals.look()
        assert arrivals.look() == [path]
        assert arrivals.again(path)
        assert arrivals.look() == [path]
        assert arrivals.again(path)
        assert arrivals.look() == [path]
        assert not arrivals.again(path)
        assert arrivals.look() == []


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


class Mending(Event):
    """Ends the watch after 20 looks; takes what is in the way of results away before one of them.

    Args:
        obstacle: A file in the place of a folder.
        before: Number of the look.
    """

    def __init__(self, obstacle, before):
        super().__init__()
        self.obstacle, self.before, self.looks = obstacle, before, 0

    def wait(self, timeout=None):
        self.looks += 1
        if self.looks == self.before:
            self.obstacle.unlink()
        if self.looks == 20:
            self.set()
        return super().wait(0)


@pytest.mark.parametrize(("before", "measured"), [(3, 3), (100, 0)])
def test_what_the_system_refuses_is_tried_again(photo_folder, tmp_path, caplog, before, measured):
    obstacle = tmp_path / "out"
    obstacle.touch()
    session, request = (
        Session(make_model("student"), "cpu"),
        OutputRequest(folder=obstacle / "here"),
    )
    reports = [*watch_folder(session, photo_folder, request, 0.01, Mending(obstacle, before))]
    assert sum("error" not in report for report in reports) == measured
    assert len(reports) == 3
    assert "trying again" in caplog.records[0].getMessage()
    assert {Path(record.getMessage().split(":")[0]).name for record in caplog.records} == {
        "a.tif",
        "b.png",
        "c.jpg",
    }


def test_a_folder_that_cannot_be_listed_for_a_while_is_named_once(photo_folder, tmp_path, caplog):
    arrivals = Arrivals(photo_folder, lambda path: False)
    aside = photo_folder.rename(tmp_path / "aside")
    photo_folder.write_text("no folder")
    assert arrivals.look() == arrivals.look() == []
    assert ["trying again" in record.getMessage() for record in caplog.records] == [True]
    photo_folder.unlink()
    aside.rename(photo_folder)
    arrivals.look()
    assert len(arrivals.look()) == 3


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
