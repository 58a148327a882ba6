"""Logs: structlog events with fields, and the libraries' records, through one pair of hands."""

from __future__ import annotations

import logging
import re
import sys
from typing import cast

import structlog
from structlog.typing import Processor

_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_QUIETER = {
    "livekit.agents": logging.INFO,
    "asyncio": logging.WARNING,
    "aiohttp": logging.WARNING,
    "uvicorn.error": logging.WARNING,  # its startup chatter; ours says the same in events
}


def configure(*, level: str, json: bool) -> None:
    """Send everything to stderr: JSON lines, or lines for people."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(json)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quieter in _QUIETER.items():
        logging.getLogger(name).setLevel(max(quieter, root.level))


def without_tokens(_: object, __: str, line: str) -> str:
    """The rendered line without JWTs: libraries log requests with their headers when something fails."""
    return _JWT.sub("(a token)", line)


def _renderers(json: bool) -> list[Processor]:
    if json:
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            cast(Processor, without_tokens),
        ]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # rich would print locals: secrets
        ),
        cast(Processor, without_tokens),
    ]
