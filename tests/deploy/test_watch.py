"""The watcher hands out complete photos once, and survives bad ones."""

import os
import shutil
from pathlib import Path
from threading import Event

import pytest

from rangefinder.deploy.bench import Bench, Wanted
from rangefinder.deploy.watch import Arrivals, watch
from rangefinder.errors import CaptureError

from .conftest import make_model


def test_photo_that_still_grows_is_waited_for(photos):
    arrivals = Arrivals(photos, lambda path: True)
    path, content = photos / "new.png", (photos / "b.png").read_bytes()
    path.write_bytes(b"")
    assert arrivals.look() == []
    path.write_bytes(content[:100])
    assert arrivals.look() == []
    path.write_bytes(content)
    assert arrivals.look() == []
    assert arrivals.look() == [path]
    assert arrivals.look() == []


def test_changed_photo_is_handed_out_again(photos):
    arrivals = Arrivals(photos, lambda path: path.name != "b.png")
    arrivals.look()
    assert arrivals.look() == [photos / "b.png"]
    os.utime(photos / "b.png", (1, 1))
    arrivals.look()
    assert arrivals.look() == [photos / "b.png"]


def test_bad_photos_are_named_and_watching_goes_on(photos, tmp_path):
    (photos / "bad.jpg").write_text("no photo")
    stop, out = Event(), tmp_path / "out"
    bench = Bench(make_model("student"), "cpu")
    reports = {}
    for report in watch(bench, photos, Wanted(folder=out), 0.01, stop):
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
    again = Arrivals(photos, lambda path: (out / f"{path.name}_distance.tif").exists())
    again.look()
    assert again.look() == [photos / "bad.jpg"]


def test_folder_must_be_there_and_apart_from_the_results(photos):
    bench = Bench(make_model("student"), "cpu")
    with pytest.raises(CaptureError, match="no folder"):
        next(watch(bench, photos / "none", Wanted(), 0.01, Event()))
    with pytest.raises(CaptureError, match="among the photos"):
        next(watch(bench, photos, Wanted(folder=photos), 0.01, Event()))
    arrivals = Arrivals(photos, lambda path: False)
    shutil.rmtree(photos)
    with pytest.raises(CaptureError, match="has gone"):
        arrivals.look()
