"""Every route, in one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http import events, jobs, openapi, probes, replicas, rooms, sessions, tokens
from gateway.http.parts import Parts
from gateway.http.problems import HANDLERS
from gateway.http.request_ids import HEADER, RequestIds
from gateway.http.timing import Timing
from gateway.http.tracing import Tracing
from gateway.http.webhook import Webhook

Handler = Callable[[Request], Awaitable[Response]]


def _several(path: str, **handlers: Handler) -> Route:
    """One route for several methods: a 405 tells all of them."""

    async def endpoint(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=list(handlers))


ROUTES = [
    Route("/api/livekit/job", jobs.post_job, methods=["POST"]),
    Route("/api/livekit/job/{job_id}", jobs.get_job, methods=["GET"]),
    Route("/api/livekit/job/{job_id}/events", events.get_events, methods=["GET"]),
    Route("/start", jobs.post_start, methods=["POST"]),
    Route("/api/livekit/rooms", rooms.get_rooms, methods=["GET"]),
    Route("/api/livekit/rooms/{room:path}", rooms.get_room, methods=["GET"]),
    Route("/api/livekit/replicas", replicas.get_replicas, methods=["GET"]),
    Route("/api/livekit/heard/{room:path}", replicas.get_heard, methods=["GET"]),
    _several("/api/token", GET=tokens.get_token, POST=tokens.post_token),
    Route("/api/session/create", sessions.post_session, methods=["POST"]),
    _several("/api/session/{session_id}", GET=sessions.get_session, DELETE=sessions.delete_session),
    Route("/api/session/{session_id}/report", sessions.post_report, methods=["POST"]),
    Route("/openapi.json", openapi.get_openapi, methods=["GET"]),
]
PROBES = [
    Route("/livez", probes.livez, methods=["GET"]),
    Route("/readyz", probes.readyz, methods=["GET"]),
    Route("/healthz", probes.healthz, methods=["GET"]),
    Route("/metrics", probes.metrics, methods=["GET"]),
]
WEBHOOK = "/api/livekit/webhook"
TRACE_CONTEXT = ("traceparent", "tracestate")
"""What a traced page sends; the second one is not heeded."""


def build(parts: Parts) -> ASGIApp:
    """The whole front door. The webhook stands before all middleware: it needs none, and comes most often.

    A worker has probes and metrics only.
    """
    worker = parts.settings.role == "worker"
    api = Starlette(
        routes=PROBES if worker else [*ROUTES, *PROBES],
        middleware=[
            Middleware(RequestIds),
            *([Middleware(Tracing, traces=parts.traces)] if parts.traces else []),
            Middleware(Timing, histogram=parts.metrics.http_requests),
            Middleware(
                CORSMiddleware,
                allow_origins=parts.settings.http.cors_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["authorization", "content-type", "last-event-id", HEADER, *TRACE_CONTEXT],
                expose_headers=[HEADER, "retry-after"],
                max_age=600,
            ),
        ],
        exception_handlers=HANDLERS,
    )
    api.router.redirect_slashes = False  # a redirect would name the host that the caller named, and http
    api.state.parts = parts
    if worker:
        return api
    webhook = Webhook(
        keys=parts.keys,
        hint=parts.keeper.hint,
        counter=parts.metrics.webhooks,
        clock=parts.clock,
        heard=parts.heard,
    )
    return at(WEBHOOK, webhook, otherwise=api)


def at(path: str, app: ASGIApp, *, otherwise: ASGIApp) -> ASGIApp:
    """`app` at exactly that path, whatever the method; there is nothing to match by pattern."""

    async def fork(scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] == "http" and scope["path"] == path
        await (app if here else otherwise)(scope, receive, send)

    return fork
