"""Slow and silent connections end by themselves, over real sockets; deadlines are short here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gateway import connections
from gateway.listening import listen
from gateway.server import Signals, serve

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

SOON = 0.3
SLOWLY = 3 * SOON
LARGE = 32 * 1024 * 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_WITHIN", "BODY_WITHIN", "READ_WITHIN"):
        monkeypatch.setattr(connections, name, SOON)


class App:
    """`/slow` answers late, `/large` with much, anything else with the length of the body."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            self.hung_up.set()
            return PlainTextResponse("to nobody")
        if request.url.path == "/slow":
            await anyio.sleep(SLOWLY)
        return PlainTextResponse("x" * LARGE if request.url.path == "/large" else str(len(body)))


@asynccontextmanager
async def connected(app: App) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with listen("127.0.0.1", 0) as listener:
        async with serve(app, listener, Signals()):
            reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=2**20)
            try:
                yield reader, writer
            finally:
                writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that still comes until the server hangs up."""
    with anyio.fail_after(10 * SOON):
        return await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drop: bytes) -> None:
    """A little at a time, until something comes back."""
    first = asyncio.create_task(reader.readexactly(1))
    for _ in range(30):
        writer.write(drop)
        if await asyncio.wait([first], timeout=SOON / 10) != (set(), {first}):
            break
    await first


def refusal(answer: bytes) -> tuple[int, str]:
    """Status and detail of an answer that is a problem, and closes the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert head.split()[1] == str(problem["status"]).encode()
    return problem["status"], problem["detail"]


async def test_a_connection_that_says_nothing_is_closed() -> None:
    """Nothing was asked, and nothing is answered."""
    async with connected(App()) as (reader, _):
        assert await rest(reader) == b""


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["first", "further"])
async def test_a_head_that_does_not_end_is_a_408(before: bytes) -> None:
    """Of the first request on a connection, and of a further one."""
    async with connected(App()) as (reader, writer):
        writer.write(before)
        if before:
            assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\n")
        await drip(reader, writer, b"a: b\r\n")
        assert refusal(await rest(reader))[0] == 408


async def test_a_head_without_an_end_is_a_431() -> None:
    """It would be kept in memory."""
    async with connected(App()) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (connections.MOST_HEAD_BYTES // 6 + 1))
        assert refusal(await rest(reader))[0] == 431


@pytest.mark.parametrize("head", ["content-length: 1000", "transfer-encoding: chunked"])
async def test_a_body_that_does_not_end_is_a_408_and_its_reader_is_told(head: str) -> None:
    """However steadily it drips."""
    app = App()
    async with connected(app) as (reader, writer):
        writer.write(f"POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n".encode())
        await drip(reader, writer, b"1\r\nx\r\n")
        assert refusal(await rest(reader))[0] == 408
        with anyio.fail_after(10 * SOON):
            await app.hung_up.wait()


async def test_whoever_does_not_read_the_answer_is_cut_off() -> None:
    """It would be kept in memory."""
    async with connected(App()) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        await anyio.sleep(4 * SOON)
        with suppress(ConnectionError):
            assert len(await rest(reader)) < LARGE


async def test_whoever_reads_slowly_gets_all_of_it() -> None:
    """As long as something is taken meanwhile."""
    async with connected(App()) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        taken = 0
        while chunk := await reader.read(2**20):
            taken += len(chunk)
            await anyio.sleep(SOON / 10)
        assert taken > LARGE


async def test_an_answer_may_take_longer_than_any_deadline() -> None:
    """`?wait=60`: the request is here, and its client listens."""
    async with connected(App()) as (reader, writer):
        writer.write(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc")
        assert (await rest(reader)).endswith(b"\r\n\r\n3")


async def test_a_pipelined_request_that_stays_unfinished_does_not_get_into_the_answer_before_it() -> None:
    """The connection is closed without a word."""
    async with connected(App()) as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\nGET / HTT")
        await anyio.sleep(SOON / 3)
        writer.write(b"P/1.1\r\n")
        assert b" 408 " not in await rest(reader)
