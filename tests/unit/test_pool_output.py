"""What job processes print comes out as log lines that say whose they are."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from pool.output import LINES_A_SECOND, MAX_LINE_BYTES, OutputServer

pytestmark = pytest.mark.anyio
JOB = {"job": "AJ_1", "room": "r", "agent": "a"}


@pytest.fixture
def anyio_backend() -> str:
    """The pool is asyncio's, as livekit-agents is."""
    return "asyncio"


@asynccontextmanager
async def listening(whose: Mapping[str, str] = JOB) -> AsyncIterator[str]:
    server = OutputServer(lambda pid: whose)
    await server.start()
    yield server.path
    server.close()


async def printed(path: str, script: str, expected: int) -> list[EventDict]:
    """The lines of a process that is redirected and then runs the script."""
    code = f"import sys, os\nfrom pool.output import redirect\nredirect({path!r})\n{script}"
    with capture_logs() as lines:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        await process.wait()
        deadline = time.monotonic() + 10
        while len(lines) < expected and time.monotonic() < deadline:  # noqa: ASYNC110  (no event tells)
            await asyncio.sleep(0.01)
    assert len(lines) == expected, lines
    return lines


async def test_a_line_says_whose_it_is() -> None:
    """Pid, job, room and agent, of both streams, and what comes without an end of line."""
    async with listening() as path:
        script = "print('hello'); print('there', file=sys.stderr); print(os.getpid(), end='')"
        lines = {line["event"]: line for line in await printed(path, script, 3)}
    pid = next(int(text) for text in lines if text.isdigit())
    for text in ("hello", "there"):
        assert lines[text] == {"event": text, "log_level": "info", "pid": pid, **JOB}


async def test_the_last_words_of_a_process_that_dies_are_heard() -> None:
    """They are in the socket, not in the process."""
    async with listening() as path:
        script = "os.write(2, b'Fatal: it is over'); os.kill(os.getpid(), 9)"
        (line,) = await printed(path, script, 1)
    assert line["event"] == "Fatal: it is over"


async def test_native_lines_keep_their_level() -> None:
    """As livekit-rtc's native code writes them."""
    async with listening() as path:
        native = "[2026-11-22T10:33:48Z WARN  livekit::rtc_engine] no route"
        (line,) = await printed(path, f"print({native!r}, file=sys.stderr)", 1)
    assert (line["log_level"], line["event"], line["of"]) == ("warning", "no route", "livekit::rtc_engine")


async def test_no_line_is_too_long_and_no_byte_is_too_strange() -> None:
    """A long line is cut, broken UTF-8 is shown as such, empty lines are left out."""
    async with listening() as path:
        script = f"os.write(1, b'x' * {MAX_LINE_BYTES + 10} + b'\\n\\n \\n\\xff\\xfe!\\n')"
        lines = [line["event"] for line in await printed(path, script, 3)]
    assert [len(lines[0]), len(lines[1])] == [MAX_LINE_BYTES, 10]
    assert lines[2] == "\ufffd\ufffd!"


@pytest.mark.alone
async def test_whoever_prints_without_an_end_holds_nobody_up() -> None:
    """Neither the worker nor itself: what is beyond the limit is left out, and told so."""
    count = 200_000

    async def longest() -> float:
        """Seconds for which the worker's loop came to nothing else."""
        late: list[float] = []

        async def ticks() -> None:
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.01)
                late.append(time.monotonic() - began - 0.01)

        ticking = asyncio.create_task(ticks())
        async with listening() as path:
            lines = await printed(path, f"os.write(1, b'x\\n' * {count})", LINES_A_SECOND + 1)
        ticking.cancel()
        assert [line["event"] for line in lines[:-1]] == ["x"] * LINES_A_SECOND
        assert (lines[-1]["event"], lines[-1]["lines"]) == ("lines_left_out", count - LINES_A_SECOND)
        return max(late)

    assert min([await longest() for _ in range(3)]) < 0.5  # other programs may hold up one try


async def test_a_plain_line_after_a_native_one_is_plain() -> None:
    """Of a process without a job, too."""
    async with listening({}) as path:
        script = "print('[now WARN  livekit::x] native', flush=True); print('plain')"
        native, plain = await printed(path, script, 2)
    assert native["of"] == "livekit::x"
    assert "of" not in plain


def test_a_process_that_cannot_reach_its_worker_fails_at_once() -> None:
    """At its setup, before it gets a job."""
    code = "from pool.output import redirect; redirect('/nonexistent/socket')"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=os.getcwd())
    assert b"FileNotFoundError" in failed.stderr
