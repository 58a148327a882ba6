"""One connection of a client's, as uvicorn serves it, but not for ever: uvicorn (0.54) waits without an end
for a request's head and body, takes a head of any size, and keeps an answer for whoever does not read it.

Whoever is slow gets a 408, or is just cut off; nobody else notices.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.problems import MEDIA_TYPE, content

HEAD_WITHIN = 10.0
"""Seconds from the connection, or from a further request's first byte, to the end of the head."""
BODY_WITHIN = 20.0
"""Seconds from there to the end of the body: 1 MiB at 50 KiB/s."""
READ_WITHIN = 20.0
"""Seconds in which a client must take something of what is held for it."""
MOST_HEAD_BYTES = 64 * 1024
"""Request line and headers: a token of 16 KiB, and whatever proxies add."""


class Connection(HttpToolsProtocol):
    _deadline: asyncio.TimerHandle | None = None
    """Of the head or the body that is awaited."""
    _unread: asyncio.TimerHandle | None = None
    _head_bytes = 0
    """Of the head that is awaited."""
    _in_head = True

    # ---- as the transport tells it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for("head", HEAD_WITHIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._done_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if self._deadline is None:  # a further request on the same connection
                self._wait_for("head", HEAD_WITHIN)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(431, f"The request line and the headers have at most {MOST_HEAD_BYTES} bytes.")

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._watch_reader()

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    # ---- as the parser tells it

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._wait_for("body", BODY_WITHIN)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._done_waiting()
        super().on_message_complete()

    # ---- deadlines

    def _wait_for(self, what: str, seconds: float) -> None:
        self._done_waiting()
        self._deadline = self.loop.call_later(seconds, self._too_slow, what, seconds)

    def _done_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch_reader(self, before: int = 0) -> None:
        """Cut the client off when it has taken nothing of what is held for it since the last time."""
        held = self.transport.get_write_buffer_size()
        if before and held >= before:
            self.transport.abort()
        else:
            self._unread = self.loop.call_later(READ_WITHIN, self._watch_reader, held)

    def _too_slow(self, what: str, seconds: float) -> None:
        self._deadline = None
        if what == "head" and not self._head_bytes:
            self.transport.close()  # nothing was asked: there is nothing to answer
        else:
            self._refuse(408, f"The {what} of the request was not here within {seconds:g} s.")

    def _refuse(self, status: int, detail: str) -> None:
        """The connection ends with this; without it, when it would get into another answer, or after it."""
        self._done_waiting()
        answered = self.cycle is not None and self.cycle.response_started
        under_way = self.cycle is not None and not self.cycle.response_complete
        if not (under_way if self._in_head else answered):
            self.transport.write(_answer(status, detail))
        self.transport.close()


def _answer(status: int, detail: str) -> bytes:
    body = content(status, detail)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
