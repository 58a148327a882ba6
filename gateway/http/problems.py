"""Errors as RFC 9457 problem details: what is wrong, in which field, what to do. Never a stack trace."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import RequestError
from gateway.keeper.ports import StoreUnavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"
"""Seconds. A locked or slow store is back in less, or not for long."""

_JOB_ROUTES = ("/api/livekit/job", "/start")


def problem(
    status: int,
    detail: str,
    *,
    path: str = "",
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """The answer, with `success: false` where a job was asked for at `path` (the contract of that route).

    `type` is left out: "about:blank", so the title is the status's own phrase (RFC 9457, 4.2.1).
    """
    if field is not None:
        more["field"] = field
    if path.startswith(_JOB_ROUTES):
        more["success"] = False
    return Response(content(status, detail, **more), status, media_type=MEDIA_TYPE, headers=headers)


def content(status: int, detail: str, **more: Any) -> bytes:
    """The body of a problem."""
    return msgspec.json.encode(
        {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    )


def _for(request: Request, status: int, detail: str, **rest: Any) -> Response:
    if request_id := getattr(request.state, "request_id", ""):
        rest["requestId"] = request_id
    return problem(status, detail, path=request.url.path, **rest)


async def _request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _for(request, error.status, str(error), field=error.field, headers=error.headers)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"There is nothing at {request.url.path}."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not possible here."
    return _for(request, error.status_code, detail, headers=error.headers)


async def _store_unavailable(request: Request, error: Exception) -> Response:
    log.warning("store_unavailable", path=request.url.path, why=str(error))
    detail = "The store did not answer, so nothing was promised. Ask again: a repeated request is harmless."
    return _for(request, 503, detail, headers={"retry-after": RETRY_AFTER})


async def _unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises it again after the answer, and uvicorn logs it with its traceback.
    return _for(request, 500, "Something went wrong here; the log of Roomkeeper tells what.")


HANDLERS = {
    RequestError: _request_error,
    HTTPException: _http_exception,
    StoreUnavailable: _store_unavailable,
    Exception: _unexpected,
}
