"""The post between replicas: notes for the others go out in batches, beside whatever caused them; notes that
come in are handed on. Loses notes rather than hold anybody up: they are hints.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio
import structlog

from gateway.keeper.notes import Note
from gateway.keeper.ports import Store, StoreUnavailable

log = structlog.get_logger(__name__)

BATCH = 256
STORE_RETRY = 0.5
INBOX = 10_000
"""Notes that the store keeps for a replica: the newest."""
MOST_WAITING = 10_000
"""Notes that wait for the store; what comes on top of that is dropped."""


class Post:
    def __init__(
        self, store: Store, replica_id: str, take: Callable[[Note], None], *, missed: Callable[[], None]
    ) -> None:
        """`take` is called with each note for this replica; `missed()` when some may have been lost."""
        self._store = store
        self._id = replica_id
        self._take = take
        self._missed = missed
        self._send, self._receive = anyio.create_memory_object_stream[tuple[str, Note]](math.inf)

    def send(self, to: str, note: Note) -> None:
        """Soon; never blocks, never fails."""
        if self._receive.statistics().current_buffer_used < MOST_WAITING:
            self._send.send_nowait((to, note))

    async def run(self) -> None:
        """Carry notes until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._carry_out, name="keeper-outbox")
            tasks.start_soon(self._carry_in, name="keeper-inbox")

    async def _carry_out(self) -> None:
        async for first in self._receive:
            by_addressee: dict[str, dict[Note, None]] = {}
            for to, note in [first, *self._waiting()]:
                by_addressee.setdefault(to, {})[note] = None  # the same note twice is one
            for to, notes in by_addressee.items():
                try:
                    await self._store.send(to, list(notes))
                except StoreUnavailable as fault:
                    log.warning("notes_dropped", notes=len(notes), why=str(fault))

    def _waiting(self) -> list[tuple[str, Note]]:
        found: list[tuple[str, Note]] = []
        while len(found) < BATCH:
            try:
                found.append(self._receive.receive_nowait())
            except anyio.WouldBlock:
                break
        return found

    async def _carry_in(self) -> None:
        while True:
            try:
                notes = await self._store.receive(self._id)
            except StoreUnavailable:
                self._missed()  # they may have been taken out of the inbox all the same
                await anyio.sleep(STORE_RETRY)
                continue
            if len(notes) >= INBOX:
                self._missed()  # the oldest were pushed out
            for note in notes:
                self._take(note)
