"""How long requests take, by route and status. A plain ASGI middleware."""

from __future__ import annotations

import time

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Timing:
    def __init__(self, app: ASGIApp, histogram: Histogram) -> None:
        self._app = app
        self._histogram = histogram

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.perf_counter()
        status = 500  # raised: Starlette's outermost layer answers

        async def listening(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            return await self._app(scope, receive, listening)
        finally:
            # The template, never the path: a label for each room would grow without bound.
            route = (
                getattr(scope.get("route"), "path", "") or "unmatched"
            )  # "": only the mount of all matched
            self._histogram.labels(route, str(status)).observe(time.perf_counter() - began)
