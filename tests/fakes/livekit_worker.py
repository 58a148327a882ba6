"""A stock worker for the fake LiveKit: takes every job while a slot is free, and joins. No gate, no claim."""

from __future__ import annotations

from collections.abc import Callable

from pool.ports import Offer
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Accepted, Answer, Connection, Link, Refused, Registration


class StockWorker:
    """Registers itself at `livekit`; `slots` jobs at once; an agent is in its room `joins_after` seconds
    after the assignment (fact 4)."""

    def __init__(
        self, livekit: FakeLiveKit, agent: str, *, slots: int = 4, joins_after: float = 0.08
    ) -> None:
        self._livekit = livekit
        self._agent = agent
        self._slots = slots
        self._joins_after = joins_after
        self.agents: dict[str, Connection | None] = {}
        """By job id; None while it has not joined yet."""
        self.node_id = ""
        self.registration: Registration = livekit.register(self)

    @property
    def agent(self) -> str:
        return self._agent

    async def offered(self, offer: Offer) -> Answer:
        if len(self.agents) >= self._slots:
            return Refused(terminate=False)
        self.agents[offer.job_id] = None
        self._report()
        return Accepted()

    def assigned(self, offer: Offer, identity: str) -> None:
        self._livekit.after(self._joins_after, lambda: self._join(offer, identity))

    def unassigned(self, offer: Offer) -> None:
        self._forget(offer.job_id)

    def terminated(self, job_id: str) -> None:
        agent = self.agents.get(job_id)
        if agent is not None:  # fact 53: ended before it has joined, it stays as a zombie
            self._livekit.leave(agent)

    def registered(self, node_id: str) -> None:
        self.node_id = node_id

    def _join(self, offer: Offer, identity: str) -> None:
        if offer.job_id not in self.agents:
            return
        try:
            agent = self._livekit.join(
                offer.room, identity, agent=self._agent, on_change=self._on_change(offer.job_id)
            )
        except ConnectionError:
            self._forget(offer.job_id)
        else:
            self.agents[offer.job_id] = agent

    def _on_change(self, job_id: str) -> Callable[[Connection], None]:
        def on_change(connection: Connection) -> None:
            if connection.link is Link.LEFT:
                self._forget(job_id)

        return on_change

    def _forget(self, job_id: str) -> None:
        self.agents.pop(job_id, None)
        self._report()

    def _report(self) -> None:
        used = len(self.agents)
        self.registration.load = 1.0 if used >= self._slots else used / self._slots * 0.7
