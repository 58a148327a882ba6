"""A span for each request, which continues the caller's trace (`traceparent`). The trace's id is in the log
lines that the request causes. A plain ASGI middleware.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from gateway.keeper.traces import ATTRIBUTE, trace_id
from gateway.traces import Traces

QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""What machines ask for every few seconds."""


class Tracing:
    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get(ATTRIBUTE, "")
        context = self._traces.request(given)
        scope.setdefault("state", {})[ATTRIBUTE] = context
        began, status = self._traces.clock(), 500  # raised: Starlette's outermost layer answers

        async def listening(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with bound_contextvars(trace_id=trace_id(context)):
                return await self._app(scope, receive, listening)
        finally:
            # The template, never the path or the query: they may hold what is nobody's business.
            route = getattr(scope.get("route"), "path", "")
            attributes = {
                "http.request.method": scope["method"],
                "http.route": route,
                "http.response.status_code": status,
                "roomkeeper.request_id": scope["state"].get("request_id", ""),
            }
            name = f"{scope['method']} {route}".strip()
            fault = f"answered {status}" if status >= 500 else ""
            self._traces.answered(context, given, name, began, attributes, fault)


def traceparent_of(request: Request) -> str:
    """Of the request's span; "" while nothing is traced."""
    return str(request.scope.get("state", {}).get(ATTRIBUTE, ""))
