"""The server, started as users start it: its responses, its refusals, many clients at once."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import tifffile
from PIL import Image

import rangefinder
from rangefinder.config import DriftParams
from rangefinder.errors import CaptureError
from rangefinder.inference.drift_terms import with_drift_reference
from rangefinder.inference.session import OneOfTwo, PointReading
from rangefinder.models.model_files import save_model

from ..commands.conftest import call
from ..conftest import PATIENCE_S
from ..drifting_camera import STUDENT, TrueDistances, held_out, take
from ..tiny_camera import random_pixels
from .conftest import Server, started

pytest.importorskip("fastapi_offline", reason="rangefinder[serve] is needed")
from rangefinder.serving.app import PhotoResult

KEYS = {"what", "found", "expected", "todo"}
MB = 2**20


def png(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


PIXELS = random_pixels(seed=1)
GOOD = png(PIXELS)


def post(server: Server, name: str, content: bytes, **query: object) -> requests.Response:
    return requests.post(
        f"{server.url}/v1/measure",
        params=query,
        files={"photo": (name, content)},
        timeout=PATIENCE_S,
    )


@pytest.fixture(scope="module")
def session(model_folder):
    return rangefinder.load_model(str(model_folder / "student"), device="cpu")


@pytest.fixture(scope="module")
def measured(session):
    return session.measure(PIXELS)


def test_points_are_those_of_measure(server, model_folder, tmp_path):
    (tmp_path / "a.png").write_bytes(GOOD)
    arguments = ("--model", model_folder / "student", "--device", "cpu", "--json")
    points = ("--at", "20,10", "--at", "63.5,0")
    done = call("measure", tmp_path / "a.png", *arguments, *points, "--out", tmp_path / "out")
    printed = json.loads(done.stdout)
    del printed["files"]
    response = post(server, "a.png", GOOD, at=["20,10", "63.5,0"])
    assert response.status_code == 200
    assert response.json() == printed | {"photo": "a.png"}
    assert PhotoResult.model_validate(response.json(), extra="forbid").at[0].x_px == 20


def test_a_point_of_a_response_may_have_two_distances(server):
    both = OneOfTwo(0.95, 0.7, 0.9, 1.0), OneOfTwo(4.1, 0.3, 3.9, 4.3)
    content = post(server, "a.png", GOOD, at="20,10").json()
    content["at"] = [asdict(PointReading(1, 2, 0.96, 0.9, 4.2, 0.5, both))]
    sent = json.loads(json.dumps(content))
    assert PhotoResult.model_validate(sent, extra="forbid").at[0].two_distances == both
    found = requests.get(f"{server.url}/openapi.json", timeout=PATIENCE_S).json()
    properties = found["components"]["schemas"]["OneOfTwo"]["properties"]
    assert list(properties) == ["distance_m", "share", "near_m", "far_m"]


def test_maps_are_those_of_a_session(server, measured):
    near, far = measured.interval_m()
    expected = {
        "distance_m": measured.distance_m,
        "near_m": near,
        "far_m": far,
        "accuracy_probability": measured.accuracy_probability,
    }
    for name, values in expected.items():
        tiff, npy, png16 = (
            post(server, "a.png", GOOD, format=kind, map=name) for kind in ("tiff", "npy", "png16")
        )
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(tiff.content)), values)
        np.testing.assert_array_equal(np.load(io.BytesIO(npy.content)), values)
        steps = 65535 if name == "accuracy_probability" else 1000
        codes = np.asarray(Image.open(io.BytesIO(png16.content)))
        assert codes.dtype == np.uint16
        np.testing.assert_allclose(codes / steps, values, atol=0.5001 / steps)
        assert name in tiff.headers["content-disposition"]


def test_arrays_and_crops_are_measured_at_their_placement(server, session):
    crop = PIXELS[8:, 16:]
    expected = session.measure(crop, origin_px=(16, 8)).at(3, 4)
    for name, content in (("x.npy", npy(crop)), ("x.png", png(crop))):
        response = post(server, name, content, at="3,4", origin="16,8")
        assert response.json()["at"][0]["distance_m"] == expected.distance_m
    small = PIXELS[::2, ::2]
    expected = session.measure(small, scale=2.0).at(3, 4)
    response = post(server, "x.npy", npy(small), at="3,4", scale=2)
    assert response.json()["at"][0]["distance_m"] == expected.distance_m


def bomb() -> bytes:
    """A PNG of 100 million pixels in 100 kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10_000 * (1 + 3 * 10_000)), 9)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(PIXELS, exif=exif)


BAD = {
    "empty.png": b"",
    "text.jpg": b"no photo",
    "cut.png": GOOD[: len(GOOD) // 2],
    "size.png": png(random_pixels(80, 60)),
    "turned.png": turned(),
    "clear.png": png(np.dstack([PIXELS, PIXELS[..., :1]])),
    "shades.png": png(PIXELS[..., 0] > 128),
}


@pytest.mark.parametrize("name", BAD)
def test_what_measure_refuses_is_refused_in_the_same_words(server, session, tmp_path, name):
    (tmp_path / name).write_bytes(BAD[name])
    with pytest.raises(CaptureError) as refusal:
        session.measure(tmp_path / name)
    response = post(server, name, BAD[name])
    assert response.status_code == 422
    content, error = response.json(), refusal.value
    assert content == {
        "what": error.what,
        "found": error.found,
        "expected": error.expected,
        "todo": error.todo,
    }


MALFORMED = [
    ("bomb.png", bomb(), {}, 422, "too large"),
    ("pickle.npy", npy(np.array([{"a": 1}], dtype=object)), {}, 422, "no array"),
    ("cut.npy", npy(PIXELS)[:500], {}, 422, "no array"),
    ("ints.npy", npy(PIXELS.astype(np.int64)), {}, 422, "int64"),
    ("a.png", GOOD, {"at": "64,0"}, 422, "outside of the photo"),
    ("a.png", GOOD, {"at": "here"}, 422, "no x,y"),
    ("a.png", GOOD, {"at": "1.2.3,4"}, 422, "no x,y"),
    ("a.png", GOOD, {"origin": "60,40"}, 422, "reaches to"),
    ("a.png", GOOD, {"scale": 0}, 422, "scale"),
    ("a.png", GOOD, {"scale": "nan"}, 422, "scale"),
    ("a.png", GOOD, {"scale": "wide"}, 422, "scale"),
    ("a.png", GOOD, {"format": "gif"}, 422, "format"),
    ("a.png", GOOD, {"map": "mass"}, 422, "map"),
    ("../../etc/passwd", b"root", {}, 422, "no JPEG, PNG or TIFF"),
    ("large.png", bytes(3 * MB), {}, 413, "too large"),
]


@pytest.mark.parametrize(("name", "content", "query", "status", "words"), MALFORMED)
def test_other_requests_are_refused_in_words(server, name, content, query, status, words):
    response = post(server, name, content, **query)
    assert response.status_code == status, response.text
    assert set(response.json()) == KEYS
    assert words in " ".join(response.json().values())
    assert str(server.folder) not in response.text


def test_requests_without_a_photo_are_refused_in_words(server):
    url = f"{server.url}/v1/measure"
    for response, status in (
        (requests.post(url, timeout=PATIENCE_S), 422),
        (requests.post(url, data={"photo": "text"}, timeout=PATIENCE_S), 422),
        (requests.post(url, data=GOOD, timeout=PATIENCE_S), 422),
        (requests.get(url, timeout=PATIENCE_S), 405),
        (requests.get(f"{server.url}/none", timeout=PATIENCE_S), 404),
        (requests.post(f"{server.url}/none", data=bytes(MB), timeout=PATIENCE_S), 404),
        (
            requests.post(
                url,
                data=b"nonsense",
                headers={"Content-Type": "multipart/form-data; boundary=x"},
                timeout=PATIENCE_S,
            ),
            400,
        ),
    ):
        assert response.status_code == status, response.text
        assert set(response.json()) == KEYS


def test_the_model_the_page_and_the_interface_are_described(server, session):
    def get(path: str) -> requests.Response:
        response = requests.get(f"{server.url}{path}", timeout=PATIENCE_S)
        assert response.status_code == 200
        return response

    model = get("/v1/model").json()
    assert model["fingerprint"] == session.fingerprint
    assert model["card"]["camera"]["width_px"] == 64
    assert model["limits"]["max_bytes"] == 2 * MB
    assert get("/healthz").json() == {"status": "ok"}
    paths = get("/openapi.json").json()["paths"]
    assert {"/v1/measure", "/v1/model", "/healthz", "/metrics"} <= set(paths)
    assert session.fingerprint in get("/").text
    for page in ("/", "/docs"):
        assert "//" not in get(page).text.replace("http://www.w3.org", "").replace("// ", "")


def hang_up(server: Server) -> None:
    """Begin to send a photo and go away."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S) as client:
        client.sendall(head(100_000) + GOOD[:50])


def head(length: int) -> bytes:
    lines = (
        "POST /v1/measure HTTP/1.1",
        "Host: here",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {length}",
        "",
        '--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n',
    )
    return "\r\n".join(lines).encode()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def metric(server: Server, name: str) -> float:
    lines = requests.get(f"{server.url}/metrics", timeout=PATIENCE_S).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_fifty_clients_half_of_them_bad(server, measured):
    expected = measured.at(20, 10).distance_m
    post(server, "a.png", GOOD)  # what the first photo allocates is no growth
    before = server.process.memory_info().rss
    responded = metric(server, "rangefinder_responses_total")
    bad = [
        *((name, content, {}) for name, content in BAD.items()),
        *((name, content, query) for name, content, query, _, _ in MALFORMED),
    ]

    def client(number: int) -> list[int]:
        statuses = []
        for turn in range(3):
            if number % 2:
                response = post(server, "a.png", GOOD, at="20,10")
                assert response.json()["at"][0]["distance_m"] == expected
            elif (number + turn) % 8 == 0:
                hang_up(server)
                continue
            else:
                name, content, query = bad[(number // 2 + 5 * turn) % len(bad)]
                response = post(server, name, content, **query)
                assert set(response.json()) == KEYS
            statuses.append(response.status_code)
        return statuses

    most = 0.0
    with ThreadPoolExecutor(50) as pool:
        running = [pool.submit(client, number) for number in range(50)]
        while not all(one.done() for one in running):
            assert requests.get(f"{server.url}/healthz", timeout=PATIENCE_S).status_code == 200
            most = max(most, metric(server, "rangefinder_photos "))
            time.sleep(0.05)
        statuses = [[*one.result()] for one in running]
    assert all(status == 200 for one in statuses[1::2] for status in one)
    assert all(400 <= status < 500 for one in statuses[::2] for status in one)
    assert most > 5, "they never waited for each other"
    assert server.process.memory_info().rss - before < 150 * MB
    assert metric(server, "rangefinder_photos ") == 0
    assert metric(server, "rangefinder_responses_total") > responded + sum(map(len, statuses))
    assert metric(server, 'rangefinder_responses_total{path="/v1/measure",status="2') > 0
    assert metric(server, 'rangefinder_responses_total{path="/v1/measure",status="5') == 0
    assert server.under_way() == []


@pytest.mark.slow
def test_clients_that_are_slow_or_too_many_are_told_so(model_folder, tmp_path):
    options = ("--max-waiting", "1", "--time-limit", "6")
    with started(model_folder / "student", tmp_path / "tmp", *options) as server:
        place = urlsplit(server.url)
        with socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S) as slow:
            slow.sendall(head(100_000))
            wait_until(lambda: metric(server, "rangefinder_photos ") == 1)
            refused = post(server, "a.png", GOOD)
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) >= 1
            assert "busy" in refused.json()["what"]
            with slow.makefile("rb") as stream:
                response = stream.read()
        assert response.startswith(b"HTTP/1.1 408")
        assert b"within 6 s" in response
        wait_until(lambda: metric(server, "rangefinder_photos ") == 0)
        assert post(server, "a.png", GOOD).status_code == 200


def test_a_port_that_is_taken_is_named(model_folder):
    pytest.importorskip("fastapi_offline")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("serve", "--model", model_folder / "student", "--port", port)
    assert done.exit_code == 1
    assert "in use" in done.output


def test_missing_packages_are_named(monkeypatch, model_folder):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    for name in ("rangefinder.serving.app", "rangefinder.serving.limits"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    done = call("serve", "--model", model_folder / "student")
    assert done.exit_code == 2
    assert "rangefinder[serve]" in done.output


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    """A server of a student that has something to compare photos with."""
    folder = tmp_path_factory.mktemp("drifting")
    captures = held_out(folder, TrueDistances(STUDENT.card))
    save_model(folder / "student", with_drift_reference(STUDENT, captures, "cpu"))
    with started(folder / "student", folder / "tmp") as server:
        yield server


def test_a_changed_camera_is_told_to_prometheus_and_clients(drifting):
    def gauge():
        text = requests.get(f"{drifting.url}/metrics", timeout=PATIENCE_S).text
        return float(re.search(r"^rangefinder_drift (\S+)$", text, re.MULTILINE)[1])

    def drift():
        return requests.get(f"{drifting.url}/v1/model", timeout=PATIENCE_S).json()["drift"]

    assert (gauge(), drift()) == (0.0, None)
    for seed in range(DriftParams().window_photos // 2):
        light = take(1000 + seed, shift_px=0.15)[0].transpose(1, 2, 0)
        assert post(drifting, "a.npy", npy(light)).status_code == 200
    assert gauge() == 1.0
    assert drift()["causes"] == ["decentring"]
