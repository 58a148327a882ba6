"""What is logged, whoever logs it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway import logs


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The tests' own logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("json", [True, False])
def test_no_token_is_in_a_line(capsys: pytest.CaptureFixture[str], json: bool) -> None:
    """livekit-agents logs a failed handshake with its headers: whoever reads that could register."""
    logs.configure(level="info", json=json)
    token = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl-_x"
    try:
        raise RuntimeError(f"502, headers {{'Authorization': 'Bearer {token}'}}")
    except RuntimeError as fault:
        logging.getLogger("livekit.agents").warning(
            "failed to connect", exc_info=True, extra={"error": repr(fault)}
        )
    told = capsys.readouterr().err
    assert "failed to connect" in told
    assert "eyJ" not in told
    assert "(a token)" in told
