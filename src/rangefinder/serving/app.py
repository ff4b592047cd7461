"""The server: photos in over HTTP, metres out, and a page to look at them.

One photo is read and measured at a time, in a thread; the others wait as files. Every refusal is a
4xx with JSON that says what is wrong, what was found, what was expected and what to do.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, cast

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Scope

from rangefinder.errors import CaptureError, RangefinderError
from rangefinder.inference.drift import Drift, DriftMonitor
from rangefinder.inference.output import write_float, write_png16
from rangefinder.inference.session import Measurement, Point, PointReading, Session
from rangefinder.inference.viewer import page
from rangefinder.serving.limits import LimitMiddleware, Limits, Refusal
from rangefinder.serving.received import measure_received

Format = Literal["json", "tiff", "npy", "png16", "view"]
MapName = Literal["distance_m", "near_m", "far_m", "accuracy_probability"]
MEDIA = {"tiff": "image/tiff", "npy": "application/x-npy", "png16": "image/png"}
UNUSABLE = 422  # status of a photo, or an argument, that cannot be measured
GONE = 499  # of a response that nobody waits for, as nginx has it
PNG_STEPS = {"distance_m": 1000, "near_m": 1000, "far_m": 1000, "accuracy_probability": 65535}
_ROOM = 4  # times as many pixels as the camera has: larger photos are not decoded
_POINT = re.compile(r"\s*(-?[\d.]{1,12})\s*,\s*(-?[\d.]{1,12})\s*")
_HELP = "See /docs."
router = APIRouter()


class PhotoResult(BaseModel):
    """What is measured in one photo, see `Measurement.summary`."""

    photo: str
    width_px: int
    height_px: int
    model: str
    camera: str
    forced: list[str]
    median_m: float
    level: float
    at: list[PointReading]


class Measuring:
    """One session that measures one photo after another, for many clients.

    Args:
        session: The session.
        folder: For photos and responses under way; each has a folder in it for as long.
        limits: What clients are held to.
        monitor: Watches for drift in what the session measures, if the model can.
    """

    def __init__(
        self, session: Session, folder: Path, limits: Limits, monitor: DriftMonitor | None = None
    ) -> None:
        camera = session.card.camera
        most = _ROOM * camera.width_px * camera.height_px
        session.policy = replace(session.policy, max_pixels=most)
        self.session, self.folder, self.limits, self.monitor = session, folder, limits, monitor
        self._turn = asyncio.Semaphore(1)
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._responses = Counter(
            "rangefinder_responses", "Responses.", ["path", "status"], registry=registry
        )
        self._waited = Histogram(
            "rangefinder_wait_seconds", "Wait for the photos before.", registry=registry
        )
        self._took = Histogram(
            "rangefinder_measure_seconds", "Time to read and measure.", registry=registry
        )
        self.inside = Gauge(
            "rangefinder_photos", "Photos sent, waiting or measured now.", registry=registry
        )
        drifted = Gauge(
            "rangefinder_drift",
            "1 if the camera has changed, by the last photos.",
            registry=registry,
        )
        drifted.set_function(lambda: float(self.drift is not None and self.drift.is_drift))

    @property
    def drift(self) -> Drift | None:
        """The latest judgement of the last photos, if there is any."""
        return None if self.monitor is None else self.monitor.drift

    @property
    def model(self) -> str:
        """What measures, in words."""
        return self.session.card.title(self.session.fingerprint)

    async def run(self, request: Request, work: Callable[[], Response]) -> Response:
        """Work, when it is its turn, unless the client has gone."""
        came = time.perf_counter()
        async with self._turn:
            self._waited.observe(time.perf_counter() - came)
            if await request.is_disconnected():
                return Response(status_code=GONE)
            with self._took.time():
                return await to_thread.run_sync(work)

    def count(self, scope: Scope, status: int) -> None:
        """Count a response."""
        self._responses.labels(getattr(scope.get("route"), "path", "other"), status).inc()


def create_app(
    session: Session,
    folder: Path,
    limits: Limits | None = None,
    monitor: DriftMonitor | None = None,
) -> LimitMiddleware:
    """The server as an ASGI application.

    Args:
        session: What it measures with.
        folder: For photos under way; it is left empty.
        limits: Of requests; None: the usual ones.
        monitor: Watches for drift in what the session measures, if the model can.
    """
    measuring = Measuring(session, folder, limits or Limits(), monitor)
    app = FastAPIOffline(
        title="Rangefinder",
        description=f"Distance in metres of every pixel of a photo. Model: {measuring.model}.",
        version=version("rangefinder"),
        redoc_url=None,
        exception_handlers={
            RangefinderError: _unusable,
            RequestValidationError: _invalid,
            HTTPException: _refused,
        },
    )
    app.state.measuring = measuring
    app.include_router(router)
    return LimitMiddleware(app, measuring.limits, measuring.count, measuring.inside)


def _measuring(request: Request) -> Measuring:
    return cast("Measuring", request.app.state.measuring)


Shared = Annotated[Measuring, Depends(_measuring)]


async def _unusable(request: Request, error: Exception) -> Response:
    content = Refusal.of(cast("RangefinderError", error))
    return JSONResponse(content.model_dump(), UNUSABLE)


async def _invalid(request: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    wrong = RangefinderError(f"{name}: {first['msg']}", got=first.get("input"), todo=_HELP)
    return JSONResponse(Refusal.of(wrong).model_dump(), UNUSABLE)


async def _refused(request: Request, error: Exception) -> Response:
    """Any 4xx of the framework, in the same words."""
    http = cast("HTTPException", error)
    content: Any = http.detail
    if not isinstance(content, dict):
        content = Refusal.of(RangefinderError(content, todo=_HELP)).model_dump()
    return JSONResponse(content, http.status_code, http.headers)


@router.get("/", include_in_schema=False)
async def look(shared: Shared) -> HTMLResponse:
    """The page."""
    return HTMLResponse(page([], "v1/measure?format=view", shared.model))


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Whether the server responds."""
    return {"status": "ok"}


@router.get("/metrics")
async def metrics(shared: Shared) -> Response:
    """Counters and times for Prometheus."""
    return Response(generate_latest(shared.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/model")
async def model(shared: Shared) -> dict[str, Any]:
    """What measures: the model's card, its range, units, the server's limits, and drift.

    `drift` is what `rangefinder drift` finds of the last photos; null: too few so far, or the model
    has no reference.
    """
    session, card, limits = shared.session, shared.session.card, shared.limits
    return {
        "kind": card.kind,
        "fingerprint": session.fingerprint,
        "range_m": card.prediction.range_m,
        "units": {"distance": "m", "place": "px", "from": card.camera.distance_reference},
        "limits": {
            "max_bytes": limits.max_bytes,
            "max_pixels": session.policy.max_pixels,
            "max_waiting": limits.max_waiting,
            "time_s": limits.time_s,
        },
        "forced": session.policy.force,
        "drift": None if shared.drift is None else shared.drift.content(),
        "card": card.model_dump(mode="json"),
    }


async def _own_folder(shared: Shared) -> AsyncIterator[Path]:
    """A folder that is there until the response has been sent."""
    with TemporaryDirectory(dir=shared.folder) as folder:
        yield Path(folder)


@router.post(
    "/v1/measure",
    response_class=Response,
    responses={
        200: {"model": PhotoResult, "content": {kind: {} for kind in MEDIA.values()}},
        **{code: {"model": Refusal} for code in (400, 408, 413, UNUSABLE, 429)},
    },
)
async def measure(
    request: Request,
    photo: UploadFile,
    folder: Annotated[Path, Depends(_own_folder)],
    at: Annotated[tuple[str, ...], Query(description="Points x,y [px] to read out")] = (),
    origin: Annotated[
        str | None, Query(description="Upper left corner x,y of a crop on the full photo [px]")
    ] = None,
    scale: Annotated[
        float | None, Query(description="Pixels of the full photo per pixel of this one")
    ] = None,
    kind: Annotated[Format, Query(alias="format", description="Of the response")] = "json",
    wanted: Annotated[
        MapName, Query(alias="map", description="Which, if the response is a map")
    ] = "distance_m",
) -> Response:
    """Measure a photo.

    The photo is a file as `rangefinder measure` reads it, or an array (.npy) `[H, W, 3]` or
    `[H, W]`: uint8 is taken as sRGB, uint16 and float (0..1) as linear light.

    Responses: `json` has the median and the points. `tiff` and `npy` are a map `[H, W]` in float32,
    in metres; `png16` is one in 16 bits: millimetres, or 1/65535 of a probability. `view` is what
    the page shows.
    """
    points = [_point(text) for text in at]
    corner = None if origin is None else _point(origin)
    shared = _measuring(request)

    def work() -> Response:
        measured = measure_received(
            shared.session, photo.file, photo.filename, folder, corner, scale
        )
        if kind == "json":
            return JSONResponse({"photo": measured.photo.path.name, **measured.summary(points)})
        if kind == "view":
            return JSONResponse(measured.view().content())
        return _map_file(measured, wanted, kind, folder)

    return await shared.run(request, work)


def _point(text: str) -> Point:
    found = _POINT.fullmatch(text)
    try:
        x, y = found.groups() if found else ("", "")
        return float(x), float(y)
    except ValueError:
        raise CaptureError(
            "a point is no x,y", got=repr(text), expected="such as 240,180"
        ) from None


def _map_file(measured: Measurement, wanted: MapName, kind: str, folder: Path) -> FileResponse:
    """A map as a file, so that responses wait on the disk while clients take them in."""
    if wanted in ("near_m", "far_m"):
        values = measured.interval_m()[wanted == "far_m"]
    else:
        values = getattr(measured, wanted)
    path = folder / f"{measured.photo.path.stem}_{wanted}.{kind.removesuffix('16')}"
    if kind == "tiff":
        write_float(path, values, {"what": wanted})
    elif kind == "npy":
        np.save(path, values)
    else:
        write_png16(path, values, PNG_STEPS[wanted])
    return FileResponse(path, media_type=MEDIA[kind], filename=path.name)
