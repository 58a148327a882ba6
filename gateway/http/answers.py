"""JSON answers, encoded by msgspec."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


def answer(content: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(content), status, media_type="application/json", headers=headers)


def iso(seconds: float) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond; None for 0, "never"."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
