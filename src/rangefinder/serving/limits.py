"""Limits of a server: size and time of what clients send, and how many of them wait at once.

Memory stays bounded because every photo that was let in is a file until its turn, and because
whoever is not let in is refused, not queued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from fastapi.exceptions import HTTPException
from prometheus_client import Gauge
from pydantic import BaseModel
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rangefinder.errors import RangefinderError

TOO_LARGE, TOO_SLOW, TOO_MANY = 413, 408, 429


@dataclass(frozen=True)
class Limits:
    """What a server accepts."""

    max_bytes: int = 64 * 2**20  # of a request
    max_waiting: int = 64  # photos that are sent, wait or are measured at once
    time_s: float = 60.0  # for a client to send a request, and to take in each part of a response


class Refusal(BaseModel):
    """An error as clients get it: what is wrong, found and expected, and what to do."""

    what: str
    found: str
    expected: str
    todo: str

    @classmethod
    def of(cls, error: RangefinderError) -> Self:
        """One of ours."""
        return cls(what=error.what, found=error.found, expected=error.expected, todo=error.todo)


def refusal(status: int, error: RangefinderError) -> HTTPException:
    """A response of this status, with the error as its content."""
    return HTTPException(status, Refusal.of(error).model_dump())


class LimitMiddleware:
    """ASGI middleware that holds clients to limits.

    A client that is refused gets a response after its request has been read to the end and thrown
    away, if it ends in time: one that still sends would not see the response.

    Args:
        app: What it protects.
        limits: The limits.
        count: Called with the scope and the status of every response.
        inside: Gauge of photos that are let in.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, count: Callable[[Scope, int], None], inside: Gauge
    ) -> None:
        self._app, self._limits = app, limits
        self._count, self._gauge = count, inside
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limits)
        sender = _Sender(send, body, self._limits.time_s)
        app = self._app if scope["method"] != "POST" else self._counted
        try:
            await app(scope, body.receive, sender.send)
        except _StalledError:  # the connection is closed
            sender.status = TOO_SLOW
        finally:
            self._count(scope, sender.status)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inside >= self._limits.max_waiting:
            error = RangefinderError(
                "the server is busy",
                got=f"{self._inside} photos before this one",
                expected=f"fewer than {self._limits.max_waiting}",
                todo="Send it again in a moment.",
            )
            content = Refusal.of(error).model_dump()
            response = JSONResponse(content, TOO_MANY, {"Retry-After": "1"})
            await response(scope, receive, send)
            return
        self._inside += 1
        try:
            with self._gauge.track_inprogress():
                await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class _StalledError(Exception):
    """A client does not take in its response."""


class _Body:
    """A request as it comes in, counted and timed."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._deadline = asyncio.get_running_loop().time() + limits.time_s
        self._bytes = 0
        self.ended = False

    async def receive(self) -> Message:
        """The next part.

        Raises:
            HTTPException: If it comes too late, or makes the request too large.
        """
        message = await self._next()
        if self._bytes > self._limits.max_bytes:
            error = RangefinderError(
                "the request is too large",
                got=f"more than {self._limits.max_bytes / 2**20:g} MB",
                expected=f"at most {self._limits.max_bytes / 2**20:g} MB",
                todo="Send a smaller photo, or start the server with a larger --max-mb.",
            )
            raise refusal(TOO_LARGE, error)
        return message

    async def _next(self) -> Message:
        if self.ended:  # all that can still come is that the client goes away
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.ended = True
            error = RangefinderError(
                "the request did not come in time",
                expected=f"all of it within {self._limits.time_s:g} s",
            )
            raise refusal(TOO_SLOW, error) from None
        self._bytes += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read on to the end, and keep nothing."""
        try:
            while not self.ended:
                await self._next()
        except HTTPException:
            return


class _Sender:
    """A response, which begins after its request has ended, and which a client has to take in."""

    def __init__(self, send: Send, body: _Body, time_s: float) -> None:
        self._send, self._body, self._time_s = send, body, time_s
        self.status = 500  # until it begins

    async def send(self, message: Message) -> None:
        """Send a part.

        Raises:
            _StalledError: If the client does not take it in.
        """
        if message["type"] == "http.response.start":
            await self._body.drain()
            self.status = message["status"]
        try:
            async with asyncio.timeout(self._time_s):
                await self._send(message)
        except TimeoutError:
            raise _StalledError from None
