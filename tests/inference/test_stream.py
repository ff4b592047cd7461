"""Streams: videos and folders measured frame by frame; dropped, broken and refused frames."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from rangefinder.errors import CaptureError
from rangefinder.inference.session import OneOfTwo, PointReading, Session
from rangefinder.inference.stream import COLUMNS, Frame, Reader, Tally, _row, read_frames

from ..commands.conftest import call
from ..conftest import PATIENCE_S, ROOT, clean_environment
from ..tiny_camera import make_model, random_pixels

av = pytest.importorskip("av")


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_video(path, frames, rate=20):
    """A video of JPEGs as they are, broken ones too."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, content in enumerate(frames):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, rate)
            packet.pts = packet.dts = number
            container.mux(packet)
    return path


def pictures(count):
    return [jpeg(random_pixels(seed=number)) for number in range(count)]


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "clip.avi", pictures(6))


def stream(source, model_folder, out, *more):
    model = ("--model", model_folder / "student", "--device", "cpu")
    return call("stream", source, *model, "--out", out, "--at", "20,10", "--at", "3,4", *more)


def table(out, name="clip"):
    with (out / f"{name}_points.csv").open() as file:
        return list(csv.DictReader(file))


def overlay_frames(out, name="clip"):
    with av.open(str(out / f"{name}_overlay.mp4")) as container:
        return [(frame.time, frame.width, frame.height) for frame in container.decode(video=0)]


def test_every_frame_of_a_video_is_measured(video, model_folder, tmp_path):
    done = stream(video, model_folder, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "6 frames measured, " in done.output
    assert "dropped" not in done.output
    rows = table(tmp_path / "out")
    assert [row["frame"] for row in rows] == [str(number) for number in range(6) for _ in "ab"]
    session = Session(make_model("student"), "cpu")
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for number, pixels in enumerate(frames):
        reading = session.measure(pixels).at(3, 4)
        row = rows[2 * number + 1]
        assert float(row["time_s"]) == pytest.approx(number / 20, abs=1e-3)
        assert (float(row["x_px"]), float(row["y_px"])) == (3, 4)
        for name in ("distance_m", "near_m", "far_m", "accuracy_probability"):
            assert float(row[name]) == getattr(reading, name)
    times, widths, heights = zip(*overlay_frames(tmp_path / "out"), strict=True)
    assert times == pytest.approx([number / 20 for number in range(6)], abs=1e-3)
    assert set(widths) == {640}
    assert all(height % 2 == 0 for height in heights)


def test_rows_have_both_distances_where_two_are_possible():
    both = OneOfTwo(0.95, 0.7, 0.9, 1.0), OneOfTwo(4.1, 0.3, 3.9, 4.3)
    reading = PointReading(1, 2, 0.96, 0.9, 4.2, 0.5, both)
    row = dict(zip(COLUMNS, _row(Frame(3, 0.3, None), reading), strict=True))
    assert (row["nearer_distance_m"], row["nearer_share"]) == (0.95, 0.7)
    assert (row["farther_near_m"], row["farther_far_m"]) == (3.9, 4.3)
    one = _row(Frame(3, 0.3, None), replace(reading, two_distances=None))
    assert one == [3, 0.3, 1, 2, 0.96, 0.9, 4.2, 0.5, *[""] * 8]


def test_broken_frames_are_passed_over(model_folder, tmp_path):
    frames = pictures(6)
    frames[3] = b"nothing"
    write_video(tmp_path / "clip.avi", frames)
    done = stream(tmp_path / "clip.avi", model_folder, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "5 frames measured" in done.output
    assert "1 broken" in done.output
    assert {row["frame"] for row in table(tmp_path / "out")} == {"0", "1", "2", "4", "5"}


def test_a_folder_is_a_stream_and_refused_photos_are_counted(model_folder, tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in range(4):
        size = (64, 48) if number != 2 else (80, 60)
        Image.fromarray(random_pixels(*size, seed=number)).save(folder / f"{number}.png")
    done = stream(folder, model_folder, tmp_path / "out", "--rate", 4)
    assert done.exit_code == 0, done.output
    assert "3 frames measured" in done.output
    assert "1 refused" in done.output
    assert "80x60" in done.stderr
    assert table(tmp_path / "out", "shots")[-1]["time_s"] == "0.75"


def test_a_source_that_cannot_be_measured_is_refused(model_folder, tmp_path):
    (tmp_path / "no.mp4").write_text("no video")
    for source in ("none.mp4", tmp_path / "no.mp4", "99"):
        done = stream(source, model_folder, tmp_path / "out")
        assert done.exit_code == 2, done.output
        assert "cannot be opened" in done.output
    (tmp_path / "large").mkdir()
    Image.fromarray(random_pixels(80, 60)).save(tmp_path / "large/a.png")
    done = stream(tmp_path / "large", model_folder, tmp_path / "out")
    assert done.exit_code == 2
    assert "80x60" in done.output
    done = stream(tmp_path / "large", model_folder, tmp_path / "out", "--force")
    assert done.exit_code == 0, done.output


def paced(count, seconds):
    """Frames that are there at once, of which one is due every so many seconds."""
    for number in range(count):
        yield Frame(number, number * seconds, np.zeros((2, 2, 3), np.uint8))


def test_a_live_stream_drops_what_comes_while_another_is_measured():
    tally, seen = Tally(), []
    with Reader(paced(50, 0.01), tally, live=True) as reader:
        for frame in reader:
            seen.append(frame.number)
            time.sleep(0.1)
    assert seen[0] == 0
    assert seen[-1] == 49
    assert seen == sorted(seen)
    assert len(seen) + tally.dropped == 50
    assert tally.dropped > 25


def test_frames_of_a_file_wait_until_they_are_measured():
    tally, seen = Tally(), []
    with Reader(paced(20, 10.0), tally, live=False) as reader:
        for frame in reader:
            seen.append(frame.number)
            time.sleep(0.005)
    assert seen == list(range(20))
    assert tally.dropped == 0


def test_a_reader_ends_when_nobody_listens_and_passes_errors_on():
    with Reader(paced(10**9, 0.0), Tally(), live=False) as reader:
        assert next(iter(reader)).number == 0

    def failing():
        yield Frame(0, 0.0, np.zeros((2, 2, 3), np.uint8))
        raise CaptureError("gone")

    with (
        Reader(failing(), Tally(), live=False) as reader,
        pytest.raises(CaptureError, match="gone"),
    ):
        list(reader)


def test_a_stream_without_pictures_is_refused(tmp_path):
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.rate = 8000
        container.mux(sound.encode(frame))
    with pytest.raises(CaptureError, match="no pictures"):
        next(read_frames(str(tmp_path / "sound.wav"), 10))


@pytest.mark.slow
def test_a_stream_ends_cleanly_on_a_signal(model_folder, tmp_path):
    write_video(tmp_path / "clip.avi", pictures(4) * 500)
    command = "from rangefinder.commands import main; main(prog_name='rangefinder')"
    options = ("--model", model_folder / "student", "--out", tmp_path / "out", "--at", "3,4")
    process = subprocess.Popen(
        [sys.executable, "-c", command, "stream", tmp_path / "clip.avi", *options],
        env=clean_environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    file, deadline = tmp_path / "out/clip_points.csv", time.monotonic() + PATIENCE_S
    while not file.is_file() or file.stat().st_size < 300:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    measured = int(re.search(r"(\d+) frames measured", printed)[1])
    assert 0 < measured < 2000
    assert len(table(tmp_path / "out")) == measured
    assert len(overlay_frames(tmp_path / "out")) == measured
