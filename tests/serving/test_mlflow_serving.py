"""MLflow's own server of the registered student, and the client of the docs."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from rangefinder.inference.session import Session
from rangefinder.models.model_files import load_model

from ..conftest import PATIENCE_S, ROOT, clean_environment

pytestmark = pytest.mark.slow
MODEL = "models:/rangefinder-student@candidate"


@pytest.fixture(scope="module")
def port(smoke_run) -> Iterator[int]:
    """Where MLflow serves the student of a smoke run."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ("--port", str(port), "--env-manager", "local", "--model-uri", MODEL)
    variables = {"MLFLOW_TRACKING_URI": smoke_run.store, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        ["mlflow", "models", "serve", *options],
        cwd=smoke_run.folder,
        env=clean_environment() | variables,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not responds(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield port
    finally:
        import os
        import signal

        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE_S)


def responds(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).ok
    except requests.ConnectionError:
        return False


def ask(port: int, content: dict) -> requests.Response:
    return requests.post(f"http://127.0.0.1:{port}/invocations", json=content, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def photo(smoke_run) -> Path:
    return min((smoke_run.folder / "data/02_intermediate/captures/images").iterdir())


@pytest.fixture(scope="module")
def session(smoke_run) -> Session:
    return Session(load_model(smoke_run.folder / "data/06_models/student"))


def row(photo: Path, **more: object) -> dict:
    text = base64.b64encode(photo.read_bytes()).decode()
    return {"photo": text, "name": photo.name, **more}


def test_the_client_of_the_docs_reads_what_measure_prints(
    port, photo, session, tmp_path, monkeypatch, capsys
):
    (tmp_path / "photo.tif").write_bytes(photo.read_bytes())
    lines = re.search(r"```python\n(.*?)```", (ROOT / "docs/serve.md").read_text(), re.DOTALL)[1]
    assert len(lines.splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    exec(lines.replace("5001", str(port)), {})
    measured = session.measure(photo)
    readings = [measured.at(*point) for point in ((60, 45), (20, 40))]
    assert capsys.readouterr().out.splitlines() == [
        f"{one.distance_m:.2f} m ({one.near_m:.2f} to {one.far_m:.2f} m)" for one in readings
    ]


def test_photos_and_arrays_are_answered(port, photo, session):
    measured = session.measure(photo)
    response = ask(port, {"dataframe_records": [row(photo, at=[[60, 45]]), row(photo)]})
    first, second = response.json()["predictions"]
    expected = json.loads(json.dumps(measured.summary([(60, 45)])))
    assert first == {"photo": photo.name, **expected}
    assert second == first | {"at": []}
    image = measured.photo.image[None, :, :40, :48]
    maps = ask(port, {"inputs": image.tolist(), "params": {"origin_x_px": 8.0}}).json()
    assert set(maps["predictions"]) == {"distance_m", "near_m", "far_m"}


def test_refusals_are_400_and_say_why(port, photo, tmp_path):
    text = tmp_path / "a.jpg"
    text.write_text("no photo")
    for wrong, words in (
        (row(text), "is no JPEG, PNG or TIFF"),
        ({"photo": "?"}, "no base64"),
        ({"at": [[1, 2]]}, "no base64"),
        (row(photo, at=[[1000, 2]]), "outside of the photo"),
        (row(photo, at=[5]), "points are no"),
    ):
        response = ask(port, {"dataframe_records": [wrong]})
        assert response.status_code == 400
        assert words in response.text
