"""What a parser may be lied to with, over a real socket: heads with two meanings, lengths that are not so,
odd paths. Behind each lie waits a request that would be obeyed if it were taken for one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import anyio
import pytest

from gateway.environment import read
from gateway.listening import listen
from gateway.server import Signals, serve
from tests.door import PRODUCTION, Door, door_of
from tests.fakes.livekit import FakeLiveKit
from tests.hostile import GOOD_JOB, JOB, UNCOUNTED, operator

pytestmark = pytest.mark.anyio

NOBODY = b"host: x\r\n"


def obeyed() -> bytes:
    """A request that brings an agent. Made when it is sent: its token is good for some minutes only, and a
    run of all tests may take longer."""
    allowed = NOBODY + f"authorization: {operator()['authorization']}\r\n".encode()
    head = b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n"
    return head % (JOB.encode(), allowed, len(GOOD_JOB)) + GOOD_JOB


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def door() -> AsyncIterator[tuple[Door, int]]:
    """A front door as in production, and its port."""
    async with FakeLiveKit(clock=time.time) as world:
        door = door_of(read({**PRODUCTION, **UNCOUNTED}, dev=False), world)
        with listen("127.0.0.1", 0) as listener:
            async with serve(door.app, listener, Signals()):
                yield door, listener.getsockname()[1]
        await door.http.aclose()


async def said(port: int, *pieces: bytes) -> bytes:
    """All that is answered until the server hangs up; the client is done talking after the last piece."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
        writer.write_eof()
        with anyio.fail_after(5):
            return await reader.read()
    finally:
        writer.close()


def statuses(answers: bytes) -> list[int]:
    return [int(line.split()[1]) for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


async def test_what_lies_in_wait_would_be_obeyed(door: tuple[Door, int]) -> None:
    """Else the tests below could not fail."""
    opened, port = door
    assert statuses(await said(port, obeyed())) == [200]
    assert len(opened.keeper.asks) == 1


def posted(headers: bytes, body: bytes) -> bytes:
    return b"POST /api/livekit/webhook HTTP/1.1\r\n" + NOBODY + headers + b"\r\n" + body


CHUNKED = b"transfer-encoding: chunked\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        # two lengths, one of which a proxy may have believed
        posted(b"content-length: 5\r\n" + CHUNKED, b"0\r\n\r\n"),
        posted(CHUNKED + b"content-length: 5\r\n", b"0\r\n\r\n"),
        posted(b"content-length: 0\r\ncontent-length: %d\r\n" % len(obeyed()), b""),
        posted(b"content-length: 0, 5\r\n", b""),
        # a length that is none
        posted(b"content-length: -1\r\n", b""),
        posted(b"content-length: +0\r\n", b""),
        posted(b"content-length: 0x0\r\n", b""),
        posted(b"content-length: 99999999999999999999999\r\n", b""),
        posted(b"content-length:\r\n", b""),
        # an encoding that only some know
        posted(b"transfer-encoding: xchunked\r\n", b"0\r\n\r\n"),
        posted(b"transfer-encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        posted(b"transfer-encoding : chunked\r\n", b"0\r\n\r\n"),
        posted(b"transfer-encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
        posted(b"transfer-encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
        # chunks that are not as long as they say
        posted(CHUNKED, b"1\r\nabc\r\n0\r\n\r\n"),
        posted(CHUNKED, b"-1\r\na\r\n0\r\n\r\n"),
        posted(CHUNKED, b"x\r\na\r\n0\r\n\r\n"),
        posted(CHUNKED, b"fffffffffffffffff\r\na\r\n0\r\n\r\n"),
        posted(CHUNKED, b"1\ra\r\n0\r\n\r\n"),
        # heads that are none
        b"POST /api/livekit/webhook HTTP/1.1\nhost: x\n\n",
        b"POST /api/livekit/webhook HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
        b"POST /api/livekit/webhook HTTP/1.1\r\nhost: x\r\na\x00b: c\r\n\r\n",
        b"POST /api/livekit/webhook HTTP/1.1\r\nhost: x\r\na: b\rc: d\r\n\r\n",
        b"POST /api/livekit/webhook HTTP/9.9\r\nhost: x\r\n\r\n",
        b"POST /api/livekit/webhook\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS at a plain door
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda request: repr(request[60:110]),
)
async def test_a_lie_is_refused_and_nothing_behind_it_is_read(
    door: tuple[Door, int], request_: bytes
) -> None:
    """One 4xx at most, and then the connection is closed: what follows is never taken for a request."""
    opened, port = door
    answers = await said(port, request_, obeyed())
    assert all(400 <= status < 500 for status in statuses(answers)), answers
    assert len(statuses(answers)) <= 1
    assert opened.keeper.asks == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/livekit/../../etc/passwd",
        "/api/livekit/%2e%2e/%2e%2e/etc/passwd",
        "/api/livekit/job/../job",
        "//api/livekit/job",
        "/api/livekit/job/",
        "/api/livekit/job;x=1",
        "/api/livekit/job%00",
        "/api/livekit/job%0d%0aset-cookie:x",
        "/API/livekit/job",
        "/api\\livekit\\job",
        "/api/livekit/%6aob%2f",
        "http://169.254.169.254/latest/meta-data",
        "*",
        "/api/session/..%2f..%2fapi%2flivekit%2fjob",
        "/api/livekit/job/" + "x" * 20_000,
    ],
    ids=lambda path: path[:40],
)
async def test_an_odd_path_leads_nowhere(door: tuple[Door, int], path: str) -> None:
    """Nor does anything of it get into the answer's head."""
    opened, port = door
    for method in ("GET", "POST", "DELETE"):
        request = obeyed().replace(f"POST {JOB} ".encode(), f"{method} {path} ".encode())
        answers = await said(port, request)
        assert [400 <= status < 500 for status in statuses(answers)] == [True], answers
        assert b"\r\nset-cookie" not in answers.lower()
    assert opened.keeper.asks == []
