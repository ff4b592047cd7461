"""Files and folders are written whole: crashes at every operation, failures, readers meanwhile."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, read_captures, write_captures
from rangefinder.common import files
from rangefinder.common.files import atomic_write, new_folder, restore_folder
from rangefinder.models.model_files import load_model, save_model
from rangefinder.training.checkpoints import LAST, usable_checkpoint, write_checkpoint

from ..tiny_camera import CAMERA, make_model
from .crashes import after_crashes


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.mark.fault_injection
def test_a_file_is_the_old_or_the_new_one_wherever_its_writing_stops(place, survived):
    def write(folder, text):
        atomic_write(folder / "a.txt", lambda path: path.write_text(text * 100_000))

    write(place, "old")
    found = [
        (copy / "a.txt").read_text()[:3]
        for _, copy in after_crashes(place, lambda folder: write(folder, "new"))
    ]
    assert found == sorted(found, reverse=True)
    assert {*found} == {"old", "new"}
    survived("crash before an operation of writing a file", len(found) - 1)


@pytest.mark.fault_injection
def test_a_model_is_the_old_or_the_new_one_wherever_its_writing_stops(place, survived):
    old, new = make_model("teacher"), make_model("student")
    save_model(place / "model", old)
    fingerprints = [
        load_model(copy / "model").fingerprint
        for _, copy in after_crashes(place, lambda folder: save_model(folder / "model", new))
    ]
    assert len(fingerprints) > 5
    assert {*fingerprints} == {old.fingerprint, new.fingerprint}
    assert fingerprints[-1] == new.fingerprint
    survived("crash before an operation of writing a model", len(fingerprints) - 1)


@pytest.mark.fault_injection
@pytest.mark.parametrize("exchange", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_captures_are_the_old_or_the_new_ones_wherever_their_writing_stops(
    place, monkeypatch, exchange, survived
):
    if not exchange:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)

    def chart(value):
        image = torch.full((3, CAMERA.height_px, CAMERA.width_px), value)
        return Capture(image, "chart", "scene", "train", distance_m=1.0)

    old = write_captures(place / "set", CAMERA, [chart(0.2)])
    new = [chart(0.4), chart(0.6)]
    digests = [
        read_captures(copy / "set").digest
        for _, copy in after_crashes(
            place, lambda folder: write_captures(folder / "set", CAMERA, new)
        )
    ]
    assert len(digests) > 10
    assert digests[0] == old.digest
    assert len({*digests}) == 2
    assert digests == sorted(digests, key=lambda digest: digest != old.digest)
    survived("crash before an operation of writing captures", len(digests) - 1)


@pytest.mark.fault_injection
def test_a_checkpoint_is_there_wherever_the_writing_of_the_next_one_stops(place, survived):
    write_checkpoint(place / LAST, {"epoch": 0})
    write_checkpoint(place / LAST, {"epoch": 1})
    usable = [
        usable_checkpoint(copy) is not None
        for _, copy in after_crashes(
            place, lambda folder: write_checkpoint(folder / LAST, {"epoch": 2})
        )
    ]
    assert all(usable)
    survived("crash before an operation of writing a checkpoint", len(usable) - 1)


@pytest.mark.fault_injection
def test_a_camera_record_is_the_old_or_the_new_one_wherever_its_writing_stops(place, survived):
    old, new = CAMERA, CAMERA.model_copy(update={"f_number": 2.0})
    old.save(place / "camera.json")
    found = [
        Camera.load(copy / "camera.json")
        for _, copy in after_crashes(place, lambda folder: new.save(folder / "camera.json"))
    ]
    assert {camera.f_number for camera in found} == {old.f_number, new.f_number}
    survived("crash before an operation of writing a camera record", len(found) - 1)


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(place):
    with new_folder(place / "a") as folder:
        (folder / "b").write_text("old")
    with pytest.raises(FileNotFoundError), new_folder(place / "a") as folder:
        (folder / "b").rename(folder / "c")
    assert [path.name for path in place.iterdir()] == ["a"]
    assert (place / "a" / "b").read_text() == "old"


def test_readers_see_one_folder_or_the_other_while_it_is_replaced(place):
    with new_folder(place / "a") as folder:
        (folder / "b").write_text("0")
    reader = os.fork()
    if reader == 0:
        try:
            while (text := (place / "a" / "b").read_text()) != "100":
                assert text.isdecimal()
        except BaseException:
            os._exit(1)
        os._exit(0)
    for number in range(101):
        with new_folder(place / "a") as folder:
            (folder / "b").write_text(str(number))
    assert os.waitpid(reader, 0)[1] == 0


def test_readers_load_the_old_model_or_the_new_one_while_it_is_replaced(place):
    models = [make_model("student", seed=number) for number in range(2)]
    save_model(place / "model", models[0])
    done, found = Event(), set()

    def read():
        while not done.is_set():
            found.add(load_model(place / "model").fingerprint)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for number in range(60):
            save_model(place / "model", models[number % 2])
        done.set()
        reading.result()
    assert found
    assert found <= {model.fingerprint for model in models}


def test_nothing_is_restored_over_a_folder_that_is_there(place):
    for name in ("a", ".a.previous"):
        (place / name).mkdir()
        (place / name / "b").write_text(name)
    restore_folder(place / "a")
    assert (place / "a" / "b").read_text() == "a"
